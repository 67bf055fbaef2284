using System.Net;
using System.Security.Cryptography;
using System.Text;
using K3sFast.Interop.NfTables;

namespace K3sFast.Network.Proxy;

/// <summary>Writes the rules of one service port: pure, and of a size that depends on its own endpoints only.</summary>
/// <remarks>
/// Chains: <c>service-…</c> sends to any endpoint, <c>local-…</c> to one on this node, <c>external-…</c> is entered through node ports and external
/// addresses and does what the external traffic policy asks before it goes to one of the two, <c>firewall-…</c> checks a load balancer's
/// sources first. With client affinity each endpoint has an <c>endpoint-…</c> chain and a set of the clients that belong to it.
/// </remarks>
internal static class ServiceRules
{
    // A bound for what clients can make grow: one entry per client address, then new clients are not remembered.
    private const int MaxClientsPerEndpoint = 65536;

    /// <summary>Adds the rules of <paramref name="port"/> to its Service's part of the table.</summary>
    /// <param name="fragment">Where to.</param>
    /// <param name="steps">The family.</param>
    /// <param name="port">The service port.</param>
    /// <param name="pods">How pods' connections are told from others.</param>
    /// <param name="nodeIPs">Addresses of this node: endpoints on them need no way around.</param>
    internal static void Add(NftFragment fragment, PacketSteps steps, ServicePort port, LocalTraffic pods, IReadOnlyList<IPAddress> nodeIPs)
    {
        var (any, local) = (port.Endpoints.Count > 0, port.LocalEndpoints.Count > 0);
        if (any) AddBalancer(fragment, steps, port, "service-" + port.Id, port.Endpoints);
        if (local && (port.IsInternalLocal || port.IsExternalLocal)) AddBalancer(fragment, steps, port, "local-" + port.Id, port.LocalEndpoints);
        if (port.Affinity > TimeSpan.Zero) AddEndpointChains(fragment, steps, port);

        AddInternal(fragment, port, any, local);
        if (port.HasExternal) AddExternal(fragment, steps, port, pods, nodeIPs, any, local);
        foreach (var endpoint in port.Endpoints.Union(port.LocalEndpoints))
        {
            if (!endpoint.IsLocal || nodeIPs.Contains(endpoint.Address)) continue;
            AddOnce(fragment, BaseRules.HairpinSet, NftData.Concat(NftData.Of(endpoint.Address), NftData.Of(endpoint.Address)));
        }
    }

    // Several ports of a Service have the same cluster IP and the same pods.
    private static void AddOnce(NftFragment fragment, string set, NftData key)
    {
        var element = new NftElement(key);
        if (!fragment.Elements.Contains((set, element))) fragment.Elements.Add((set, element));
    }

    private static void AddInternal(NftFragment fragment, ServicePort port, bool any, bool local)
    {
        AddOnce(fragment, BaseRules.ClusterIPsSet, NftData.Of(port.ClusterIP));
        var key = AddressKey(port.ClusterIP, port);
        if (port.IsInternalLocal ? local : any)
        {
            var chain = (port.IsInternalLocal ? "local-" : "service-") + port.Id;
            fragment.Elements.Add((BaseRules.ServicesMap, new NftElement(key, Verdict: NftVerdict.Goto(chain))));
        }
        else
        {
            fragment.Elements.Add((BaseRules.RefusedServicesMap, new NftElement(key, Verdict: Refusal(any))));
        }
    }

