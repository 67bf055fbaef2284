using System.Diagnostics;
using K3sFast.Interop;
using K3sFast.Interop.Bpf;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.Proxy.Ebpf;

/// <summary>
/// Looks now and then at what the programs fill themselves: tells of maps that have no room for what is new, and sweeps out connections that are over. The map of
/// connections makes room by itself, at the expense of the oldest; sweeping keeps those that live from being among them.
/// </summary>
/// <remarks>One thread.</remarks>
internal sealed class MapWatch(ProgramMaps maps, TrafficServices? traffic, Func<ProxyMetrics?> metrics, ILogger logger)
{
    // enum count of native/bpf/services.h
    private const uint PeersFull = 0, FlowsBegun = 1, FlowsFull = 3, AffinitiesFull = 4, Counts = 5;

    // More than this part of the room taken by living connections is told. The kernel keeps some free entries for each processor.
    private const double Alarming = 0.75;

    private readonly ulong[] _before = new ulong[Counts];
    private bool _isFirst = true, _isCrowded;

    /// <summary>Looks every so often; ends when cancelled.</summary>
    internal async Task RunAsync(TimeSpan period, CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(period);
        try
        {
            while (true)
            {
                try
                {
                    Look();
                }
                catch (KernelException refused)
                {
                    Log.RulesRefused(logger, refused);
                }
                await timer.WaitForNextTickAsync(cancellationToken).ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
        }
    }

    internal void Look()
    {
        Span<ulong> since = stackalloc ulong[(int)Counts];
        for (var i = 0u; i < Counts; i++)
        {
            maps["counts"].TryGet<uint, ulong>(i, out var now);
            since[(int)i] = now - _before[i];
            _before[i] = now;
        }
        // What an earlier run saw, it told.
        if (_isFirst)
        {
            (_isFirst, since[(int)PeersFull], since[(int)FlowsFull], since[(int)AffinitiesFull]) = (false, 0, 0, 0);
        }
        Tell("peers", since[(int)PeersFull], "sockets see their endpoint as their peer");
        Tell("connections", since[(int)FlowsFull], "new connections from outside are dropped: raise --kube-proxy-arg=conntrack-max-per-core");
        Tell("clients", since[(int)AffinitiesFull], "further clients of Services with session affinity may change endpoints");
        if (traffic is not null && since[(int)FlowsBegun] > 0) Sweep(traffic, since[(int)FlowsBegun]);
    }

    private void Tell(string map, ulong times, string consequence)
    {
        if (times == 0) return;
        metrics()?.MapFull.With(map).Add((long)times);
        Log.ProgramMapFull(logger, map, times, consequence);
    }

    private void Sweep(TrafficServices services, ulong begun)
    {
        metrics()?.ConnectionsBegun.Add((long)begun);
        var now = (ulong)(Stopwatch.GetTimestamp() * (1_000_000_000.0 / Stopwatch.Frequency));
        var over = new List<TrafficFlow>();
        var alive = 0;
        foreach (var (flow, translation) in services.Connections.ReadAll<TrafficFlow, TrafficTranslation>())
        {
            if (services.Settings.IsOver(flow, translation, now)) over.Add(flow);
            else alive++;
        }
        services.Connections.Delete<TrafficFlow>(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(over));
        var room = services.Connections.Spec.MaxEntries;
        metrics()?.Connections.Set(alive / 2);
        metrics()?.ConnectionsMax.Set(room / 2);
        var isCrowded = alive >= room * Alarming;
        if (isCrowded && !_isCrowded) Log.ConnectionsCrowded(logger, alive / 2, room / 2);
        _isCrowded = isCrowded;
    }
}
