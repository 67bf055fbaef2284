using Microsoft.Extensions.Logging;

namespace K3sFast.Datastore.Sql;

/// <summary>How a log in a database server is kept. The defaults are the product's.</summary>
public sealed record SqlOptions
{
    /// <summary>How often old history is compacted, by one of the servers that share the store; zero or less = never by this one.</summary>
    public TimeSpan CompactInterval { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>Compaction by itself keeps this many of the newest revisions, as kine does.</summary>
    public long KeepRevisions { get; init; } = 1000;

    /// <summary>How long an operation goes on looking for a database that answers before it fails.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>How long a revision that nobody commits is waited for before a filler takes its place.</summary>
    public TimeSpan GapPatience { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>The clock of leases and compaction.</summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;

    /// <summary>Where the store logs; null = nowhere.</summary>
    public ILoggerFactory? LoggerFactory { get; init; }
}
