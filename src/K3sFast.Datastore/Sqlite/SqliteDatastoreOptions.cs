using Microsoft.Extensions.Logging;

namespace K3sFast.Datastore.Sqlite;

/// <summary>How an SQLite datastore is kept. The defaults are the product's.</summary>
public sealed record SqliteDatastoreOptions
{
    /// <summary>The database file (k3s: <c>server/db/state.db</c> under the data directory). Its directory is made with mode 0700.</summary>
    public required string Path { get; init; }

    /// <summary>
    /// How often old history is compacted; zero or less = never by itself. What is older than one interval goes at the next, as kube-apiserver asks of
    /// etcd every 5 minutes: a page token lives for one to two intervals.
    /// </summary>
    public TimeSpan CompactInterval { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>Compaction by itself keeps this many of the newest revisions, however old they are.</summary>
    public long KeepRevisions { get; init; }

    /// <summary>Appends in one transaction at most: bounds how long the first of them waits for the last.</summary>
    public int MaxGroupAppends { get; init; } = 512;

    /// <summary>Value bytes in one transaction at most (one larger value still passes, alone).</summary>
    public long MaxGroupBytes { get; init; } = 8L << 20;

    /// <summary>
    /// Appends that wait at most; more are refused with <see cref="DatastoreBusyException"/>. An API server lets some hundred writes in at once, so this is
    /// reached by a bug or an attack only.
    /// </summary>
    public int MaxQueuedAppends { get; init; } = 16 * 1024;

    /// <summary>
    /// Media whose flushes take this long are flushed by threads beside the writer, so that several flushes may be on their way; quicker ones by the
    /// writer itself. Zero = all by threads.
    /// </summary>
    public TimeSpan FlushBesideFrom { get; init; } = TimeSpan.FromMilliseconds(2);

    /// <summary>Null = as <see cref="FlushBesideFrom"/> says. Of one store.</summary>
    internal FlushPace? Pace { get; init; }

    /// <summary>Pages of the log from which on writes are held back once, so that it can begin anew.</summary>
    internal int MaxLogPages { get; init; } = Checkpointer.MaxLogPages;

    /// <summary>
    /// Bytes of the file system kept for deletions and compaction: creates and updates are refused before the disk is truly full. Null = 32 MiB, or
    /// 2 % of a smaller file system.
    /// </summary>
    public long? ReservedDiskBytes { get; init; }

    /// <summary>Bytes left in the file system of a directory; null = asks the file system.</summary>
    public Func<string, long>? FreeDiskBytes { get; init; }

    /// <summary>The clock of leases and compaction.</summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;

    /// <summary>Where the store logs; null = nowhere.</summary>
    public ILoggerFactory? LoggerFactory { get; init; }
}
