using System.Net;
using System.Text;
using K3sFast.ApiMachinery;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>
/// What the API server itself keeps in the cluster: the system namespaces, the priority classes, the kubernetes Service with its endpoints, and the
/// ConfigMap by which other servers learn whom to trust.
/// </summary>
internal sealed class SystemObjects(ResourceCatalog catalog, WriteFlow writes, MasterLeases masters, ClusterTrust trust, ApiServerOptions options, ILogger logger)
{
    // Upstream rechecks its namespaces once a minute and its endpoints every ten seconds; nothing else writes those of a server alone, so once a minute does for all.
    private static readonly TimeSpan s_period = TimeSpan.FromMinutes(1);

    private int _port;

    /// <summary>Namespaces and priority classes: before anything else is written.</summary>
    internal async Task StartAsync(CancellationToken cancel)
    {
        await EnsureNamespacesAsync(cancel).ConfigureAwait(false);
        await EnsurePriorityClassAsync("system-node-critical", 2000001000,
            "Used for system critical pods that must not be moved from their current node.", cancel).ConfigureAwait(false);
        await EnsurePriorityClassAsync("system-cluster-critical", 2000000000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.", cancel).ConfigureAwait(false);
        await EnsureTrustAsync(cancel).ConfigureAwait(false);
        await EnsureServiceCidrAsync(cancel).ConfigureAwait(false);
    }

    // The range that the server was told; a second family may be added to it later, anything else needs another ServiceCIDR object.
    private async Task EnsureServiceCidrAsync(CancellationToken cancel)
    {
        var ranges = catalog.Storage("networking.k8s.io", "servicecidrs");
        string[] wanted = options.SecondaryServiceCidr is { } second ? [options.ServiceCidr.ToString(), second.ToString()] : [options.ServiceCidr.ToString()];
        await EnsureAsync(ranges, "", "kubernetes", obj => ServiceFields.SetList(obj.GetOrAddObject("spec"u8), "cidrs"u8, wanted), obj =>
        {
            var present = ServiceFields.Texts(obj["spec"u8]["cidrs"u8]);
            if (wanted.Length == 2 && present is [var first] && first == wanted[0])
                ServiceFields.SetList(obj["spec"u8], "cidrs"u8, wanted);
            else if (!present.SequenceEqual(wanted))
                Log.ServiceCidrDiffers(logger, string.Join(',', wanted), string.Join(',', present));
        }, cancel).ConfigureAwait(false);
        await MarkReadyAsync(ranges, cancel).ConfigureAwait(false);
    }

    private async Task MarkReadyAsync(ResourceStorage ranges, CancellationToken cancel)
    {
        using (var stored = ranges.Get("", "kubernetes"))
        {
            if (stored is null)
                return;
            using var document = ranges.Decode(stored);
            foreach (var condition in document.Root["status"u8]["conditions"u8].Elements)
            {
                if (condition["type"u8].Equals("Ready"u8))
                    return;
            }
        }
        using var answer = await writes.UpdateAsync(ranges, "status", new WriteContext(UserInfo.ApiServer, "", "kubernetes", false, cancel), old =>
        {
            var changed = old.Clone();
            var ready = changed.Root.GetOrAddObject("status"u8).GetOrAddArray("conditions"u8).AppendObject();
            ready.Set("type"u8, "Ready"u8);
            ready.Set("status"u8, "True"u8);
            ready.Set("lastTransitionTime"u8, ObjectText.Time(options.Clock.GetUtcNow()));
            ready.Set("reason"u8, ""u8);
            ready.Set("message"u8, "Kubernetes default Service CIDR is ready"u8);
            return changed;
        }, isPatch: true).ConfigureAwait(false);
    }

    /// <summary>The kubernetes Service and its endpoints, once requests are served at <paramref name="port"/>; then keeps everything there.</summary>
    internal async Task PublishAsync(int port, CancellationToken cancel)
    {
        await EnsureServiceAsync(port, cancel).ConfigureAwait(false);
        // An endpoint on loopback would lead every pod to itself; the API refuses it too.
        if (IPAddress.IsLoopback(options.AdvertiseAddress) || options.AdvertiseAddress.Equals(IPAddress.Any) || options.AdvertiseAddress.Equals(IPAddress.IPv6Any))
            Log.NoAdvertiseAddress(logger, options.AdvertiseAddress.ToString());
        else
            await EnsureEndpointsAsync(port, cancel).ConfigureAwait(false);
    }

    internal async Task FollowAsync(int port, CancellationToken cancel)
    {
        while (!cancel.IsCancellationRequested)
        {
            try
            {
                await Task.Delay(masters.IsShared ? MasterLeases.Renewal : s_period, options.Clock, cancel).ConfigureAwait(false);
                await EnsureNamespacesAsync(cancel).ConfigureAwait(false);
                await EnsureTrustAsync(cancel).ConfigureAwait(false);
                await PublishAsync(port, cancel).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (cancel.IsCancellationRequested)
            {
                return;
            }
            catch (Exception error)
            {
                Log.BackgroundFailed(logger, "keeping the system's objects", error.Message);
            }
        }
    }

    private async Task EnsureNamespacesAsync(CancellationToken cancel)
    {
        foreach (var name in new[] { "kube-system", "kube-public", "default", "kube-node-lease" })
        {
            await EnsureAsync(catalog.Storage("", "namespaces"), "", name, obj =>
                obj["metadata"u8].GetOrAddObject("labels"u8).Set("kubernetes.io/metadata.name"u8, name), null, cancel).ConfigureAwait(false);
        }
    }

    private Task EnsurePriorityClassAsync(string name, long value, string description, CancellationToken cancel) =>
        EnsureAsync(catalog.Storage("scheduling.k8s.io", "priorityclasses"), "", name, obj =>
        {
            obj.Set("value"u8, value);
            obj.Set("description"u8, description);
        }, null, cancel);

    /// <summary>Tells other servers whom this one believes now; false when that could not be written.</summary>
    internal async Task<bool> TellTrustAsync(CancellationToken cancel)
    {
        try
        {
            await EnsureTrustAsync(cancel).ConfigureAwait(false);
            return true;
        }
        catch (Exception error) when (error is not OperationCanceledException)
        {
            Log.BackgroundFailed(logger, $"telling whom to trust in {ClusterTrust.Name}", error.Message);
            return false;
        }
    }

    private Task EnsureTrustAsync(CancellationToken cancel) =>
        EnsureAsync(catalog.Storage("", "configmaps"), "kube-system", ClusterTrust.Name, trust.Write, trust.Write, cancel);

    private Task EnsureServiceAsync(int port, CancellationToken cancel)
    {
        var address = ServiceAllocator.FirstAddress(options.ServiceCidr).ToString();
        return EnsureAsync(catalog.Storage("", "services"), "default", "kubernetes", obj =>
        {
            var labels = obj["metadata"u8].GetOrAddObject("labels"u8);
            labels.Set("component"u8, "apiserver"u8);
            labels.Set("provider"u8, "kubernetes"u8);
            var spec = obj.GetOrAddObject("spec"u8);
            spec.Set("type"u8, "ClusterIP"u8);
            spec.Set("clusterIP"u8, address);
            spec.Set("ipFamilyPolicy"u8, "SingleStack"u8);
            spec.Set("sessionAffinity"u8, "None"u8);
            WriteServicePort(spec, port);
        }, obj => WriteServicePort(obj.GetOrAddObject("spec"u8), port), cancel);
    }

    private static void WriteServicePort(ApiNode spec, int port)
    {
        var ports = spec.GetOrAddArray("ports"u8);
        ports.Clear();
        var entry = ports.AppendObject();
        entry.Set("name"u8, "https"u8);
        entry.Set("protocol"u8, "TCP"u8);
        entry.Set("port"u8, 443);
        entry.Set("targetPort"u8, port);
    }

    /// <summary>This server goes: the Service no longer leads to it. A server alone leaves its endpoint for its next life.</summary>
    internal async Task WithdrawAsync(CancellationToken cancel)
    {
        if (!masters.IsShared || _port == 0)
            return;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(TimeSpan.FromSeconds(5));
        try
        {
            await masters.RemoveAsync(limit.Token).ConfigureAwait(false);
            await WriteEndpointsAsync(_port, await masters.AddressesAsync(isOneself: false, limit.Token).ConfigureAwait(false), limit.Token).ConfigureAwait(false);
        }
        // The others see it when the lease runs out.
        catch (Exception error)
        {
            Log.BackgroundFailed(logger, "leaving the kubernetes Service", error.Message);
        }
    }

    private async Task EnsureEndpointsAsync(int port, CancellationToken cancel)
    {
        _port = port;
        if (masters.IsShared)
            await masters.RenewAsync(cancel).ConfigureAwait(false);
        await WriteEndpointsAsync(port, await masters.AddressesAsync(isOneself: true, cancel).ConfigureAwait(false), cancel).ConfigureAwait(false);
    }

    private async Task WriteEndpointsAsync(int port, List<string> servers, CancellationToken cancel)
    {
        if (servers.Count == 0)
            return;
        void WriteEndpoints(ApiNode obj)
        {
            obj["metadata"u8].GetOrAddObject("labels"u8).Set("endpointslice.kubernetes.io/skip-mirror"u8, "true"u8);
            var subsets = obj.GetOrAddArray("subsets"u8);
            subsets.Clear();
            var subset = subsets.AppendObject();
            var addresses = subset.GetOrAddArray("addresses"u8);
            foreach (var server in servers)
                addresses.AppendObject().Set("ip"u8, server);
            var entry = subset.GetOrAddArray("ports"u8).AppendObject();
            entry.Set("name"u8, "https"u8);
            entry.Set("port"u8, port);
            entry.Set("protocol"u8, "TCP"u8);
        }
        void WriteSlice(ApiNode obj)
        {
            obj["metadata"u8].GetOrAddObject("labels"u8).Set("kubernetes.io/service-name"u8, "kubernetes"u8);
            obj.Set("addressType"u8, options.AdvertiseAddress.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6 ? "IPv6"u8 : "IPv4"u8);
            var endpoints = obj.GetOrAddArray("endpoints"u8);
            endpoints.Clear();
            foreach (var server in servers)
            {
                var endpoint = endpoints.AppendObject();
                endpoint.GetOrAddArray("addresses"u8).AppendString(Encoding.UTF8.GetBytes(server));
                endpoint.GetOrAddObject("conditions"u8).Set("ready"u8, true);
            }
            var ports = obj.GetOrAddArray("ports"u8);
            ports.Clear();
            var entry = ports.AppendObject();
            entry.Set("name"u8, "https"u8);
            entry.Set("port"u8, port);
            entry.Set("protocol"u8, "TCP"u8);
        }
        await EnsureAsync(catalog.Storage("", "endpoints"), "default", "kubernetes", WriteEndpoints, WriteEndpoints, cancel).ConfigureAwait(false);
        await EnsureAsync(catalog.Storage("discovery.k8s.io", "endpointslices"), "default", "kubernetes", WriteSlice, WriteSlice, cancel).ConfigureAwait(false);
    }

    /// <summary>Makes an object, or repairs what is there; nothing is written when that changes nothing.</summary>
    internal async Task EnsureAsync(ResourceStorage storage, string ns, string name, Action<ApiNode> make, Action<ApiNode>? repair, CancellationToken cancel)
    {
        var context = new WriteContext(UserInfo.ApiServer, ns, name, false, cancel, FieldOwner.ApiServer(storage, options.Clock));
        await storage.FreshenAsync(cancel).ConfigureAwait(false);
        using (var stored = storage.Get(ns, name))
        {
            if (stored is not null)
            {
                if (repair is null)
                    return;
                using var answer = await writes.UpdateAsync(storage, "", context, old =>
                {
                    var changed = old.Clone();
                    changed.Root.GetOrAddObject("metadata"u8);
                    repair(changed.Root);
                    return changed;
                }, isPatch: true).ConfigureAwait(false);
                return;
            }
        }
        using var document = new ApiObject();
        var root = document.Root;
        root.Set("kind"u8, storage.Info.KindUtf8);
        root.Set("apiVersion"u8, storage.Info.ApiVersionUtf8);
        var metadata = root.GetOrAddObject("metadata"u8);
        metadata.Set("name"u8, name);
        if (ns.Length > 0)
            metadata.Set("namespace"u8, ns);
        make(root);
        Defaulting.Apply(root, storage.Info);
        try
        {
            using var created = await writes.CreateAsync(storage, document, context).ConfigureAwait(false);
        }
        catch (ApiStatusException taken) when (taken.Status.Reason == "AlreadyExists")
        {
            // Another server of the cluster has just made it.
        }
        catch (ApiStatusException invalid) when (invalid.Status.Reason == "Invalid")
        {
            // Or is about to: the address of a Service is taken before the Service is there.
            if (!await AppearsAsync(storage, ns, name, context.Cancel).ConfigureAwait(false))
                throw;
        }
    }

    private static async Task<bool> AppearsAsync(ResourceStorage storage, string ns, string name, CancellationToken cancel)
    {
        // Some writes of another server, which may be as busy as a start makes it.
        const int Looks = 100;
        for (var i = 0; i < Looks; i++)
        {
            using (var stored = storage.Get(ns, name))
            {
                if (stored is not null)
                    return true;
            }
            await Task.Delay(TimeSpan.FromMilliseconds(100), cancel).ConfigureAwait(false);
        }
        return false;
    }
}
