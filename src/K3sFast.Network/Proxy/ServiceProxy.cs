using System.Diagnostics;
using System.Threading.Channels;
using k8s.Models;
using K3sFast.Client;
using K3sFast.Interop;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.Proxy;

/// <summary>
/// Carries Services: hears of Services and EndpointSlices and brings what changed into the kernel. Changes that arrive while one is being
/// written go together with the next; nothing waits otherwise.
/// </summary>
internal sealed class ServiceProxy
{
    private const string ByService = "service";

    // Somebody who flushes all rules of the machine is noticed within this time (kube-proxy: 30 s).
    private static readonly TimeSpan s_verifyInterval = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan s_retryDelay = TimeSpan.FromSeconds(1);

    private readonly ProxyTables _tables;
    private readonly ILogger _logger;
    private readonly Informer<V1Service>? _services;
    private readonly Informer<V1EndpointSlice>? _slices;
    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });

    // Guarded by _gate
    private readonly Lock _gate = new();
    private HashSet<ObjectKey> _dirty = [];

    internal ServiceProxy(NetworkOptions options, ProxyTables tables, InformerFactory informers, ILogger logger)
    {
        (_tables, _logger) = (tables, logger);
        if (!options.IsServiceProxyEnabled) return;
        _services = informers.Get(Resources.Services);
        _slices = informers.Get(Resources.EndpointSlices);
        _slices.AddIndex(ByService, static slice => ServicePorts.ServiceNameOf(slice) is { } name ? [$"{slice.Metadata.NamespaceProperty}/{name}"] : []);
        _services.AddHandler(service => Touch(ObjectKey.Of(service)));
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
            if (_services is null || !_tables.ExistsInKernel()) await ApplyAsync([], cancellationToken).ConfigureAwait(false);
            if (_services is not null && _slices is not null)
            {
                await _services.WaitForSyncAsync(cancellationToken).ConfigureAwait(false);
                await _slices.WaitForSyncAsync(cancellationToken).ConfigureAwait(false);
                await ApplyAsync(TakeDirty(), cancellationToken).ConfigureAwait(false);
            }
            while (true)
            {
                if (await WaitAsync(cancellationToken).ConfigureAwait(false)) await ApplyAsync(TakeDirty(), cancellationToken).ConfigureAwait(false);
                else await VerifyAsync(cancellationToken).ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
        }
    }

    private void Touch(V1EndpointSlice slice)
    {
        if (ServicePorts.ServiceNameOf(slice) is { } name) Touch(new ObjectKey(slice.Metadata.NamespaceProperty, name));
    }

    private void Touch(ObjectKey key)
    {
        lock (_gate) _dirty.Add(key);
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
        deadline.CancelAfter(s_verifyInterval);
        try
        {
            return await _wake.Reader.ReadAsync(deadline.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return false;
        }
    }

    private async Task ApplyAsync(HashSet<ObjectKey> keys, CancellationToken cancellationToken)
    {
        var started = Stopwatch.GetTimestamp();
        var services = new List<(string, V1Service?, IReadOnlyList<V1EndpointSlice>)>(keys.Count);
        foreach (var key in keys)
        {
            var name = $"{key.Namespace}/{key.Name}";
            services.Add((name, _services!.Get(key), _slices!.ByIndex(ByService, name)));
        }
        try
        {
            _tables.Apply(services);
            Log.ServicesSynced(_logger, keys.Count, _tables.LastBatchBytes, Stopwatch.GetElapsedTime(started).TotalMilliseconds);
        }
        catch (KernelException refused)
        {
            Log.RulesRefused(_logger, refused);
            await VerifyAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (Exception bug)
        {
            // One Service that we cannot handle must not end all others: what this round was about is looked at again with the next.
            Log.ServicesFailed(_logger, string.Join(' ', keys), bug);
            await Task.Delay(s_retryDelay, cancellationToken).ConfigureAwait(false);
            foreach (var key in keys) Touch(key);
        }
    }

    // What is wanted is remembered in the tables: trying again needs no knowledge of what failed.
    private async Task VerifyAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                if (_tables.Verify()) Log.RulesRestored(_logger);
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
