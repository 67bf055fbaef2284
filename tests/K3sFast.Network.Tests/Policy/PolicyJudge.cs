using System.Net;
using K3sFast.Client.Selection;
using k8s.Models;

namespace K3sFast.Network.Tests.Policy;

/// <summary>Says what policies let through, straight from the API's words: what the kernel is held against.</summary>
internal static class PolicyJudge
{
    internal sealed record Pod(string Namespace, string Name, IReadOnlyList<IPAddress> Addresses)
    {
        internal IPAddress Address => Addresses[0];
        internal string Key => $"{Namespace}/{Name}";
        internal Dictionary<string, string> Labels => new() { ["pod"] = Name };
        internal Dictionary<string, string> NamespaceLabels => new() { ["ns"] = Namespace };
    }

    /// <param name="policies">All that there are.</param>
    /// <param name="from">Who sends.</param>
    /// <param name="to">Who gets.</param>
    /// <param name="family">Which of their addresses: 0 or 1.</param>
    /// <param name="protocol">TCP, UDP or SCTP.</param>
    /// <param name="port">The port.</param>
    internal static bool Allows(IReadOnlyList<V1NetworkPolicy> policies, Pod from, Pod to, int family, string protocol, int port) =>
        from == to || (Passes(policies, from, to, family, (protocol, port), isIngress: true) && Passes(policies, from, to, family, (protocol, port), isIngress: false));

    private static bool Passes(IReadOnlyList<V1NetworkPolicy> policies, Pod from, Pod to, int family, (string, int) port, bool isIngress)
    {
        var (subject, other) = isIngress ? (to, from) : (from, to);
        var selecting = policies.Where(policy => policy.Metadata.NamespaceProperty == subject.Namespace && Selects(policy.Spec.PodSelector, subject.Labels) && Speaks(policy.Spec, isIngress)).ToList();
        if (selecting.Count == 0) return true;
        return selecting.Any(policy => isIngress
            ? (policy.Spec.Ingress ?? []).Any(rule => Peer(policy, rule.FromProperty, other, family) && Port(rule.Ports, port))
            : (policy.Spec.Egress ?? []).Any(rule => Peer(policy, rule.To, other, family) && Port(rule.Ports, port)));
    }

    private static bool Speaks(V1NetworkPolicySpec spec, bool isIngress) =>
        spec.PolicyTypes is { Count: > 0 } types ? types.Contains(isIngress ? "Ingress" : "Egress") : isIngress || spec.Egress is { Count: > 0 };

    private static bool Selects(V1LabelSelector? selector, Dictionary<string, string> labels) => LabelMatcher.Of(selector ?? new V1LabelSelector()).Matches(labels);

    private static bool Peer(V1NetworkPolicy policy, IList<V1NetworkPolicyPeer>? peers, Pod pod, int family)
    {
        if (peers is not { Count: > 0 }) return true;
        foreach (var peer in peers)
        {
            if (peer.IpBlock is { } block)
            {
                if (IPNetwork.Parse(block.Cidr).Contains(pod.Addresses[family]) && !(block.Except ?? []).Any(except => IPNetwork.Parse(except).Contains(pod.Addresses[family]))) return true;
                continue;
            }
            var isInNamespace = peer.NamespaceSelector is { } namespaces ? Selects(namespaces, pod.NamespaceLabels) : pod.Namespace == policy.Metadata.NamespaceProperty;
            if (isInNamespace && Selects(peer.PodSelector, pod.Labels)) return true;
        }
        return false;
    }

    // What every pod calls its ports.
    internal static string NameOf(string protocol, int port) => protocol == "UDP" ? $"serve-{port}" : $"{protocol.ToLowerInvariant()}-{port}";

    private static bool Port(IList<V1NetworkPolicyPort>? ports, (string Protocol, int Port) asked)
    {
        if (ports is not { Count: > 0 }) return true;
        foreach (var wanted in ports)
        {
            if ((wanted.Protocol ?? "TCP") != asked.Protocol) continue;
            if (wanted.Port?.Value is not { Length: > 0 } text) return true;
            if (int.TryParse(text, out var first) ? asked.Port >= first && asked.Port <= (wanted.EndPort ?? first) : text == NameOf(asked.Protocol, asked.Port)) return true;
        }
        return false;
    }
}
