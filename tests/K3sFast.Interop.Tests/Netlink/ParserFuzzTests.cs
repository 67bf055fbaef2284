using System.Net;
using K3sFast.Interop.Conntrack;
using K3sFast.Interop.Ipvs;
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

    /// <summary>Whole answers, by every reader that there is, through the socket that they come in by. Each request ends with a word of the kernel's that is whole.</summary>
    [Fact]
    public void Sockets_MutatedAnswers_GiveSomethingOrSayThatTheyCannot()
    {
        var (random, mutations, corpus) = (new Random(12), new Random(13), Corpus());
        using var kernel = new ScriptedKernel(request =>
        {
            List<byte[]> answers = [];
            for (var count = mutations.Next(4); count > 0; count--)
            {
                // As an answer it has its own number, or one that nobody gave.
                var answer = Mutate(mutations, mutations.Next(4) == 0 ? ScriptedKernel.Acknowledge(request, mutations.Next(50)) : corpus[mutations.Next(corpus.Count)]);
                if (answer.Length > 0) answers.Add(answer);
            }
            return [.. answers, .. ScriptedKernel.Split(request).SelectMany(static message => (byte[][])[ScriptedKernel.Acknowledge(message), ScriptedKernel.Done()])];
        });
        var socket = kernel.Socket;
        Action[] readers =
        [
            () => new RouteSocket(socket).ListLinks(), () => new RouteSocket(socket).ListAddresses(), () => new RouteSocket(socket).ListRoutes(false), () => new RouteSocket(socket).ListNeighbours(3),
            () => new RouteSocket(socket).ListFilters(3), () => new RouteSocket(socket).FindLink("x"), () => new ConntrackTable(socket).List(false, 17, static _ => true), () => new SocketDiagnostics(socket).ListDatagram(false, static (_, _, _) => true),
            () => GenericNetlink.FindFamily(socket, "x"), () => new WireGuardSocket(socket, 1).GetDevice(1), () => new EthtoolSocket(socket, 1).ListActiveFeatures(1), () => new EthtoolSocket(socket, 1).SetFeature(1, "x", true),
            () => new IpvsSocket(socket, 1).ListServers(), () => new IpvsSocket(socket, 1).ListDestinations(new IpvsServer(6, new IPEndPoint(IPAddress.Loopback, 80), "rr")),
            () => NftDump.ListBaseChains(socket), () => NftDump.FindTable(socket, NftFamily.IPv4, "x"), () => NftDump.ListElements(socket, NftFamily.IPv4, "x", "y"), () => NftDump.Generation(socket),
            () => NftDump.CountRules(socket, NftFamily.IPv4, "x"),
        ];
        for (var round = 0; round < 2500; round++)
        {
            try
            {
                readers[random.Next(readers.Length)]();
            }
            catch (KernelException)
            {
                // What looks like a refusal is one.
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
        NftDump.ReadBaseChain(payload, []);
        IpvsMessages.ReadServer(payload);
        foreach (var isIPv6 in (ReadOnlySpan<bool>)[false, true]) IpvsMessages.ReadDestination(payload, isIPv6);
        foreach (var protocol in (ReadOnlySpan<byte>)[6, 17]) ConntrackTable.TryRead(payload, protocol, out _);
        for (var attributes = new NetlinkAttributes(payload); attributes.Next();)
        {
            _ = attributes.Text.Length + attributes.U8 + attributes.U16BigEndian + attributes.U32 + attributes.U32BigEndian + (attributes.Address is null ? 0 : 1);
            _ = attributes.U64BigEndian;
        }
    }

    // Requests are laid out as answers are.
    private static List<byte[]> Corpus() => [.. GoldenMessages.All.SelectMany(static message => ScriptedKernel.Split(message.Write()))];

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
