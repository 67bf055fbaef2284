using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using System.Threading.Channels;
using k8s.Models;
using K3sFast.Client;
using K3sFast.Interop;
using K3sFast.Interop.Netlink;
using K3sFast.Network.Cni;
using K3sFast.Network.Routes;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.Overlay;

/// <summary>
/// This node's place in the network of all pods: its pod CIDRs give pods their addresses, the other nodes' their routes. Hears of nodes, of what somebody
/// does to our links and routes, and brings what is not as it should be into the kernel.
/// </summary>
internal sealed class PodNetwork
{
    private static readonly TimeSpan s_retryDelay = TimeSpan.FromSeconds(1);

    // Somebody who deletes a thousand routes is answered once.
    private static readonly TimeSpan s_settle = TimeSpan.FromMilliseconds(50);

    private readonly NetworkOptions _options;
    private readonly RouteSocket _host;
    private readonly NodeSetup _setup;
    private readonly CniHandler _handler;
    private readonly ApiClient _controller;
    private readonly Informer<V1Node> _nodes;
    private readonly ILogger _logger;
    private readonly List<PeerTable> _tables = [];
    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });

    // Guarded by _gate
    private readonly Lock _gate = new();
    private HashSet<string> _dirty = [];
    private bool _isDoubtful;

    // Links whose changes concern us. Replaced whole by the loop, read by the listener.
    private volatile HashSet<int> _linkIndexes = [];

    // Owned by the loop
    private readonly Dictionary<string, string> _foreign = [];
    private IReadOnlyList<IPNetwork> _cidrs = [];
    private PodNetworkSettings? _settings;

    internal PodNetwork(NetworkOptions options, RouteSocket host, NodeSetup setup, CniHandler handler, InformerFactory informers, ApiClient controller, ILogger logger)
    {
        (_options, _host, _setup, _handler, _controller, _logger) = (options, host, setup, handler, controller, logger);
        _nodes = informers.Get(Resources.Nodes);
        _nodes.AddHandler(new InformerHandler<V1Node>(node => Touch(node.Metadata.Name), (old, node) =>
        {
            if (IsRelevant(old, node)) Touch(node.Metadata.Name);
        }, node => Touch(node.Metadata.Name)));
    }

    /// <summary>What was sent to the kernel about peers.</summary>
    internal (long Bytes, long Messages) Sent => (_tables.Sum(static table => table.Sent.Bytes), _tables.Sum(static table => table.Sent.Messages));

    /// <summary>Runs until cancelled. Devices and routes stay.</summary>
    internal async Task RunAsync(CancellationToken cancellationToken)
    {
        await Task.Yield();
        using var events = RouteEvents.Open(_options.HostNamespace, _options.RouteEventQueueBytes);
        var listening = ListenAsync(events, cancellationToken);
        try
        {
            await _nodes.WaitForSyncAsync(cancellationToken).ConfigureAwait(false);
            // No pod gets an address before it is known what it may do with it.
            if (_handler.Policies is { } policies) await policies.WaitReadyAsync(cancellationToken).ConfigureAwait(false);
            while (true)
            {
                await _wake.Reader.ReadAsync(cancellationToken).ConfigureAwait(false);
                try
                {
                    await RoundAsync(cancellationToken).ConfigureAwait(false);
                }
                catch (Exception e) when (e is KernelException or OverlayException or ApiException or HttpRequestException or IOException)
                {
                    // What is wanted is known: all of it is looked at again.
                    Log.OverlayFailed(_logger, e.Message);
                    await Task.Delay(s_retryDelay, cancellationToken).ConfigureAwait(false);
                    Doubt();
                    Touch(_options.NodeName);
                }
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
        }
        await listening.ConfigureAwait(false);
    }

    // A node's status changes every few seconds, and what we look at hardly ever.
    private static bool IsRelevant(V1Node old, V1Node node)
    {
        if (old.Metadata.Uid != node.Metadata.Uid) return true;
        if (!(old.Spec?.PodCIDRs ?? []).SequenceEqual(node.Spec?.PodCIDRs ?? [])) return true;
        return !Notes(old).SequenceEqual(Notes(node));

        static IEnumerable<KeyValuePair<string, string>> Notes(V1Node node) =>
            (node.Metadata.Annotations ?? new Dictionary<string, string>()).Where(static note => note.Key.StartsWith(FlannelAnnotations.Prefix, StringComparison.Ordinal)).OrderBy(static note => note.Key);
    }

    private async Task RoundAsync(CancellationToken cancellationToken)
    {
        HashSet<string> dirty;
        bool isDoubtful;
        lock (_gate)
        {
            (dirty, isDoubtful) = (_dirty, _isDoubtful);
            (_dirty, _isDoubtful) = ([], false);
        }
        try
        {
            var own = _nodes.Get(null, _options.NodeName);
            if (own is not null && dirty.Contains(_options.NodeName)) Configure(own, dirty, ref isDoubtful);
            if (_settings is not null)
            {
                // Peers first: what an earlier run left for them is theirs still, and must not be taken for something stale.
                Apply(dirty);
                if (isDoubtful && Verify()) Log.OverlayRestored(_logger);
                _linkIndexes = [.. _tables.SelectMany(static table => table.Backend.WatchedLinks)];
                if (own is not null && _tables.Count > 0) await PublishAsync(own, cancellationToken).ConfigureAwait(false);
            }
            else
            {
                lock (_gate) _dirty.UnionWith(dirty);
            }
        }
        catch
        {
            lock (_gate) _dirty.UnionWith(dirty);
            throw;
        }
    }

    private void Configure(V1Node node, HashSet<string> dirty, ref bool isDoubtful)
    {
        if (FlannelAnnotations.CidrsOf(node) is not { } cidrs)
        {
            Log.PodCidrMalformed(_logger, node.Metadata.Name, string.Join(',', node.Spec?.PodCIDRs ?? [node.Spec?.PodCIDR ?? ""]));
            return;
        }
        if (cidrs.Count == 0 || (_settings is not null && cidrs.SequenceEqual(_cidrs))) return;
        if (_options.Overlay is { } overlay) StartOverlay(overlay, cidrs);
        var mtu = _options.Mtu > 0 ? _options.Mtu : _tables.Count > 0 ? _tables.Min(static table => table.Backend.Mtu) : _setup.FindMtu();
        _handler.Configure(new PodNetworkSettings(cidrs, mtu, _setup.FindPreferredSources()));
        if (_options.Overlay is { } told) WriteSubnetFile(told.SubnetFile, cidrs, mtu);
        if (_options.CniConfTemplate is { Length: > 0 } list)
        {
            foreach (var plugin in CniInstaller.LinkPlugins(_options.CniBinDir, list)) Log.PluginMissing(_logger, plugin, list, CniInstaller.Folders(_options.CniBinDir));
        }
        CniInstaller.InstallConfiguration(_options.CniConfDir, _options.CniSocketPath, _options.CniConfTemplate);
        (_cidrs, _settings, isDoubtful) = (cidrs, new PodNetworkSettings(cidrs, mtu, []), true);
        foreach (var other in _nodes.List()) dirty.Add(other.Metadata.Name);
        Log.PodNetworkReady(_logger, string.Join(',', cidrs), mtu);
    }

    private void StartOverlay(OverlayOptions overlay, IReadOnlyList<IPNetwork> cidrs)
    {
        foreach (var cidr in cidrs)
        {
            var family = cidr.BaseAddress.AddressFamily;
            var underlay = Underlay.Find(_host, overlay.Interface, _options.NodeIPs, family)
                ?? throw new OverlayException(overlay.Interface.Length > 0
                    ? $"link {overlay.Interface} of --flannel-iface is not there, or has no {(family == AddressFamily.InterNetworkV6 ? "IPv6" : "IPv4")} address"
                    : $"no link has an {(family == AddressFamily.InterNetworkV6 ? "IPv6" : "IPv4")} address that traffic between nodes could use: give --node-ip or --flannel-iface");
            var table = _tables.Find(candidate => candidate.Family == family);
            if (table is null)
            {
                var isIPv6 = family == AddressFamily.InterNetworkV6;
                OverlayBackend backend = overlay.Backend switch
                {
                    "host-gw" => new HostGatewayBackend(_options.ClusterCidrs, isIPv6),
                    "wireguard-native" => new WireGuardBackend(_host, _options.HostNamespace, overlay, isIPv6),
                    _ => new VxlanBackend(_host, _options.HostNamespace, overlay, _options.ClusterCidrs, _options.NodeName, isIPv6),
                };
                _tables.Add(table = new PeerTable(_host, backend, isIPv6, _logger));
            }
            table.Start(underlay, cidr);
            Log.OverlayStarted(_logger, table.Backend.Type, underlay.Link.Name, underlay.Local.ToString());
        }
    }

    private void Apply(HashSet<string> dirty)
    {
        if (dirty.Count == 0) return;
        foreach (var table in _tables)
        {
            var changes = new List<(string, OverlayPeer?)>(dirty.Count);
            foreach (var name in dirty)
            {
                if (name != _options.NodeName) changes.Add((name, PeerOf(name, table)));
            }
            table.Apply(changes);
        }
        if (_tables.Count > 0) return;
        foreach (var name in dirty)
        {
            if (name != _options.NodeName && _nodes.Get(null, name) is { } node && FlannelAnnotations.CidrsOf(node) is { Count: > 0 } cidrs)
                Tell(name, $"{string.Join(',', cidrs)}", "no overlay is configured");
        }
    }

    private OverlayPeer? PeerOf(string name, PeerTable table)
    {
        if (_nodes.Get(null, name) is not { } node)
        {
            _foreign.Remove(name);
            return null;
        }
        if (FlannelAnnotations.CidrsOf(node) is not { } cidrs)
        {
            Log.PodCidrMalformed(_logger, name, string.Join(',', node.Spec?.PodCIDRs ?? []));
            return null;
        }
        var type = FlannelAnnotations.TypeOf(node);
        if (type.Length > 0 && type != table.Backend.Type)
        {
            Tell(name, string.Join(',', cidrs), $"it uses backend {type} and this node {table.Backend.Type}: give all nodes the same --flannel-backend");
            return null;
        }
        return FlannelAnnotations.Read(node, cidrs, table.IsIPv6);
    }

    private void Tell(string node, string cidrs, string reason)
    {
        if (_foreign.TryGetValue(node, out var said) && said == reason) return;
        _foreign[node] = reason;
        Log.NodeNotReachable(_logger, node, cidrs, reason);
    }

    private bool Verify()
    {
        var isRepaired = _handler.Restore(_setup.FindPreferredSources()) > 0;
        foreach (var table in _tables)
        {
            // The link that carries us may be another one by now.
            if (Underlay.Find(_host, _options.Overlay!.Interface, _options.NodeIPs, table.Family) is { } underlay) isRepaired |= table.Verify(underlay);
        }
        return isRepaired;
    }

    // Put back whenever they differ, whoever changed them.
    private async Task PublishAsync(V1Node own, CancellationToken cancellationToken)
    {
        var wanted = new Dictionary<string, string> { [FlannelAnnotations.BackendType] = _tables[0].Backend.Type, [FlannelAnnotations.SubnetManager] = "true" };
        foreach (var table in _tables)
        {
            var external = _options.Overlay!.ExternalIPs.FirstOrDefault(address => address.AddressFamily == table.Family);
            wanted[FlannelAnnotations.Data(table.IsIPv6)] = table.Backend.Data;
            wanted[FlannelAnnotations.PublicIP(table.IsIPv6)] = external?.ToString() ?? FlannelAnnotations.OverwriteOf(own, table.IsIPv6) ?? table.Local!.ToString();
        }
        var annotations = own.Metadata.Annotations;
        if (annotations is not null && wanted.All(note => annotations.TryGetValue(note.Key, out var value) && value == note.Value)) return;
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream))
        {
            json.WriteStartObject();
            json.WriteStartObject("metadata"u8);
            json.WriteStartObject("annotations"u8);
            foreach (var (key, value) in wanted) json.WriteString(key, value);
            json.WriteEndObject();
            json.WriteEndObject();
            json.WriteEndObject();
        }
        // The subresource is all that the network's identity may patch; it takes annotations as well.
        await _controller.PatchAsync(Resources.Nodes, null, _options.NodeName, PatchBody.StrategicMerge(stream.ToArray()), cancellationToken, "status").ConfigureAwait(false);
    }

    private void WriteSubnetFile(string path, IReadOnlyList<IPNetwork> cidrs, int mtu)
    {
        try
        {
            SubnetFile.Write(path, _options.ClusterCidrs, cidrs, mtu);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Nothing of ours reads it.
            Log.SubnetFileFailed(_logger, path, e.Message);
        }
    }

    private async Task ListenAsync(RouteEvents events, CancellationToken cancellationToken)
    {
        var batch = new List<RouteEvent>();
        try
        {
            while (true)
            {
                batch.Clear();
                await events.ReadAsync(batch, cancellationToken).ConfigureAwait(false);
                if (batch.Exists(static change => change.Kind == RouteEventKind.Lost)) Log.EventsLost(_logger);
                if (!batch.Exists(IsOurs)) continue;
                await Task.Delay(s_settle, cancellationToken).ConfigureAwait(false);
                Doubt();
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
        }
    }

    // Only our own devices concern us; pods' links come and go all the time. An address of any link may have been what routes to pods speak from.
    private bool IsOurs(RouteEvent change) => change.Kind switch
    {
        RouteEventKind.Lost or RouteEventKind.AddressChanged => true,
        RouteEventKind.LinkChanged or RouteEventKind.LinkDeleted or RouteEventKind.NeighbourDeleted or RouteEventKind.RouteDeleted =>
            change.LinkIndex == 0 || _linkIndexes.Contains(change.LinkIndex),
        _ => false,
    };

    private void Doubt()
    {
        lock (_gate) _isDoubtful = true;
        _wake.Writer.TryWrite(true);
    }

    private void Touch(string nodeName)
    {
        lock (_gate) _dirty.Add(nodeName);
        _wake.Writer.TryWrite(true);
    }
}
