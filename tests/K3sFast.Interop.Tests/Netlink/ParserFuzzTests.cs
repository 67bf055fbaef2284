using System.Net;
using System.Net.NetworkInformation;
using K3sFast.Interop.Conntrack;
using K3sFast.Interop.Netlink;
using K3sFast.Interop.NfTables;

namespace K3sFast.Interop.Tests.Netlink;

/// <summary>Messages that no kernel sends: what is read from them may be nonsense, but reading ends and throws nothing.</summary>
public sealed class ParserFuzzTests
{
    private const int Rounds = 30_000;

    [Fact]
    public void Parsers_MutatedMessages_EndWithoutAnException()
    {
        var corpus = Corpus();
        var random = new Random(11);
        for (var round = 0; round < Rounds; round++)
        {
            var message = Mutate(random, corpus[random.Next(corpus.Count)]);
            try
            {
                ReadAll(message);
            }
            catch (Exception e)
            {
                Assert.Fail($"round {round}: {e.GetType().Name} {e.Message} on {Convert.ToHexString(message)}");
            }
        }
    }

    private static void ReadAll(byte[] message)
    {
        RouteEvents.Parse(message, []);
        var payload = message.AsSpan(Math.Min(16, message.Length));
        RouteSocket.ReadLink(payload, []);
        RouteSocket.ReadRoute(payload, []);
        RouteSocket.ReadNeighbour(payload, []);
        NftDump.ReadElements(payload, []);
        foreach (var protocol in (ReadOnlySpan<byte>)[6, 17]) ConntrackTable.TryRead(payload, protocol, out _);
        for (var attributes = new NetlinkAttributes(payload); attributes.Next();)
        {
            _ = attributes.Text.Length + attributes.U8 + attributes.U16BigEndian + attributes.U32 + attributes.U32BigEndian + (attributes.Address is null ? 0 : 1);
            _ = attributes.U64BigEndian;
        }
    }

    // Requests are laid out as answers are.
    private static List<byte[]> Corpus()
    {
        var mac = PhysicalAddress.Parse("02-00-00-00-00-01");
        List<byte[]> messages = [];
        void Add(Action<NetlinkBatch> write)
        {
            using var batch = new NetlinkBatch();
            write(batch);
            messages.Add(batch.Written.ToArray());
        }
        Add(batch => batch.AddVxlan(new VxlanSpec("flannel.1", mac, 1, 8472, 2, IPAddress.Parse("192.0.2.1"), 1450)));
        Add(batch => batch.ReplaceRoute(new RouteSpec(IPNetwork.Parse("10.42.0.0/24"), 3, IPAddress.Parse("192.0.2.2")) { Table = 1000, Metric = 5 }));
        Add(batch => batch.ReplaceRoute(new RouteSpec(IPNetwork.Parse("fd00:42::/64"), 3, IPAddress.Parse("fe80::1"))));
        Add(batch => batch.ReplaceNeighbour(new NeighbourSpec(3, IPAddress.Parse("10.42.0.2"), mac)));
        Add(batch => batch.AddAddress(3, IPAddress.Parse("fd00::1"), 64));
        Add(batch => batch.DeleteLink("k3sfabc"));
        Add(batch => batch.RedirectIngress(3, 4));
        Add(batch => ConntrackTable.WriteDelete(batch, new ConntrackTuple(IPAddress.Parse("10.42.0.2"), IPAddress.Parse("10.43.0.10"), 17, 4000, 53)));
        using var elements = new NftBatch(NftFamily.IPv4, "t");
        elements.AddElements("s", [new NftElement(new NftData([10, 0, 0, 1]), ExpirationMs: 5000), new NftElement(new NftData([10, 0, 0, 2]), new NftData([1, 2, 3, 4]))]);
        messages.Add(elements.Messages.Written[20..].ToArray());
        return messages;
    }

    private static byte[] Mutate(Random random, byte[] original)
    {
        var bytes = original.ToList();
        for (var changes = random.Next(1, 6); changes > 0 && bytes.Count > 0; changes--)
        {
            var at = random.Next(bytes.Count);
            switch (random.Next(4))
            {
                case 0: bytes[at] = (byte)random.Next(256); break;
                case 1: bytes[at] = (byte)(bytes[at] + (random.Next(2) * 2) - 1); break;
                case 2: bytes.RemoveRange(at, Math.Min(random.Next(1, 8), bytes.Count - at)); break;
                default: bytes.InsertRange(at, bytes.GetRange(at, Math.Min(random.Next(1, 8), bytes.Count - at))); break;
            }
        }
        return [.. bytes];
    }
}
