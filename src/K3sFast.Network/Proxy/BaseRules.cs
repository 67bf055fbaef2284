using System.Net;
using System.Net.Sockets;
using K3sFast.Interop.NfTables;
using K3sFast.Network.Cni;

namespace K3sFast.Network.Proxy;

/// <summary>
/// The part of our table that does not depend on any Service: hooks, the maps that a packet is looked up in, masquerading.
/// </summary>
/// <remarks>
/// A packet's way: <c>nat-prerouting</c> or <c>nat-output</c> → <c>services</c>: {address . protocol . port} → the service port's chain, or, to
/// one of the node's own addresses, {protocol . port} → the node port's chain → translated to one endpoint. What no chain took and should have
/// been taken is refused by the filter chains. <c>nat-postrouting</c> masquerades what was marked on the way, what leaves the cluster and what
/// comes back to where it started. Our hooks run a little before the usual priorities (-100, 0, 100), so that foreign rules of the same kind see
/// packets as they will be delivered; foreign tables are left alone, and one of theirs that drops forwarded packets still does.
/// </remarks>
internal static class BaseRules
{
    internal const string Owner = "";

    internal const string TableName = "k3sfast";
    internal const string ServicesMap = "service-ips", NodePortsMap = "service-nodeports";
    internal const string RefusedServicesMap = "refused-ips", RefusedNodePortsMap = "refused-nodeports";
    internal const string HairpinSet = "hairpin", ClusterIPsSet = "cluster-ips";
    internal const string MarkChain = "mark-for-masquerade", RejectChain = "reject";

    private const int RawPriority = -305, DestinationNatPriority = -105, FilterPriority = -5, SourceNatPriority = 95, ClearMarkPriority = 110;

    // A rule that is bound to a map costs the kernel a walk over the map's elements and over the rules bound before. At 10,000 Services of two
    // endpoints a shard has 160 rules and 320 elements; the kernel finds a set by walking all of them, so there must not be many more either.
    internal const uint EndpointShards = 64;

    /// <summary>One of the maps {number of a chain, in two halves . choice} → endpoint.</summary>
    internal static NftSet EndpointsMap(PacketSteps steps, uint shard) =>
        new($"endpoints-{shard % EndpointShards:x2}", NftType.Concat(NftType.Mark, NftType.Mark, NftType.Mark), NftType.Concat(steps.AddressType, NftType.Port));

    /// <summary>The rules of one family.</summary>
    internal static NftFragment Build(NftFamily family, NetworkOptions options) => Build(family, options, []);

    /// <summary>The rules of one family.</summary>
    /// <param name="family">The family.</param>
    /// <param name="options">What the agent is told.</param>
    /// <param name="nodePodCidrs">Pod networks of this node, as far as they are known.</param>
    /// <param name="hasMarkedPackets">Programs mark every packet of a connection that is to be masqueraded.</param>
    internal static NftFragment Build(NftFamily family, NetworkOptions options, IReadOnlyList<IPNetwork> nodePodCidrs, bool hasMarkedPackets = false)
    {
        var steps = new PacketSteps(family);
        var wanted = steps.IsIPv6 ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork;
        var cluster = options.ClusterCidrs.FirstOrNull(wanted);
        var services = options.ServiceCidrs.FirstOrNull(wanted);
        var fragment = new NftFragment();
        fragment.Sets.Add(new NftSet(HairpinSet, NftType.Concat(steps.AddressType, steps.AddressType)));
        fragment.Chains.Add(new NftChain(MarkChain, [SetMark(BitOf(options))]));
        fragment.Chains.Add(Postrouting(steps, options, cluster));
        if (hasMarkedPackets) fragment.Chains.Add(new NftChain("clear-mark", [ClearMark(BitOf(options))], new NftBaseChain("filter", NftHook.Postrouting, ClearMarkPriority)));
        if (options.HasPodNetwork) fragment.Chains.Add(PodSources(steps));
        var local = new LocalTraffic(steps, options, nodePodCidrs);
        if (options.IsServiceProxyEnabled)
        {
            AddServices(fragment, steps, options, local);
            AddFilters(fragment, steps, options, services, local);
        }
        else
        {
            fragment.Chains.Add(new NftChain("filter-forward", [.. DropInvalid(options, local)], new NftBaseChain("filter", NftHook.Forward, FilterPriority)));
        }
        return fragment;
    }

