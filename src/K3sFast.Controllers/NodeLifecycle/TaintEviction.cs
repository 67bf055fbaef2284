using K3sFast.Client.Selection;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>When a pod must leave a node with NoExecute taints. Pure.</summary>
internal static class TaintEviction
{
    /// <summary>The moment by which it must be gone; null = it may stay. A moment that is past means now.</summary>
    internal static DateTime? EvictAt(V1Pod pod, IEnumerable<V1Taint> taints, DateTime now)
    {
        DateTime? earliest = null;
        foreach (var taint in taints)
        {
            if (taint.Effect != Tolerations.NoExecute) continue;
            var since = taint.TimeAdded ?? now;
            var isTolerated = false;
            DateTime? until = null;
            foreach (var toleration in pod.Spec.Tolerations ?? [])
            {
                if (!Tolerations.Tolerates(toleration, taint)) continue;
                isTolerated = true;
                if (toleration.TolerationSeconds is not { } seconds) continue;
                // The shortest of the tolerations that apply counts; none or fewer seconds mean at once.
                var end = seconds <= 0 ? since : since.AddSeconds(seconds);
                if (until is null || end < until) until = end;
            }
            if (!isTolerated) return DateTime.MinValue;
            if (until is not null && (earliest is null || until < earliest)) earliest = until;
        }
        return earliest;
    }
}
