using System.Globalization;
using Microsoft.Extensions.Logging;

namespace K3sFast.AddOns.Dns;

/// <summary>
/// Finds out whether a question that is forwarded comes back here: a name that only we know is asked for once, and must not arrive twice
/// (loop). CoreDNS ends itself then; the cluster's own names are still worth an answer, so here the forwarding alone ends, loudly.
/// </summary>
internal sealed class LoopPlugin(DnsEngineReference engine, byte[] zone, DnsMetrics metrics, ILogger logger) : Plugin
{
    // The probe itself passes once. Nobody else knows the name: what arrives a second time came back to us.
    private const int MaxSeen = 1;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);

    private readonly byte[] _probe = Probe(zone);
    private readonly CancellationTokenSource _stop = new();
    private int _seen;
    private volatile bool _isActive = true;
    private volatile bool _hasLoop;

    internal override string Name => "loop";

    internal override Step Handle(Exchange exchange)
    {
        if (_hasLoop)
        {
            if (exchange.Depth == 0) exchange.Fail(DnsCode.ServerFailure);
            return Step.Answered;
        }
        if (!_isActive || exchange.Type != DnsType.Hinfo || !exchange.Name.SequenceEqual(_probe)) return Step.Next;
        if (Interlocked.Increment(ref _seen) > MaxSeen && !_hasLoop)
        {
            _hasLoop = true;
            metrics.Loops.Add();
            Log.ForwardingLoop(logger, NameText.Of(zone), NameText.Of(exchange.Name));
        }
        return Step.Next;
    }

    internal override void Start() => _ = ProbeAsync();

    /// <inheritdoc/>
    public override void Dispose()
    {
        _stop.Cancel();
        _stop.Dispose();
    }

    private async Task ProbeAsync()
    {
        var exchange = new Exchange(DnsMessage.LargestUdpSize);
        byte[] query = [0x4b, 0x33, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0, .. _probe, 0, (byte)DnsType.Hinfo, 0, 1];
        query.CopyTo(exchange.QueryBuffer);
        try
        {
            using var patience = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
            patience.CancelAfter(s_patience);
            if (engine.Value.Answer(exchange, query.Length, Port, isUdp: true) == Step.Waiting) await engine.Value.CompleteAsync(exchange, patience.Token).ConfigureAwait(false);
        }
        catch (Exception stopped) when (stopped is OperationCanceledException or ObjectDisposedException)
        {
            // Nobody answered, or another configuration took over.
        }
        _isActive = false;
    }

    internal int Port { get; init; } = 53;

    private static byte[] Probe(byte[] zone)
    {
        var numbers = string.Create(CultureInfo.InvariantCulture, $"{Random.Shared.NextInt64(long.MaxValue)}.{Random.Shared.NextInt64(long.MaxValue)}");
        return [.. WireName.Encode(numbers)![..^1], .. zone];
    }
}
