namespace K3sFast.FaultRig.History;

/// <summary>What a client asked for.</summary>
internal enum OperationKind : byte
{
    Create,
    Update,
    Delete,
    Get,
    List,
    Compact,
}

/// <summary>What a client knows of how it ended.</summary>
internal enum OperationOutcome : byte
{
    /// <summary>No answer, or one that says nothing: it happened once or never.</summary>
    Unknown,

    /// <summary>Done.</summary>
    Ok,

    /// <summary>Not done: the key is at another revision, or exists.</summary>
    Conflict,

    /// <summary>Not done: the key does not exist.</summary>
    NotFound,

    /// <summary>Not done, said so with certainty (a full disk).</summary>
    Refused,

    /// <summary>A read below the compacted revision.</summary>
    Compacted,
}

/// <summary>One operation of one client, from its call to its answer. Times are of one monotonic clock.</summary>
internal sealed class Operation
{
    /// <summary>The time of an answer that never came.</summary>
    public const long Never = long.MaxValue;

    public required OperationKind Kind { get; init; }

    /// <summary>The key; of a list its prefix.</summary>
    public required string Key { get; init; }

    /// <summary>Update and delete: the revision that the key must be at.</summary>
    public long ExpectedRevision { get; init; }

    /// <summary>Create and update: the name of the value written, used by no other operation.</summary>
    public string Value { get; init; } = "";

    public long LeaseSeconds { get; init; }

    /// <summary>Reads: the revision asked for, 0 = now. Compaction: up to where.</summary>
    public long AtRevision { get; init; }

    public required long InvokedAt { get; init; }

    /// <summary>When the answer came; for an unknown outcome the time after which it can no longer happen.</summary>
    public long CompletedAt { get; set; } = Never;

    public OperationOutcome Outcome { get; set; }

    /// <summary>Writes: the change's revision. Conflicts: the key's revision. Reads: the revision shown. 0 = not told.</summary>
    public long Revision { get; set; }

    /// <summary>What a read showed.</summary>
    public IReadOnlyList<Observation> Entries { get; set; } = [];

    public bool IsWrite => Kind <= OperationKind.Delete;

    public override string ToString() => Kind switch
    {
        OperationKind.Create => $"create {Key} {Value} -> {Outcome} {Revision}",
        OperationKind.Update or OperationKind.Delete => $"{Kind} {Key} at {ExpectedRevision} {Value} -> {Outcome} {Revision}",
        _ => $"{Kind} {Key} at {AtRevision} -> {Outcome} {Revision}, {Entries.Count} entries",
    };
}

/// <summary>One key as a read or a watch showed it.</summary>
/// <param name="Key">The key.</param>
/// <param name="Kind">The change; of a read's entry create or update.</param>
/// <param name="Revision">The revision of the change.</param>
/// <param name="CreateRevision">The revision at which the key's life began; 0 = not told.</param>
/// <param name="Value">The name of the value; null = its checksum did not fit; empty for deletions.</param>
internal readonly record struct Observation(string Key, AppendKind Kind, long Revision, long CreateRevision, string? Value)
{
    /// <summary>There, but the reader was not told whether it was created or updated last.</summary>
    public const AppendKind UnknownKind = (AppendKind)9;
}
