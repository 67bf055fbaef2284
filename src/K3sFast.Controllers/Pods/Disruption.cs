using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>Deleting a pod for reasons that are not its own: its status says so first.</summary>
internal static class Disruption
{
    private const string Target = "DisruptionTarget";

    /// <summary>Tells the pod why in its conditions, then deletes it with the grace that it has.</summary>
    internal static Task EvictAsync(ApiClient client, V1Pod pod, string reason, string message, DateTime now, CancellationToken cancellationToken)
    {
        var isTold = PodState.Condition(pod, Target)?.Status == "True";
        return DeleteAsync(client, pod, isTold ? null : new V1PodStatus { Conditions = WithTarget(pod, reason, message, now) }, null, cancellationToken);
    }

    /// <summary>
    /// Deletes a pod that no kubelet will end any more, at once. One that has not finished is Failed before, or whoever counts it would wait for ever;
    /// with <paramref name="why"/> in its conditions when it was disturbed.
    /// </summary>
    internal static Task RemoveAsync(ApiClient client, V1Pod pod, (string Reason, string Message)? why, DateTime now, CancellationToken cancellationToken)
    {
        var status = PodState.IsTerminal(pod) ? null : new V1PodStatus
        {
            Phase = "Failed", ObservedGeneration = pod.Metadata.Generation, Conditions = why is { } told ? WithTarget(pod, told.Reason, told.Message, now) : null,
        };
        return DeleteAsync(client, pod, status, graceSeconds: 0, cancellationToken);
    }

    private static async Task DeleteAsync(ApiClient client, V1Pod pod, V1PodStatus? status, long? graceSeconds, CancellationToken cancellationToken)
    {
        var (ns, name, uid) = (pod.Metadata.NamespaceProperty, pod.Metadata.Name, pod.Metadata.Uid);
        try
        {
            if (status is not null)
            {
                var patch = new V1Pod { Metadata = new V1ObjectMeta { Uid = uid }, Status = status };
                await client.PatchAsync(Resources.Pods, ns, name, PatchBody.StrategicMerge(ModelJson.Serialize(patch)), cancellationToken, "status").ConfigureAwait(false);
            }
            var options = new V1DeleteOptions { ApiVersion = "v1", Kind = "DeleteOptions", GracePeriodSeconds = graceSeconds, Preconditions = new V1Preconditions { Uid = uid } };
            await client.DeleteAsync(Resources.Pods, ns, name, cancellationToken, options).ConfigureAwait(false);
        }
        catch (ApiException gone) when (gone.IsNotFound || gone.IsConflict)
        {
            // Gone, or a namesake is there: nothing of ours any more.
        }
    }

    private static List<V1PodCondition> WithTarget(V1Pod pod, string reason, string message, DateTime now) =>
    [
        .. (pod.Status?.Conditions ?? []).Where(static condition => condition.Type != Target),
        new V1PodCondition
        {
            Type = Target, Status = "True", Reason = reason, Message = message, ObservedGeneration = pod.Metadata.Generation,
            // It dates from when it became true.
            LastTransitionTime = PodState.Condition(pod, Target) is { Status: "True" } known ? known.LastTransitionTime : now,
        },
    ];
}