    private static void AddExternal(NftFragment fragment, PacketSteps steps, ServicePort port, LocalTraffic pods, IReadOnlyList<IPAddress> nodeIPs, bool any, bool local)
    {
        var chain = "external-" + port.Id;
        if (any) fragment.Chains.Add(new NftChain(chain, ExternalRules(steps, port, pods, local)));
        // Upstream's refusals: nobody there at all is told, "not on this node" is silence, so that a load balancer tries another node.
        NftVerdict? refusal = !any ? Refusal(any) : port.IsExternalLocal && !local ? NftVerdict.Drop : null;
        foreach (var address in port.ExternalIPs) AddAddress(fragment, AddressKey(address, port), chain, any, refusal);
        if (port.LoadBalancerIPs.Count > 0)
        {
            var (entry, refused) = (chain, refusal);
            if (port.LoadBalancerSources.Count > 0)
            {
                entry = AddFirewall(fragment, steps, port, nodeIPs, any ? chain : BaseRules.RejectChain);
                // Who may not come in is not told either that nobody is there.
                if (!any) refused = NftVerdict.Goto(entry);
            }
            foreach (var address in port.LoadBalancerIPs) AddAddress(fragment, AddressKey(address, port), entry, any, refused);
        }
        if (port.NodePort == 0) return;
        var key = NftData.Concat(new NftData(port.Protocol), NftData.OfPort(port.NodePort));
        if (any) fragment.Elements.Add((BaseRules.NodePortsMap, new NftElement(key, Verdict: NftVerdict.Goto(chain))));
        if (refusal is { } verdict) fragment.Elements.Add((BaseRules.RefusedNodePortsMap, new NftElement(key, Verdict: verdict)));
    }

    private static List<NftRule> ExternalRules(PacketSteps steps, ServicePort port, LocalTraffic pods, bool local)
    {
        var anywhere = new NftDecide(NftVerdict.Goto("service-" + port.Id));
        var mark = new NftDecide(NftVerdict.Jump(BaseRules.MarkChain));
        if (!port.IsExternalLocal) return [new NftRule(mark), new NftRule(anywhere)];
        var rules = new List<NftRule>();
        // Pods and the node itself are inside: the policy is for who comes from outside, and his address must reach the pod as it is.
        if (pods.IsKnown) rules.Add(new NftRule([.. pods.Match(), anywhere]));
        rules.Add(new NftRule([.. steps.SourceIsLocal(), mark]));
        rules.Add(new NftRule([.. steps.SourceIsLocal(), anywhere]));
        if (local) rules.Add(new NftRule(new NftDecide(NftVerdict.Goto("local-" + port.Id))));
        return rules;
    }

    private static string AddFirewall(NftFragment fragment, PacketSteps steps, ServicePort port, IReadOnlyList<IPAddress> nodeIPs, string next)
    {
        var name = "firewall-" + port.Id;
        var sources = port.LoadBalancerSources.ToList();
        // A node that may come in does so with the balancer's address as source, when the balancer gave it one.
        if (sources.Exists(source => nodeIPs.Any(source.Contains))) sources.AddRange(port.LoadBalancerIPs.Select(static address => new IPNetwork(address, address.GetAddressBytes().Length * 8)));
        var rules = sources.ConvertAll(source => new NftRule([.. steps.SourceIs(source), new NftDecide(NftVerdict.Goto(next))]));
        rules.Add(new NftRule(new NftDecide(NftVerdict.Drop)));
        fragment.Chains.Add(new NftChain(name, rules));
        return name;
    }

    private static void AddAddress(NftFragment fragment, NftData key, string chain, bool any, NftVerdict? refusal)
    {
        if (any) fragment.Elements.Add((BaseRules.ServicesMap, new NftElement(key, Verdict: NftVerdict.Goto(chain))));
        if (refusal is { } verdict) fragment.Elements.Add((BaseRules.RefusedServicesMap, new NftElement(key, Verdict: verdict)));
    }

