using System.Globalization;
using System.Net.Sockets;
using K3sFast.Client;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.AddOns.Dns;

/// <summary>
/// Publishes the server as pods know it: Service kube-system/kube-dns at the cluster's DNS address, without selector, and one EndpointSlice
/// and the Endpoints that lead to this node. Puts them back when somebody takes them away.
/// </summary>
internal sealed class DnsService(
    DnsOptions options, ApiClient client, Informer<V1Service> services, Informer<V1EndpointSlice> slices, ILogger logger)
{
    private const string Namespace = "kube-system";
    private const string Name = "kube-dns";
    private const string ManagedBy = "k3sfast-dns";

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
            if (slice.Metadata.Name == SliceName && slice.Metadata.NamespaceProperty == Namespace) queue.Add(Name);
        });
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
            ],
        },
    };

    // One slice per family: a slice has one address type.
    private IEnumerable<V1EndpointSlice> Slices()
    {
        foreach (var address in options.NodeIPs)
        {
            var isV4 = address.AddressFamily == AddressFamily.InterNetwork;
            var metadata = Metadata(isV4 ? SliceName : SliceName + "-v6");
            metadata.Labels["kubernetes.io/service-name"] = Name;
            metadata.Labels["endpointslice.kubernetes.io/managed-by"] = ManagedBy;
            yield return new V1EndpointSlice
            {
                Metadata = metadata,
                AddressType = isV4 ? "IPv4" : "IPv6",
                Endpoints =
                [
                    new V1Endpoint
                    {
                        Addresses = [address.ToString()],
                        NodeName = options.NodeName,
                        Conditions = new V1EndpointConditions { Ready = true, Serving = true, Terminating = false },
                    },
                ],
                Ports =
                [
                    new Discoveryv1EndpointPort { Name = "dns", Port = options.Port, Protocol = "UDP" },
                    new Discoveryv1EndpointPort { Name = "dns-tcp", Port = options.Port, Protocol = "TCP" },
                ],
            };
        }
    }

    private V1Endpoints Endpoints()
    {
        var metadata = Metadata(Name);
        metadata.Labels["endpointslice.kubernetes.io/skip-mirror"] = "true";
        return new V1Endpoints
        {
            Metadata = metadata,
            Subsets =
            [
                new V1EndpointSubset
                {
                    Addresses = [.. options.NodeIPs.Select(address => new V1EndpointAddress { Ip = address.ToString(), NodeName = options.NodeName })],
                    Ports =
                    [
                        new Corev1EndpointPort { Name = "dns", Port = options.Port, Protocol = "UDP" },
                        new Corev1EndpointPort { Name = "dns-tcp", Port = options.Port, Protocol = "TCP" },
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
        && ModelJson.Serialize(current.Ports).AsSpan().SequenceEqual(ModelJson.Serialize(wanted.Ports));
}
