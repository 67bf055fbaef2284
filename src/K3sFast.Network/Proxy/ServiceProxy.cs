using System.Diagnostics;
using System.Threading.Channels;
using k8s.Models;
using K3sFast.Client;
using K3sFast.Interop;
using K3sFast.Network.Proxy.Health;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.Proxy;

/// <summary>
/// Carries Services: hears of Services and EndpointSlices and brings what changed into the kernel. Changes that arrive while one is being
/// written go together with the next; nothing waits otherwise, unless <c>--iptables-min-sync-period</c> asks for it.
/// </summary>
internal sealed class ServiceProxy
{
    private const string ByService = "service";

    // Upstream's annotation of slices: when the change that they tell of happened.
    private const string TriggerAnnotation = "endpoints.kubernetes.io/last-change-trigger-time";

    private static readonly TimeSpan s_retryDelay = TimeSpan.FromSeconds(1);

    private readonly NetworkOptions _options;
    private readonly ServiceBackend _backend;
    private readonly ServiceProxyPorts? _ports;
    private readonly ILogger _logger;
    private readonly Informer<V1Node>? _nodes;
    private readonly Informer<V1Service>? _services;
    private readonly Informer<V1EndpointSlice>? _slices;
    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });

    // Guarded by _gate
    private readonly Lock _gate = new();
    private HashSet<ObjectKey> _dirty = [];
    private List<DateTime> _triggers = [];
    private bool _isNodeDirty;

    // Owned by the loop
    private DateTime _started;
    private long _lastWritten;

    /// <param name="options">What the agent is told.</param>
    /// <param name="backend">What carries Services.</param>
    /// <param name="ports">Where others ask how it is going; null = nowhere.</param>
    /// <param name="informers">Where Services come from.</param>
    /// <param name="logger">Where it tells.</param>
    internal ServiceProxy(NetworkOptions options, ServiceBackend backend, ServiceProxyPorts? ports, InformerFactory informers, ILogger logger)
    {
        (_options, _backend, _ports, _logger) = (options, backend, ports, logger);
        if (!options.IsServiceProxyEnabled) return;
        _nodes = informers.Get(Resources.Nodes);
        _nodes.AddHandler(new InformerHandler<V1Node>(TouchNode, (_, node) => TouchNode(node), TouchNode));
        _services = informers.Get(Resources.Services);
        _slices = informers.Get(Resources.EndpointSlices);
        _slices.AddIndex(ByService, static slice => ServicePorts.ServiceNameOf(slice) is { } name ? [$"{slice.Metadata.NamespaceProperty}/{name}"] : []);
        _services.AddHandler(service =>
        {
            _backend.Metrics?.ServiceChanges.Add();
            Touch(ObjectKey.Of(service));
        });
        _slices.AddHandler(new InformerHandler<V1EndpointSlice>(Touch, (old, slice) =>
        {
            Touch(old);
            Touch(slice);
        }, Touch));
    }

    /// <summary>Runs until cancelled. The rules stay.</summary>
    internal async Task RunAsync(CancellationToken cancellationToken)
    {
        await Task.Yield();
        try
        {
            // Rules of an earlier run keep working until all is known; without any, at least masquerading starts at once.
            if (_services is null || !_backend.ExistsInKernel()) await ApplyAsync([], cancellationToken).ConfigureAwait(false);
            if (_services is not null && _slices is not null && _nodes is not null)
            {
                await _nodes.WaitForSyncAsync(cancellationToken).ConfigureAwait(false);
                await _services.WaitForSyncAsync(cancellationToken).ConfigureAwait(false);
                await _slices.WaitForSyncAsync(cancellationToken).ConfigureAwait(false);
                _started = DateTime.UtcNow;
                await ApplyAsync(TakeDirty(), cancellationToken).ConfigureAwait(false);
            }
            RemoveOthers();
            while (true)
            {
                if (await WaitAsync(cancellationToken).ConfigureAwait(false))
                {
                    await GatherAsync(cancellationToken).ConfigureAwait(false);
                    await ApplyAsync(TakeDirty(), cancellationToken).ConfigureAwait(false);
                }
                else
                {
                    await VerifyAsync(cancellationToken).ConfigureAwait(false);
                }
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
        }
    }

    private void RemoveOthers()
    {
        try
        {
            _backend.RemoveOthers();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Log.OthersNotRemoved(_logger, e);
        }
    }

    private void Touch(V1EndpointSlice slice)
    {
        if (ServicePorts.ServiceNameOf(slice) is not { } name) return;
        _backend.Metrics?.EndpointChanges.Add();
        if (slice.Metadata.Annotations is { } annotations && annotations.TryGetValue(TriggerAnnotation, out var text)
            && DateTime.TryParse(text, System.Globalization.CultureInfo.InvariantCulture, System.Globalization.DateTimeStyles.AdjustToUniversal, out var trigger))
        {
            lock (_gate) _triggers.Add(trigger);
        }
        Touch(new ObjectKey(slice.Metadata.NamespaceProperty, name));
    }

    private void Touch(ObjectKey key)
    {
        lock (_gate) _dirty.Add(key);
        Wake();
    }

    private void TouchNode(V1Node node)
    {
        if (node.Metadata.Name != _options.NodeName) return;
        lock (_gate) _isNodeDirty = true;
        Wake();
    }

    private void Wake()
    {
        _ports?.Health.Queued();
        _wake.Writer.TryWrite(true);
    }

    private HashSet<ObjectKey> TakeDirty()
    {
        lock (_gate)
        {
            var taken = _dirty;
            _dirty = [];
            return taken;
        }
    }

    // False = nothing changed for so long that the kernel should be looked at.
    private async Task<bool> WaitAsync(CancellationToken cancellationToken)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(_options.Proxy.SyncPeriod);
        try
        {
            return await _wake.Reader.ReadAsync(deadline.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return false;
        }
    }

    private async Task GatherAsync(CancellationToken cancellationToken)
    {
        var rest = _options.Proxy.MinSyncPeriod - Stopwatch.GetElapsedTime(_lastWritten);
        if (rest > TimeSpan.Zero) await Task.Delay(rest, cancellationToken).ConfigureAwait(false);
    }

    private async Task ApplyAsync(HashSet<ObjectKey> keys, CancellationToken cancellationToken)
    {
        var started = Stopwatch.GetTimestamp();
        FollowNode(keys);
        var services = new List<(string, V1Service?, IReadOnlyList<V1EndpointSlice>)>(keys.Count);
        foreach (var key in keys)
        {
            var name = $"{key.Namespace}/{key.Name}";
            services.Add((name, _services!.Get(key), _slices!.ByIndex(ByService, name)));
        }
        try
        {
            _backend.Apply(services);
            _lastWritten = Stopwatch.GetTimestamp();
            Log.ServicesSynced(_logger, keys.Count, _backend.LastBatchBytes, Stopwatch.GetElapsedTime(started).TotalMilliseconds);
            Tell(keys, services);
        }
        catch (KernelException refused)
        {
            Log.RulesRefused(_logger, refused);
            await VerifyAsync(cancellationToken).ConfigureAwait(false);
            Tell(keys, services);
        }
        catch (Exception bug)
        {
            // One Service that we cannot handle must not end all others: what this round was about is looked at again with the next.
            Log.ServicesFailed(_logger, string.Join(' ', keys), bug);
            await Task.Delay(s_retryDelay, cancellationToken).ConfigureAwait(false);
            foreach (var key in keys) Touch(key);
        }
    }

    // Another zone leaves other endpoints to us, another pod network other rules: all Services are looked at.
    private void FollowNode(HashSet<ObjectKey> keys)
    {
        lock (_gate)
        {
            if (!_isNodeDirty) return;
            _isNodeDirty = false;
        }
        var node = ProxyNode.Of(_nodes!.Get(new ObjectKey("", _options.NodeName)));
        if (_ports is not null) _ports.Health.IsNodeEligible = node.IsEligible;
        if (!_backend.Configure(node)) return;
        foreach (var service in _services!.List()) keys.Add(ObjectKey.Of(service));
    }

    // Load balancers, whoever reads metrics, and the log hear of what is true now.
    private void Tell(HashSet<ObjectKey> keys, List<(string, V1Service? Service, IReadOnlyList<V1EndpointSlice> Slices)> services)
    {
        List<DateTime> triggers;
        lock (_gate) (triggers, _triggers) = (_triggers, []);
        foreach (var trigger in triggers)
        {
            // What happened before we started says nothing about us.
            if (trigger < _started) continue;
            foreach (var family in _backend.FamilyNames) _backend.Metrics?.NetworkProgramming.With(family).Observe((DateTime.UtcNow - trigger).TotalSeconds);
        }
        if (_ports is null) return;
        var i = 0;
        foreach (var key in keys)
        {
            var (_, service, slices) = services[i++];
            var port = service is null ? (ushort)0 : ServicePorts.HealthCheckPortOf(service);
            _ports.Services.Set(key, port, port == 0 ? 0 : ServicePorts.CountLocalReady(slices, _options.NodeName));
            if (!_options.Proxy.AllowsExternalIPs && service?.Spec?.ExternalIPs is [_, ..] addresses) Log.ExternalIPsRefused(_logger, key.ToString(), string.Join(' ', addresses));
        }
        _ports.Health.Updated();
    }

    // What is wanted is remembered in the back end: trying again needs no knowledge of what failed.
    private async Task VerifyAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                if (_backend.Verify()) Log.RulesRestored(_logger);
                return;
            }
            catch (KernelException refused)
            {
                Log.RulesRefused(_logger, refused);
            }
            await Task.Delay(s_retryDelay, cancellationToken).ConfigureAwait(false);
        }
    }
}
