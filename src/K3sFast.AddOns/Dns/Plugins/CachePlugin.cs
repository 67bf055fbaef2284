using System.Collections.Concurrent;
using System.Diagnostics;
using K3sFast.Client;

namespace K3sFast.AddOns.Dns;

/// <summary>What a Corefile's cache plugin says.</summary>
internal sealed record CacheOptions
{
    internal required ZoneSet Zones { get; init; }

    // CoreDNS' defaults: 9984 answers of each kind, at most an hour or half an hour, at least 5 seconds.
    internal CacheLimits Success { get; init; } = new(9984, 3600, 5);

    internal CacheLimits Denial { get; init; } = new(9984, 1800, 5);

    internal uint ServerFailureSeconds { get; init; } = 5;

    /// <summary>Questions within <see cref="PrefetchWindow"/> from which on an answer is renewed before it ends; 0 = never.</summary>
    internal int PrefetchAmount { get; init; }

    internal TimeSpan PrefetchWindow { get; init; } = TimeSpan.FromMinutes(1);

    internal int PrefetchPercent { get; init; } = 10;

    /// <summary>How long after its end an answer may still be given; zero = not at all.</summary>
    internal TimeSpan StaleFor { get; init; }

    /// <summary>The source is asked first, and the old answer given only where it fails.</summary>
    internal bool VerifiesStale { get; init; }

    internal uint StaleTtl { get; init; }

    internal ZoneSet NoSuccess { get; init; } = new([]);

    internal ZoneSet NoDenial { get; init; } = new([]);

    internal bool KeepsTtl { get; init; }
}

/// <summary>How many answers, and how long at most and at least.</summary>
internal sealed record CacheLimits(int Capacity, uint MaxSeconds, uint MinSeconds);

/// <summary>
/// Keeps answers of other servers, each kind in a table of its own. What the cluster itself knows is never kept: it is answered from memory
/// anyway, and always as it is now. An answer that is kept allocates nothing.
/// </summary>
internal sealed class CachePlugin : Plugin
{
    private readonly CacheOptions _options;
    private readonly DnsEngineReference _engine;
    private Table _success;
    private Table _denial;
    private readonly Counter _requests;
    private readonly Counter _misses;
    private readonly CancellationTokenSource _stop = new();
    private readonly MetricFamily<Counter> _prefetches;
    private readonly MetricFamily<Counter> _stales;
    private readonly string _server;

    internal CachePlugin(CacheOptions options, DnsEngineReference engine, DnsMetrics metrics, string server, string zones)
    {
        (_options, _engine, _server) = (options, engine, server);
        _success = new Table(options.Success.Capacity, metrics.CacheHits.With(server, "success", "", zones), metrics.CacheEntries.With(server, "success", "", zones));
        _denial = new Table(options.Denial.Capacity, metrics.CacheHits.With(server, "denial", "", zones), metrics.CacheEntries.With(server, "denial", "", zones));
        _requests = metrics.CacheRequests.With(server, "", zones);
        _misses = metrics.CacheMisses.With(server, "", zones);
        (_prefetches, _stales) = (metrics.CachePrefetches, metrics.CacheStale);
    }

    internal override string Name => "cache";

