using System.Buffers;
using System.Text.Json;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Kubelet.Status;

/// <summary>
/// A pod's status as a strategic merge patch on pods/status: the kubelet's fields whole (null where they shall be gone), conditions merged by type
/// so that those of others stay, and the pod's UID as precondition.
/// </summary>
internal static class PodStatusPatch
{
    /// <param name="replaceIPs">The lists of addresses have changed: they are replaced, not merged.</param>
    public static byte[] Build(string uid, V1PodStatus status, bool replaceIPs)
    {
        var buffer = new ArrayBufferWriter<byte>(2048);
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteStartObject("metadata"u8);
            json.WriteString("uid"u8, uid);
            json.WriteEndObject();
            json.WriteStartObject("status"u8);
            if (status.ObservedGeneration is { } generation) json.WriteNumber("observedGeneration"u8, generation);
            Text(json, "phase"u8, status.Phase);
            Text(json, "reason"u8, status.Reason);
            Text(json, "message"u8, status.Message);
            Text(json, "hostIP"u8, status.HostIP);
            Text(json, "podIP"u8, status.PodIP);
            Text(json, "qosClass"u8, status.QosClass);
            Time(json, "startTime"u8, status.StartTime);
            IPs(json, "hostIPs"u8, status.HostIPs?.Select(ip => ip.Ip), replaceIPs);
            IPs(json, "podIPs"u8, status.PodIPs?.Select(ip => ip.Ip), replaceIPs);
            json.WriteStartArray("conditions"u8);
            foreach (var condition in status.Conditions) Condition(json, condition);
            json.WriteEndArray();
            Containers(json, "initContainerStatuses"u8, status.InitContainerStatuses);
            Containers(json, "containerStatuses"u8, status.ContainerStatuses);
            Containers(json, "ephemeralContainerStatuses"u8, status.EphemeralContainerStatuses);
            json.WriteEndObject();
            json.WriteEndObject();
        }
        return buffer.WrittenSpan.ToArray();
    }

    private static void Condition(Utf8JsonWriter json, V1PodCondition condition)
    {
        json.WriteStartObject();
        json.WriteString("type"u8, condition.Type);
        json.WriteString("status"u8, condition.Status);
        Text(json, "reason"u8, condition.Reason);
        Text(json, "message"u8, condition.Message);
        json.WriteNull("lastProbeTime"u8);
        Time(json, "lastTransitionTime"u8, condition.LastTransitionTime);
        if (condition.ObservedGeneration is { } generation) json.WriteNumber("observedGeneration"u8, generation);
        json.WriteEndObject();
    }

    private static void Containers(Utf8JsonWriter json, ReadOnlySpan<byte> name, IList<V1ContainerStatus>? statuses)
    {
        if (statuses is not { Count: > 0 }) return;
        json.WriteStartArray(name);
        foreach (var status in statuses) json.WriteRawValue(ModelJson.Serialize(status), skipInputValidation: true);
        json.WriteEndArray();
    }

    private static void IPs(Utf8JsonWriter json, ReadOnlySpan<byte> name, IEnumerable<string>? addresses, bool isReplacing)
    {
        if (addresses is null) return;
        json.WriteStartArray(name);
        if (isReplacing)
        {
            json.WriteStartObject();
            json.WriteString("$patch"u8, "replace"u8);
            json.WriteEndObject();
        }
        foreach (var address in addresses)
        {
            json.WriteStartObject();
            json.WriteString("ip"u8, address);
            json.WriteEndObject();
        }
        json.WriteEndArray();
    }

    private static void Text(Utf8JsonWriter json, ReadOnlySpan<byte> name, string? value)
    {
        if (string.IsNullOrEmpty(value)) json.WriteNull(name);
        else json.WriteString(name, value);
    }

    private static void Time(Utf8JsonWriter json, ReadOnlySpan<byte> name, DateTime? value)
    {
        if (value is { } time) json.WriteString(name, time.ToUniversalTime().ToString("yyyy-MM-ddTHH:mm:ssZ", System.Globalization.CultureInfo.InvariantCulture));
        else json.WriteNull(name);
    }
}
