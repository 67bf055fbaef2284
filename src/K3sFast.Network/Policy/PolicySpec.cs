using System.Net;
using System.Security.Cryptography;
using System.Text;
using K3sFast.Client;
using K3sFast.Client.Selection;
using k8s.Models;

namespace K3sFast.Network.Policy;

/// <summary>Pods that a rule speaks of, by labels of theirs and of their namespaces. Equal when written alike: many rules share one set of addresses.</summary>
/// <param name="Key">The selectors as text.</param>
/// <param name="Namespace">The only namespace; null = those that the selector picks.</param>
/// <param name="Namespaces">Which namespaces.</param>
/// <param name="Pods">Which pods.</param>
internal sealed record PeerSelector(string Key, string? Namespace, LabelMatcher Namespaces, LabelMatcher Pods)
{
    /// <summary>Name of the set of their addresses.</summary>
    internal string SetName => "peers-" + PolicySpec.Hash(Key);

    internal bool Matches(PolicyPod pod, IDictionary<string, string>? namespaceLabels) =>
        !pod.IsUnknown && (Namespace is not null ? Namespace == pod.Namespace : namespaceLabels is not null && Namespaces.Matches(namespaceLabels)) && Pods.Matches(pod.Labels);

    /// <summary>It picks by labels of namespaces, and a namespace with these (null = there is none) is one of them.</summary>
    internal bool Picks(IDictionary<string, string>? namespaceLabels) => Namespace is null && namespaceLabels is not null && Namespaces.Matches(namespaceLabels);

    internal static PeerSelector Of(string policyNamespace, V1NetworkPolicyPeer peer)
    {
        // A missing pod selector beside one of namespaces means all their pods.
        var pods = peer.PodSelector ?? new V1LabelSelector();
        return peer.NamespaceSelector is { } namespaces
            ? new PeerSelector($"* {Text(namespaces)} {Text(pods)}", null, LabelMatcher.Of(namespaces), LabelMatcher.Of(pods))
            : new PeerSelector($"{policyNamespace} {Text(pods)}", policyNamespace, LabelMatcher.Nothing, LabelMatcher.Of(pods));
    }

    private static string Text(V1LabelSelector selector) => Encoding.UTF8.GetString(ModelJson.Serialize(selector));
}

/// <summary>Addresses that a rule speaks of, less some.</summary>
internal sealed record PolicyBlock(IPNetwork Network, IReadOnlyList<IPNetwork> Except);

/// <summary>Ports that a rule speaks of: one, a range, one by its pods' name for it, or all of a protocol.</summary>
/// <param name="Protocol">IP protocol number.</param>
/// <param name="First">First port; 0 = all, or a name.</param>
/// <param name="Last">Last port of a range; the first again for one port.</param>
/// <param name="Name">A name that pods give to a port; "" = none.</param>
internal readonly record struct PolicyPort(byte Protocol, ushort First, ushort Last, string Name)
{
    internal static PolicyPort Of(V1NetworkPolicyPort port)
    {
        var protocol = ProtocolOf(port.Protocol);
        if (port.Port?.Value is not { Length: > 0 } text) return new PolicyPort(protocol, 0, 0, "");
        return ushort.TryParse(text, out var first)
            ? new PolicyPort(protocol, first, port.EndPort is { } last ? (ushort)last : first, "")
            : new PolicyPort(protocol, 0, 0, text);
    }

    internal static byte ProtocolOf(string? name) => name switch
    {
        "UDP" => 17,
        "SCTP" => 132,
        _ => 6,
    };
}

/// <summary>One rule of a policy: what matches one of the peers and one of the ports is let through. No peers = everybody, no ports = all.</summary>
internal sealed record PolicyRule(bool IsAnybody, IReadOnlyList<PeerSelector> Selectors, IReadOnlyList<PolicyBlock> Blocks, IReadOnlyList<PolicyPort> Ports)
{
    internal static PolicyRule Of(string policyNamespace, IList<V1NetworkPolicyPeer>? peers, IList<V1NetworkPolicyPort>? ports)
    {
        var blocks = new List<PolicyBlock>();
        foreach (var peer in peers ?? [])
        {
            if (peer.IpBlock is { } block && IPNetwork.TryParse(block.Cidr, out var network))
                blocks.Add(new PolicyBlock(network, [.. (block.Except ?? []).Select(IPNetwork.Parse)]));
        }
        return new PolicyRule(
            peers is not { Count: > 0 }, [.. (peers ?? []).Where(static peer => peer.IpBlock is null).Select(peer => PeerSelector.Of(policyNamespace, peer)).DistinctBy(static peer => peer.Key)],
            blocks, [.. (ports ?? []).Select(PolicyPort.Of)]);
    }
}

/// <summary>A NetworkPolicy made ready. Immutable.</summary>
/// <param name="Key">namespace/name.</param>
/// <param name="Namespace">Whose pods it selects.</param>
/// <param name="Subject">Which of them.</param>
/// <param name="Ingress">Its rules for what comes in; null = it says nothing about that.</param>
/// <param name="Egress">Its rules for what goes out; null = it says nothing about that.</param>
internal sealed record PolicySpec(string Key, string Namespace, LabelMatcher Subject, IReadOnlyList<PolicyRule>? Ingress, IReadOnlyList<PolicyRule>? Egress)
{
    /// <summary>What its chains are named by.</summary>
    internal string Id { get; } = Hash(Key);

    internal IEnumerable<PolicyRule> Rules => (Ingress ?? []).Concat(Egress ?? []);

    /// <summary>Names that it calls ports by.</summary>
    internal IReadOnlySet<string> PortNames { get; } =
        (Ingress ?? []).Concat(Egress ?? []).SelectMany(static rule => rule.Ports).Where(static port => port.Name.Length > 0).Select(static port => port.Name).ToHashSet();

    /// <summary>What it says of a pod: 1 = it isolates what the pod gets, 2 = what the pod sends.</summary>
    internal int Isolates(PolicyPod pod) =>
        pod.Namespace == Namespace && (pod.IsUnknown || Subject.Matches(pod.Labels)) ? (Ingress is null ? 0 : 1) | (Egress is null ? 0 : 2) : 0;

    internal static PolicySpec Of(V1NetworkPolicy policy)
    {
        var ns = policy.Metadata.NamespaceProperty;
        var spec = policy.Spec ?? new V1NetworkPolicySpec();
        // The API fills the types in: ingress always, egress when there are rules for it.
        var types = spec.PolicyTypes is { Count: > 0 } told ? told : spec.Egress is { Count: > 0 } ? ["Ingress", "Egress"] : ["Ingress"];
        return new PolicySpec(
            $"{ns}/{policy.Metadata.Name}", ns, LabelMatcher.Of(spec.PodSelector ?? new V1LabelSelector()),
            types.Contains("Ingress") ? [.. (spec.Ingress ?? []).Select(rule => PolicyRule.Of(ns, rule.FromProperty, rule.Ports))] : null,
            types.Contains("Egress") ? [.. (spec.Egress ?? []).Select(rule => PolicyRule.Of(ns, rule.To, rule.Ports))] : null);
    }

    /// <summary>80 bits of a text, for names: two of a million collide once in 10^12 clusters.</summary>
    internal static string Hash(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)).AsSpan(0, 10));
}
