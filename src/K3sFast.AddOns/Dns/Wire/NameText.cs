using System.Text;

namespace K3sFast.AddOns.Dns;

/// <summary>Names as rules see them: small-lettered, with dots and the closing one.</summary>
internal static class NameText
{
    // Each label's length byte becomes a dot; bytes that are no plain character would need four.
    internal const int MaxSize = DnsMessage.MaxNameSize * 4;

    /// <summary>Writes a name; returns its length. Allocates nothing.</summary>
    internal static int Write(ReadOnlySpan<byte> name, Span<char> text)
    {
        if (name[0] == 0)
        {
            text[0] = '.';
            return 1;
        }
        var at = 0;
        for (; name[0] != 0; name = WireName.Parent(name))
        {
            foreach (var b in name.Slice(1, name[0]))
            {
                // RFC 1035 §5.1: a dot in a label, and what cannot be printed.
                if (b is (byte)'.' or (byte)'\\')
                {
                    text[at++] = '\\';
                    text[at++] = (char)b;
                }
                else if (b is > 32 and < 127) text[at++] = (char)b;
                else
                {
                    text[at++] = '\\';
                    text[at++] = (char)('0' + b / 100);
                    text[at++] = (char)('0' + b / 10 % 10);
                    text[at++] = (char)('0' + b % 10);
                }
            }
            text[at++] = '.';
        }
        return at;
    }

    internal static string Of(ReadOnlySpan<byte> name)
    {
        Span<char> text = stackalloc char[MaxSize];
        return new string(text[..Write(name, text)]);
    }

    /// <summary>The wire form of a text with its escapes, or null where it is no name.</summary>
    internal static byte[]? Parse(string text)
    {
        if (!text.Contains('\\', StringComparison.Ordinal)) return WireName.Encode(text);
        var wire = new List<byte>(text.Length + 2) { 0 };
        var label = 0;
        for (var i = 0; i < text.Length; i++)
        {
            var c = text[i];
            if (c == '.')
            {
                if (wire.Count - label - 1 is 0 or > 63) return null;
                wire[label] = (byte)(wire.Count - label - 1);
                label = wire.Count;
                wire.Add(0);
                continue;
            }
            if (c == '\\')
            {
                if (++i >= text.Length) return null;
                c = text[i];
                if (char.IsAsciiDigit(c))
                {
                    if (i + 2 >= text.Length || !byte.TryParse(text.AsSpan(i, 3), out var value)) return null;
                    (c, i) = ((char)value, i + 2);
                }
            }
            if (c > 255) return null;
            wire.Add((byte)char.ToLowerInvariant(c));
        }
        if (wire.Count - label > 1)
        {
            if (wire.Count - label - 1 > 63) return null;
            wire[label] = (byte)(wire.Count - label - 1);
            wire.Add(0);
        }
        return wire.Count <= DnsMessage.MaxNameSize ? [.. wire] : null;
    }
}
