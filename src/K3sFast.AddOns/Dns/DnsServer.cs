using System.Net;
using K3sFast.Client;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.AddOns.Dns;

/// <summary>
/// The cluster's DNS, built in: names follow Services, EndpointSlices and Namespaces; the rest is as a Corefile says, which lies where k3s has it.
/// It stands behind Service kube-system/kube-dns, where pods of every Kubernetes cluster look for it.
/// </summary>
public sealed class DnsServer
{
    internal const string ByService = "service";
    private const string ConfigKey = "config";

    // Immutable after construction
    private readonly DnsOptions _options;
    private readonly ApiClient _client;
    private readonly ILogger _logger;
    private readonly DnsParts _parts;
    private readonly Informer<V1Service> _services;
    private readonly Informer<V1EndpointSlice> _slices;
    private readonly Informer<V1Node> _nodes;
    private readonly Informer<V1Namespace> _namespaces;
    private readonly InformerFactory _informers;
    private readonly DnsConfigMaps _maps;
    private readonly EventRecorder _events;
    private readonly WorkQueue<string> _changed;
    private readonly TaskCompletionSource<IPEndPoint> _listening = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Owned by the reconciler's one thread: addresses that pods were seen with
    private readonly Dictionary<string, List<IPAddress>> _podAddresses = [];
    private Informer<V1Pod>? _pods;

    /// <summary>A server, not yet running.</summary>
    public DnsServer(DnsOptions options, ApiClient client, ILoggerFactory loggers, TimeProvider? time = null)
    {
        time ??= TimeProvider.System;
        (_options, _client) = (options, client);
        _logger = loggers.CreateLogger("K3sFast.AddOns.Dns");
        _parts = new DnsParts(options, new ClusterRecords(), new DnsMetrics(), new DnsEngineReference(), time, _logger) { ResolvConf = new ResolvConf(options.ResolvConf) };
        _informers = new InformerFactory(client, loggers, time);
        // Many objects, read when they change: the bytes that the API's cache holds are enough.
        _services = _informers.Get(Resources.Services, keepsEncoded: true);
        _slices = _informers.Get(Resources.EndpointSlices, keepsEncoded: true);
        _nodes = _informers.Get(Resources.Nodes);
        _namespaces = _informers.Get(Resources.Namespaces);
        _maps = new DnsConfigMaps(client, _informers, _nodes, options.ClusterDomain, _logger);
        _events = new EventRecorder(client, "coredns", options.NodeName, _logger, time);
        _slices.AddIndex(ByService, static slice => OwnerKey(slice) is { } key ? [key] : []);
        _changed = new WorkQueue<string>(time);
        _services.AddHandler(service => _changed.Add("s/" + service.Metadata.NamespaceProperty + "/" + service.Metadata.Name));
        _slices.AddHandler(slice =>
        {
            if (OwnerKey(slice) is { } key) _changed.Add("s/" + key);
        });
        _namespaces.AddHandler(@namespace => _changed.Add("n/" + @namespace.Metadata.Name));
        _maps.AddHandler(() => _changed.Add(ConfigKey));
        _nodes.AddHandler(_ => _changed.Add(ConfigKey));
    }

    /// <summary>Where the server listens, once it does.</summary>
    internal Task<IPEndPoint> Listening => _listening.Task;

    internal ClusterRecords Records => _parts.Records;

    internal DnsMetrics Metrics => _parts.Metrics;

    /// <summary>Follows the API, answers questions and keeps the Service published, until cancelled.</summary>
    /// <exception cref="System.Net.Sockets.SocketException">The port is in use, or an address is not this host's.</exception>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        if (_options.AwaitsNodes) await NodeSeenAsync(cancellationToken).ConfigureAwait(false);
        var running = new List<Task> { _informers.RunAsync(cancellationToken), _events.RunAsync(cancellationToken) };
        // No answer before the first lists are in: a name that is merely not known yet must not be denied.
        await _informers.WaitForSyncAsync(cancellationToken).ConfigureAwait(false);
        foreach (var @namespace in _namespaces.List()) Rebuild("n/" + @namespace.Metadata.Name);
        foreach (var service in _services.List()) Rebuild("s/" + service.Metadata.NamespaceProperty + "/" + service.Metadata.Name);

