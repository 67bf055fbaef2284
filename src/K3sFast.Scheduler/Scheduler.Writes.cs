using System.Text.Json;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Scheduler;

/// <summary>What the scheduler writes besides bindings: a pod's PodScheduled condition, its nomination, and the removal of victims.</summary>
public sealed partial class Scheduler
{
    private void WriteCondition(PodInfo pod, string reason, string message, string? nominatedNode)
    {
        var current = pod.Pod.Status?.Conditions?.FirstOrDefault(static condition => condition.Type == "PodScheduled");
        var nominated = pod.Pod.Status?.NominatedNodeName ?? "";
        // A nomination stays while its victims leave; it is taken back by finding that nothing can be done.
        var wantedNode = nominatedNode ?? "";
        var sameNode = wantedNode == nominated || (nominatedNode is null && message.Contains("terminating pod on the nominated node", StringComparison.Ordinal));
        if (current is { Status: "False" } && current.Reason == reason && current.Message == message && sameNode) return;
        if (nominatedNode is null && !sameNode) _state.RemoveNomination(pod.Uid);

        var body = new System.Buffers.ArrayBufferWriter<byte>(512);
        using (var json = new Utf8JsonWriter(body))
        {
            json.WriteStartObject();
            json.WriteStartObject("status");
            json.WriteStartArray("conditions");
            json.WriteStartObject();
            json.WriteString("type", "PodScheduled");
            json.WriteString("status", "False");
            json.WriteString("reason", reason);
            json.WriteString("message", message);
            json.WriteNull("lastProbeTime");
            var since = current is { Status: "False", LastTransitionTime: { } before } ? before : _time.GetUtcNow().UtcDateTime;
            json.WriteString("lastTransitionTime", since.ToString("yyyy-MM-ddTHH:mm:ssZ", System.Globalization.CultureInfo.InvariantCulture));
            if (pod.Pod.Metadata.Generation is { } generation) json.WriteNumber("observedGeneration", generation);
            json.WriteEndObject();
            json.WriteEndArray();
            if (!sameNode)
            {
                if (wantedNode.Length > 0) json.WriteString("nominatedNodeName", wantedNode);
                else json.WriteNull("nominatedNodeName");
            }
            json.WriteEndObject();
            json.WriteEndObject();
        }
        Start(number => WriteStatusAsync(number, pod.Pod, body.WrittenMemory));
    }

    private async Task WriteStatusAsync(string number, V1Pod pod, ReadOnlyMemory<byte> patch)
    {
        await TryPatchAsync(pod, patch).ConfigureAwait(false);
        Post(new Change(ChangeKind.WriteDone, Number: number));
    }

    private async Task TryPatchAsync(V1Pod pod, ReadOnlyMemory<byte> patch)
    {
        try
        {
            await _client.PatchAsync(
                Resources.Pods, pod.Metadata.NamespaceProperty, pod.Metadata.Name, PatchBody.StrategicMerge(patch), CancellationToken.None, "status")
                .ConfigureAwait(false);
        }
        catch (ApiException gone) when (gone.IsNotFound)
        {
            // Nobody is left to be told.
        }
        catch (Exception failure) when (failure is ApiException or HttpRequestException or IOException or OperationCanceledException)
        {
            Log.StatusFailed(_logger, $"{pod.Metadata.NamespaceProperty}/{pod.Metadata.Name}", failure.Message);
        }
    }

    private void Preempt(PodInfo pod, Victims victims)
    {
        // Pods of lesser priority that wait for the same node must look for another.
        foreach (var other in _state.NominatedBelow(victims.Node, pod.Priority))
        {
            _state.RemoveNomination(other.Uid);
            Start(number => WriteStatusAsync(number, other.Pod, """{"status":{"nominatedNodeName":null}}"""u8.ToArray()));
            _queue.Wake(other.Pod.Metadata.Uid);
        }
        _state.Nominate(pod, victims.Node);
        foreach (var victim in victims.Pods) Start(number => RemoveAsync(number, pod.Pod, victim, victims.Node));
    }

    private async Task RemoveAsync(string number, V1Pod pod, PodInfo victim, string node)
    {
        try
        {
            if (!victim.IsLeaving)
            {
                var now = _time.GetUtcNow().UtcDateTime.ToString("yyyy-MM-ddTHH:mm:ssZ", System.Globalization.CultureInfo.InvariantCulture);
                var condition = $$$"""
                    {"status":{"conditions":[{"type":"DisruptionTarget","status":"True","reason":"PreemptionByScheduler","message":"{{{Component}}}: preempting to accommodate a higher priority pod","lastProbeTime":null,"lastTransitionTime":"{{{now}}}"}]}}
                    """;
                var reference = victim.Reference();
                await TryPatchAsync(reference, System.Text.Encoding.UTF8.GetBytes(condition)).ConfigureAwait(false);
                var options = new V1DeleteOptions { ApiVersion = "v1", Kind = "DeleteOptions", Preconditions = new V1Preconditions { Uid = reference.Metadata.Uid } };
                await _client.DeleteAsync(Resources.Pods, victim.Namespace, victim.Name, CancellationToken.None, options).ConfigureAwait(false);
                _events.Record(
                    EventRecorder.Reference(Resources.Pods, reference), EventRecorder.Reference(Resources.Pods, pod), "Normal", "Preempted", "Preempting", $"Preempted by pod {pod.Metadata.Uid} on node {node}");
            }
        }
        catch (ApiException gone) when (gone.IsNotFound || gone.IsConflict)
        {
            // Gone already, and perhaps a namesake is there.
        }
        catch (Exception failure) when (failure is ApiException or HttpRequestException or IOException or OperationCanceledException)
        {
            Log.PreemptionFailed(_logger, victim.FullName, failure.Message);
        }
        Post(new Change(ChangeKind.WriteDone, Number: number));
    }
}
