using System.Net;
using System.Net.Sockets;
using System.Text;

namespace K3sFast.AddOns.Dns;

/// <summary>Names in wire form: length-prefixed labels, closed by a zero byte (RFC 1035 §3.1).</summary>
internal static class WireName
{
    /// <summary>
    /// The small-lettered wire form of a dotted name, or null where it is none (an empty or too long label, more than 255 bytes).
    /// </summary>
    internal static byte[]? Encode(string name)
    {
        name = name.TrimEnd('.');
        if (name.Length == 0) return [0];
        var wire = new byte[name.Length + 2];
        var at = 0;
        foreach (var label in name.Split('.'))
        {
            if (label.Length is 0 or > 63 || wire.Length > DnsMessage.MaxNameSize || !Ascii.IsValid(label)) return null;
            wire[at++] = (byte)label.Length;
            at += Encoding.ASCII.GetBytes(label, wire.AsSpan(at));
        }
        DnsMessage.ToLower(wire, wire);
        return wire;
    }

    /// <summary>The name that answers "who has this address" (RFC 1035 §3.5, RFC 3596 §2.5).</summary>
    internal static byte[] Reverse(IPAddress address)
    {
        var bytes = address.GetAddressBytes();
        Array.Reverse(bytes);
        if (address.AddressFamily == AddressFamily.InterNetwork) return Encode($"{string.Join('.', bytes)}.in-addr.arpa")!;
        var name = new StringBuilder(72);
        foreach (var b in bytes) name.Append($"{b & 0xf:x}.{b >> 4:x}.");
        return Encode(name.Append("ip6.arpa").ToString())!;
    }

    /// <summary>True when <paramref name="name"/> is <paramref name="zone"/> or lies below it, at a label's boundary.</summary>
    internal static bool IsWithin(ReadOnlySpan<byte> name, ReadOnlySpan<byte> zone)
    {
        if (!name.EndsWith(zone)) return false;
        var cut = name.Length - zone.Length;
        var at = 0;
        while (at < cut) at += name[at] + 1;
        return at == cut;
    }

    /// <summary>Where a name ends that may be compressed, without following it. False where it runs out of the packet.</summary>
    internal static bool TrySkip(ReadOnlySpan<byte> packet, int at, out int end)
    {
        for (end = at; end < packet.Length;)
        {
            int length = packet[end];
            if (length >= 0xC0)
            {
                end += 2;
                return end <= packet.Length;
            }
            if (length > 63) return false;
            end += length + 1;
            if (length == 0) return true;
        }
        return false;
    }

    /// <summary>How many labels a name has.</summary>
    internal static int CountLabels(ReadOnlySpan<byte> name)
    {
        var count = 0;
        for (var at = 0; name[at] != 0; at += name[at] + 1) count++;
        return count;
    }

    /// <summary>The name without its first label; the root stays the root.</summary>
    internal static ReadOnlySpan<byte> Parent(ReadOnlySpan<byte> name) => name[0] == 0 ? name : name[(name[0] + 1)..];

    /// <summary>The name with dots, for messages.</summary>
    internal static string ToText(ReadOnlySpan<byte> name)
    {
        var text = new StringBuilder(name.Length);
        while (name.Length > 0 && name[0] != 0)
        {
            text.Append(Encoding.ASCII.GetString(name.Slice(1, name[0]))).Append('.');
            name = Parent(name);
        }
        return text.Length == 0 ? "." : text.ToString();
    }

    /// <summary>
    /// Reads a name that may be compressed, from an answer of another server, into <paramref name="destination"/> (255 bytes). Returns its
    /// size, or -1 where it is malformed; <paramref name="end"/> is where the packet goes on. Pointers may only lead backwards, so that no
    /// packet makes us run in circles.
    /// </summary>
    internal static int Expand(ReadOnlySpan<byte> packet, int at, Span<byte> destination, out int end)
    {
        end = -1;
        var size = 0;
        var lowest = at;
        while (at < packet.Length)
        {
            var length = packet[at];
            if (length >= 0xC0)
            {
                if (at + 1 >= packet.Length) return -1;
                if (end < 0) end = at + 2;
                at = ((length & 0x3F) << 8) | packet[at + 1];
                if (at >= lowest) return -1;
                lowest = at;
                continue;
            }
            if (length > 63 || at + 1 + length > packet.Length || size + 1 + length > destination.Length) return -1;
            packet.Slice(at, length + 1).CopyTo(destination[size..]);
            size += length + 1;
            at += length + 1;
            if (length != 0) continue;
            if (end < 0) end = at;
            return size;
        }
        return -1;
    }
}

/// <summary>Compares wire names byte by byte, so that a table keyed by arrays is looked up by spans without allocation.</summary>
internal sealed class WireNameComparer : IEqualityComparer<byte[]>, IAlternateEqualityComparer<ReadOnlySpan<byte>, byte[]>
{
    internal static WireNameComparer Instance { get; } = new();

    public bool Equals(byte[]? x, byte[]? y) => x.AsSpan().SequenceEqual(y);

    public int GetHashCode(byte[] name) => GetHashCode(name.AsSpan());

    public bool Equals(ReadOnlySpan<byte> alternate, byte[] other) => alternate.SequenceEqual(other);

    // Seeded per process by HashCode: an attacker cannot prepare names that collide.
    public int GetHashCode(ReadOnlySpan<byte> name)
    {
        var hash = default(HashCode);
        hash.AddBytes(name);
        return hash.ToHashCode();
    }

    public byte[] Create(ReadOnlySpan<byte> alternate) => alternate.ToArray();
}
