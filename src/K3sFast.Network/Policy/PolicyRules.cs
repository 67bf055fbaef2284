using System.Net;
using System.Net.Sockets;
using K3sFast.Interop.NfTables;
using K3sFast.Network.Cni;
using K3sFast.Network.Proxy;

namespace K3sFast.Network.Policy;

/// <summary>Writes policies as rules of one family: pure.</summary>
/// <remarks>
/// A forwarded packet's way: what belongs to a connection that was let through passes, and what a pod sends to itself. Then, in <c>filter-out</c>, from a
/// pod's link, its source in <c>isolated-out</c> → <c>isolate-out-…</c>, which asks each policy that selects the pod, and drops what none lets through. One
/// that does sends it on to <c>filter-in</c>, where its destination in <c>isolated-in</c> is judged in the same way: accepting in one hooked chain is going on
/// to the next, and the kernel, which follows every way through a table before it takes a change, follows the two apart. What goes between a node and its
/// own pods is not forwarded, and never judged. A pod's part is two elements; a peer's is one element per set that speaks of it.
/// Each rule of a policy counts the connections that it let through, each chain that isolates counts what it dropped, and tells netfilter's log of some.
/// </remarks>
internal static class PolicyRules
{
    internal const string TableName = "k3sfast-policy";
    internal const string InMap = "isolated-in", OutMap = "isolated-out", SelfSet = "self", UnknownChain = "isolate-unknown";

    // A little after the chains of Services, which refuse what leads nowhere, and before everybody else's.
    private const int OutPriority = -4, InPriority = -3;

    // kube-router's group and rate, for who listens already.
    private const ushort LogGroup = 100;
    private const int LoggedPerMinute = 10;

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
        NftRule[] passing =
        [
            new([.. PacketSteps.ConnectionIs(NftConntrack.Established | NftConntrack.Related), new NftDecide(NftVerdict.Accept)]),
            new(steps.LoadSource(0), steps.LoadDestination(steps.AddressRegisters), new NftLookup(SelfSet, 0), new NftDecide(NftVerdict.Accept)),
        ];
        fragment.Chains.Add(new NftChain(
            "filter-out", [.. passing, new NftRule([.. fromPod, steps.LoadSource(0), new NftLookup(OutMap, 0, IsVerdictMap: true)])], new NftBaseChain("filter", NftHook.Forward, OutPriority)));
        fragment.Chains.Add(new NftChain(
            "filter-in", [.. passing, new NftRule(steps.LoadDestination(0), new NftLookup(InMap, 0, IsVerdictMap: true))], new NftBaseChain("filter", NftHook.Forward, InPriority)));
        return fragment;
    }

    /// <summary>A rule that only a kernel with netfilter's log takes: for finding out.</summary>
    internal static NftFragment LogProbe()
    {
        var fragment = new NftFragment();
        fragment.Chains.Add(new NftChain("probe", [new NftRule(new NftLog(LogGroup, "probe"))]));
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
    /// <param name="name">Its name.</param>
    /// <param name="isIngress">For what they get; false = for what they send.</param>
    /// <param name="policies">The policies.</param>
    /// <param name="isLogged">What is dropped is told to netfilter's log.</param>
    internal static NftFragment Isolation(string name, bool isIngress, IReadOnlyList<PolicySpec> policies, bool isLogged)
    {
        var fragment = new NftFragment();
        var names = string.Join(", ", policies.Select(static policy => policy.Key));
        var words = isIngress ? "not let in by " : "not let out by ";
        NftRule[] log = isLogged ? [new NftRule(new NftLimit(LoggedPerMinute, LoggedPerMinute, 60), new NftLog(LogGroup, Cut(words + names)))] : [];
        fragment.Chains.Add(new NftChain(name, [.. policies.Select(policy => new NftRule(new NftDecide(NftVerdict.Jump(ChainOf(policy, isIngress))))), .. log, Drop()]) { Comment = names });
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

    private static string Cut(string words) => words.Length <= NftLog.MaxPrefixBytes ? words : words[..NftLog.MaxPrefixBytes];

    private static NftRule Drop() => new(new NftCounter(), new NftDecide(NftVerdict.Drop));

    private static void AddChain(
        NftFragment fragment, PacketSteps steps, PolicySpec policy, IReadOnlyList<PolicyRule> rules, bool isIngress, Func<PolicyRule, IEnumerable<PolicyPod>> namedPortsOf)
    {
        var chain = ChainOf(policy, isIngress);
        NftExpression[] pass = [new NftCounter(), new NftDecide(NftVerdict.Accept)];
        var written = new List<NftRule>();
        for (var i = 0; i < rules.Count; i++)
        {
            var rule = rules[i];
            var named = rule.Ports.Where(static port => port.Name.Length > 0).ToList();
            var set = $"ports-{chain}-{i}";
            if (named.Count > 0) AddNamedPorts(fragment, steps, set, named, namedPortsOf(rule));
            foreach (var (peer, isBlock) in Peers(steps, rule, isIngress))
            {
                foreach (var port in Ports(rule)) written.Add(new NftRule([.. peer, .. port, .. pass]));
                // Nobody knows the ports' names of what is no pod, when it is at the other end.
                if (named.Count > 0 && (isIngress || !isBlock)) written.Add(new NftRule([.. peer, .. steps.LoadDestinationKey(), new NftLookup(set, 0), .. pass]));
            }
        }
        fragment.Chains.Add(new NftChain(chain, written) { Comment = policy.Key });
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
