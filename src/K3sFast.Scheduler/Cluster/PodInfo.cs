using System.Globalization;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Scheduler;

/// <summary>A pod with what scheduling needs of it worked out once. Immutable, but for the node that the cluster's state has it on.</summary>
internal sealed class PodInfo
{
    private readonly V1Pod? _pod;
    private readonly PodTraits _traits;
    private readonly DateTime _startTime;
    private readonly long _revision;

    internal PodInfo(V1Pod pod)
        : this(pod, pod, new PodTraits(pod))
    {
    }

    private PodInfo(V1Pod? whole, V1Pod pod, PodTraits traits)
    {
        (_pod, _traits) = (whole, traits);
        (Uid, Name) = (new ObjectUid(pod.Metadata.Uid), pod.Metadata.Name);
        _startTime = pod.Status?.StartTime ?? DateTime.MaxValue;
        _ = long.TryParse(pod.Metadata.ResourceVersion, NumberStyles.None, CultureInfo.InvariantCulture, out _revision);
        IsLeaving = pod.Metadata.DeletionTimestamp is not null;
        IsVictim = IsLeaving && pod.Status?.Conditions?.Any(static condition => condition is { Type: "DisruptionTarget", Status: "True", Reason: "PreemptionByScheduler" }) == true;
    }

    /// <summary>
    /// A pod that has its node already, without all that only its own way there needs: who it is, when it began and whether it is leaving. A cluster's placed
    /// pods are many.
    /// </summary>
    internal static PodInfo Placed(V1Pod pod, SharedTraits shared) => new(null, pod, shared.Of(new PodTraits(pod)));

    /// <summary>The whole pod; of those that were placed when they were first seen, nobody has it.</summary>
    internal V1Pod Pod => _pod ?? throw new InvalidOperationException($"pod {FullName} is placed, and no longer kept whole");

    internal ObjectUid Uid { get; }

    internal string Name { get; }

    internal string Namespace => _traits.Namespace;

    /// <summary>As people and logs write it.</summary>
    internal string FullName => $"{Namespace}/{Name}";

    internal IDictionary<string, string>? Labels => _traits.Labels;

    /// <summary>It is being deleted.</summary>
    internal bool IsLeaving { get; }

    /// <summary>It is being deleted to make room for another.</summary>
    internal bool IsVictim { get; }

    /// <summary>When it began; one that has not begun is younger than all.</summary>
    internal DateTime StartTime => _startTime;

    internal int Priority => _traits.Priority;

    internal ResourceAmounts Requests => _traits.Requests;

    internal ResourceAmounts ScoreRequests => _traits.ScoreRequests;

    internal AffinityTerm[] RequiredAffinity => _traits.RequiredAffinity;

    internal AffinityTerm[] RequiredAntiAffinity => _traits.RequiredAntiAffinity;

    /// <summary>With their weights, negative for anti-affinity.</summary>
    internal AffinityTerm[] PreferredAffinity => _traits.PreferredAffinity;

    internal AffinityTerm[] PreferredAntiAffinity => _traits.PreferredAntiAffinity;

    internal HostPort[] HostPorts => _traits.HostPorts;

    internal bool HasAffinity => _traits.HasAffinity;

    /// <summary>Where <see cref="ClusterState"/> has it; null = nowhere.</summary>
    internal string? Node { get; set; }

    /// <summary>What names the pod to others: an event, a call.</summary>
    internal V1Pod Reference() => new()
    {
        Metadata = new V1ObjectMeta
        {
            Name = Name, NamespaceProperty = Namespace, Uid = Uid.ToString(), ResourceVersion = _revision == 0 ? null : _revision.ToString(CultureInfo.InvariantCulture),
        },
    };
}