    internal override Step Handle(Exchange exchange)
    {
        if (_options.Zones.Match(exchange.Name) is null || exchange.Notes.IsRefresh) return Step.Next;
        Span<byte> key = stackalloc byte[UpstreamKey.MaxSize];
        key = key[..UpstreamKey.Write(exchange, key)];
        _requests.Add();
        var now = Stopwatch.GetTimestamp();
        if (Find(key, now) is not { } found)
        {
            _misses.Add();
            return Step.Next;
        }
        var (item, table) = (found.Item, found.Table);
        var age = (uint)Math.Max(0, Stopwatch.GetElapsedTime(item.StoredAt, now).TotalSeconds);
        if (age >= item.LifeSeconds)
        {
            if (_options.VerifiesStale)
            {
                exchange.Notes.Stale = item.Answer;
                return Step.Next;
            }
            _stales.With(_server, "", "").Add();
            Refresh(exchange, item);
            table.Hits.Add();
            item.Answer.WriteTo(exchange, 0, _options.StaleTtl);
            return Step.Answered;
        }
        table.Hits.Add();
        if (_options.PrefetchAmount > 0 && item.CountUse(now, _options.PrefetchWindow) >= _options.PrefetchAmount
            && item.LifeSeconds - age <= Math.Max(1, item.LifeSeconds * (uint)_options.PrefetchPercent / 100))
        {
            _prefetches.With(_server, "", "").Add();
            Refresh(exchange, item);
        }
        item.Answer.WriteTo(exchange, age, _options.KeepsTtl ? item.Answer.SmallestTtl : null);
        return Step.Answered;
    }

    internal override Step Finish(Exchange exchange)
    {
        var answer = exchange.Answered;
        exchange.Answered = null;
        if (exchange is { Notes.Stale: { } stale, Code: DnsCode.ServerFailure })
        {
            // The source failed: what was kept of it is better than nothing.
            _stales.With(_server, "", "").Add();
            exchange.Reset();
            stale.WriteTo(exchange, 0, _options.StaleTtl);
            return Step.Answered;
        }
        if (answer is null) return Step.Answered;
        if (_options.Zones.Match(exchange.Name) is not null && !answer.IsTruncated) Keep(exchange, answer);
        return Step.Answered;
    }

    /// <summary>Takes over what another has kept under the same bounds. Before the first question.</summary>
    internal void Inherit(CachePlugin other)
    {
        if (_options.Success == other._options.Success) _success = other._success;
        if (_options.Denial == other._options.Denial) _denial = other._denial;
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        _stop.Cancel();
        _stop.Dispose();
    }

    private (Item Item, Table Table)? Find(ReadOnlySpan<byte> key, long now)
    {
        foreach (var table in (ReadOnlySpan<Table>)[_denial, _success])
        {
            if (table.Find(key) is not { } item) continue;
            if (Stopwatch.GetElapsedTime(item.StoredAt, now).TotalSeconds < item.LifeSeconds + _options.StaleFor.TotalSeconds) return (item, table);
        }
        return null;
    }

    private void Keep(Exchange exchange, ForeignAnswer answer)
    {
        var isFailure = answer.Code is not (DnsCode.NoError or DnsCode.NameError);
        if (isFailure && answer.Code != DnsCode.ServerFailure) return;
        var isDenial = isFailure || answer.IsDenial;
        if ((isDenial ? _options.NoDenial : _options.NoSuccess).Match(exchange.Name) is not null) return;
        var limits = isDenial ? _options.Denial : _options.Success;
        // Without a SOA nobody said how long the absence holds.
        var ttl = isFailure ? _options.ServerFailureSeconds
            : Math.Clamp(answer.IsDenial ? answer.NegativeTtl ?? 0 : answer.SmallestTtl, Math.Min(limits.MinSeconds, limits.MaxSeconds), limits.MaxSeconds);
        if (ttl == 0) return;
        Span<byte> key = stackalloc byte[UpstreamKey.MaxSize];
        key = key[..UpstreamKey.Write(exchange, key)];
        var item = new Item(answer, ttl, Stopwatch.GetTimestamp());
        // A failed refresh must not push out what it was to renew.
        if (isFailure && _options.StaleFor > TimeSpan.Zero && _success.Find(key) is not null) return;
        (isDenial ? _denial : _success).Put(key, item);
        (isDenial ? _success : _denial).Remove(key);
    }

