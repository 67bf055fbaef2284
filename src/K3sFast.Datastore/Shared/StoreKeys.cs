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

    /// <summary>The same of a key's bytes.</summary>
    public static bool IsInternal(ReadOnlySpan<byte> key) => key.SequenceEqual("compact_rev_key"u8) || key.StartsWith("gap-"u8);

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

    /// <summary>The same for engines that compare text by code points, which is the order of UTF-8: the last character is raised, and stays one.</summary>
    public static string PrefixEnd(string prefix)
    {
        var runes = prefix.EnumerateRunes().ToList();
        while (runes.Count > 0)
        {
            var last = runes[^1];
            runes.RemoveAt(runes.Count - 1);
            if (last.Value == 0x10FFFF) continue;
            // Behind U+D7FF lie the surrogates, which are no characters.
            runes.Add(new Rune(last.Value == 0xD7FF ? 0xE000 : last.Value + 1));
            return string.Concat(runes);
        }
        return "\U0010FFFF";
    }

    /// <summary>True when a key comes before another in the order of ranges.</summary>
    public static bool IsBefore(string key, string other) => Encoding.UTF8.GetBytes(key).AsSpan().SequenceCompareTo(Encoding.UTF8.GetBytes(other)) < 0;
}