    private static void AddServices(NftFragment fragment, PacketSteps steps, NetworkOptions options, LocalTraffic pods)
    {
        var addressKey = NftType.Concat(steps.AddressType, NftType.Protocol, NftType.Port);
        var portKey = NftType.Concat(NftType.Protocol, NftType.Port);
        fragment.Sets.Add(new NftSet(ClusterIPsSet, steps.AddressType));
        fragment.Sets.Add(new NftSet(ServicesMap, addressKey, NftType.Verdict));
        for (var shard = 0u; shard < EndpointShards; shard++) fragment.Sets.Add(EndpointsMap(steps, shard));
        fragment.Sets.Add(new NftSet(NodePortsMap, portKey, NftType.Verdict));
        fragment.Sets.Add(new NftSet(RefusedServicesMap, addressKey, NftType.Verdict));
        fragment.Sets.Add(new NftSet(RefusedNodePortsMap, portKey, NftType.Verdict));

        var rules = new List<NftRule>();
        // Who is no pod may not have the way back that the translation needs: the node speaks for him.
        if (options.Proxy.IsMasqueradeAll || pods.IsKnown)
        {
            NftExpression[] others = options.Proxy.IsMasqueradeAll ? [] : pods.Match(isInverted: true);
            rules.Add(new NftRule([.. others, steps.LoadDestination(0), new NftLookup(ClusterIPsSet, 0), new NftDecide(NftVerdict.Jump(MarkChain))]));
        }
        rules.Add(new NftRule([.. steps.LoadDestinationKey(), new NftLookup(ServicesMap, 0, IsVerdictMap: true)]));
        foreach (var destination in NodePortDestinations(steps, options))
        {
            rules.Add(new NftRule([.. destination, .. PacketSteps.LoadPortKey(0), new NftLookup(NodePortsMap, 0, IsVerdictMap: true)]));
        }
        fragment.Chains.Add(new NftChain("services", rules));

        NftRule[] jump = [new NftRule(new NftDecide(NftVerdict.Jump("services")))];
        fragment.Chains.Add(new NftChain("nat-prerouting", jump, new NftBaseChain("nat", NftHook.Prerouting, DestinationNatPriority)));
        fragment.Chains.Add(new NftChain("nat-output", jump, new NftBaseChain("nat", NftHook.Output, DestinationNatPriority)));
    }

    private static void AddFilters(NftFragment fragment, PacketSteps steps, NetworkOptions options, IPNetwork? services, LocalTraffic pods)
    {
        var isNew = PacketSteps.ConnectionIs(NftConntrack.New);
        var refuseService = new NftRule([.. isNew, .. steps.LoadDestinationKey(), new NftLookup(RefusedServicesMap, 0, IsVerdictMap: true)]);
        NftRule[] refuseNodePort =
        [
            .. NodePortDestinations(steps, options)
                .Select(destination => new NftRule([.. isNew, .. destination, .. PacketSteps.LoadPortKey(0), new NftLookup(RefusedNodePortsMap, 0, IsVerdictMap: true)])),
        ];
        // What still goes to a cluster IP here is for no port of that Service, which is told; what goes to none at all vanishes, as upstream has it.
        List<NftRule> refuseRest = [new NftRule([.. isNew, steps.LoadDestination(0), new NftLookup(ClusterIPsSet, 0), new NftDecide(NftVerdict.Goto(RejectChain))])];
        if (services is { } network) refuseRest.Add(new NftRule([.. isNew, .. steps.DestinationIs(network), new NftDecide(NftVerdict.Drop)]));
        fragment.Chains.Add(new NftChain(RejectChain, [new NftRule(new NftReject(steps.Family))]));
        fragment.Chains.Add(new NftChain("filter-forward", [.. DropInvalid(options, pods), refuseService, .. refuseRest], new NftBaseChain("filter", NftHook.Forward, FilterPriority)));
        fragment.Chains.Add(new NftChain("filter-input", [.. ProtectLoopback(steps), refuseService, .. refuseNodePort], new NftBaseChain("filter", NftHook.Input, FilterPriority)));
        fragment.Chains.Add(new NftChain("filter-output", [refuseService, .. refuseNodePort, .. refuseRest], new NftBaseChain("filter", NftHook.Output, FilterPriority)));
    }

    private static NftChain Postrouting(PacketSteps steps, NetworkOptions options, IPNetwork? cluster)
    {
        var bit = NftData.OfHost(BitOf(options));
        var rules = new List<NftRule>
        {
            new([
                new NftMeta(NftMetaKey.Mark, 0),
                new NftBitwise(0, bit, NftData.OfHost(0)),
                new NftCompare(0, bit),
                // The bit has done its work: a packet that is wrapped into another on its way out must not carry it.
                new NftMeta(NftMetaKey.Mark, 0),
                new NftBitwise(0, NftData.OfHost(~BitOf(options)), NftData.OfHost(0)),
                new NftMetaSet(NftMetaKey.Mark, 0),
                new NftMasquerade(),
            ]),
            // A pod that was sent back to itself must see somebody else as the source, or it would answer itself past the translation.
            new([steps.LoadSource(0), steps.LoadDestination(steps.AddressRegisters), new NftLookup(HairpinSet, 0), new NftMasquerade()]),
        };
        if (options.HasPodNetwork && cluster is { } pods && (!steps.IsIPv6 || options.IsIPv6Masqueraded))
        {
            var multicast = steps.IsIPv6 ? IPNetwork.Parse("ff00::/8") : IPNetwork.Parse("224.0.0.0/4");
            rules.Add(new NftRule([
                .. steps.SourceIs(pods), .. steps.DestinationIs(pods, isInverted: true), .. steps.DestinationIs(multicast, isInverted: true), new NftMasquerade(),
            ]));
        }
        return new NftChain("nat-postrouting", rules, new NftBaseChain("nat", NftHook.Postrouting, SourceNatPriority));
    }

