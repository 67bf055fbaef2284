using System.Net;
using k8s.Models;

namespace K3sFast.Network.Policy;

/// <summary>A port of a pod that has a name.</summary>
internal readonly record struct NamedPort(string Name, byte Protocol, ushort Port);

/// <summary>What policies look at of a pod. Immutable.</summary>
/// <param name="Namespace">Its namespace.</param>
/// <param name="Name">Its name.</param>
/// <param name="Labels">Its labels.</param>
/// <param name="Addresses">Its addresses.</param>
/// <param name="IsLocal">It is on this node: policies that select it are kept here.</param>
/// <param name="Ports">Its ports that have names.</param>
internal sealed record PolicyPod(
    string Namespace, string Name, IDictionary<string, string> Labels, IReadOnlyList<IPAddress> Addresses, bool IsLocal, IReadOnlyList<NamedPort> Ports)
{
    /// <summary>It has begun on this node, and the API has not told us of it yet.</summary>
    internal bool IsUnknown { get; init; }

    internal string Key => $"{Namespace}/{Name}";

    /// <summary>The pod; null when no policy concerns it: it shares its node's network, has ended, or has no address yet.</summary>
    /// <param name="pod">From the API.</param>
    /// <param name="nodeName">This node.</param>
    /// <param name="attached">Addresses that it was given here, before the API knows; null = ask the API.</param>
    internal static PolicyPod? Of(V1Pod pod, string nodeName, IReadOnlyList<IPAddress>? attached)
    {
        if (pod.Spec?.HostNetwork == true || pod.Status?.Phase is "Succeeded" or "Failed") return null;
        var addresses = attached ?? [.. (pod.Status?.PodIPs ?? []).Select(static ip => IPAddress.TryParse(ip.Ip, out var address) ? address : null).OfType<IPAddress>()];
        if (addresses.Count == 0) return null;
        var ports = (pod.Spec?.Containers ?? []).Concat(pod.Spec?.InitContainers ?? []).SelectMany(static container => container.Ports ?? [])
            .Where(static port => port.Name is { Length: > 0 }).Select(static port => new NamedPort(port.Name, PolicyPort.ProtocolOf(port.Protocol), (ushort)port.ContainerPort)).ToList();
        return new PolicyPod(
            pod.Metadata.NamespaceProperty, pod.Metadata.Name, pod.Metadata.Labels ?? new Dictionary<string, string>(), addresses, pod.Spec?.NodeName == nodeName, ports);
    }

    /// <summary>True when policies see no difference.</summary>
    internal bool LooksLike(PolicyPod other) =>
        IsLocal == other.IsLocal && IsUnknown == other.IsUnknown && Addresses.SequenceEqual(other.Addresses) && Ports.SequenceEqual(other.Ports)
        && Labels.Count == other.Labels.Count && Labels.All(label => other.Labels.TryGetValue(label.Key, out var value) && value == label.Value);
}
