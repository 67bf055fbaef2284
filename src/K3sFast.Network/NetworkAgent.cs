using System.Net.Sockets;
using K3sFast.Client;
using K3sFast.Interop;
using K3sFast.Interop.Netlink;
using K3sFast.Interop.NfTables;
using K3sFast.Network.Cni;
using K3sFast.Network.HostPorts;
using K3sFast.Network.Overlay;
using K3sFast.Network.Policy;
using K3sFast.Network.Proxy;
using K3sFast.Network.Proxy.Ebpf;
using K3sFast.Network.Proxy.Health;
using K3sFast.Network.Proxy.Ipvs;
using K3sFast.Network.Proxy.Userspace;
using K3sFast.Network.Routes;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network;

/// <summary>The node's network: answers the container runtime's CNI calls, masquerades, and carries Services.</summary>
public sealed class NetworkAgent
{
    // What the owner says; completed by what the machine says when the agent starts.
    private NetworkOptions _options;
    private readonly ApiClient _client, _controller;
    private readonly InformerFactory _informers, _policyInformers;
    private readonly ILogger _logger;

    /// <summary>An agent, not yet running.</summary>
    /// <param name="options">What it is told.</param>
    /// <param name="client">Reads Services, their endpoints and nodes.</param>
    /// <param name="controller">Notes on the node how others reach it, and reads policies and whom they speak of.</param>
    /// <param name="loggers">Where it tells.</param>
    public NetworkAgent(NetworkOptions options, ApiClient client, ApiClient controller, ILoggerFactory loggers)
    {
        (_options, _client, _controller) = (options, client, controller);
        _logger = loggers.CreateLogger("K3sFast.Network");
        _informers = new InformerFactory(client, loggers);
        _policyInformers = new InformerFactory(controller, loggers);
    }

    /// <summary>Runs until cancelled. Pods' links, rules and open connections stay; the next start adopts them.</summary>
    /// <exception cref="IOException">The kernel, the CNI socket or a folder cannot be used; the message says which.</exception>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        using var host = RouteSocket.Open(_options.HostNamespace);
        var setup = new NodeSetup(host, _options.HostNamespace, _options.NodeIPs, _logger);
        setup.ApplySettings(
            _options.ClusterCidrs.Any(network => network.BaseAddress.AddressFamily == AddressFamily.InterNetworkV6), _options.Proxy.HasLocalhostNodePorts && _options.IsServiceProxyEnabled);
        setup.ApplySettings(_options.Proxy.ConntrackSettings);
        LookAtConntrack();
        var hasRules = MasqueradeTables.IsSupported(_options);
        if (!hasRules && _options.Proxy.Mode != ProxyMode.Userspace) throw new IOException("this kernel has no nf_tables (k3sfast check-config tells more): with --kube-proxy-arg=proxy-mode=userspace the node does without");
        if (hasRules) WarnOfForeignDrops();

        using var hostPorts = hasRules ? new HostPortTable(_options, _logger) : null;
        var metrics = new ProxyMetrics(new MetricRegistry(), _options.Proxy.HasIptablesMetrics);
        using var backend = CreateBackend(metrics);
        if (_options.IsServiceProxyEnabled) setup.AddServiceRoutes(_options.ServiceCidrs, isUnreachable: backend is RelayBackend or IpvsBackend);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        using var policies = _options.IsNetworkPolicyEnabled && hasRules ? new PolicyAgent(_options, _policyInformers, _informers, _logger) : null;
        if (policies is null && hasRules) PolicyAgent.RemoveTables(_options);
        using var listener = _options.HasPodNetwork ? Listen(host, hostPorts, policies, backend, out var server, out var handler) : None(out server, out handler);
        var parts = new List<Task>();
        var sweeping = Task.Run(RemoveOrphanedPrograms, CancellationToken.None);
        if (server is not null && handler is not null)
        {
            parts.Add(server.ServeAsync(listener!, stop.Token));
            parts.Add(new PodNetwork(_options, host, setup, handler, _informers, _controller, _logger).RunAsync(stop.Token));
            Log.WaitingForPodCidr(_logger, _options.NodeName);
        }
        if (policies is not null)
        {
            parts.Add(policies.RunAsync(stop.Token));
            parts.Add(_policyInformers.RunAsync(stop.Token));
        }
        var recorder = new EventRecorder(_client, "kube-proxy", _options.NodeName, _logger);
        using var ports = _options.IsServiceProxyEnabled ? new ServiceProxyPorts(_options, backend, metrics, recorder, _logger) : null;
        if (ports is not null)
        {
            parts.Add(ports.RunAsync(stop.Token));
            parts.Add(recorder.RunAsync(stop.Token));
        }
        parts.Add(new ServiceProxy(_options, backend, ports, _informers, _logger).RunAsync(stop.Token));
        if (backend is EbpfTables sockets) parts.Add(sockets.FollowAsync(stop.Token));
        parts.Add(_informers.RunAsync(stop.Token));

