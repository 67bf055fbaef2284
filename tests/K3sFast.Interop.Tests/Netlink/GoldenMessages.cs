using System.Net;
using System.Net.NetworkInformation;
using K3sFast.Interop.Bpf;
using K3sFast.Interop.Conntrack;
using K3sFast.Interop.Ipvs;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;
using K3sFast.Interop.NfTables;

namespace K3sFast.Interop.Tests.Netlink;

/// <summary>Every message that this project can send, by the member that writes it; a word behind the name tells variants apart.</summary>
internal static class GoldenMessages
{
    private const ushort GenericFamily = 0x20;

    private static readonly PhysicalAddress s_mac = PhysicalAddress.Parse("02-00-00-00-00-01"), s_otherMac = PhysicalAddress.Parse("02-00-00-00-00-02");
    private static readonly IPAddress s_four = IPAddress.Parse("10.42.0.5"), s_six = IPAddress.Parse("fd00:42::5");
    private static readonly IpvsServer s_server = new(6, new IPEndPoint(IPAddress.Parse("10.43.0.80"), 80), "rr", TimeSpan.FromHours(3));
    private static readonly IpvsServer s_server6 = new(17, new IPEndPoint(IPAddress.Parse("fd00:43::10"), 53), "mh", IsSourceHashed: true);
    private static readonly IpvsDestination s_destination = new(new IPEndPoint(IPAddress.Parse("10.42.0.5"), 8080), 3);
    private static readonly WireGuardPeer s_peer = new(Enumerable.Repeat((byte)0xcd, 32).ToArray(), new IPEndPoint(IPAddress.Parse("192.0.2.9"), 51820), [IPNetwork.Parse("10.42.9.0/24"), IPNetwork.Parse("fd00:42:0:9::/64")], 25);
    private static readonly ConntrackTuple s_tuple = new(IPAddress.Parse("10.42.0.2"), IPAddress.Parse("10.43.0.10"), 17, 4000, 53);
    private static readonly ConntrackTuple s_tuple6 = new(IPAddress.Parse("fd00:42::2"), IPAddress.Parse("fd00:43::10"), 6, 4000, 443);

    // Its descriptor is a number in a message, and is never used.
    private static readonly BpfProgram s_program = new(new FileDescriptor(0x1234, ownsHandle: false), 0);

