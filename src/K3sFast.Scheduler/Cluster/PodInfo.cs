using k8s.Models;

namespace K3sFast.Scheduler;

/// <summary>A pod with what scheduling needs of it worked out once. Immutable.</summary>
internal sealed class PodInfo
{
    private static readonly AffinityTerm[] s_none = [];

    internal PodInfo(V1Pod pod)
    {
        Pod = pod;
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

    private PodInfo(PodInfo whole, V1Pod pod)
    {
        Pod = pod;
        (Requests, ScoreRequests, Priority, HostPorts) = (whole.Requests, whole.ScoreRequests, whole.Priority, whole.HostPorts);
        (RequiredAffinity, RequiredAntiAffinity) = (whole.RequiredAffinity, whole.RequiredAntiAffinity);
        (PreferredAffinity, PreferredAntiAffinity) = (whole.PreferredAffinity, whole.PreferredAntiAffinity);
    }

    /// <summary>The pod; of one that was seen placed, what others on their way need to know of it (<see cref="Placed"/>).</summary>
    internal V1Pod Pod { get; }

    internal string Uid => Pod.Metadata.Uid;

    internal string Name => $"{Pod.Metadata.NamespaceProperty}/{Pod.Metadata.Name}";

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

    /// <summary>
    /// The same without all that only the pod's own way needs: who it is, its labels, its node, when it began and whether it is leaving. A cluster's placed
    /// pods are many.
    /// </summary>
    internal PodInfo Placed(PlacedParts parts)
    {
        var (metadata, status) = (Pod.Metadata, Pod.Status);
        return new PodInfo(this, new V1Pod
        {
            Metadata = new V1ObjectMeta
            {
                Name = metadata.Name, NamespaceProperty = metadata.NamespaceProperty, Uid = metadata.Uid, Labels = parts.Labels(metadata.Labels), DeletionTimestamp = metadata.DeletionTimestamp,
                Generation = metadata.Generation, ResourceVersion = metadata.ResourceVersion,
            },
            Spec = parts.Spec(Pod.Spec.NodeName, Pod.Spec.Priority),
            Status = status is null ? null
                : metadata.DeletionTimestamp is null ? parts.Status(status.Phase, status.StartTime)
                : new V1PodStatus { Phase = status.Phase, StartTime = status.StartTime, Conditions = status.Conditions },
        });
    }

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
