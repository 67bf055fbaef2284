namespace K3sFast.WatchCache;

/// <summary>Which cache holds a key: prefixes in order, looked up by binary search. Immutable; a change makes a new one.</summary>
internal sealed class KeyRoutes
{
    private readonly WatchCache[] _byPrefix;

    private KeyRoutes(WatchCache[] byPrefix) => _byPrefix = byPrefix;

    public static KeyRoutes Empty { get; } = new([]);

    public ReadOnlySpan<WatchCache> All => _byPrefix;

    public KeyRoutes With(WatchCache added)
    {
        WatchCache[] caches = [.. _byPrefix, added];
        Array.Sort(caches, static (left, right) => string.CompareOrdinal(left.KeyPrefix, right.KeyPrefix));
        return new KeyRoutes(caches);
    }

    public KeyRoutes Without(WatchCache removed) => new([.. _byPrefix.Where(cache => cache != removed)]);

    /// <summary>The cache with this very prefix, or null.</summary>
    public WatchCache? Exact(string prefix) => Array.Find(_byPrefix, cache => cache.KeyPrefix == prefix);

    /// <summary>The cache whose prefix the key starts with, or null. No prefix starts with another.</summary>
    public WatchCache? Find(string key)
    {
        int low = 0;
        int high = _byPrefix.Length - 1;
        while (low <= high)
        {
            int middle = (low + high) >>> 1;
            if (string.CompareOrdinal(_byPrefix[middle].KeyPrefix, key) <= 0) low = middle + 1;
            else high = middle - 1;
        }
        return high >= 0 && key.StartsWith(_byPrefix[high].KeyPrefix, StringComparison.Ordinal) ? _byPrefix[high] : null;
    }

    /// <summary>The same of a key in bytes. Prefixes are ASCII, so that both orders agree on them.</summary>
    public WatchCache? Find(ReadOnlySpan<byte> key)
    {
        int low = 0;
        int high = _byPrefix.Length - 1;
        while (low <= high)
        {
            int middle = (low + high) >>> 1;
            if (_byPrefix[middle].KeyPrefixUtf8.SequenceCompareTo(key) <= 0) low = middle + 1;
            else high = middle - 1;
        }
        return high >= 0 && key.StartsWith(_byPrefix[high].KeyPrefixUtf8) ? _byPrefix[high] : null;
    }
}
