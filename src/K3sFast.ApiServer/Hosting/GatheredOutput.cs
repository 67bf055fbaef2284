using System.Buffers;
using System.Diagnostics;
using System.IO.Pipelines;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;

namespace K3sFast.ApiServer;

/// <summary>
/// Between HTTP and TLS, one per connection: flushes that come close upon each other go out together, so that an event for a hundred watchers of one connection
/// is a few records and system calls, not a hundred. A flush that comes alone is sent at once, by the thread that brings it.
/// </summary>
/// <remarks>One thread writes at a time, as Kestrel does. Sending goes on beside it, in order.</remarks>
internal sealed class GatheredOutput : PipeScheduler, IDuplexPipe
{
    // The most that one TLS record holds (RFC 8446 §5.1).
    private const int RecordBytes = 16 * 1024;

    // What may wait to be sent before who writes has to: as much as Kestrel lets wait for a socket.
    private const int MaxWaitingBytes = 64 * 1024;

    // Handing the sending over to another thread takes some tens of microseconds: who comes later than that after the last sending would only wait longer.
    private static readonly long s_apart = Stopwatch.Frequency / 10_000;

    private readonly IDuplexPipe _transport;
    private readonly Pipe _pipe;

    // Written by whoever sends, one at a time
    private long _lastSentAt;

    private GatheredOutput(IDuplexPipe transport, MemoryPool<byte>? memory)
    {
        _transport = transport;
        _pipe = new Pipe(new PipeOptions(
            memory, readerScheduler: this, writerScheduler: ThreadPool, pauseWriterThreshold: MaxWaitingBytes, resumeWriterThreshold: MaxWaitingBytes / 2,
            useSynchronizationContext: false));
    }

    public PipeReader Input => _transport.Input;

    public PipeWriter Output => _pipe.Writer;

    /// <summary>Serves a connection, as middleware behind that of TLS. Ends when all that was written is sent, or nobody takes it any more.</summary>
    internal static async Task ServeAsync(ConnectionContext connection, ConnectionDelegate next)
    {
        var transport = connection.Transport;
        var gathered = new GatheredOutput(transport, connection.Features.Get<IMemoryPoolFeature>()?.MemoryPool);
        connection.Transport = gathered;
        var sending = gathered.SendAsync();
        try
        {
            await next(connection).ConfigureAwait(false);
        }
        finally
        {
            await gathered._pipe.Writer.CompleteAsync().ConfigureAwait(false);
            await sending.ConfigureAwait(false);
            connection.Transport = transport;
        }
    }

    /// <summary>Wakes the sending: here and now for a flush that comes alone.</summary>
    public override void Schedule(Action<object?> action, object? state)
    {
        if (Stopwatch.GetTimestamp() - Volatile.Read(ref _lastSentAt) > s_apart)
            action(state);
        else
            System.Threading.ThreadPool.UnsafeQueueUserWorkItem(action, state, preferLocal: false);
    }

    private async Task SendAsync()
    {
        var reader = _pipe.Reader;
        Exception? failure = null;
        try
        {
            while (true)
            {
                var read = await reader.ReadAsync().ConfigureAwait(false);
                var (waiting, size) = (read.Buffer, (int)Math.Min(read.Buffer.Length, RecordBytes));
                if (size > 0)
                    Copy(waiting.Slice(0, size), _transport.Output);
                // Room for who writes, while this is sent.
                reader.AdvanceTo(waiting.GetPosition(size));
                if (size > 0 && (await _transport.Output.FlushAsync().ConfigureAwait(false)).IsCompleted)
                    break;
                Volatile.Write(ref _lastSentAt, Stopwatch.GetTimestamp());
                if (read.IsCompleted && size == waiting.Length)
                    break;
            }
        }
        // Whatever it is, who writes is told, as if it had been his own write.
        catch (Exception error)
        {
            failure = error;
        }
        await reader.CompleteAsync(failure).ConfigureAwait(false);
    }

    private static void Copy(in ReadOnlySequence<byte> from, PipeWriter to)
    {
        var size = (int)from.Length;
        from.CopyTo(to.GetSpan(size));
        to.Advance(size);
    }
}
