using k8s.Models;

namespace K3sFast.Scheduler;

/// <summary>What pods of one workload have in common as far as scheduling is concerned. Immutable.</summary>
internal sealed class PodTraits
{
    private static readonly AffinityTerm[] s_none = [];

    internal PodTraits(V1Pod pod)
    {
        Namespace = pod.Metadata.NamespaceProperty;
        Labels = pod.Metadata.Labels;
        Requests = PodRequests.Sum(pod);
        ScoreRequests = PodRequests.SumForScore(pod);
        Priority = pod.Spec.Priority ?? 0;
        var affinity = pod.Spec.Affinity;
        RequiredAffinity = Terms(affinity?.PodAffinity?.RequiredDuringSchedulingIgnoredDuringExecution, pod);
        RequiredAntiAffinity = Terms(affinity?.PodAntiAffinity?.RequiredDuringSchedulingIgnoredDuringExecution, pod);
        PreferredAffinity = Terms(affinity?.PodAffinity?.PreferredDuringSchedulingIgnoredDuringExecution, pod, 1);
        PreferredAntiAffinity = Terms(affinity?.PodAntiAffinity?.PreferredDuringSchedulingIgnoredDuringExecution, pod, -1);
        HostPorts = Ports(pod);
    }

    internal string Namespace { get; }

    internal IDictionary<string, string>? Labels { get; }

    internal int Priority { get; }

    internal ResourceAmounts Requests { get; }

    internal ResourceAmounts ScoreRequests { get; }

    internal AffinityTerm[] RequiredAffinity { get; }

    internal AffinityTerm[] RequiredAntiAffinity { get; }

    /// <summary>With their weights, negative for anti-affinity.</summary>
    internal AffinityTerm[] PreferredAffinity { get; }

    internal AffinityTerm[] PreferredAntiAffinity { get; }

    internal HostPort[] HostPorts { get; }

    internal bool HasAffinity =>
        RequiredAffinity.Length + RequiredAntiAffinity.Length + PreferredAffinity.Length + PreferredAntiAffinity.Length > 0;

    private static AffinityTerm[] Terms(IList<V1PodAffinityTerm>? terms, V1Pod pod) =>
        terms is not { Count: > 0 } ? s_none : [.. terms.Select(term => new AffinityTerm(term, pod, 0))];

    private static AffinityTerm[] Terms(IList<V1WeightedPodAffinityTerm>? terms, V1Pod pod, int sign) =>
        terms is not { Count: > 0 } ? s_none : [.. terms.Select(term => new AffinityTerm(term.PodAffinityTerm, pod, sign * term.Weight))];

    private static HostPort[] Ports(V1Pod pod)
    {
        List<HostPort>? ports = null;
        foreach (var container in pod.Spec.Containers ?? []) Collect(container);
        foreach (var container in pod.Spec.InitContainers ?? [])
        {
            if (container.RestartPolicy == "Always") Collect(container);
        }
        return ports is null ? [] : [.. ports];

        void Collect(V1Container container)
        {
            foreach (var port in container.Ports ?? [])
            {
                if (port.HostPort is not > 0) continue;
                var address = string.IsNullOrEmpty(port.HostIP) ? HostPort.AnyAddress : port.HostIP;
                (ports ??= []).Add(new HostPort(string.IsNullOrEmpty(port.Protocol) ? "TCP" : port.Protocol, address, port.HostPort.Value));
            }
        }
    }
}

/// <summary>A port of the node that a pod takes.</summary>
internal readonly record struct HostPort(string Protocol, string Address, int Port)
{
    internal const string AnyAddress = "0.0.0.0";

    /// <summary>Same protocol and port, and an address in common.</summary>
    internal bool ConflictsWith(HostPort other) =>
        Port == other.Port && Protocol == other.Protocol && (Address == other.Address || Address == AnyAddress || other.Address == AnyAddress);
}
