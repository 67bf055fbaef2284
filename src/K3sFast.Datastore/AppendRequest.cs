namespace K3sFast.Datastore;

/// <summary>What an append does to its key.</summary>
public enum AppendKind : byte
{
    /// <summary>The key must not exist.</summary>
    Create,

    /// <summary>The key must exist at the expected revision; its value is replaced.</summary>
    Update,

    /// <summary>The key must exist at the expected revision; it is removed.</summary>
    Delete,
}

/// <summary>One change of one key, applied if and only if the key is at <paramref name="ExpectedRevision"/>.</summary>
/// <param name="Key">The key. Ordinal order of its UTF-8 bytes is the order of ranges.</param>
/// <param name="ExpectedRevision">Revision of the key's last change; 0 for <see cref="AppendKind.Create"/>.</param>
/// <param name="Value">The new value; read until the append completes, not kept. Ignored by deletes.</param>
/// <param name="Kind">Create, update or delete.</param>
/// <param name="LeaseSeconds">The key is deleted this long after this change, unless it is changed again; 0 = never.</param>
public readonly record struct AppendRequest(string Key, long ExpectedRevision, ReadOnlyMemory<byte> Value, AppendKind Kind, long LeaseSeconds = 0)
{
    /// <summary>A create.</summary>
    public static AppendRequest Create(string key, ReadOnlyMemory<byte> value, long leaseSeconds = 0) =>
        new(key, 0, value, AppendKind.Create, leaseSeconds);

    /// <summary>An update of a key that is at <paramref name="expectedRevision"/>.</summary>
    public static AppendRequest Update(string key, long expectedRevision, ReadOnlyMemory<byte> value, long leaseSeconds = 0) =>
        new(key, expectedRevision, value, AppendKind.Update, leaseSeconds);

    /// <summary>A deletion of a key that is at <paramref name="expectedRevision"/>.</summary>
    public static AppendRequest Delete(string key, long expectedRevision) => new(key, expectedRevision, default, AppendKind.Delete);
}

/// <summary>How an append ended. Everything but <see cref="Committed"/> left the store unchanged.</summary>
public enum AppendOutcome : byte
{
    /// <summary>Durable at <see cref="AppendResult.Revision"/>.</summary>
    Committed,

    /// <summary>The key is at another revision than expected (for a create: it exists). Revision = the key's present one.</summary>
    Conflict,

    /// <summary>Update or delete of a key that does not exist. Revision = 0.</summary>
    NotFound,

    /// <summary>No space left where the store keeps its files but a reserve for deletions. Writes work again by themselves when there is space.</summary>
    Full,
}

/// <summary>The outcome of an append and the revision that goes with it.</summary>
public readonly record struct AppendResult(AppendOutcome Outcome, long Revision);