        // None of them ends before it is told to; one that does takes the others with it, and the owner hears why.
        await Task.WhenAny(parts).ConfigureAwait(false);
        await stop.CancelAsync().ConfigureAwait(false);
        await Task.WhenAll(parts).ConfigureAwait(false);
        await sweeping.ConfigureAwait(false);
    }

    // Of nodes in other namespaces of this machine, in whichever mode this one is.
    private void RemoveOrphanedPrograms()
    {
        if (SocketPrograms.RemoveOrphans() is > 0 and var count) Log.OrphanedProgramsRemoved(_logger, count);
    }

    // A mode that this machine does not have is told loudly; Services work all the same.
    private ServiceBackend CreateBackend(ProxyMetrics metrics)
    {
        if (_options is { IsServiceProxyEnabled: true, Proxy.Mode: ProxyMode.Ebpf })
        {
            try
            {
                var tables = new EbpfTables(_options, _logger) { Metrics = metrics };
                if (tables.HasTraffic) Log.EbpfStarted(_logger);
                else Log.EbpfStartedAtSocketsOnly(_logger);
                return tables;
            }
            catch (EbpfUnavailableException e)
            {
                Log.EbpfUnavailable(_logger, e.Message);
            }
        }
        if (_options is { IsServiceProxyEnabled: true, Proxy.Mode: ProxyMode.Userspace })
        {
            Log.UserspaceStarted(_logger);
            return new RelayBackend(_options, _logger) { Metrics = metrics };
        }
        if (_options is { IsServiceProxyEnabled: true, Proxy.Mode: ProxyMode.Ipvs })
        {
            if (IpvsBackend.TryCreate(_options, metrics, _logger) is { } servers) return servers;
            Log.IpvsUnavailable(_logger);
        }
        return new ProxyTables(_options, _logger) { Metrics = metrics };
    }

    private Socket Listen(RouteSocket host, HostPortTable? hostPorts, PolicyAgent? policies, ServiceBackend backend, out CniServer? server, out CniHandler? handler)
    {
        handler = CreateHandler(host, hostPorts, policies, backend as EbpfTables);
        CniInstaller.InstallPlugin(_options.CniBinDir);
        server = new CniServer(_options.CniSocketPath, handler, _logger);
        return server.Listen();
    }

    private static Socket? None(out CniServer? server, out CniHandler? handler)
    {
        (server, handler) = (null, null);
        return null;
    }

    private CniHandler CreateHandler(RouteSocket host, HostPortTable? hostPorts, PolicyAgent? policies, EbpfTables? sockets)
    {
        var broken = new List<string>();
        var store = new AttachmentStore(Path.Combine(_options.StateDir, "pods"), broken);
        foreach (var path in broken) Log.AttachmentBroken(_logger, path);
        var handler = new CniHandler(store, new PodLinks(host, _options.HostNamespace), hostPorts, _logger) { Policies = policies, Sockets = sockets };
        hostPorts?.Restore(store.List());
        sockets?.AdoptPods(store.List().SelectMany(static attachment => attachment.Addresses).ToHashSet());
        handler.Reconcile(host.ListLinks().Select(link => link.Name).ToHashSet());
        return handler;
    }

    // An administrator may have set it himself; kube-proxy looks as well.
    private void LookAtConntrack()
    {
        if (Sysctl.TryRead(ProxyOptions.LiberalSetting, _options.HostNamespace) is null or "0") return;
        Log.ConntrackIsLiberal(_logger);
        var settings = new Dictionary<string, string>(_options.Proxy.ConntrackSettings) { [ProxyOptions.LiberalSetting] = "1" };
        _options = _options with { Proxy = _options.Proxy with { ConntrackSettings = settings } };
    }

    // No table of ours can overrule a drop in somebody else's; the least we can do is to say whose it is.
    private void WarnOfForeignDrops()
    {
        foreach (var chain in NftDump.ListBaseChains(_options.HostNamespace))
        {
            if (chain is { IsPolicyDrop: true, Hook: NftHook.Forward }) Log.ForeignForwardDrop(_logger, chain.Name, chain.Table, PodAttachment.LinkPrefix + "*");
        }
    }
}