    /// <summary>Name, length of the family's header (null = rtnetlink's), and what writes the datagram.</summary>
    internal static IReadOnlyList<(string Name, int? FamilyBytes, Func<byte[]> Write)> All { get; } =
    [
        Route("RouteBatch.AddVeth", batch =>
        {
            using var peer = NetworkNamespace.OpenCurrent();
            batch.AddVeth(new VethSpec("k3sfabc", s_mac, "eth0", s_otherMac, peer, 1450));
        }),
        Route("RouteBatch.AddVxlan", batch => batch.AddVxlan(new VxlanSpec("flannel.1", s_mac, 1, 8472, 2, IPAddress.Parse("192.0.2.1"), 1450))),
        Route("RouteBatch.AddVxlan six", batch => batch.AddVxlan(new VxlanSpec("flannel-v6.1", s_mac, 1, 8472, 2, IPAddress.Parse("2001:db8::1"), 1430))),
        Route("RouteBatch.AddWireGuard", batch => batch.AddWireGuard("flannel-wg", 1420)),
        Route("RouteBatch.AddDummy", batch => batch.AddDummy("d0", s_mac, 1500)),
        Route("RouteBatch.DeleteLink", batch => batch.DeleteLink("k3sfabc")),
        Route("RouteBatch.SetLinkUp", batch => batch.SetLinkUp(7)),
        Route("RouteBatch.SetLinkMtu", batch => batch.SetLinkMtu(7, 1450)),
        Route("RouteBatch.AddAddress", batch => batch.AddAddress(7, s_four, 32)),
        Route("RouteBatch.AddAddress six", batch => batch.AddAddress(7, s_six, 128)),
        Route("RouteBatch.DeleteAddress", batch => batch.DeleteAddress(7, s_four, 24)),
        Route("RouteBatch.DeleteAddress six", batch => batch.DeleteAddress(7, s_six, 64)),
        Route("RouteBatch.ReplaceRoute", batch => batch.ReplaceRoute(new RouteSpec(IPNetwork.Parse("10.42.0.5/32"), 7, null, RouteScope.Link))),
        Route("RouteBatch.ReplaceRoute everything", batch => batch.ReplaceRoute(new RouteSpec(IPNetwork.Parse("10.42.1.0/24"), 7, IPAddress.Parse("10.42.1.0")) { IsOnLink = true, PreferredSource = s_four, Table = 1000, Metric = 5, Protocol = 4 })),
        Route("RouteBatch.ReplaceRoute default six", batch => batch.ReplaceRoute(new RouteSpec(IPNetwork.Parse("::/0"), 7, IPAddress.Parse("fe80::1")))),
        Route("RouteBatch.ReplaceRoute unreachable", batch => batch.ReplaceRoute(new RouteSpec(IPNetwork.Parse("10.43.0.0/16"), 0) { Type = RouteType.Unreachable })),
        Route("RouteBatch.DeleteRoute", batch => batch.DeleteRoute(new RouteSpec(IPNetwork.Parse("fd00:42:0:1::/64"), 7, IPAddress.Parse("fd00:42:0:1::")) { IsOnLink = true })),
        Route("RouteBatch.ReplaceNeighbour", batch => batch.ReplaceNeighbour(new NeighbourSpec(7, s_four, s_mac))),
        Route("RouteBatch.ReplaceNeighbour six", batch => batch.ReplaceNeighbour(new NeighbourSpec(7, s_six, s_mac))),
        Route("RouteBatch.ReplaceNeighbour forwarding", batch => batch.ReplaceNeighbour(new NeighbourSpec(7, IPAddress.Parse("192.0.2.9"), s_mac) { IsForwardingEntry = true })),
        Route("RouteBatch.DeleteNeighbour", batch => batch.DeleteNeighbour(new NeighbourSpec(7, s_four, s_mac))),
        Route("RouteBatch.DeleteNeighbour forwarding", batch => batch.DeleteNeighbour(new NeighbourSpec(7, IPAddress.Parse("2001:db8::9"), s_mac) { IsForwardingEntry = true })),
        Route("RouteBatch.AddRule", batch => batch.AddRule(new RuleSpec(false, 100, 0x4000, 0xffff, 100))),
        Route("RouteBatch.AddRule six", batch => batch.AddRule(new RuleSpec(true, 100, 0x4000, 0xffff, 1000))),
        Route("RouteBatch.DeleteRule", batch => batch.DeleteRule(new RuleSpec(false, 100, 0x4000, 0xffff, 100))),
        Route("TrafficControl.AddIntermediate", batch => batch.AddIntermediate("k3sbabc", 1450)),
        Route("TrafficControl.ReplaceTokenBucket", batch => batch.ReplaceTokenBucket(7, 1_250_000, 65536)),
        Route("TrafficControl.ReplaceTokenBucket wide", batch => batch.ReplaceTokenBucket(7, 5_000_000_000, 65536)),
        Route("TrafficControl.RedirectIngress", batch => batch.RedirectIngress(7, 8)),
        Route("TrafficControl.AddClassifier", batch => batch.AddClassifier(7)),
        Route("TrafficControl.DeleteClassifier", batch => batch.DeleteClassifier(7)),
        Route("TrafficControl.ReplaceProgram", batch => batch.ReplaceProgram(7, isEgress: false, 2, "in", s_program)),
        Route("TrafficControl.ReplaceProgram egress", batch => batch.ReplaceProgram(7, isEgress: true, 2, "out", s_program)),
        Route("TrafficControl.DeleteProgram", batch => batch.DeleteProgram(7, isEgress: true, 2)),
        Asked("TrafficControl.ListFilters", null, socket => new RouteSocket(socket).ListFilters(7)),
        Asked("RouteSocket.FindLink", null, socket => new RouteSocket(socket).FindLink("flannel.1")),
        Asked("RouteSocket.ListLinks", null, socket => new RouteSocket(socket).ListLinks()),
        Asked("RouteSocket.ListAddresses", null, socket => new RouteSocket(socket).ListAddresses()),
        Asked("RouteSocket.ListRoutes", null, socket => new RouteSocket(socket).ListRoutes(isIPv6: false)),
        Asked("RouteSocket.ListRoutes six", null, socket => new RouteSocket(socket).ListRoutes(isIPv6: true)),
        Asked("RouteSocket.ListNeighbours", null, socket => new RouteSocket(socket).ListNeighbours(7)),

        Written("ConntrackTable.WriteDelete", 4, batch => ConntrackTable.WriteDelete(batch, s_tuple)),
        Asked("ConntrackTable.Delete", 4, socket => new ConntrackTable(socket).Delete([new ConntrackEntry(s_tuple6, s_tuple6)])),
        Asked("ConntrackTable.List", 4, socket => new ConntrackTable(socket).List(isIPv6: true, 17, static _ => true)),
        Asked("SocketDiagnostics.ListDatagram", 56, socket => new SocketDiagnostics(socket).ListDatagram(isIPv6: false, static (_, _, _) => true)),
        Asked("SocketDiagnostics.Destroy", 56, socket => new SocketDiagnostics(socket).Destroy([Diagnosed()])),

        Asked("GenericNetlink.FindFamily", 4, socket => GenericNetlink.FindFamily(socket, "wireguard")),
        Written("WireGuardSocket.WriteDevice", 4, batch => WireGuardSocket.WriteDevice(batch, GenericFamily, 7, Enumerable.Repeat((byte)0xab, 32).ToArray(), 51820)),
        Written("WireGuardSocket.WritePeer", 4, batch => WireGuardSocket.WritePeer(batch, GenericFamily, 7, s_peer with { SharedKey = Enumerable.Repeat((byte)0xef, 32).ToArray() }, isRemoved: false)),
        Asked("WireGuardSocket.SetDevice", 4, socket => new WireGuardSocket(socket, GenericFamily).SetDevice(7, new byte[32], 1)),
        Asked("WireGuardSocket.ChangePeers", 4, socket => new WireGuardSocket(socket, GenericFamily).ChangePeers(7, [s_peer with { Endpoint = new IPEndPoint(IPAddress.Parse("2001:db8::9"), 51820) }], [s_peer])),
        Asked("WireGuardSocket.GetDevice", 4, socket => new WireGuardSocket(socket, GenericFamily).GetDevice(7)),
        Written("EthtoolSocket.WriteSetFeature", 4, batch => EthtoolSocket.WriteSetFeature(batch, GenericFamily, 7, "tx-checksum-ip-generic", isOn: false)),
        Asked("EthtoolSocket.SetFeature", 4, socket => new EthtoolSocket(socket, GenericFamily).SetFeature(7, "tso", isOn: true)),
        Asked("EthtoolSocket.ListActiveFeatures", 4, socket => new EthtoolSocket(socket, GenericFamily).ListActiveFeatures(7)),

        Written("IpvsMessages.AddServer", 4, batch => IpvsMessages.AddServer(batch, GenericFamily, s_server)),
        Written("IpvsMessages.SetServer", 4, batch => IpvsMessages.SetServer(batch, GenericFamily, s_server6)),
        Written("IpvsMessages.DeleteServer", 4, batch => IpvsMessages.DeleteServer(batch, GenericFamily, s_server)),
        Written("IpvsMessages.AddDestination", 4, batch => IpvsMessages.AddDestination(batch, GenericFamily, s_server, s_destination)),
        Written("IpvsMessages.SetDestination", 4, batch => IpvsMessages.SetDestination(batch, GenericFamily, s_server6, s_destination with { Address = new IPEndPoint(s_six, 53), Weight = 0 })),
        Written("IpvsMessages.DeleteDestination", 4, batch => IpvsMessages.DeleteDestination(batch, GenericFamily, s_server, s_destination)),
        Written("IpvsMessages.SetTimeouts", 4, batch => IpvsMessages.SetTimeouts(batch, GenericFamily, 900, 120, 300)),
        Written("IpvsMessages.ListServers", 4, batch => IpvsMessages.ListServers(batch, GenericFamily)),
        Written("IpvsMessages.ListDestinations", 4, batch => IpvsMessages.ListDestinations(batch, GenericFamily, s_server)),
        Asked("IpvsSocket.ListServers", 4, socket => new IpvsSocket(socket, GenericFamily).ListServers()),
        Asked("IpvsSocket.ListDestinations", 4, socket => new IpvsSocket(socket, GenericFamily).ListDestinations(s_server6)),

        Asked("NftDump.ListBaseChains", 4, socket => NftDump.ListBaseChains(socket)),
        Asked("NftDump.FindTable", 4, socket => NftDump.FindTable(socket, NftFamily.IPv6, "k3sfast")),
        Asked("NftDump.ListElements", 4, socket => NftDump.ListElements(socket, NftFamily.IPv4, "k3sfast", "affinity")),
        Asked("NftDump.Generation", 4, socket => NftDump.Generation(socket)),
        Asked("NftDump.CountRules", 4, socket => NftDump.CountRules(socket, NftFamily.Inet, "k3sfast")),
        Nft("NftBatch.AddTable", batch => batch.AddTable()),
        Nft("NftBatch.DeleteTable", batch => batch.DeleteTable()),
        Nft("NftBatch.AddChain", batch => batch.AddChain(new NftChain("c", []))),
        Nft("NftBatch.AddChain hooked", batch => batch.AddChain(new NftChain("c", [], new NftBaseChain("nat", NftHook.Prerouting, -105)) { Comment = "x/y" })),
        Nft("NftBatch.FlushChain", batch => batch.FlushChain("c")),
        Nft("NftBatch.DeleteChain", batch => batch.DeleteChain("c")),
        Nft("NftBatch.AddRule", batch => batch.AddRule("c", new NftRule(new NftCounter(), new NftDecide(NftVerdict.Drop)))),
        Nft("NftBatch.AddSet", batch => batch.AddSet(new NftSet("s", NftType.Concat(NftType.IPv4Address, NftType.Protocol, NftType.Port)))),
        Nft("NftBatch.AddSet map", batch => batch.AddSet(new NftSet("m", NftType.IPv6Address, NftType.Verdict))),
        Nft("NftBatch.AddSet timeout", batch => batch.AddSet(new NftSet("t", NftType.IPv4Address, null, TimeSpan.FromHours(3), 65536))),
        Nft("NftBatch.DeleteSet", batch => batch.DeleteSet("s")),
        Nft("NftBatch.AddElements", batch => batch.AddElements("s",
        [
            new NftElement(NftData.Of(s_four)), new NftElement(NftData.Of(s_four), NftData.OfPort(80)), new NftElement(NftData.Of(s_four), Verdict: NftVerdict.Goto("c")), new NftElement(NftData.Of(s_four), ExpirationMs: 5000),
        ])),
        Nft("NftBatch.DeleteElements", batch => batch.DeleteElements("s", [new NftElement(NftData.Of(s_six))])),
        Nft("NftBatch.Finish", batch =>
        {
            batch.DeleteTable();
            batch.Finish();
        }),
        Step(new NftMeta(NftMetaKey.InputName, 2)),
        Step(new NftMetaSet(NftMetaKey.Mark, 0)),
        Step(new NftPayload(NftPayloadBase.Network, 16, 4, 0)),
        Step(new NftCompare(0, NftData.OfPort(80), IsInverted: true)),
        Step(new NftRange(0, NftData.OfPort(53), NftData.OfPort(60))),
        Step(new NftBitwise(0, NftData.OfHost(0xff), NftData.OfHost(1))),
        Step(new NftImmediate(1, NftData.OfPort(8080))),
        Step(new NftDecide(NftVerdict.Jump("other"))),
        Step(new NftLookup("s", 0, IsInverted: true)),
        Step(new NftLookup("m", 0, 8), "map"),
        Step(new NftLookup("v", 0, IsVerdictMap: true), "verdicts"),
        Step(new NftLookup("", 0, 0, new NftAnonymousMap(NftType.Number, NftType.Concat(NftType.IPv4Address, NftType.Port), [new NftElement(NftData.OfHost(0), NftData.Concat(NftData.Of(s_four), NftData.OfPort(80)))])), "anonymous"),
        Step(new NftRemember("t", 0, TimeSpan.FromHours(3))),
        Step(new NftConntrack(NftConntrackKey.State, 0)),
        Step(new NftRandom(0, 3)),
        Step(new NftAddressKind(IsSource: false, 0)),
        Step(new NftWayBack(0)),
        Step(new NftTranslate(NftFamily.IPv4, IsSource: false, 0, 1)),
        Step(new NftTranslate(NftFamily.IPv6, IsSource: true, 0, null), "source"),
        Step(new NftMasquerade()),
        Step(new NftRedirect(0)),
        Step(new NftReject(NftFamily.IPv4)),
        Step(new NftReject(NftFamily.IPv6), "six"),
        Step(new NftLimit(10, 5, 60)),
        Step(new NftLog(100, "not let in by x/y")),
        Step(new NftCounter()),
    ];

