using System.Globalization;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>The annotations by which a rollout's history is kept on its replica sets. Pure: works on the dictionary it is given.</summary>
internal static class RevisionAnnotations
{
    // Revisions that a set had before are remembered in at most this many characters (upstream's limit).
    private const int MaxHistoryLength = 2000;

    // What describes the object that it is on, and must not be copied to another.
    private static readonly HashSet<string> s_own =
    [
        "kubectl.kubernetes.io/last-applied-configuration",
        RolloutMath.RevisionAnnotation,
        RolloutMath.RevisionHistoryAnnotation,
        RolloutMath.DesiredReplicasAnnotation,
        RolloutMath.MaxReplicasAnnotation,
        "deprecated.deployment.rollback.to",
    ];

    /// <summary>Copies the deployment's annotations; true when one was new or other.</summary>
    internal static bool CopyFrom(V1Deployment deployment, Dictionary<string, string> annotations)
    {
        var isChanged = false;
        foreach (var (key, value) in deployment.Metadata.Annotations ?? new Dictionary<string, string>())
        {
            if (s_own.Contains(key) || (annotations.TryGetValue(key, out var known) && known == value)) continue;
            annotations[key] = value;
            isChanged = true;
        }
        return isChanged;
    }

    /// <summary>
    /// Raises the revision; one that the set had before (a rollback brings an old set back) goes into its history. True when it changed.
    /// </summary>
    internal static bool SetRevision(Dictionary<string, string> annotations, long revision)
    {
        var old = annotations.GetValueOrDefault(RolloutMath.RevisionAnnotation, "");
        long before = 0;
        if (old.Length > 0 && !long.TryParse(old, NumberStyles.None, CultureInfo.InvariantCulture, out before)) return false;
        if (before >= revision) return false;
        annotations[RolloutMath.RevisionAnnotation] = revision.ToString(CultureInfo.InvariantCulture);
        if (old.Length == 0) return true;
        var history = annotations.GetValueOrDefault(RolloutMath.RevisionHistoryAnnotation, "");
        history = history.Length == 0 ? old : $"{history},{old}";
        while (history.Length > MaxHistoryLength && history.IndexOf(',', StringComparison.Ordinal) is > 0 and var comma) history = history[(comma + 1)..];
        annotations[RolloutMath.RevisionHistoryAnnotation] = history;
        return true;
    }

    /// <summary>Writes the size that the rollout is planned for; true when it was another.</summary>
    internal static bool SetReplicas(Dictionary<string, string> annotations, V1Deployment deployment)
    {
        var desired = RolloutMath.Replicas(deployment);
        return Set(RolloutMath.DesiredReplicasAnnotation, desired) | Set(RolloutMath.MaxReplicasAnnotation, desired + RolloutMath.MaxSurge(deployment));

        bool Set(string key, int value)
        {
            var text = value.ToString(CultureInfo.InvariantCulture);
            if (annotations.TryGetValue(key, out var known) && known == text) return false;
            annotations[key] = text;
            return true;
        }
    }
}
