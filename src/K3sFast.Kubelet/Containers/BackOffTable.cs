using System.Collections.Concurrent;

namespace K3sFast.Kubelet.Containers;

/// <summary>Growing waits by key, each counted from the event that caused it. A key that behaved for twice the highest wait starts afresh.</summary>
internal sealed class BackOffTable(TimeSpan first, TimeSpan last, TimeProvider time)
{
    private readonly ConcurrentDictionary<string, Entry> _entries = new();

    /// <summary>How long the key must still wait after what happened at <paramref name="since"/>; zero = it may go on.</summary>
    public TimeSpan Remaining(string key, DateTimeOffset since)
    {
        if (!_entries.TryGetValue(key, out var entry) || IsExpired(entry, since)) return TimeSpan.Zero;
        var remaining = since + entry.Wait - time.GetUtcNow();
        return remaining > TimeSpan.Zero ? remaining : TimeSpan.Zero;
    }

    /// <summary>The key's whole wait, for messages.</summary>
    public TimeSpan Current(string key) => _entries.TryGetValue(key, out var entry) ? entry.Wait : TimeSpan.Zero;

    /// <summary>Makes the next wait of the key longer.</summary>
    public void Next(string key, DateTimeOffset since)
    {
        var now = time.GetUtcNow();
        _entries.AddOrUpdate(
            key,
            _ => new Entry(first, now),
            (_, entry) => IsExpired(entry, since) ? new Entry(first, now) : new Entry(entry.Wait * 2 < last ? entry.Wait * 2 : last, now));
    }

    /// <summary>Forgets every key that begins with <paramref name="prefix"/>.</summary>
    public void Forget(string prefix)
    {
        foreach (var key in _entries.Keys)
        {
            if (key.StartsWith(prefix, StringComparison.Ordinal)) _entries.TryRemove(key, out _);
        }
    }

    private bool IsExpired(Entry entry, DateTimeOffset since) => since - entry.UpdatedAt > last * 2;

    private readonly record struct Entry(TimeSpan Wait, DateTimeOffset UpdatedAt);
}
