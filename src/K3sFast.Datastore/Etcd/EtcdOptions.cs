using Microsoft.Extensions.Logging;

namespace K3sFast.Datastore.Etcd;

/// <summary>Which etcd to use and how. The defaults are the product's.</summary>
public sealed record EtcdOptions
{
    /// <summary>Client addresses of the members: <c>http://host:2379</c>, <c>https://…</c>, <c>unix:///path</c>; user and password of etcd's own may stand before the host.</summary>
    public required IReadOnlyList<Uri> Endpoints { get; init; }

    /// <summary>The way to them.</summary>
    public DatastoreTls Tls { get; init; } = new();

    /// <summary>How often old history is compacted, by one of the servers that share the store; zero or less = never by this one.</summary>
    public TimeSpan CompactInterval { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>How long an operation goes on trying other members before it fails.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>The clock of leases and compaction.</summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;

    /// <summary>Where the store logs; null = nowhere.</summary>
    public ILoggerFactory? LoggerFactory { get; init; }
}
