using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace K3sFast.AddOns.Dns;

/// <summary>A record of a zone file: owner and data in wire form.</summary>
internal sealed record ZoneRecord(byte[] Owner, DnsType Type, ushort Class, uint Ttl, byte[] Data);

/// <summary>Reads one record in the form of zone files (RFC 1035 §5.1), its words already apart: owner, [ttl] [class] in any order, type, data.</summary>
internal static class RecordParser
{
    /// <summary>Reads a record.</summary>
    /// <exception cref="FormatException">The words are none; the message says why.</exception>
    internal static ZoneRecord Parse(IReadOnlyList<string> words, byte[] owner, byte[]? origin, uint defaultTtl)
    {
        var at = 0;
        var ttl = defaultTtl;
        ushort @class = 1;
        for (; at < words.Count; at++)
        {
            if (TryTtl(words[at], out var seconds)) ttl = seconds;
            else if (words[at].ToUpperInvariant() is "IN" or "CH" or "HS") DnsWords.TryClass(words[at], out @class);
            else break;
        }
        if (at >= words.Count || !DnsWords.TryType(words[at], out var type)) throw new FormatException($"no record type in \"{string.Join(' ', words)}\"");
        return new ZoneRecord(owner, type, @class, ttl, Data(type, [.. words.Skip(at + 1)], origin));
    }

    /// <summary>Seconds, or BIND's form: 1h30m.</summary>
    internal static bool TryTtl(string word, out uint seconds)
    {
        seconds = 0;
        if (word.Length == 0 || !char.IsAsciiDigit(word[0])) return false;
        uint number = 0;
        foreach (var c in word)
        {
            if (char.IsAsciiDigit(c))
            {
                if (number > int.MaxValue / 10) return false;
                number = number * 10 + (uint)(c - '0');
                continue;
            }
            uint unit = char.ToLowerInvariant(c) switch { 's' => 1, 'm' => 60, 'h' => 3600, 'd' => 86400, 'w' => 604800, _ => 0 };
            if (unit == 0) return false;
            seconds += number * unit;
            number = 0;
        }
        seconds += number;
        return true;
    }

    /// <summary>A name of a zone file: absolute with a closing dot, else below the origin; @ is the origin.</summary>
    internal static byte[] Name(string word, byte[]? origin)
    {
        if (word == "@" && origin is not null) return origin;
        var wire = NameText.Parse(word) ?? throw new FormatException($"\"{word}\" is no domain name");
        if (word.EndsWith('.') || origin is null) return wire;
        return wire.Length + origin.Length - 1 <= DnsMessage.MaxNameSize ? [.. wire[..^1], .. origin] : throw new FormatException($"\"{word}\" is too long with its origin");
    }

    private static byte[] Data(DnsType type, string[] words, byte[]? origin)
    {
        if (words is ["\\#", var size, ..]) return Generic(size, words);
        switch (type)
        {
            case DnsType.A: return Address(Word(words, 0, type), AddressFamily.InterNetwork);
            case DnsType.Aaaa: return Address(Word(words, 0, type), AddressFamily.InterNetworkV6);
            case DnsType.Cname or DnsType.NS or DnsType.Ptr or DnsType.Dname: return Name(Word(words, 0, type), origin);
            case DnsType.MX: return [.. U16(Word(words, 0, type)), .. Name(Word(words, 1, type), origin)];
            case DnsType.Srv: return [.. U16(Word(words, 0, type)), .. U16(Word(words, 1, type)), .. U16(Word(words, 2, type)), .. Name(Word(words, 3, type), origin)];
            case DnsType.Txt or DnsType.Hinfo: return Texts(words, type);
            case DnsType.Caa: return [byte.Parse(Word(words, 0, type), CultureInfo.InvariantCulture), .. Text(Word(words, 1, type)), .. Encoding.UTF8.GetBytes(Word(words, 2, type))];
            case DnsType.Soa:
                return [.. Name(Word(words, 0, type), origin), .. Name(Word(words, 1, type), origin), .. Enumerable.Range(2, 5).SelectMany(i => U32(Word(words, i, type)))];
            default: throw new FormatException($"records of type {DnsWords.Type(type)} must be written as \\# LENGTH HEX (RFC 3597)");
        }
    }

    private static string Word(string[] words, int index, DnsType type) =>
        index < words.Length ? words[index] : throw new FormatException($"too few words for a record of type {DnsWords.Type(type)}");

    private static byte[] Address(string word, AddressFamily family) =>
        IPAddress.TryParse(word, out var address) && address.AddressFamily == family ? address.GetAddressBytes() : throw new FormatException($"\"{word}\" is no address of this type");

    private static byte[] U16(string word) =>
        ushort.TryParse(word, out var number) ? [(byte)(number >> 8), (byte)number] : throw new FormatException($"\"{word}\" is no number from 0 to 65535");

    private static byte[] U32(string word)
    {
        if (!TryTtl(word, out var number)) throw new FormatException($"\"{word}\" is no number");
        var bytes = new byte[4];
        DnsMessage.U32(bytes, number);
        return bytes;
    }

    private static byte[] Texts(string[] words, DnsType type) =>
        words.Length == 0 ? throw new FormatException($"too few words for a record of type {DnsWords.Type(type)}") : [.. words.SelectMany(Text)];

    // A character string: a length byte and at most 255 bytes.
    private static byte[] Text(string word)
    {
        var bytes = Encoding.UTF8.GetBytes(word);
        return bytes.Length <= 255 ? [(byte)bytes.Length, .. bytes] : throw new FormatException("a text is longer than 255 bytes");
    }

    private static byte[] Generic(string size, string[] words)
    {
        var hex = string.Concat(words.Skip(2));
        if (!int.TryParse(size, out var length) || hex.Length != 2 * length) throw new FormatException("the hexadecimal data are not of the length told");
        return Convert.FromHexString(hex);
    }
}
