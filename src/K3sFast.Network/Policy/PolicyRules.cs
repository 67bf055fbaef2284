using System.Net;
using System.Net.Sockets;
using K3sFast.Interop.NfTables;
using K3sFast.Network.Cni;
using K3sFast.Network.Proxy;

namespace K3sFast.Network.Policy;

/// <summary>Writes policies as rules of one family: pure.</summary>
/// <remarks>
/// A forwarded packet's way: what belongs to a connection that was let through passes, and what a pod sends to itself. Then, from a pod's link, its source
/// in <c>isolated-out</c> → <c>isolate-out-…</c>, which asks each policy that selects the pod, and drops what none lets through; one that does sends the
/// packet on to <c>ingress</c>, where its destination in <c>isolated-in</c> is judged in the same way. What goes between a node and its own pods is not
/// forwarded, and never judged. A pod's part is two elements; a peer's is one element per set that speaks of it.
/// </remarks>
internal static class PolicyRules
{
    internal const string TableName = "k3sfast-policy";
    internal const string InMap = "isolated-in", OutMap = "isolated-out", SelfSet = "self", UnknownChain = "isolate-unknown";
    private const string IngressChain = "ingress";

    // A little after the chains of Services, which refuse what leads nowhere, and before everybody else's.
    private const int Priority = -4;

    /// <param name="steps">The family.</param>
    /// <param name="hasOwnLinks">Pods' links are ours, and known by their names.</param>
    internal static NftFragment Base(PacketSteps steps, bool hasOwnLinks)
    {
        NftExpression[] fromPod = hasOwnLinks ? PacketSteps.InputStartsWith(PodAttachment.LinkPrefix) : [];
        var fragment = new NftFragment();
        fragment.Sets.Add(new NftSet(InMap, steps.AddressType, NftType.Verdict));
        fragment.Sets.Add(new NftSet(OutMap, steps.AddressType, NftType.Verdict));
        fragment.Sets.Add(new NftSet(SelfSet, NftType.Concat(steps.AddressType, steps.AddressType)));
        fragment.Chains.Add(new NftChain(UnknownChain, [Drop()]));
        fragment.Chains.Add(new NftChain(IngressChain,
        [
            new NftRule(steps.LoadDestination(0), new NftLookup(InMap, 0, IsVerdictMap: true)),
            new NftRule(new NftDecide(NftVerdict.Accept)),
        ]));
        fragment.Chains.Add(new NftChain("filter-forward",
        [
            new NftRule([.. PacketSteps.ConnectionIs(NftConntrack.Established | NftConntrack.Related), new NftDecide(NftVerdict.Accept)]),
            new NftRule(steps.LoadSource(0), steps.LoadDestination(steps.AddressRegisters), new NftLookup(SelfSet, 0), new NftDecide(NftVerdict.Accept)),
            new NftRule([.. fromPod, steps.LoadSource(0), new NftLookup(OutMap, 0, IsVerdictMap: true)]),
            new NftRule(new NftDecide(NftVerdict.Goto(IngressChain))),
        ], new NftBaseChain("filter", NftHook.Forward, Priority)));
        return fragment;
    }

    /// <summary>The addresses of those whom a selector picks.</summary>
    internal static NftFragment Peers(PacketSteps steps, PeerSelector selector, IEnumerable<PolicyPod> pods)
    {
        var fragment = new NftFragment();
        fragment.Sets.Add(new NftSet(selector.SetName, steps.AddressType));
        foreach (var address in pods.SelectMany(static pod => pod.Addresses).Where(address => IsOf(steps, address)).Distinct())
            fragment.Elements.Add((selector.SetName, new NftElement(NftData.Of(address))));
        return fragment;
    }

    /// <summary>A pod that is isolated: which chain judges what it gets and what it sends; "" = none does.</summary>
    internal static NftFragment Pod(PacketSteps steps, PolicyPod pod, string inChain, string outChain)
    {
        var fragment = new NftFragment();
        foreach (var address in pod.Addresses.Where(address => IsOf(steps, address)))
        {
            var key = NftData.Of(address);
            if (inChain.Length > 0) fragment.Elements.Add((InMap, new NftElement(key, Verdict: NftVerdict.Goto(inChain))));
            if (outChain.Length > 0) fragment.Elements.Add((OutMap, new NftElement(key, Verdict: NftVerdict.Goto(outChain))));
            fragment.Elements.Add((SelfSet, new NftElement(NftData.Concat(key, key))));
        }
        return fragment;
    }

    /// <summary>The chain of pods that the same policies select.</summary>
    internal static NftFragment Isolation(string name, bool isIngress, IEnumerable<PolicySpec> policies)
    {
        var fragment = new NftFragment();
        fragment.Chains.Add(new NftChain(name, [.. policies.Select(policy => new NftRule(new NftDecide(NftVerdict.Jump(ChainOf(policy, isIngress))))), Drop()]));
        return fragment;
    }

