using K3sFast.Interop.Bpf;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.Proxy.Ebpf;

/// <summary>Fills maps as far as they have room. What does not fit is told, once for each number of entries, and all that fits works.</summary>
/// <remarks>One thread.</remarks>
internal sealed class MapRoom(Func<ProxyMetrics?> metrics, ILogger logger)
{
    private readonly Dictionary<string, (int Refused, uint Capacity)> _refused = [];
    private readonly Dictionary<string, int> _told = [];

    /// <summary>True while something has no room: all must be looked at again when something changes.</summary>
    internal bool IsShort => _refused.Count > 0;

    /// <summary>All that is wanted is about to be written: what had no room before is counted anew.</summary>
    internal void StartOver() => _refused.Clear();

    internal void Set<TKey, TValue>(BpfMap map, IReadOnlyCollection<KeyValuePair<TKey, TValue>> entries) where TKey : unmanaged where TValue : unmanaged
    {
        if (entries.Count == 0) return;
        var (keys, values) = (new TKey[entries.Count], new TValue[entries.Count]);
        var i = 0;
        foreach (var (key, value) in entries) (keys[i], values[i++]) = (key, value);
        var refused = map.SetWhatFits<TKey, TValue>(keys, values);
        if (refused > 0) _refused[map.Spec.Name] = (_refused.GetValueOrDefault(map.Spec.Name).Refused + refused, map.Spec.MaxEntries);
    }

    /// <summary>Says what has changed since the last time.</summary>
    internal void Tell()
    {
        foreach (var (map, (refused, capacity)) in _refused)
        {
            metrics()?.MapRefused.With(map).Set(refused);
            if (_told.GetValueOrDefault(map) == refused) continue;
            _told[map] = refused;
            Log.MapFull(logger, map, capacity, refused);
        }
        foreach (var map in _told.Keys.Where(map => !_refused.ContainsKey(map)).ToList())
        {
            _told.Remove(map);
            metrics()?.MapRefused.With(map).Set(0);
            Log.MapHasRoom(logger, map);
        }
    }
}
