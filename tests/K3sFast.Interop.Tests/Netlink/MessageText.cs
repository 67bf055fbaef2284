using System.Buffers.Binary;
using System.Text;

namespace K3sFast.Interop.Tests.Netlink;

/// <summary>
/// Netlink messages as text, one attribute a line, so that a person can compare them with the kernel's headers. Nothing is lost: lengths follow from what is
/// printed, padding must be zero, and what does not add up is an error. Written from linux/netlink.h, knowing nothing of the code that it judges.
/// </summary>
internal static class MessageText
{
    private const int HeaderBytes = 16, Nested = 0x8000;

    // The file descriptor of a namespace is another one in every run.
    private const int NamespaceDescriptor = 28;

    // IFLA_LINKINFO, IFLA_INFO_DATA, VETH_INFO_PEER: the one attribute that starts with a struct, ifinfomsg.
    private const string VethPeer = "/18/2/1";
    private const int LinkHeaderBytes = 16;

    /// <summary>All messages of a datagram.</summary>
    /// <param name="datagram">The bytes.</param>
    /// <param name="familyBytes">Length of the struct behind nlmsghdr; null = as rtnetlink's types have it.</param>
    internal static string Of(ReadOnlySpan<byte> datagram, int? familyBytes)
    {
        var text = new StringBuilder();
        while (datagram.Length > 0)
        {
            var length = BinaryPrimitives.ReadInt32LittleEndian(datagram);
            var type = BinaryPrimitives.ReadUInt16LittleEndian(datagram[4..]);
            var head = HeaderBytes + (familyBytes ?? RouteHeaderBytes(type));
            Require(length >= head && length <= datagram.Length, $"message of {length} bytes");
            text.Append($"  type {type} flags {BinaryPrimitives.ReadUInt16LittleEndian(datagram[6..]):x4} number {BinaryPrimitives.ReadUInt32LittleEndian(datagram[8..])}");
            Require(BinaryPrimitives.ReadUInt32LittleEndian(datagram[12..]) == 0, "nlmsg_pid is the kernel's to choose");
            text.Append($" | {Convert.ToHexStringLower(datagram[HeaderBytes..head])}\n");
            Attributes(text, datagram[head..length], 2, "");
            datagram = Rest(datagram, length);
        }
        return text.ToString();
    }

    private static void Attributes(StringBuilder text, ReadOnlySpan<byte> attributes, int depth, string path)
    {
        if (path == VethPeer)
        {
            text.Append(' ', depth * 2);
            text.Append($"| {Convert.ToHexStringLower(attributes[..LinkHeaderBytes])}\n");
            attributes = attributes[LinkHeaderBytes..];
        }
        while (attributes.Length > 0)
        {
            Require(attributes.Length >= 4, "bytes behind the last attribute");
            var length = BinaryPrimitives.ReadUInt16LittleEndian(attributes);
            var type = BinaryPrimitives.ReadUInt16LittleEndian(attributes[2..]);
            Require(length >= 4 && length <= attributes.Length, $"attribute {type} of {length} bytes");
            var payload = attributes[4..length];
            text.Append(' ', depth * 2);
            if ((type & Nested) != 0)
            {
                text.Append($"{type & ~Nested}:\n");
                Attributes(text, payload, depth + 1, $"{path}/{type & ~Nested}");
            }
            else
            {
                text.Append($"{type} = {(type == NamespaceDescriptor && depth > 2 ? "(descriptor)" : Convert.ToHexStringLower(payload))}{Readable(payload)}\n");
            }
            attributes = Rest(attributes, length);
        }
    }

    private static ReadOnlySpan<byte> Rest(ReadOnlySpan<byte> all, int length)
    {
        var aligned = (length + 3) & ~3;
        Require(aligned <= all.Length, "padding is missing");
        Require(!all[length..aligned].ContainsAnyExcept((byte)0), "padding is not zero");
        return all[aligned..];
    }

    // struct ifinfomsg, ifaddrmsg, rtmsg, ndmsg, fib_rule_hdr, tcmsg
    private static int RouteHeaderBytes(int type) => (type & ~3) switch
    {
        16 => 16,
        20 => 8,
        24 or 28 or 32 => 12,
        36 or 40 or 44 => 20,
        _ => throw new InvalidDataException($"nothing is known of message type {type}"),
    };

    private static string Readable(ReadOnlySpan<byte> payload)
    {
        if (payload.Length < 3 || payload[^1] != 0) return "";
        foreach (var character in payload[..^1])
        {
            if (character is < 0x20 or > 0x7e) return "";
        }
        return $" \"{Encoding.ASCII.GetString(payload[..^1])}\"";
    }

    private static void Require(bool condition, string what)
    {
        if (!condition) throw new InvalidDataException("malformed netlink message: " + what);
    }
}
