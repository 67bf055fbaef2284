namespace K3sFast.Datastore;

/// <summary>A datastore that tells how it is. Any thread.</summary>
public interface IDatastoreMonitor
{
    /// <summary>How the store is now: some file system calls and a look into the file.</summary>
    DatastoreStatus ReadStatus();
}

/// <summary>How a datastore is. Counts are since it was opened.</summary>
public sealed record DatastoreStatus
{
    /// <summary>Bytes of the database file, without its log.</summary>
    public long FileBytes { get; init; }

    /// <summary>Bytes of the write-ahead log's file.</summary>
    public long LogBytes { get; init; }

    /// <summary>Bytes of pages in the file that hold nothing.</summary>
    public long UnusedBytes { get; init; }

    /// <summary>Bytes that the file system has left for us.</summary>
    public long FreeDiskBytes { get; init; }

    /// <summary>Below this many free bytes only deletions, compaction and what gives space back are done.</summary>
    public long ReservedDiskBytes { get; init; }

    /// <summary>Creates and updates are refused for want of space.</summary>
    public bool IsFull { get; init; }

    /// <summary>What is damaged, or null.</summary>
    public string? Damage { get; init; }

    /// <summary>Why the newest write failed; null = it did not, or there was no space for it.</summary>
    public string? WriteFailure { get; init; }

    /// <summary>Rows whose checksum was wrong when they were read.</summary>
    public long DamagedReads { get; init; }

    /// <summary>The newest revision.</summary>
    public long CurrentRevision { get; init; }

    /// <summary>History up to here is gone.</summary>
    public long CompactRevision { get; init; }

    /// <summary>Where the compaction that is under way or waits wants to get; 0 = none.</summary>
    public long CompactionTarget { get; init; }

    /// <summary>Rows that compaction has taken away.</summary>
    public long CompactedRows { get; init; }

    /// <summary>Pages given back to the file system.</summary>
    public long VacuumedPages { get; init; }

    /// <summary>Appends that wait.</summary>
    public int QueuedAppends { get; init; }

    /// <summary>Appends refused because too many waited.</summary>
    public long RefusedBusy { get; init; }

    /// <summary>Appends refused for want of space.</summary>
    public long RefusedFull { get; init; }

    /// <summary>Pages written into the log.</summary>
    public long WrittenPages { get; init; }

    /// <summary>Checkpoints done.</summary>
    public long Checkpoints { get; init; }

    /// <summary>Seconds that writing and flushing a group took.</summary>
    public required Distribution CommitSeconds { get; init; }

    /// <summary>Changes per group.</summary>
    public required Distribution GroupSizes { get; init; }

    /// <summary>Seconds that a step of compaction kept the writer.</summary>
    public required Distribution CompactionSeconds { get; init; }

    /// <summary>Seconds that a step of giving back pages kept the writer.</summary>
    public required Distribution VacuumSeconds { get; init; }

    /// <summary>Seconds of those steps of either that ended with a flush.</summary>
    public required Distribution MaintenanceFlushSeconds { get; init; }

    /// <summary>Seconds that the writer waited until a log that had grown too long was copied.</summary>
    public required Distribution LogWaitSeconds { get; init; }
}
