using Grpc.Core;
using K3sFast.Kubelet.Cri;
using Microsoft.Extensions.Logging;

namespace K3sFast.Kubelet.Pods;

/// <summary>
/// The pod lifecycle event generator: notices when containers and sandboxes change behind our back, and says whose. Where the runtime sends
/// events they are used and lists are rare; otherwise the runtime is listed often while things move, once a second while pods are there, and
/// hardly at all when none are.
/// </summary>
internal sealed class Pleg(CriClient cri, Action<string> podChanged, TimeProvider time, ILogger logger)
{
    private static readonly TimeSpan s_busyInterval = TimeSpan.FromMilliseconds(150);
    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_idleInterval = TimeSpan.FromSeconds(30);

    // With events a list only repairs what an event that got lost would have said.
    private static readonly TimeSpan s_repairInterval = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan s_busyTime = TimeSpan.FromSeconds(3);

    private readonly SemaphoreSlim _kick = new(0);
    private Dictionary<string, (string PodUid, int State)> _known = [];
    private long _busyUntil;
    private bool _hasEvents;

    /// <summary>When the runtime was last listed with success; health checks look at it.</summary>
    public DateTimeOffset LastRelist { get; private set; }

    /// <summary>Changes are to be expected now.</summary>
    public void Expect()
    {
        Volatile.Write(ref _busyUntil, (time.GetUtcNow() + s_busyTime).UtcTicks);
        if (_kick.CurrentCount == 0) _kick.Release();
    }

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var events = ListenAsync(cancellationToken);
        while (!cancellationToken.IsCancellationRequested)
        {
            try
            {
                await RelistAsync(cancellationToken).ConfigureAwait(false);
            }
            catch (RpcException e) when (!cancellationToken.IsCancellationRequested)
            {
                Log.RelistFailed(logger, e.Status.Detail);
            }
            var isBusy = Volatile.Read(ref _busyUntil) > time.GetUtcNow().UtcTicks;
            var wait = _hasEvents ? s_repairInterval : isBusy ? s_busyInterval : _known.Count > 0 ? s_interval : s_idleInterval;
            // A kick ends a long wait; while busy the next list comes soon enough by itself.
            if (isBusy) await Task.Delay(wait, time, cancellationToken).ConfigureAwait(false);
            else await _kick.WaitAsync(wait, cancellationToken).ConfigureAwait(false);
        }
        await events.ConfigureAwait(false);
    }

    internal async Task RelistAsync(CancellationToken cancellationToken)
    {
        var now = new Dictionary<string, (string, int)>(_known.Count);
        foreach (var sandbox in await cri.ListSandboxesAsync(null, cancellationToken).ConfigureAwait(false))
        {
            now[sandbox.Id] = (sandbox.Labels.TryGetValue(CriLabels.PodUid, out var uid) ? uid : "", (int)sandbox.State);
        }
        foreach (var container in await cri.ListContainersAsync(null, cancellationToken).ConfigureAwait(false))
        {
            now[container.Id] = (container.Labels.TryGetValue(CriLabels.PodUid, out var uid) ? uid : "", (int)container.State);
        }
        var changed = new HashSet<string>();
        foreach (var (id, state) in now)
        {
            if (!_known.TryGetValue(id, out var old) || old != state) changed.Add(state.Item1);
        }
        foreach (var (id, state) in _known)
        {
            if (!now.ContainsKey(id)) changed.Add(state.PodUid);
        }
        _known = now;
        LastRelist = time.GetUtcNow();
        foreach (var podUid in changed) podChanged(podUid);
    }

    private async Task ListenAsync(CancellationToken cancellationToken)
    {
        while (!cancellationToken.IsCancellationRequested)
        {
            try
            {
                using var call = cri.ContainerEvents(cancellationToken);
                await foreach (var message in call.ResponseStream.ReadAllAsync(cancellationToken).ConfigureAwait(false))
                {
                    if (!_hasEvents) Log.RuntimeEvents(logger);
                    _hasEvents = true;
                    if (message.PodSandboxStatus?.Metadata?.Uid is { Length: > 0 } podUid) podChanged(podUid);
                }
            }
            catch (RpcException e) when (e.StatusCode == StatusCode.Unimplemented)
            {
                return;
            }
            catch (Exception e) when (e is RpcException or OperationCanceledException or IOException)
            {
                if (cancellationToken.IsCancellationRequested) return;
            }
            _hasEvents = false;
            try
            {
                await Task.Delay(s_interval, time, cancellationToken).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }
}
