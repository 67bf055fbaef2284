using k8s;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>A replica set's status out of its pods. Stateless.</summary>
internal static class ReplicaStatusRules
{
    private const string ReplicaFailure = "ReplicaFailure";

    /// <summary>The status that <paramref name="owner"/> should have; conditions keep their transition time where nothing changed.</summary>
    internal static ReplicaStatus Calculate<T>(ReplicaKind<T> kind, T owner, IReadOnlyList<V1Pod> claimed, Exception? failure, DateTime now)
        where T : class, IKubernetesObject<V1ObjectMeta>, new()
    {
        var old = kind.Status(owner);
        var template = kind.Template(owner).Metadata?.Labels;
        var minReady = kind.MinReadySeconds(owner);
        var (replicas, labeled, ready, available, terminating) = (0, 0, 0, 0, 0);
        foreach (var pod in claimed)
        {
            if (PodState.IsTerminating(pod)) terminating++;
            if (!PodState.IsActive(pod)) continue;
            replicas++;
            if (CarriesAll(pod.Metadata.Labels, template)) labeled++;
            if (!PodState.IsReady(pod)) continue;
            ready++;
            if (PodState.IsAvailable(pod, minReady, now)) available++;
        }
        var conditions = new List<ReplicaCondition>(old.Conditions);
        var at = conditions.FindIndex(static condition => condition.Type == ReplicaFailure);
        if (failure is null)
        {
            if (at >= 0) conditions.RemoveAt(at);
        }
        else if (at < 0)
        {
            var reason = replicas - kind.Replicas(owner) < 0 ? "FailedCreate" : "FailedDelete";
            conditions.Add(new ReplicaCondition(ReplicaFailure, "True", reason, failure.Message, now));
        }
        return new ReplicaStatus(
            replicas, labeled, ready, available, owner is V1ReplicaSet ? terminating : null, owner.Metadata.Generation ?? 0, conditions);
    }

    private static bool CarriesAll(IDictionary<string, string>? labels, IDictionary<string, string>? wanted)
    {
        if (wanted is null) return true;
        foreach (var (key, value) in wanted)
        {
            if (labels is null || !labels.TryGetValue(key, out var actual) || actual != value) return false;
        }
        return true;
    }
}
