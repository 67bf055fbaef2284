using System.Buffers.Text;

namespace K3sFast.ApiServer;

/// <summary>Reads parameters off a query string that is still escaped. Names are compared as they stand: Kubernetes' names need no escapes.</summary>
internal static class QueryReader
{
    /// <summary>The raw value of the first parameter of that name. Allocates nothing.</summary>
    internal static bool TryGet(ReadOnlySpan<byte> query, ReadOnlySpan<byte> name, out ReadOnlySpan<byte> value)
    {
        while (!query.IsEmpty)
        {
            var end = query.IndexOf((byte)'&');
            var pair = end < 0 ? query : query[..end];
            query = end < 0 ? default : query[(end + 1)..];
            var equals = pair.IndexOf((byte)'=');
            if ((equals < 0 ? pair : pair[..equals]).SequenceEqual(name) && IsReadable(pair))
            {
                value = equals < 0 ? default : pair[(equals + 1)..];
                return true;
            }
        }
        value = default;
        return false;
    }

    // As in Go's net/url, a pair with a broken escape or a semicolon is as good as not there.
    private static bool IsReadable(ReadOnlySpan<byte> pair)
    {
        if (pair.Contains((byte)';'))
            return false;
        for (int percent; (percent = pair.IndexOf((byte)'%')) >= 0; pair = pair[(percent + 3)..])
        {
            if (percent + 2 >= pair.Length || !char.IsAsciiHexDigit((char)pair[percent + 1]) || !char.IsAsciiHexDigit((char)pair[percent + 2]))
                return false;
        }
        return true;
    }

    /// <summary>The decoded value, or null when the parameter is absent.</summary>
    internal static string? GetString(ReadOnlySpan<byte> query, ReadOnlySpan<byte> name) =>
        TryGet(query, name, out var value) ? PercentEncoding.DecodeQuery(value) : null;

    /// <summary>All decoded values of that name, in order.</summary>
    internal static List<string> GetAll(ReadOnlySpan<byte> query, ReadOnlySpan<byte> name)
    {
        var values = new List<string>();
        while (!query.IsEmpty)
        {
            var end = query.IndexOf((byte)'&');
            var pair = end < 0 ? query : query[..end];
            query = end < 0 ? default : query[(end + 1)..];
            var equals = pair.IndexOf((byte)'=');
            if ((equals < 0 ? pair : pair[..equals]).SequenceEqual(name) && IsReadable(pair))
                values.Add(PercentEncoding.DecodeQuery(equals < 0 ? default : pair[(equals + 1)..]));
        }
        return values;
    }

    /// <summary>Upstream's reading of a boolean parameter: everything that is present is true, but "false" and "0".</summary>
    internal static bool IsTrue(ReadOnlySpan<byte> value) => !value.SequenceEqual("0"u8) && !System.Text.Ascii.EqualsIgnoreCase(value, "false"u8);

    /// <summary>The parameter as a boolean; absent is false.</summary>
    internal static bool GetBool(ReadOnlySpan<byte> query, ReadOnlySpan<byte> name) => TryGet(query, name, out var value) && IsTrue(value);

    /// <summary>The parameter as a whole number; null when absent. False when it is none.</summary>
    internal static bool TryGetInt64(ReadOnlySpan<byte> query, ReadOnlySpan<byte> name, out long? value)
    {
        value = null;
        if (!TryGet(query, name, out var text))
            return true;
        if (!Utf8Parser.TryParse(text, out long number, out var used) || used != text.Length)
            return false;
        value = number;
        return true;
    }
}