    // One rule whatever the number of endpoints, and a few maps for all Services: {chain's number . choice} -> endpoint. A map for each rule alone
    // would be simpler, but the kernel walks all sets of a table to name or find one: ten thousand of them take it seconds. Exchanging an
    // endpoint for another changes elements only, which spares the kernel from checking the whole table again.
    private static void AddBalancer(NftFragment fragment, PacketSteps steps, ServicePort port, string chain, IReadOnlyList<Endpoint> endpoints)
    {
        if (port.Affinity > TimeSpan.Zero)
        {
            fragment.Chains.Add(new NftChain(chain, AffinityRules(steps, port, endpoints)));
            return;
        }
        var (low, high, map) = NumberOf(steps, chain);
        for (var i = 0; i < endpoints.Count; i++)
        {
            var target = NftData.Concat(NftData.Of(endpoints[i].Address), NftData.OfPort(endpoints[i].Port));
            fragment.Elements.Add((map, new NftElement(NftData.Concat(low, high, NftData.OfHost((uint)i)), target)));
        }
        fragment.Chains.Add(new NftChain(chain, [
            new NftRule(
                new NftImmediate(0, low),
                new NftImmediate(1, high),
                new NftRandom(2, endpoints.Count),
                new NftLookup(map, 0, PacketSteps.FoundRegister),
                steps.TranslateToRegisters(PacketSteps.FoundRegister)),
        ]));
    }

    // 64 bits of a hash of the name: two of 20,000 chains have the same number once in 10^11 clusters.
    private static (NftData Low, NftData High, string Map) NumberOf(PacketSteps steps, string chain)
    {
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(Encoding.UTF8.GetBytes(chain), hash);
        var low = BitConverter.ToUInt32(hash);
        return (NftData.OfHost(low), NftData.OfHost(BitConverter.ToUInt32(hash[4..])), BaseRules.EndpointsMap(steps, low).Name);
    }

    private static List<NftRule> AffinityRules(PacketSteps steps, ServicePort port, IReadOnlyList<Endpoint> endpoints)
    {
        var rules = new List<NftRule>(endpoints.Count + 1);
        foreach (var endpoint in endpoints)
        {
            rules.Add(new NftRule(steps.LoadSource(0), new NftLookup(ClientSet(port, endpoint), 0), new NftDecide(NftVerdict.Goto(EndpointChain(port, endpoint)))));
        }
        var choices = new NftElement[endpoints.Count];
        for (var i = 0; i < choices.Length; i++) choices[i] = new NftElement(NftData.OfHost((uint)i), Verdict: NftVerdict.Goto(EndpointChain(port, endpoints[i])));
        var map = new NftAnonymousMap(NftType.Number, NftType.Verdict, choices);
        rules.Add(new NftRule(new NftRandom(0, choices.Length), new NftLookup("", 0, null, map, IsVerdictMap: true)));
        return rules;
    }

    private static void AddEndpointChains(NftFragment fragment, PacketSteps steps, ServicePort port)
    {
        foreach (var endpoint in port.Endpoints.Union(port.LocalEndpoints))
        {
            fragment.Sets.Add(new NftSet(ClientSet(port, endpoint), steps.AddressType, null, port.Affinity, MaxClientsPerEndpoint));
            fragment.Chains.Add(new NftChain(EndpointChain(port, endpoint), [
                new NftRule(steps.LoadSource(0), new NftRemember(ClientSet(port, endpoint), 0, port.Affinity)),
                new NftRule(steps.TranslateTo(endpoint.Address, endpoint.Port)),
            ]));
        }
    }

    private static NftVerdict Refusal(bool any) => any ? NftVerdict.Drop : NftVerdict.Goto(BaseRules.RejectChain);

    private static NftData AddressKey(IPAddress address, ServicePort port) => NftData.Concat(NftData.Of(address), new NftData(port.Protocol), NftData.OfPort(port.Port));

    // The colons of IPv6 addresses are nothing that nft's own language allows in a name.
    private static string EndpointChain(ServicePort port, Endpoint endpoint) => $"endpoint-{port.Id}/{endpoint.Address}/{endpoint.Port}".Replace(':', '.');

    // A set cannot be redefined: another timeout is another set.
    private static string ClientSet(ServicePort port, Endpoint endpoint) =>
        $"clients-{(long)port.Affinity.TotalSeconds}s-{port.Id}/{endpoint.Address}/{endpoint.Port}".Replace(':', '.');
}
