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
            if ((equals < 0 ? pair : pair[..equals]).SequenceEqual(name))
            {
                value = equals < 0 ? default : pair[(equals + 1)..];
                return true;
            }
        }
        value = default;
        return false;
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
            if ((equals < 0 ? pair : pair[..equals]).SequenceEqual(name))
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
        if (!TryGet(query, name, out var text) || text.IsEmpty)
            return true;
        if (!Utf8Parser.TryParse(text, out long number, out var used) || used != text.Length)
            return false;
        value = number;
        return true;
    }
}
