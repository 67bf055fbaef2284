using System.Globalization;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>The arithmetic of rolling updates: surge, unavailability, proportional scaling. Pure.</summary>
internal static class RolloutMath
{
    internal const string RevisionAnnotation = "deployment.kubernetes.io/revision";
    internal const string RevisionHistoryAnnotation = "deployment.kubernetes.io/revision-history";
    internal const string DesiredReplicasAnnotation = "deployment.kubernetes.io/desired-replicas";
    internal const string MaxReplicasAnnotation = "deployment.kubernetes.io/max-replicas";

    internal static bool IsRolling(V1Deployment deployment) => deployment.Spec.Strategy?.Type is null or "" or "RollingUpdate";

    internal static int Replicas(V1Deployment deployment) => deployment.Spec.Replicas ?? 1;

    internal static int Replicas(V1ReplicaSet set) => set.Spec.Replicas ?? 1;

    /// <summary>A number, or a percentage of <paramref name="total"/>.</summary>
    internal static int Scaled(IntOrString? value, int total, bool roundUp)
    {
        var text = value?.Value;
        if (string.IsNullOrEmpty(text)) return 0;
        if (!text.EndsWith('%')) return int.Parse(text, CultureInfo.InvariantCulture);
        var percent = long.Parse(text.AsSpan(0, text.Length - 1), provider: CultureInfo.InvariantCulture);
        return (int)(((percent * total) + (roundUp ? 99 : 0)) / 100);
    }

    /// <summary>Surge and unavailability resolved together: both may not be 0, or nothing could ever move.</summary>
    internal static (int Surge, int Unavailable) Fenceposts(IntOrString? maxSurge, IntOrString? maxUnavailable, int desired)
    {
        var surge = Scaled(maxSurge, desired, roundUp: true);
        var unavailable = Scaled(maxUnavailable, desired, roundUp: false);
        return surge == 0 && unavailable == 0 ? (0, 1) : (surge, unavailable);
    }

    internal static int MaxSurge(V1Deployment deployment) => IsRolling(deployment) ? Fenceposts(deployment).Surge : 0;

    internal static int MaxUnavailable(V1Deployment deployment)
    {
        var desired = Replicas(deployment);
        return !IsRolling(deployment) || desired == 0 ? 0 : Math.Min(Fenceposts(deployment).Unavailable, desired);
    }

    /// <summary>How many replicas the new set may have now, given what all sets together have.</summary>
    internal static int NewSetSize(V1Deployment deployment, int allReplicas, int newReplicas)
    {
        var desired = Replicas(deployment);
        if (!IsRolling(deployment)) return desired;
        var room = desired + Scaled(deployment.Spec.Strategy?.RollingUpdate?.MaxSurge, desired, roundUp: true) - allReplicas;
        return room <= 0 ? newReplicas : newReplicas + Math.Min(room, desired - newReplicas);
    }

    /// <summary>
    /// Sizes of all active sets when a deployment is resized in the middle of a rollout: each gets its share, the largest what rounding leaves.
    /// </summary>
    internal static IReadOnlyList<(V1ReplicaSet Set, int Size)> Proportions(V1Deployment deployment, IEnumerable<V1ReplicaSet> active)
    {
        var sets = active.ToList();
        var desired = Replicas(deployment);
        var allowed = desired > 0 ? desired + MaxSurge(deployment) : 0;
        var toAdd = allowed - sets.Sum(Replicas);
        // Larger first; among equals the newer one grows first and the older one shrinks first.
        var newerFirst = toAdd > 0;
        sets.Sort((a, b) =>
        {
            var order = Replicas(b).CompareTo(Replicas(a));
            if (order != 0) return order;
            return newerFirst ? CompareAge(b, a) : CompareAge(a, b);
        });
        var sizes = new List<(V1ReplicaSet Set, int Size)>(sets.Count);
        var added = 0;
        foreach (var set in sets)
        {
            var share = toAdd == 0 ? 0 : Share(deployment, set, toAdd, added);
            sizes.Add((set, Replicas(set) + share));
            added += share;
        }
        if (sizes.Count > 0 && toAdd != 0) sizes[0] = (sizes[0].Set, Math.Max(0, sizes[0].Size + toAdd - added));
        return sizes;
    }

    /// <summary>Older first; equal ones by name.</summary>
    internal static int CompareAge(V1ReplicaSet a, V1ReplicaSet b)
    {
        var order = Nullable.Compare(a.Metadata.CreationTimestamp, b.Metadata.CreationTimestamp);
        return order != 0 ? order : string.CompareOrdinal(a.Metadata.Name, b.Metadata.Name);
    }

    internal static long Revision(V1ReplicaSet set) =>
        long.TryParse(Annotation(set, RevisionAnnotation), NumberStyles.None, CultureInfo.InvariantCulture, out var revision) ? revision : 0;

    internal static int? DesiredReplicas(V1ReplicaSet set) => Count(set, DesiredReplicasAnnotation);

    internal static string? Annotation(V1ReplicaSet set, string key) =>
        set.Metadata.Annotations is { } annotations && annotations.TryGetValue(key, out var value) ? value : null;

    private static (int Surge, int Unavailable) Fenceposts(V1Deployment deployment) =>
        Fenceposts(deployment.Spec.Strategy?.RollingUpdate?.MaxSurge, deployment.Spec.Strategy?.RollingUpdate?.MaxUnavailable, Replicas(deployment));

    private static int Share(V1Deployment deployment, V1ReplicaSet set, int toAdd, int added)
    {
        if (Replicas(set) == 0 || toAdd == added) return 0;
        var fraction = Fraction(deployment, set);
        var allowed = toAdd - added;
        return toAdd > 0 ? Math.Min(fraction, allowed) : Math.Max(fraction, allowed);
    }

    private static int Fraction(V1Deployment deployment, V1ReplicaSet set)
    {
        var size = Replicas(set);
        if (Replicas(deployment) == 0) return -size;
        // The size the rollout was planned for; without the annotation what the deployment has now is the best guess.
        var before = Count(set, MaxReplicasAnnotation) is { } max and > 0 ? max : deployment.Status?.Replicas ?? 0;
        if (before == 0) return 0;
        var share = (double)size * (Replicas(deployment) + MaxSurge(deployment)) / before;
        return (int)Math.Round(share, MidpointRounding.AwayFromZero) - size;
    }

    private static int? Count(V1ReplicaSet set, string key) =>
        int.TryParse(Annotation(set, key), NumberStyles.None, CultureInfo.InvariantCulture, out var count) ? count : null;
}
