using System.Net;
using K3sFast.Client;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.AddOns.Dns;

/// <summary>
/// The cluster's DNS, built in: the zone follows Services, EndpointSlices and Nodes; everything else goes to the host's resolvers. It stands
/// behind Service kube-system/kube-dns, where pods of every Kubernetes cluster look for it.
/// </summary>
public sealed class DnsServer
{
    private const string ByService = "service";

    // Immutable after construction
    private readonly DnsOptions _options;
    private readonly ApiClient _client;
    private readonly ILogger _logger;
    private readonly ClusterZone _zone;
    private readonly ResolvConf _resolvConf;
    private readonly Resolver _resolver;
    private readonly Informer<V1Service> _services;
    private readonly Informer<V1EndpointSlice> _slices;
    private readonly Informer<V1Node> _nodes;
    private readonly InformerFactory _informers;
    private readonly WorkQueue<string> _changed;

    /// <summary>A server, not yet running.</summary>
    public DnsServer(DnsOptions options, ApiClient client, ILoggerFactory loggers, TimeProvider? time = null)
    {
        time ??= TimeProvider.System;
        (_options, _client) = (options, client);
        _logger = loggers.CreateLogger("K3sFast.AddOns.Dns");
        _zone = new ClusterZone(options.ClusterDomain);
        _resolvConf = new ResolvConf(options.ResolvConf);
        _resolver = new Resolver(_zone, new Forwarder(_resolvConf, time, _logger), time);
        _informers = new InformerFactory(client, loggers, time);
        _services = _informers.Get(Resources.Services);
        _slices = _informers.Get(Resources.EndpointSlices);
        _nodes = _informers.Get(Resources.Nodes);
        _slices.AddIndex(ByService, static slice => OwnerKey(slice) is { } key ? [key] : []);
        _changed = new WorkQueue<string>(time);
        _services.AddHandler(service => _changed.Add($"{service.Metadata.NamespaceProperty}/{service.Metadata.Name}"));
        _slices.AddHandler(slice =>
        {
            if (OwnerKey(slice) is { } key) _changed.Add(key);
        });
        _nodes.AddHandler(node => _changed.Add(node.Metadata.Name));
    }

    /// <summary>Follows the API, answers questions and keeps the Service published, until cancelled.</summary>
    /// <exception cref="System.Net.Sockets.SocketException">The port is in use, or an address is not this host's.</exception>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var running = new List<Task> { _informers.RunAsync(cancellationToken) };
        // No answer before the first lists are in: a name that is merely not known yet must not be denied.
        await _informers.WaitForSyncAsync(cancellationToken).ConfigureAwait(false);
        foreach (var service in _services.List()) Rebuild($"{service.Metadata.NamespaceProperty}/{service.Metadata.Name}");
        foreach (var node in _nodes.List()) Rebuild(node.Metadata.Name);
        running.Add(new Reconciler<string>("dns", _changed, (key, _) =>
        {
            Rebuild(key);
            return ValueTask.CompletedTask;
        }, _logger).RunAsync(1, cancellationToken));

        if (_resolvConf.Servers.Length == 0) Log.NoResolvers(_logger, _options.ResolvConf);
        foreach (var address in _options.NodeIPs)
        {
            var listeners = new DnsListeners(new IPEndPoint(address, _options.Port), Math.Min(2, Environment.ProcessorCount), _resolver, _logger);
            Log.DnsListens(_logger, _options.ClusterDomain, listeners.Endpoint);
            running.Add(listeners.RunAsync(cancellationToken));
        }
        running.Add(new DnsService(_options, _client, _services, _slices, _logger).RunAsync(cancellationToken));
        await Task.WhenAll(running).ConfigureAwait(false);
    }

    // "namespace/name" is a service, a bare name a node.
    private void Rebuild(string key)
    {
        var slash = key.IndexOf('/', StringComparison.Ordinal);
        if (slash < 0)
        {
            _zone.Replace(key, _nodes.Get(null, key) is { } node ? ZoneRecords.Of(node) : []);
            return;
        }
        var service = _services.Get(key[..slash], key[(slash + 1)..]);
        _zone.Replace(key, service is null ? [] : ZoneRecords.Of(service, _slices.ByIndex(ByService, key), _options.ClusterDomain));
    }

    private static string? OwnerKey(V1EndpointSlice slice) =>
        slice.Metadata.Labels is { } labels && labels.TryGetValue("kubernetes.io/service-name", out var service)
            ? $"{slice.Metadata.NamespaceProperty}/{service}"
            : null;
}
