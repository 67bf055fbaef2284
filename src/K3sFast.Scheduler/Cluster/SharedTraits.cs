namespace K3sFast.Scheduler;

/// <summary>
/// The traits of placed pods, kept once for all of a workload. The newest of what falls into a place is shared; others have traits of their own, and so
/// have pods with affinity or host ports. One thread at a time.
/// </summary>
internal sealed class SharedTraits
{
    // More workloads than a small cluster has.
    private const int Places = 1024;

    private readonly PodTraits?[] _known = new PodTraits?[Places];

    /// <summary>The same as <paramref name="traits"/>, if it was seen before.</summary>
    internal PodTraits Of(PodTraits traits)
    {
        if (traits.HasAffinity || traits.HostPorts.Length > 0) return traits;
        var hash = HashCode.Combine(traits.Namespace, traits.Priority, traits.Requests.MilliCpu, traits.Requests.Memory);
        foreach (var label in traits.Labels ?? s_noLabels) hash ^= HashCode.Combine(label.Key, label.Value);
        ref var known = ref _known[hash & (Places - 1)];
        if (known is null || !AreSame(known, traits)) known = traits;
        return known;
    }

    private static bool AreSame(PodTraits known, PodTraits traits) =>
        known.Namespace == traits.Namespace && known.Priority == traits.Priority && known.Requests.SameAs(traits.Requests)
        && known.ScoreRequests.SameAs(traits.ScoreRequests) && AreSame(known.Labels ?? s_noLabels, traits.Labels ?? s_noLabels);

    private static bool AreSame(IDictionary<string, string> left, IDictionary<string, string> right)
    {
        if (left.Count != right.Count) return false;
        foreach (var label in left)
        {
            if (!right.TryGetValue(label.Key, out var value) || value != label.Value) return false;
        }
        return true;
    }

    private static readonly Dictionary<string, string> s_noLabels = [];
}