    // A pod may send from its own addresses only: what has another source than those that its link leads to goes no further. rp_filter would say the same,
    // for IPv4 and unless the machine's own setting for all links loosens it.
    private static NftChain PodSources(PacketSteps steps)
    {
        var rules = new List<NftRule>();
        // Who looks for neighbours speaks from the link's own address, or from none at all.
        if (steps.IsIPv6) rules.AddRange(((string[])["fe80::/10", "::/128"]).Select(text => new NftRule([.. steps.SourceIs(IPNetwork.Parse(text)), new NftDecide(NftVerdict.Accept)])));
        rules.Add(new NftRule([
            .. PacketSteps.InputStartsWith(PodAttachment.LinkPrefix), new NftWayBack(0), new NftCompare(0, NftData.OfHost(0)), new NftDecide(NftVerdict.Drop),
        ]));
        return new NftChain("pod-sources", rules, new NftBaseChain("filter", NftHook.Prerouting, RawPriority));
    }

    private static NftRule SetMark(uint bit) =>
        new(new NftMeta(NftMetaKey.Mark, 0), new NftBitwise(0, NftData.OfHost(~bit), NftData.OfHost(bit)), new NftMetaSet(NftMetaKey.Mark, 0));

    // The mark has done its work when a connection's first packet was masqueraded. Further packets have it too, and must not carry it into others that they are
    // wrapped into.
    private static NftRule ClearMark(uint bit) => new(
        new NftMeta(NftMetaKey.Mark, 0), new NftBitwise(0, NftData.OfHost(bit), NftData.OfHost(0)), new NftCompare(0, NftData.OfHost(bit)),
        new NftMeta(NftMetaKey.Mark, 0), new NftBitwise(0, NftData.OfHost(~bit), NftData.OfHost(0)), new NftMetaSet(NftMetaKey.Mark, 0));

    private static uint BitOf(NetworkOptions options) => 1u << options.Proxy.MasqueradeBit;

    // A pod's packet that connection tracking does not understand would get to its peer untranslated, and the peer would reset the connection. Others' packets
    // may well be part of connections that only half pass by here.
    private static IEnumerable<NftRule> DropInvalid(NetworkOptions options, LocalTraffic pods)
    {
        if (options.Proxy.IsConntrackLiberal || (!options.HasPodNetwork && !pods.IsKnown)) yield break;
        NftExpression[] fromPod = options.HasPodNetwork ? PacketSteps.InputStartsWith(PodAttachment.LinkPrefix) : pods.Match();
        yield return new NftRule([.. fromPod, .. PacketSteps.ConnectionIs(NftConntrack.Invalid), new NftDecide(NftVerdict.Drop)]);
    }

    // Where node ports answer: one alternative after the other. An address that the node gets later counts from then on.
    private static IEnumerable<NftExpression[]> NodePortDestinations(PacketSteps steps, NetworkOptions options)
    {
        var family = steps.IsIPv6 ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork;
        // The kernel routes no IPv6 packet off the loopback's address.
        var loopback = IPNetwork.Parse(steps.IsIPv6 ? "::1/128" : "127.0.0.0/8");
        var hasLoopback = !steps.IsIPv6 && options.Proxy.HasLocalhostNodePorts;
        if (options.Proxy.IsNodePortPrimaryOnly)
        {
            foreach (var address in options.NodeIPs.Where(address => address.AddressFamily == family).Take(1))
            {
                yield return steps.DestinationIs(new IPNetwork(address, steps.IsIPv6 ? 128 : 32));
            }
            yield break;
        }
        var networks = options.Proxy.NodePortNetworks.Where(network => network.BaseAddress.AddressFamily == family).ToList();
        if (networks.Count == 0 || networks.Exists(static network => network.PrefixLength == 0))
        {
            yield return hasLoopback ? steps.DestinationIsLocal() : [.. steps.DestinationIs(loopback, isInverted: true), .. steps.DestinationIsLocal()];
            yield break;
        }
        foreach (var network in networks)
        {
            if (loopback.Contains(network.BaseAddress) && !hasLoopback) continue;
            yield return [.. steps.DestinationIs(network), .. steps.DestinationIsLocal()];
        }
    }

    // route_localnet, which node ports on 127.0.0.1 need, would let neighbours reach what listens on the loopback only.
    private static NftRule[] ProtectLoopback(PacketSteps steps) => steps.IsIPv6
        ? []
        :
        [
            new NftRule([
                .. PacketSteps.InputIs("lo", isInverted: true),
                .. steps.DestinationIs(IPNetwork.Parse("127.0.0.0/8")),
                .. steps.SourceIs(IPNetwork.Parse("127.0.0.0/8"), isInverted: true),
                .. PacketSteps.ConnectionIs(NftConntrack.New | NftConntrack.Invalid),
                new NftDecide(NftVerdict.Drop),
            ]),
        ];

    private static IPNetwork? FirstOrNull(this IReadOnlyList<IPNetwork> networks, AddressFamily family)
    {
        foreach (var network in networks)
        {
            if (network.BaseAddress.AddressFamily == family) return network;
        }
        return null;
    }
}
