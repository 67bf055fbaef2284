using System.Net;
using K3sFast.Interop.NfTables;

namespace K3sFast.Network.Proxy.Ipvs;

/// <summary>
/// What virtual servers do not do by themselves, as rules: mark connections that must be masqueraded, and keep out whom a load balancer's sources do not name.
/// Both run before the kernel hands a packet to a virtual server.
/// </summary>
internal static class IpvsRules
{
    private const string MasqueradePlaces = "masquerade-places", MasqueradePorts = "masquerade-nodeports", FirewallMap = "firewall-ips";
    private const int MarkPriority = -105, FilterPriority = -5;

    /// <summary>Adds the hooks and sets to the rules that no Service has a say in.</summary>
    internal static void Extend(PacketSteps steps, NetworkOptions options, LocalTraffic pods, NftFragment fragment)
    {
        var placeKey = NftType.Concat(steps.AddressType, NftType.Protocol, NftType.Port);
        fragment.Sets.Add(new NftSet(BaseRules.ClusterIPsSet, steps.AddressType));
        fragment.Sets.Add(new NftSet(MasqueradePlaces, placeKey));
        fragment.Sets.Add(new NftSet(MasqueradePorts, NftType.Concat(NftType.Protocol, NftType.Port)));
        fragment.Sets.Add(new NftSet(FirewallMap, placeKey, NftType.Verdict));
        var mark = new NftDecide(NftVerdict.Jump(BaseRules.MarkChain));
        var rules = new List<NftRule>();
        if (options.Proxy.IsMasqueradeAll || pods.IsKnown)
        {
            NftExpression[] others = options.Proxy.IsMasqueradeAll ? [] : pods.Match(isInverted: true);
            rules.Add(new NftRule([.. others, steps.LoadDestination(0), new NftLookup(BaseRules.ClusterIPsSet, 0), mark]));
        }
        rules.Add(new NftRule([.. steps.LoadDestinationKey(), new NftLookup(MasqueradePlaces, 0), mark]));
        rules.Add(new NftRule([.. steps.DestinationIsLocal(), .. PacketSteps.LoadPortKey(0), new NftLookup(MasqueradePorts, 0), mark]));
        fragment.Chains.Add(new NftChain("services", rules));
        NftRule[] jump = [new NftRule(new NftDecide(NftVerdict.Jump("services")))];
        fragment.Chains.Add(new NftChain("mark-prerouting", jump, new NftBaseChain("filter", NftHook.Prerouting, MarkPriority)));
        fragment.Chains.Add(new NftChain("mark-output", jump, new NftBaseChain("filter", NftHook.Output, MarkPriority)));
        fragment.Chains.Add(new NftChain("filter-input",
            [new NftRule([.. PacketSteps.ConnectionIs(NftConntrack.New), .. steps.LoadDestinationKey(), new NftLookup(FirewallMap, 0, IsVerdictMap: true)])],
            new NftBaseChain("filter", NftHook.Input, FilterPriority)));
    }

    /// <summary>What a Service adds to them; null = nothing.</summary>
    internal static NftFragment? Build(PacketSteps steps, IReadOnlyList<ServicePort> ports, IReadOnlyList<IPAddress> nodeIPs)
    {
        if (ports.Count == 0) return null;
        var fragment = new NftFragment();
        var clusterIP = (BaseRules.ClusterIPsSet, new NftElement(NftData.Of(ports[0].ClusterIP)));
        fragment.Elements.Add(clusterIP);
        var hairpins = new HashSet<IPAddress>();
        foreach (var port in ports)
        {
            if (!port.IsExternalLocal)
            {
                foreach (var address in port.ExternalIPs.Concat(port.LoadBalancerIPs)) fragment.Elements.Add((MasqueradePlaces, new NftElement(Place(address, port))));
                if (port.NodePort != 0) fragment.Elements.Add((MasqueradePorts, new NftElement(NftData.Concat(new NftData(port.Protocol), NftData.OfPort(port.NodePort)))));
            }
            foreach (var endpoint in port.Endpoints.Concat(port.LocalEndpoints))
            {
                if (endpoint.IsLocal && !nodeIPs.Contains(endpoint.Address) && hairpins.Add(endpoint.Address))
                    fragment.Elements.Add((BaseRules.HairpinSet, new NftElement(NftData.Concat(NftData.Of(endpoint.Address), NftData.Of(endpoint.Address)))));
            }
            if (port.LoadBalancerIPs.Count > 0 && port.LoadBalancerSources.Count > 0) AddFirewall(fragment, steps, port, nodeIPs);
        }
        return fragment;
    }

    private static void AddFirewall(NftFragment fragment, PacketSteps steps, ServicePort port, IReadOnlyList<IPAddress> nodeIPs)
    {
        var name = "firewall-" + port.Id;
        var sources = port.LoadBalancerSources.ToList();
        if (sources.Exists(source => nodeIPs.Any(source.Contains))) sources.AddRange(port.LoadBalancerIPs.Select(static address => new IPNetwork(address, address.GetAddressBytes().Length * 8)));
        var rules = sources.ConvertAll(source => new NftRule([.. steps.SourceIs(source), new NftDecide(NftVerdict.Accept)]));
        rules.Add(new NftRule(new NftDecide(NftVerdict.Drop)));
        fragment.Chains.Add(new NftChain(name, rules));
        foreach (var address in port.LoadBalancerIPs) fragment.Elements.Add((FirewallMap, new NftElement(Place(address, port), Verdict: NftVerdict.Goto(name))));
    }

    private static NftData Place(IPAddress address, ServicePort port) => NftData.Concat(NftData.Of(address), new NftData(port.Protocol), NftData.OfPort(port.Port));
}
