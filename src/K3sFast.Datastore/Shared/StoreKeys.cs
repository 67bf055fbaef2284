using System.Text;

namespace K3sFast.Datastore.Shared;

/// <summary>The keys that a store takes, and those that are its own. The same in every engine, so that data can move between them.</summary>
internal static class StoreKeys
{
    /// <summary>kine and kube-apiserver keep the compacted revision under this name.</summary>
    public const string Compact = "compact_rev_key";

    /// <summary>kine's rows that fill skipped ids.</summary>
    public const string GapPrefix = "gap-";

    // kine's narrowest engine (MySQL) has 630 characters.
    private const int MaxBytes = 630;

    public static bool IsInternal(string key) => key is Compact || key.StartsWith(GapPrefix, StringComparison.Ordinal);

    /// <summary>Throws <see cref="ArgumentException"/> for a key that cannot be stored.</summary>
    public static void Check(string key)
    {
        ArgumentException.ThrowIfNullOrEmpty(key);
        if (IsInternal(key)) throw new ArgumentException($"the key {key} is the datastore's own", nameof(key));
        if (key.Length * 3 > MaxBytes && Encoding.UTF8.GetByteCount(key) > MaxBytes)
        {
            throw new ArgumentException($"a key has at most {MaxBytes} bytes", nameof(key));
        }
    }

    /// <summary>The first key after all keys with a prefix. UTF-8 never has 0xff bytes, so the last byte can always be raised.</summary>
    public static byte[] PrefixEnd(ReadOnlySpan<byte> prefix)
    {
        if (prefix.IsEmpty) return [0xff];
        byte[] end = [.. prefix];
        end[^1]++;
        return end;
    }
}
