using System.Globalization;
using System.Net.Sockets;
using K3sFast.Client;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.AddOns.Dns;

/// <summary>
/// Publishes the server as pods know it: Service kube-system/kube-dns at the cluster's DNS address, without selector, and an EndpointSlice for
/// each server and family. Puts back what somebody takes away. Every server looks after the others': one that has died must not be asked, and it
/// cannot say so itself. A server lives while its API server's address is in Service default/kubernetes, which each renews every few seconds, and
/// while its node, where it is one, is ready.
/// </summary>
internal sealed class DnsService(
    DnsOptions options, ApiClient client, Informer<V1Service> services, Informer<V1EndpointSlice> slices, Informer<V1Node> nodes, ILogger logger)
{
    private const string Namespace = "kube-system";
    private const string Name = "kube-dns";
    private const string ManagedBy = "k3sfast-dns";
    private const string ManagedByLabel = "endpointslice.kubernetes.io/managed-by";
    private const string ServerAddressAnnotation = "k3sfast-dns/server-address";
    private const int MetricsPort = 9153;

    private string SliceName => $"{Name}-{options.NodeName}";

    internal async Task RunAsync(CancellationToken cancellationToken)
    {
        using var queue = new WorkQueue<string>(baseDelay: TimeSpan.FromMilliseconds(50), maxDelay: TimeSpan.FromSeconds(30));
        services.AddHandler(service =>
        {
            if (service.Metadata.Name == Name && service.Metadata.NamespaceProperty == Namespace) queue.Add(Name);
        });
        slices.AddHandler(slice =>
        {
            if (IsOurs(slice) || slice.Metadata is { Name: "kubernetes", NamespaceProperty: "default" }) queue.Add(Name);
        });
        nodes.AddHandler(_ => queue.Add(Name));
        queue.Add(Name);
        await new Reconciler<string>("dns-service", queue, (_, stop) => PublishAsync(stop), logger).RunAsync(1, cancellationToken).ConfigureAwait(false);
    }

    private async ValueTask PublishAsync(CancellationToken cancellationToken)
    {
        try
        {
            if (services.Get(Namespace, Name) is null) await CreateAsync(Resources.Services, Service(), cancellationToken).ConfigureAwait(false);
            foreach (var wanted in Slices())
            {
                var current = slices.Get(Namespace, wanted.Metadata.Name);
                if (current is null) await CreateAsync(Resources.EndpointSlices, wanted, cancellationToken).ConfigureAwait(false);
                else if (!IsSame(current, wanted)) await client.UpdateAsync(Resources.EndpointSlices, wanted, cancellationToken).ConfigureAwait(false);
            }
            foreach (var slice in slices.List(Namespace).Where(IsOurs)) await LookAfterAsync(slice, cancellationToken).ConfigureAwait(false);
            await PublishEndpointsAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (ApiException refused)
        {
            Log.DnsPublishFailed(logger, refused.Message);
            throw;
        }
    }

    private async Task CreateAsync<T>(Resource<T> resource, T value, CancellationToken cancellationToken)
        where T : class, k8s.IKubernetesObject<V1ObjectMeta>
    {
        try
        {
            await client.CreateAsync(resource, value, cancellationToken).ConfigureAwait(false);
        }
        catch (ApiException exists) when (exists.IsAlreadyExists)
        {
            // The informer has not heard of it yet; it will, and this is looked at again.
        }
    }

    private static bool IsOurs(V1EndpointSlice slice) =>
        slice.Metadata.NamespaceProperty == Namespace && slice.Metadata.Labels is { } labels && labels.TryGetValue(ManagedByLabel, out var owner) && owner == ManagedBy;

    // Another server's slice follows it: not ready while it is silent or its node is not, gone with it when it has no node (any more).
    private async ValueTask LookAfterAsync(V1EndpointSlice slice, CancellationToken cancellationToken)
    {
        if (slice.Endpoints is not [{ NodeName: { } nodeName } endpoint] || nodeName == options.NodeName) return;
        var hasNode = nodes.Get(null, nodeName) is not null;
        // At this server's address: it had another name before.
        var isFormerSelf = options.NodeIPs.Any(address => address.ToString() == endpoint.Addresses[0]);
        if (!hasNode && (isFormerSelf || !Lives(slice)))
        {
            await client.DeleteAsync(Resources.EndpointSlices, Namespace, slice.Metadata.Name, cancellationToken).ConfigureAwait(false);
            return;
        }
        var isReady = IsUsable(slice);
        if (endpoint.Conditions?.Ready == isReady) return;
        var changed = Slice(slice.Metadata.Name, slice.AddressType, endpoint.Addresses[0], nodeName, ServerOf(slice), isReady);
        changed.Metadata.ResourceVersion = slice.Metadata.ResourceVersion;
        await client.UpdateAsync(Resources.EndpointSlices, changed, cancellationToken).ConfigureAwait(false);
    }

    // Every server comes to the same conclusion. While none is known to live they are all used: an answer may come all the same.
    private bool IsUsable(V1EndpointSlice slice) => Lives(slice) || !slices.List(Namespace).Where(IsOurs).Append(slice).Any(Lives);

    private bool Lives(V1EndpointSlice slice)
    {
        if (slice.Endpoints is not [{ NodeName: { } nodeName }]) return false;
        var isNodeReady = nodes.Get(null, nodeName) is { } node ? IsReady(node) : (bool?)null;
        var servers = slices.ByIndex(DnsServer.ByService, "default/kubernetes").SelectMany(static known => known.Endpoints ?? [])
            .Where(static endpoint => endpoint.Conditions?.Ready != false).SelectMany(static endpoint => endpoint.Addresses).ToList();
        // Where servers are not listed (by a flag, or on loopback) only the nodes tell.
        return ServerOf(slice) is { } server && servers.Count > 0 ? servers.Contains(server) && isNodeReady != false : isNodeReady == true;
    }

    private static string? ServerOf(V1EndpointSlice slice) =>
        slice.Metadata.Annotations is { } annotations && annotations.TryGetValue(ServerAddressAnnotation, out var server) ? server : null;

    private static bool IsReady(V1Node node) => node.Status?.Conditions?.FirstOrDefault(static condition => condition.Type == "Ready") is not { Status: not "True" };

    // Endpoints are what older tools look at; their slices are ours, so mirroring is told to keep away.
    private async Task PublishEndpointsAsync(CancellationToken cancellationToken)
    {
        var wanted = Endpoints();
        var current = await client.FindAsync(Resources.Endpoints, Namespace, Name, cancellationToken).ConfigureAwait(false);
        if (current is null) await CreateAsync(Resources.Endpoints, wanted, cancellationToken).ConfigureAwait(false);
        else if (!ModelJson.Serialize(current.Subsets).AsSpan().SequenceEqual(ModelJson.Serialize(wanted.Subsets)))
        {
            await client.UpdateAsync(Resources.Endpoints, wanted, cancellationToken).ConfigureAwait(false);
        }
    }

    private V1Service Service() => new()
    {
        Metadata = Metadata(Name),
        Spec = new V1ServiceSpec
        {
            Type = "ClusterIP",
            ClusterIP = options.ClusterDns[0].ToString(),
            ClusterIPs = [.. options.ClusterDns.Select(static address => address.ToString())],
            IpFamilyPolicy = options.ClusterDns.Count > 1 ? "PreferDualStack" : "SingleStack",
            Ports =
            [
                new V1ServicePort { Name = "dns", Port = 53, Protocol = "UDP", TargetPort = options.Port.ToString(CultureInfo.InvariantCulture) },
                new V1ServicePort { Name = "dns-tcp", Port = 53, Protocol = "TCP", TargetPort = options.Port.ToString(CultureInfo.InvariantCulture) },
                new V1ServicePort { Name = "metrics", Port = MetricsPort, Protocol = "TCP", TargetPort = MetricsPort.ToString(CultureInfo.InvariantCulture) },
            ],
        },
    };

    // One slice per family: a slice has one address type.
    private IEnumerable<V1EndpointSlice> Slices()
    {
        foreach (var address in options.NodeIPs)
        {
            var isV4 = address.AddressFamily == AddressFamily.InterNetwork;
            var slice = Slice(isV4 ? SliceName : SliceName + "-v6", isV4 ? "IPv4" : "IPv6", address.ToString(), options.NodeName, options.ServerAddress?.ToString(), isReady: true);
            var conditions = slice.Endpoints[0].Conditions;
            conditions.Ready = conditions.Serving = IsUsable(slice);
            yield return slice;
        }
    }

    private V1EndpointSlice Slice(string name, string addressType, string address, string nodeName, string? server, bool isReady)
    {
        var metadata = Metadata(name);
        metadata.Labels["kubernetes.io/service-name"] = Name;
        metadata.Labels[ManagedByLabel] = ManagedBy;
        if (server is not null) metadata.Annotations = new Dictionary<string, string> { [ServerAddressAnnotation] = server };
        return new V1EndpointSlice
        {
            Metadata = metadata,
            AddressType = addressType,
            Endpoints =
            [
                new V1Endpoint
                {
                    Addresses = [address],
                    NodeName = nodeName,
                    Conditions = new V1EndpointConditions { Ready = isReady, Serving = isReady, Terminating = false },
                },
            ],
            Ports =
            [
                new Discoveryv1EndpointPort { Name = "dns", Port = options.Port, Protocol = "UDP" },
                new Discoveryv1EndpointPort { Name = "dns-tcp", Port = options.Port, Protocol = "TCP" },
                new Discoveryv1EndpointPort { Name = "metrics", Port = MetricsPort, Protocol = "TCP" },
            ],
        };
    }

    private V1Endpoints Endpoints()
    {
        var metadata = Metadata(Name);
        metadata.Labels["endpointslice.kubernetes.io/skip-mirror"] = "true";
        // All servers', as their slices tell: whoever writes them last writes the same.
        var ready = slices.List(Namespace).Where(slice => IsOurs(slice) && slice.Endpoints is [{ NodeName: { } name }] && name != options.NodeName).Concat(Slices())
            .Where(static slice => slice.Endpoints[0].Conditions?.Ready != false)
            .Select(static slice => new V1EndpointAddress { Ip = slice.Endpoints[0].Addresses[0], NodeName = slice.Endpoints[0].NodeName })
            .OrderBy(static address => address.Ip, StringComparer.Ordinal).ToList();
        return new V1Endpoints
        {
            Metadata = metadata,
            Subsets = ready.Count == 0 ? [] :
            [
                new V1EndpointSubset
                {
                    Addresses = ready,
                    Ports =
                    [
                        new Corev1EndpointPort { Name = "dns", Port = options.Port, Protocol = "UDP" },
                        new Corev1EndpointPort { Name = "dns-tcp", Port = options.Port, Protocol = "TCP" },
                        new Corev1EndpointPort { Name = "metrics", Port = MetricsPort, Protocol = "TCP" },
                    ],
                },
            ],
        };
    }

    // The labels that tools find cluster DNS by, as k3s sets them.
    private static V1ObjectMeta Metadata(string name) => new()
    {
        Name = name,
        NamespaceProperty = Namespace,
        Labels = new Dictionary<string, string>
        {
            ["k8s-app"] = "kube-dns",
            ["kubernetes.io/cluster-service"] = "true",
            ["kubernetes.io/name"] = "CoreDNS",
        },
    };

    private static bool IsSame(V1EndpointSlice current, V1EndpointSlice wanted) =>
        ModelJson.Serialize(current.Endpoints).AsSpan().SequenceEqual(ModelJson.Serialize(wanted.Endpoints))
        && ModelJson.Serialize(current.Ports).AsSpan().SequenceEqual(ModelJson.Serialize(wanted.Ports)) && ServerOf(current) == ServerOf(wanted);
}