    /// <summary>A policy's own chains.</summary>
    /// <param name="steps">The family.</param>
    /// <param name="policy">The policy.</param>
    /// <param name="subjects">The pods of this node that it selects: named ports of what comes in are theirs.</param>
    /// <param name="peersOf">The pods that a selector picks; null asks for all: named ports of what goes out are theirs.</param>
    internal static NftFragment Policy(PacketSteps steps, PolicySpec policy, IReadOnlyList<PolicyPod> subjects, Func<PeerSelector?, IEnumerable<PolicyPod>> peersOf)
    {
        var fragment = new NftFragment();
        if (policy.Ingress is { } ingress) AddChain(fragment, steps, policy, ingress, isIngress: true, _ => subjects);
        if (policy.Egress is { } egress) AddChain(fragment, steps, policy, egress, isIngress: false, rule => rule.IsAnybody ? peersOf(null) : rule.Selectors.SelectMany(peersOf));
        return fragment;
    }

    private static string ChainOf(PolicySpec policy, bool isIngress) => (isIngress ? "in-" : "out-") + policy.Id;

    private static NftRule Drop() => new(new NftCounter(), new NftDecide(NftVerdict.Drop));

    private static void AddChain(
        NftFragment fragment, PacketSteps steps, PolicySpec policy, IReadOnlyList<PolicyRule> rules, bool isIngress, Func<PolicyRule, IEnumerable<PolicyPod>> namedPortsOf)
    {
        var chain = ChainOf(policy, isIngress);
        // What is let out is judged again where it goes in.
        var pass = isIngress ? NftVerdict.Accept : NftVerdict.Goto(IngressChain);
        var written = new List<NftRule> { new(new NftCounter()) };
        for (var i = 0; i < rules.Count; i++)
        {
            var rule = rules[i];
            var named = rule.Ports.Where(static port => port.Name.Length > 0).ToList();
            var set = $"ports-{chain}-{i}";
            if (named.Count > 0) AddNamedPorts(fragment, steps, set, named, namedPortsOf(rule));
            foreach (var (peer, isBlock) in Peers(steps, rule, isIngress))
            {
                foreach (var port in Ports(rule)) written.Add(new NftRule([.. peer, .. port, new NftDecide(pass)]));
                // Nobody knows the ports' names of what is no pod, when it is at the other end.
                if (named.Count > 0 && (isIngress || !isBlock)) written.Add(new NftRule([.. peer, .. steps.LoadDestinationKey(), new NftLookup(set, 0), new NftDecide(pass)]));
            }
        }
        fragment.Chains.Add(new NftChain(chain, written));
    }

    private static IEnumerable<(NftExpression[] Match, bool IsBlock)> Peers(PacketSteps steps, PolicyRule rule, bool isIngress)
    {
        if (rule.IsAnybody) yield return ([], false);
        foreach (var selector in rule.Selectors)
            yield return ([isIngress ? steps.LoadSource(0) : steps.LoadDestination(0), new NftLookup(selector.SetName, 0)], false);
        foreach (var block in rule.Blocks)
        {
            if (!IsOf(steps, block.Network.BaseAddress)) continue;
            NftExpression[] Within(IPNetwork network, bool isInverted) => isIngress ? steps.SourceIs(network, isInverted) : steps.DestinationIs(network, isInverted);
            yield return ([.. Within(block.Network, false), .. block.Except.SelectMany(except => Within(except, true))], true);
        }
    }

    private static IEnumerable<NftExpression[]> Ports(PolicyRule rule)
    {
        if (rule.Ports.Count == 0) yield return [];
        foreach (var port in rule.Ports)
        {
            if (port.Name.Length > 0) continue;
            NftExpression[] protocol = [new NftMeta(NftMetaKey.TransportProtocol, 0), new NftCompare(0, new NftData(port.Protocol))];
            // TCP, UDP and SCTP all have the destination port at 2.
            var load = new NftPayload(NftPayloadBase.Transport, 2, 2, 0);
            yield return port.First == 0 ? protocol
                : port.First == port.Last ? [.. protocol, load, new NftCompare(0, NftData.OfPort(port.First))]
                : [.. protocol, load, new NftRange(0, NftData.OfPort(port.First), NftData.OfPort(port.Last))];
        }
    }

    private static void AddNamedPorts(NftFragment fragment, PacketSteps steps, string set, List<PolicyPort> named, IEnumerable<PolicyPod> pods)
    {
        fragment.Sets.Add(new NftSet(set, NftType.Concat(steps.AddressType, NftType.Protocol, NftType.Port)));
        var elements = new HashSet<NftElement>();
        foreach (var pod in pods)
        {
            foreach (var port in pod.Ports.Where(port => named.Exists(wanted => wanted.Name == port.Name && wanted.Protocol == port.Protocol)))
            {
                foreach (var address in pod.Addresses.Where(address => IsOf(steps, address)))
                    elements.Add(new NftElement(NftData.Concat(NftData.Of(address), new NftData(port.Protocol), NftData.OfPort(port.Port))));
            }
        }
        foreach (var element in elements) fragment.Elements.Add((set, element));
    }

    private static bool IsOf(PacketSteps steps, IPAddress address) => steps.IsIPv6 == (address.AddressFamily == AddressFamily.InterNetworkV6);
}
