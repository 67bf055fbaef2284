namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// A group on its way: taken, written into the log, flushed, shown and answered. The writer thread owns it and uses it again and again.
/// </summary>
internal sealed class GroupInFlight
{
    // More are only there for groups of nothing but refusals, which wait for what they were decided on.
    private const int MaxIdle = FlushPace.MaxFlushes + 1;

    public List<PendingAppend> Appends { get; } = [];

    public List<ExpiredKey> Expired { get; } = [];

    /// <summary>The leases that it brings.</summary>
    public List<(string Key, long Revision, long Seconds)> Leases { get; } = [];

    /// <summary>When the writer took it, and when its COMMIT began.</summary>
    public long StartedAt { get; private set; }

    public long CommitAt { get; set; }

    /// <summary>The newest revision before it, and with it.</summary>
    public long Before { get; private set; }

    public long Revision { get; set; }

    /// <summary>False = only deletions were let through.</summary>
    public bool HasRoom { get; private set; }

    /// <summary>The end of the log with it.</summary>
    public Flushed End { get; set; }

    /// <summary>The first flush that covers it.</summary>
    public long Flush { get; set; }

    /// <summary>True = that flush was begun for it.</summary>
    public bool HasOwnFlush { get; set; }

    /// <summary>The steps of maintenance that the flush covers too.</summary>
    public MaintenanceMark Maintenance { get; set; }

    public long Changes => Revision - Before;

    private void Begin(ReadOnlySpan<PendingAppend> appends, long startedAt, long revision, bool hasRoom)
    {
        Appends.AddRange(appends);
        StartedAt = startedAt;
        Before = Revision = revision;
        HasRoom = hasRoom;
        HasOwnFlush = false;
        End = default;
    }

    private void Clear()
    {
        Appends.Clear();
        Expired.Clear();
        Leases.Clear();
    }

    /// <summary>The idle ones.</summary>
    internal sealed class Pool
    {
        private readonly Stack<GroupInFlight> _idle = new();

        public GroupInFlight Rent(ReadOnlySpan<PendingAppend> appends, long startedAt, long revision, bool hasRoom)
        {
            if (!_idle.TryPop(out var group)) group = new GroupInFlight();
            group.Begin(appends, startedAt, revision, hasRoom);
            return group;
        }

        public void Return(GroupInFlight group)
        {
            group.Clear();
            if (_idle.Count < MaxIdle) _idle.Push(group);
        }
    }
}
