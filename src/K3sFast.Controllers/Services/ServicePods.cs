using System.Globalization;
using System.Net;
using System.Net.Sockets;
using K3sFast.Client;
using K3sFast.Client.Selection;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>How a service's endpoints follow from its pods: what both kinds of endpoint objects share. Pure.</summary>
internal static class ServicePods
{
    internal const string HeadlessLabel = "service.kubernetes.io/headless";

    /// <summary>The pods that a service selects.</summary>
    internal static IEnumerable<V1Pod> Of(Informer<V1Pod> pods, V1Service service)
    {
        var selector = LabelMatcher.Of(service.Spec.Selector);
        return pods.EachByIndex(PodIndex.ByNamespace, service.Metadata.NamespaceProperty).Where(pod => selector.Matches(pod.Metadata.Labels));
    }

    /// <summary>Has addresses and is not finished; being deleted counts only where asked for.</summary>
    internal static bool Belongs(V1Pod pod, bool includeTerminating) =>
        !PodState.IsTerminal(pod) && Addresses(pod).Any() && (includeTerminating || pod.Metadata.DeletionTimestamp is null);

    internal static bool IsHeadless(V1Service service) => string.IsNullOrEmpty(service.Spec.ClusterIP) || service.Spec.ClusterIP == "None";

    /// <summary>A pod's name below the service's: its hostname, where its subdomain is the service.</summary>
    internal static string? Hostname(V1Pod pod, V1Service service) =>
        !string.IsNullOrEmpty(pod.Spec.Hostname) && pod.Spec.Subdomain == service.Metadata.Name ? pod.Spec.Hostname : null;

    internal static IEnumerable<IPAddress> Addresses(V1Pod pod)
    {
        if (pod.Status?.PodIPs is { Count: > 0 } all) return all.Select(static address => Parse(address.Ip)).OfType<IPAddress>();
        return Parse(pod.Status?.PodIP) is { } only ? [only] : [];
    }

    internal static IEnumerable<IPAddress> Addresses(V1Pod pod, AddressFamily family) =>
        Addresses(pod).Where(address => address.AddressFamily == family);

    /// <summary>The families that the service has addresses of; a service from before there were families goes by its cluster address.</summary>
    internal static IReadOnlyList<AddressFamily> Families(V1Service service)
    {
        if (service.Spec.IpFamilies is { Count: > 0 } families)
        {
            return [.. families.Select(static family => family == "IPv6" ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork)];
        }
        return Parse(service.Spec.ClusterIP) is { } address ? [address.AddressFamily] : [AddressFamily.InterNetwork, AddressFamily.InterNetworkV6];
    }

    /// <summary>The number behind a service port on this pod: its target port, looked up by name among the pod's ports when it is one. Null = none.</summary>
    internal static int? FindPort(V1Pod pod, V1ServicePort port)
    {
        var target = port.TargetPort?.Value;
        if (string.IsNullOrEmpty(target)) return port.Port;
        if (int.TryParse(target, NumberStyles.None, CultureInfo.InvariantCulture, out var number)) return number;
        var protocol = Protocol(port.Protocol);
        var sidecars = (pod.Spec.InitContainers ?? []).Where(static container => container.RestartPolicy == "Always");
        foreach (var container in (pod.Spec.Containers ?? []).Concat(sidecars))
        {
            foreach (var candidate in container.Ports ?? [])
            {
                if (candidate.Name == target && Protocol(candidate.Protocol) == protocol) return candidate.ContainerPort;
            }
        }
        return null;
    }

    internal static V1ObjectReference Reference(V1Pod pod) => new()
    {
        Kind = "Pod",
        NamespaceProperty = pod.Metadata.NamespaceProperty,
        Name = pod.Metadata.Name,
        Uid = pod.Metadata.Uid,
    };

    /// <summary>Could the change make a difference to an endpoint? Most pod updates do not.</summary>
    internal static bool IsRelevant(V1Pod old, V1Pod pod) =>
        old.Metadata.Uid != pod.Metadata.Uid
        || (old.Metadata.DeletionTimestamp is null) != (pod.Metadata.DeletionTimestamp is null)
        || PodState.IsReady(old) != PodState.IsReady(pod)
        || PodState.IsTerminal(old) != PodState.IsTerminal(pod)
        || old.Spec.NodeName != pod.Spec.NodeName
        || old.Spec.Hostname != pod.Spec.Hostname
        || !Addresses(old).SequenceEqual(Addresses(pod))
        || !Owners.SameLabels(old.Metadata.Labels, pod.Metadata.Labels);

    /// <summary>Puts the keys of the services that a pod change may concern into a queue.</summary>
    internal static InformerHandler<V1Pod> Handler(Informer<V1Service> services, WorkQueue<ObjectKey> queue)
    {
        return new InformerHandler<V1Pod>(Queue, (old, pod) =>
        {
            if (!IsRelevant(old, pod)) return;
            Queue(pod);
            if (!Owners.SameLabels(old.Metadata.Labels, pod.Metadata.Labels)) Queue(old);
        }, Queue);

        void Queue(V1Pod pod) =>
            ServiceIndex.ForEach(services, pod.Metadata.NamespaceProperty, pod.Metadata.Labels, service => queue.Add(ObjectKey.Of(service)));
    }

    internal static string Protocol(string? protocol) => string.IsNullOrEmpty(protocol) ? "TCP" : protocol;

    private static IPAddress? Parse(string? text) => IPAddress.TryParse(text, out var address) ? address : null;
}
