using System.Buffers;
using Microsoft.Extensions.Logging;

namespace K3sFast.WatchCache;

/// <summary>Turns a stored value that is not JSON (k3s's own store: protobuf after <c>k8s\0</c>) into canonical JSON. Throws <see cref="FormatException"/> for what it cannot read.</summary>
public delegate void StoredValueTransformer(string key, ReadOnlySpan<byte> value, IBufferWriter<byte> json);

/// <summary>Bounds of the caches. The defaults are the product's.</summary>
public sealed record CacherOptions
{
    /// <summary>Events a resource's ring keeps at most. kube-apiserver's watch caches end at 100 Ki.</summary>
    public int MaxRingEvents { get; init; } = 32 * 1024;

    /// <summary>Bytes of replaced or deleted objects that a resource's ring keeps alive at most.</summary>
    public long MaxRingBytes { get; init; } = 16L << 20;

    /// <summary>The same of all rings together; beyond it the ring that grows gives up its oldest events, down to <see cref="MinRingBytes"/>.</summary>
    public long MaxTotalRingBytes { get; init; } = 48L << 20;

    /// <summary>What a ring may keep though all together keep too much: a busy resource leaves the others their history.</summary>
    public long MinRingBytes { get; init; } = 1L << 20;

    /// <summary>Events a ring keeps whatever their age.</summary>
    public int MinRingEvents { get; init; } = 256;

    /// <summary>Younger events are kept while the bounds allow. kube-apiserver keeps 75 s.</summary>
    public TimeSpan RingAge { get; init; } = TimeSpan.FromSeconds(75);

    /// <summary>Revisions replayed from the datastore at start, so that watches resume across a restart.</summary>
    public int ReplayRevisions { get; init; } = 1000;

    /// <summary>Reads values that are not JSON; null = such a value is an error.</summary>
    public StoredValueTransformer? Transformer { get; init; }

    /// <summary>The clock.</summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;

    /// <summary>Where the caches log; null = nowhere.</summary>
    public ILoggerFactory? LoggerFactory { get; init; }
}
