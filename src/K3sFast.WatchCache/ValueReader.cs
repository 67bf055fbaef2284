using System.Buffers;
using System.Text;
using K3sFast.Datastore;

namespace K3sFast.WatchCache;

/// <summary>Keys and values of entries in the forms that caches want. One thread at a time.</summary>
internal sealed class ValueReader(StoredValueTransformer? transformer)
{
    private ArrayBufferWriter<byte>? _transformed;

    /// <summary>The entry's key as bytes, in <paramref name="buffer"/> when it fits.</summary>
    public static ReadOnlySpan<byte> KeyOf(in DatastoreEntry entry, Span<byte> buffer)
    {
        if (!entry.KeyUtf8.IsEmpty) return entry.KeyUtf8;
        return Encoding.UTF8.TryGetBytes(entry.Key, buffer, out int length) ? buffer[..length] : Encoding.UTF8.GetBytes(entry.Key);
    }

    /// <summary>The entry's value as JSON, lent until the next call, without the line end that other servers store behind it. Values that are something else go through the transformer.</summary>
    public ReadOnlySpan<byte> AsJson(in DatastoreEntry entry)
    {
        if (!entry.Value.IsEmpty && entry.Value[0] == '{') return entry.Value.TrimEnd(" \t\r\n"u8);
        if (transformer is null) throw new FormatException("the value is not JSON");
        _transformed ??= new ArrayBufferWriter<byte>();
        _transformed.ResetWrittenCount();
        transformer(entry.Key, entry.Value, _transformed);
        return _transformed.WrittenSpan;
    }
}