        var parts = _parts;
        if (_options.IsReachedThroughPodNetwork)
        {
            var addresses = await PodNetworkAddresses.WaitAsync(_options.NodeName, _nodes, parts.Time, cancellationToken).ConfigureAwait(false);
            parts = parts with { Options = _options with { NodeIPs = addresses } };
        }
        using var listeners = new DnsListeners(parts);
        var reloader = new DnsReloader(parts, _maps, listeners, _events);
        await FollowPodsAsync(reloader.Load(), cancellationToken).ConfigureAwait(false);
        _parts.Records.HasSynced = true;
        _listening.TrySetResult(listeners.Endpoint);
        if (_parts.ResolvConf.Servers.Length == 0) Log.NoResolvers(_logger, _options.ResolvConf);

        running.Add(new Reconciler<string>("dns", _changed, async (key, stop) =>
        {
            if (key != ConfigKey)
            {
                Rebuild(key);
                return;
            }
            reloader.Reload(stop);
            await FollowPodsAsync(_parts.Engine.Value.Config, stop).ConfigureAwait(false);
        }, _logger).RunAsync(1, cancellationToken));
        running.Add(_maps.RunAsync(cancellationToken));
        running.Add(new DnsService(parts.Options, _client, _services, _slices, _nodes, _logger).RunAsync(cancellationToken));
        await Task.WhenAll(running).ConfigureAwait(false);
    }

    // While there are no nodes there is nobody to ask.
    private async Task NodeSeenAsync(CancellationToken cancellationToken)
    {
        var seen = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var enough = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var nodes = new Informer<V1Node>(_client, Resources.Nodes, null, default, _logger, _parts.Time);
        nodes.AddHandler(_ => seen.TrySetResult());
        var watching = nodes.RunAsync(enough.Token);
        await seen.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
        await enough.CancelAsync().ConfigureAwait(false);
        await watching.ConfigureAwait(false);
    }

    // Pods are many: they are followed only where the configuration asks for them.
    private async Task FollowPodsAsync(DnsConfig config, CancellationToken cancellationToken)
    {
        if (!config.NeedsPods || _pods is not null) return;
        _pods = _informers.Get(Resources.Pods, keepsEncoded: true);
        _pods.AddHandler(pod => _changed.Add("p/" + pod.Metadata.NamespaceProperty + "/" + pod.Metadata.Name));
        await _pods.WaitForSyncAsync(cancellationToken).ConfigureAwait(false);
        foreach (var pod in _pods.List()) Rebuild("p/" + pod.Metadata.NamespaceProperty + "/" + pod.Metadata.Name);
    }

    // A kind's letter, then the object's key.
    private void Rebuild(string key)
    {
        var (kind, name) = (key[0], key[2..]);
        if (kind == 'n')
        {
            var found = _namespaces.Get(null, name);
            _parts.Records.ReplaceNamespace(name, found is not null, found?.Metadata.Labels);
            return;
        }
        var slash = name.IndexOf('/', StringComparison.Ordinal);
        if (kind == 'p')
        {
            RebuildPod(name, name[..slash], _pods!.Get(name[..slash], name[(slash + 1)..]));
            return;
        }
        if (ServiceRecords.Key(name[(slash + 1)..], name[..slash]) is not { } labels) return;
        var service = _services.Get(name[..slash], name[(slash + 1)..]);
        _parts.Records.Replace(labels, service is null ? null : ServiceRecords.Of(service, _slices.ByIndex(ByService, name)));
    }

    private void RebuildPod(string key, string @namespace, V1Pod? pod)
    {
        if (_podAddresses.Remove(key, out var old))
        {
            foreach (var address in old) _parts.Records.ReplacePod(AddressKey.Of(address), @namespace, isThere: false);
        }
        // The address of a pod that ended may be another's already; a pod on the node's own network has none of its own.
        if (pod?.Status is not { Phase: not ("Succeeded" or "Failed"), PodIPs: { Count: > 0 } addresses } || pod.Spec.HostNetwork == true) return;
        var parsed = addresses.Select(static ip => IPAddress.TryParse(ip.Ip, out var address) ? address : null).OfType<IPAddress>().ToList();
        _podAddresses[key] = parsed;
        foreach (var address in parsed) _parts.Records.ReplacePod(AddressKey.Of(address), @namespace, isThere: true);
    }

    private static string? OwnerKey(V1EndpointSlice slice) =>
        slice.Metadata.Labels is { } labels && labels.TryGetValue("kubernetes.io/service-name", out var service)
            ? $"{slice.Metadata.NamespaceProperty}/{service}"
            : null;
}
