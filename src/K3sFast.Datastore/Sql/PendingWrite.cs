namespace K3sFast.Datastore.Sql;

/// <summary>An append on its way through the committer.</summary>
internal sealed class PendingWrite(AppendRequest request)
{
    private readonly TaskCompletionSource<AppendResult> _done = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public AppendRequest Request { get; } = request;

    public Task<AppendResult> Task => _done.Task;

    /// <summary>Set by the committer before completion.</summary>
    public AppendResult Result { get; set; }

    public void Complete() => _done.TrySetResult(Result);

    public void Fail(Exception error) => _done.TrySetException(error);
}