    private static (string, int?, Func<byte[]>) Route(string name, Action<NetlinkBatch> write) => Written(name, null, write);

    private static (string, int?, Func<byte[]>) Written(string name, int? familyBytes, Action<NetlinkBatch> write) => (name, familyBytes, () =>
    {
        using var batch = new NetlinkBatch();
        write(batch);
        return batch.Written.ToArray();
    });

    private static (string, int?, Func<byte[]>) Asked(string name, int? familyBytes, Action<NetlinkSocket> ask) => (name, familyBytes, () =>
    {
        using var kernel = new ScriptedKernel();
        ask(kernel.Socket);
        return [.. kernel.Requests.SelectMany(static request => request)];
    });

    // Without BATCH_BEGIN, which each transaction starts with.
    private static (string, int?, Func<byte[]>) Nft(string name, Action<NftBatch> write) => (name, 4, () =>
    {
        using var batch = new NftBatch(NftFamily.IPv4, "k3sfast");
        write(batch);
        return batch.Messages.Written[20..].ToArray();
    });

    private static (string, int?, Func<byte[]>) Step(NftExpression expression, string variant = "") =>
        Nft($"{expression.GetType().Name} {variant}".TrimEnd(), batch => batch.AddRule("c", new NftRule(expression)));

    private static unsafe inet_diag_msg Diagnosed()
    {
        var message = new inet_diag_msg { idiag_family = 10, id = new inet_diag_sockid { idiag_sport = 0x0010, idiag_dport = 0x3500, idiag_if = 3 } };
        for (var i = 0u; i < 4; i++) (message.id.idiag_src[i], message.id.idiag_dst[i]) = (i + 1, i + 5);
        (message.id.idiag_cookie[0], message.id.idiag_cookie[1]) = (0x1234, 0x5678);
        return message;
    }
}
