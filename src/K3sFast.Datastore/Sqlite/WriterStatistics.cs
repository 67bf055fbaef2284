namespace K3sFast.Datastore.Sqlite;

/// <summary>What the writer thread counts. It alone writes; others read.</summary>
internal sealed class WriterStatistics
{
    // Steps are to stay below 2 ms.
    private static readonly double[] s_stepBounds = [0.0001, 0.00025, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.01, 0.1, 1];

    // Bounds of etcd's own flush histogram: 1 ms to 8 s, each twice the one before; and two finer ones for disks of today.
    public Distribution CommitSeconds { get; } = new([0.00025, 0.0005, .. Enumerable.Range(0, 14).Select(i => 0.001 * (1 << i))]);

    public Distribution GroupSizes { get; } = new([.. Enumerable.Range(0, 10).Select(i => (double)(1 << i))]);

    public Distribution CompactionSeconds { get; } = new(s_stepBounds);

    public Distribution VacuumSeconds { get; } = new(s_stepBounds);

    public Distribution MaintenanceFlushSeconds { get; } = new(s_stepBounds);

    public Distribution LogWaitSeconds { get; } = new(s_stepBounds);

    public long WrittenPages;
    public long RefusedFull;
    public long CompactedRows;
    public long VacuumedPages;
    public long DamagedReads;

    // Any thread
    public long RefusedBusy;
    public long Checkpoints;
}
