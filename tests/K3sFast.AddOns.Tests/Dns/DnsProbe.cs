using System.Buffers.Binary;
using System.Net;

namespace K3sFast.AddOns.Dns.Tests;

/// <summary>Builds queries and reads answers, independent of the product's own parser.</summary>
internal static class DnsProbe
{
    internal static byte[] Query(string name, DnsType type, int udpSize = 0, byte flags = 0x01)
    {
        var bytes = new List<byte> { 0x12, 0x34, flags, 0, 0, 1, 0, 0, 0, 0, 0, (byte)(udpSize > 0 ? 1 : 0) };
        foreach (var label in name.TrimEnd('.').Split('.', StringSplitOptions.RemoveEmptyEntries))
        {
            bytes.Add((byte)label.Length);
            bytes.AddRange(System.Text.Encoding.ASCII.GetBytes(label));
        }
        bytes.AddRange([0, (byte)((int)type >> 8), (byte)type, 0, 1]);
        if (udpSize > 0) bytes.AddRange([0, 0, 41, (byte)(udpSize >> 8), (byte)udpSize, 0, 0, 0, 0, 0, 0]);
        return [.. bytes];
    }

    internal static Answer Read(ReadOnlySpan<byte> message)
    {
        var at = 12;
        ReadName(message, ref at);
        at += 4;
        var records = new List<Record>();
        int[] counts = [U16(message, 6), U16(message, 8), U16(message, 10)];
        for (var section = 0; section < 3; section++)
        {
            for (var i = 0; i < counts[section]; i++)
            {
                var owner = ReadName(message, ref at);
                var type = (DnsType)U16(message, at);
                var ttl = BinaryPrimitives.ReadUInt32BigEndian(message[(at + 4)..]);
                var size = U16(message, at + 8);
                at += 10;
                var data = type switch
                {
                    DnsType.A or DnsType.Aaaa => new IPAddress(message.Slice(at, size)).ToString(),
                    DnsType.Cname or DnsType.Ptr or DnsType.NS => NameAt(message, at),
                    DnsType.Srv => $"{U16(message, at)} {U16(message, at + 2)} {U16(message, at + 4)} {NameAt(message, at + 6)}",
                    DnsType.Txt => System.Text.Encoding.ASCII.GetString(message.Slice(at + 1, message[at])),
                    _ => "",
                };
                at += size;
                if (type != DnsType.Opt) records.Add(new Record(section, owner, type, ttl, data));
            }
        }
        Assert.Equal(message.Length, at);
        return new Answer(U16(message, 0), (DnsCode)(message[3] & 0xF), (message[2] & 0x04) != 0, (message[2] & 0x02) != 0, records);
    }

    private static string NameAt(ReadOnlySpan<byte> message, int at) => ReadName(message, ref at);

    private static string ReadName(ReadOnlySpan<byte> message, ref int at)
    {
        var name = "";
        while (message[at] != 0)
        {
            if (message[at] >= 0xC0)
            {
                var target = U16(message, at) & 0x3FFF;
                at += 2;
                return name + ReadName(message, ref target);
            }
            name += System.Text.Encoding.ASCII.GetString(message.Slice(at + 1, message[at])) + ".";
            at += message[at] + 1;
        }
        at++;
        return name;
    }

    private static int U16(ReadOnlySpan<byte> message, int at) => BinaryPrimitives.ReadUInt16BigEndian(message[at..]);

    internal sealed record Record(int Section, string Owner, DnsType Type, uint Ttl, string Data);

    internal sealed record Answer(int Id, DnsCode Code, bool IsAuthoritative, bool IsTruncated, List<Record> Records)
    {
        internal string[] Data(DnsType type) => [.. Records.Where(r => r.Section == 0 && r.Type == type).Select(r => r.Data).Order()];
    }
}
