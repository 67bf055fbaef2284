using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Work that belongs to one kind and must commit or roll back with the write, such as taking a Service's addresses.</summary>
internal interface IWriteHook
{
    /// <summary>
    /// Takes what the object needs and fills it in, before strategy and validation; null when there is nothing to undo. <paramref name="old"/> is undefined
    /// on create, <paramref name="obj"/> on delete.
    /// </summary>
    ValueTask<IWriteReservation?> BeginAsync(ApiNode obj, ApiNode old, bool isDryRun, CancellationToken cancel);
}

/// <summary>What a hook has taken. Exactly one of the two is called.</summary>
internal interface IWriteReservation
{
    ValueTask CommitAsync();

    ValueTask RollbackAsync();
}