    // One at a time for each answer; the client does not wait.
    private void Refresh(Exchange exchange, Item item)
    {
        if (!item.TryBeginRefresh()) return;
        var copy = new Exchange(DnsMessage.LargestUdpSize);
        exchange.Query.CopyTo(copy.QueryBuffer);
        if (!copy.TryBegin(exchange.Config, exchange.QueryLength, exchange.Port, isUdp: false, Stopwatch.GetTimestamp(), out _)) return;
        copy.SetName(exchange.Name);
        (copy.Type, copy.Class, copy.Block, copy.Notes.IsRefresh) = (exchange.Type, exchange.Class, exchange.Block, true);
        copy.Reset();
        _ = RefreshAsync(copy, exchange.Position, item);
    }

    private async Task RefreshAsync(Exchange copy, int position, Item item)
    {
        try
        {
            await _engine.Value.RefreshAsync(copy, position, _stop.Token).ConfigureAwait(false);
        }
        catch (Exception stopped) when (stopped is OperationCanceledException or ObjectDisposedException)
        {
            // Another configuration took over.
        }
        finally
        {
            item.EndRefresh();
        }
    }

    /// <summary>An answer that is kept, and how it is used.</summary>
    private sealed class Item(ForeignAnswer answer, uint lifeSeconds, long storedAt)
    {
        private int _isRefreshing;
        private int _uses;
        private long _usedAt = storedAt;

        internal ForeignAnswer Answer { get; } = answer;

        internal uint LifeSeconds { get; } = lifeSeconds;

        internal long StoredAt { get; } = storedAt;

        internal bool TryBeginRefresh() => Interlocked.Exchange(ref _isRefreshing, 1) == 0;

        internal void EndRefresh() => Volatile.Write(ref _isRefreshing, 0);

        // Uses with no gap of a whole window between them.
        internal int CountUse(long now, TimeSpan window)
        {
            if (Stopwatch.GetElapsedTime(Interlocked.Exchange(ref _usedAt, now), now) >= window) Volatile.Write(ref _uses, 0);
            return Interlocked.Increment(ref _uses);
        }
    }

    /// <summary>Answers of one kind, bounded.</summary>
    private sealed class Table(int capacity, Counter hits, Gauge entries)
    {
        private readonly ConcurrentDictionary<byte[], Item> _items = new(WireNameComparer.Instance);
        private int _count;

        internal Counter Hits { get; } = hits;

        internal Item? Find(ReadOnlySpan<byte> key) => _items.GetAlternateLookup<ReadOnlySpan<byte>>().TryGetValue(key, out var item) ? item : null;

        internal void Put(ReadOnlySpan<byte> key, Item item)
        {
            var lookup = _items.GetAlternateLookup<ReadOnlySpan<byte>>();
            if (lookup.ContainsKey(key)) lookup[key] = item;
            else if (_items.TryAdd(key.ToArray(), item) && Interlocked.Increment(ref _count) > capacity) Trim();
            entries.Set(Volatile.Read(ref _count));
        }

        internal void Remove(ReadOnlySpan<byte> key)
        {
            if (_items.GetAlternateLookup<ReadOnlySpan<byte>>().TryRemove(key, out _, out _)) entries.Set(Interlocked.Decrement(ref _count));
        }

        // The ended first; when that is not enough, every other one goes: cheap, rare, and leaves no pattern to aim at.
        private void Trim()
        {
            var now = Stopwatch.GetTimestamp();
            var removed = 0;
            foreach (var (key, item) in _items)
            {
                if (Stopwatch.GetElapsedTime(item.StoredAt, now).TotalSeconds >= item.LifeSeconds && _items.TryRemove(key, out _)) removed++;
            }
            if (removed < capacity / 4)
            {
                var isOdd = false;
                foreach (var key in _items.Keys)
                {
                    isOdd = !isOdd;
                    if (isOdd && _items.TryRemove(key, out _)) removed++;
                }
            }
            Interlocked.Add(ref _count, -removed);
        }
    }
}

/// <summary>The engine that a plugin belongs to, known once all plugins are made.</summary>
internal sealed class DnsEngineReference
{
    internal DnsEngine Value { get; set; } = null!;
}
