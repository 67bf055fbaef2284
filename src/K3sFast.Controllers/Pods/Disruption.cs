using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>Deleting a pod for reasons that are not its own: it is told so in its conditions first.</summary>
internal static class Disruption
{
    /// <summary>Writes the DisruptionTarget condition (and phase Failed when the pod is to go without grace), then deletes.</summary>
    internal static async Task DeleteAsync(
        ApiClient client, V1Pod pod, string reason, string message, long? graceSeconds, DateTime now, CancellationToken cancellationToken)
    {
        var isForced = graceSeconds == 0;
        var status = new V1PodStatus { Phase = isForced && !PodState.IsTerminal(pod) ? "Failed" : null };
        if (PodState.Condition(pod, "DisruptionTarget")?.Status != "True")
        {
            status.Conditions =
            [
                .. (pod.Status?.Conditions ?? []).Where(static condition => condition.Type != "DisruptionTarget"),
                new V1PodCondition { Type = "DisruptionTarget", Status = "True", Reason = reason, Message = message, LastTransitionTime = now },
            ];
        }
        try
        {
            var patch = new V1Pod { Metadata = new V1ObjectMeta { Uid = pod.Metadata.Uid }, Status = status };
            await client.PatchAsync(
                Resources.Pods, pod.Metadata.NamespaceProperty, pod.Metadata.Name, PatchBody.StrategicMerge(ModelJson.Serialize(patch)), cancellationToken, "status")
                .ConfigureAwait(false);
            var options = new V1DeleteOptions
            {
                ApiVersion = "v1", Kind = "DeleteOptions", GracePeriodSeconds = graceSeconds, Preconditions = new V1Preconditions { Uid = pod.Metadata.Uid },
            };
            await client.DeleteAsync(Resources.Pods, pod.Metadata.NamespaceProperty, pod.Metadata.Name, cancellationToken, options).ConfigureAwait(false);
        }
        catch (ApiException gone) when (gone.IsNotFound || gone.IsConflict)
        {
            // Gone, or a namesake is there: nothing of ours any more.
        }
    }
}
