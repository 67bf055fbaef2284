using System.Threading.Channels;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>One back end with its way of delivery: at once, or collected by a loop of its own.</summary>
/// <remarks>Any thread.</remarks>
internal sealed class AuditBackend : IAsyncDisposable
{
    private readonly string _name;
    private readonly AuditDelivery _delivery;
    private readonly IAuditOutput _output;
    private readonly AuditMetrics _metrics;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;
    private readonly Channel<byte[]>? _waiting;
    private readonly CancellationTokenSource _stopping = new();
    private readonly Task _loop;

    internal AuditBackend(string name, AuditDelivery delivery, IAuditOutput output, AuditMetrics metrics, TimeProvider clock, ILogger logger)
    {
        (_name, _delivery, _output, _metrics, _clock, _logger) = (name, delivery, output, metrics, clock, logger);
        if (delivery.Mode == AuditMode.Batch)
            _waiting = Channel.CreateBounded<byte[]>(new BoundedChannelOptions(delivery.BufferSize) { SingleReader = true });
        _loop = _waiting is null ? Task.CompletedTask : SendAsync(_waiting.Reader);
    }

    internal bool IsStrict => _delivery.Mode == AuditMode.BlockingStrict;

    /// <summary>False when the event is lost.</summary>
    internal ValueTask<bool> ProcessAsync(AuditEvent e, AuditStages stage)
    {
        var now = _clock.GetUtcNow();
        var bytes = _output.Encode(e, stage, now, hasObjects: true);
        if (_delivery.Truncates && bytes.Length > _delivery.MaxEventBytes && e.WantsRequest)
            bytes = _output.Encode(e, stage, now, hasObjects: false);
        if (_delivery.Truncates && bytes.Length > _delivery.MaxEventBytes)
        {
            _metrics.Lost("truncate", 1);
            Log.AuditFailed(_logger, _name, 1, "event is too large even after truncating");
            return new(true);
        }
        if (_waiting is null)
            return WriteAsync([bytes], CancellationToken.None);
        if (!_waiting.Writer.TryWrite(bytes))
        {
            _metrics.Lost("buffered", 1);
            Log.AuditFailed(_logger, _name, 1, "audit buffer queue blocked");
        }
        return new(true);
    }

    /// <summary>Sends what waits, for some seconds at most.</summary>
    public async ValueTask DisposeAsync()
    {
        _waiting?.Writer.TryComplete();
        _stopping.CancelAfter(TimeSpan.FromSeconds(5));
        await _loop.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _output.DisposeAsync().ConfigureAwait(false);
        _stopping.Dispose();
    }

    private async Task SendAsync(ChannelReader<byte[]> reader)
    {
        var throttle = new Throttle(_delivery.ThrottleQps, _delivery.ThrottleBurst, _clock);
        var batch = new List<byte[]>();
        while (await reader.WaitToReadAsync(_stopping.Token).ConfigureAwait(false))
        {
            await CollectAsync(reader, batch).ConfigureAwait(false);
            while (batch.Count > 0)
            {
                var count = CountThatFits(batch);
                await throttle.WaitAsync(_stopping.Token).ConfigureAwait(false);
                await WriteAsync(batch.GetRange(0, count), _stopping.Token).ConfigureAwait(false);
                batch.RemoveRange(0, count);
            }
        }
    }

    private async ValueTask<bool> WriteAsync(IReadOnlyList<byte[]> events, CancellationToken cancel)
    {
        var isWritten = await _output.WriteAsync(events, cancel).ConfigureAwait(false);
        if (!isWritten)
            _metrics.Lost(_output.Plugin, events.Count);
        return isWritten;
    }

    private async Task CollectAsync(ChannelReader<byte[]> reader, List<byte[]> batch)
    {
        using var limit = new CancellationTokenSource(_delivery.MaxBatchWait, _clock);
        try
        {
            while (batch.Count < _delivery.MaxBatchEvents)
            {
                if (reader.TryRead(out var next))
                    batch.Add(next);
                else if (_delivery.MaxBatchWait <= TimeSpan.Zero || !await reader.WaitToReadAsync(limit.Token).ConfigureAwait(false))
                    return;
            }
        }
        catch (OperationCanceledException)
        {
            // The batch has waited long enough.
        }
    }

    private int CountThatFits(List<byte[]> batch)
    {
        if (!_delivery.Truncates)
            return batch.Count;
        var count = 0;
        for (long size = 0; count < batch.Count && (count == 0 || size + batch[count].Length <= _delivery.MaxBatchBytes); count++)
            size += batch[count].Length;
        return count;
    }

    /// <summary>A bucket that fills by so many tokens a second up to a burst.</summary>
    private sealed class Throttle(double perSecond, int burst, TimeProvider clock)
    {
        private double _tokens = burst;
        private long _last = clock.GetTimestamp();

        internal async ValueTask WaitAsync(CancellationToken cancel)
        {
            if (perSecond <= 0)
                return;
            _tokens = Math.Min(burst, _tokens + clock.GetElapsedTime(_last).TotalSeconds * perSecond);
            _last = clock.GetTimestamp();
            _tokens -= 1;
            if (_tokens < 0)
                await Task.Delay(TimeSpan.FromSeconds(-_tokens / perSecond), clock, cancel).ConfigureAwait(false);
        }
    }
}
