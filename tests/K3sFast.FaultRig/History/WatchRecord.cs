namespace K3sFast.FaultRig.History;

/// <summary>How a watch ended.</summary>
internal enum WatchEnd : byte
{
    /// <summary>It did not, or its client or server went away.</summary>
    None,

    /// <summary>The server said that the history asked for is gone.</summary>
    Compacted,

    /// <summary>The server gave up for another reason; the client resumes.</summary>
    Failed,
}

/// <summary>One watch stream, from its start to its end. A client that resumes opens another one.</summary>
internal sealed class WatchRecord
{
    public required long AfterRevision { get; init; }

    public required long StartedAt { get; init; }

    public List<WatchItem> Items { get; } = [];

    public WatchEnd End { get; set; }

    public long EndedAt { get; set; } = Operation.Never;
}

/// <summary>One thing that a watch showed: a change, or (without key) the promise that all up to a revision was shown.</summary>
internal readonly record struct WatchItem(Observation Change, long At)
{
    public bool IsProgress => Change.Key.Length == 0;

    public static WatchItem Progress(long revision, long at) => new(new Observation("", default, revision, 0, ""), at);
}
