using System.Buffers;
using System.Net.WebSockets;

namespace K3sFast.Kubelet.Streaming;

/// <summary>Bytes between a client and the runtime, as they are: for clients that speak SPDY themselves, bare or inside WebSocket messages.</summary>
internal static class RawTunnel
{
    private const int BufferBytes = 64 * 1024;

    /// <summary>Copies both ways until one side ends.</summary>
    public static async Task RunAsync(Stream client, Stream runtime, CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var up = CopyAsync(client, runtime, stop.Token);
        var down = CopyAsync(runtime, client, stop.Token);
        await Task.WhenAny(up, down).ConfigureAwait(false);
        // SPDY has no half-closed connections: one end is the end of both.
        await stop.CancelAsync().ConfigureAwait(false);
        await Task.WhenAll(up, down).ConfigureAwait(false);
    }

    /// <summary>Copies between binary messages and a stream until one side ends.</summary>
    public static async Task RunAsync(WebSocket client, Stream runtime, CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var up = UnwrapAsync(client, runtime, stop.Token);
        var down = WrapAsync(runtime, client, stop.Token);
        await Task.WhenAny(up, down).ConfigureAwait(false);
        if (client.State is WebSocketState.Open or WebSocketState.CloseReceived)
        {
            try
            {
                await client.CloseOutputAsync(WebSocketCloseStatus.NormalClosure, null, stop.Token).ConfigureAwait(false);
            }
            catch (Exception e) when (e is WebSocketException or IOException or OperationCanceledException)
            {
                // Gone already.
            }
        }
        await stop.CancelAsync().ConfigureAwait(false);
        await Task.WhenAll(up, down).ConfigureAwait(false);
    }

    private static async Task CopyAsync(Stream source, Stream target, CancellationToken cancellationToken)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
        try
        {
            int read;
            while ((read = await source.ReadAsync(buffer, cancellationToken).ConfigureAwait(false)) > 0)
            {
                await target.WriteAsync(buffer.AsMemory(0, read), cancellationToken).ConfigureAwait(false);
                await target.FlushAsync(cancellationToken).ConfigureAwait(false);
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
        {
            // The end of either side.
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static async Task UnwrapAsync(WebSocket source, Stream target, CancellationToken cancellationToken)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
        try
        {
            while (true)
            {
                var result = await source.ReceiveAsync(buffer.AsMemory(), cancellationToken).ConfigureAwait(false);
                if (result.MessageType == WebSocketMessageType.Close) return;
                await target.WriteAsync(buffer.AsMemory(0, result.Count), cancellationToken).ConfigureAwait(false);
                await target.FlushAsync(cancellationToken).ConfigureAwait(false);
            }
        }
        catch (Exception e) when (e is IOException or WebSocketException or OperationCanceledException or ObjectDisposedException)
        {
            // The end of either side.
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static async Task WrapAsync(Stream source, WebSocket target, CancellationToken cancellationToken)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
        try
        {
            int read;
            while ((read = await source.ReadAsync(buffer, cancellationToken).ConfigureAwait(false)) > 0)
            {
                await target.SendAsync(buffer.AsMemory(0, read), WebSocketMessageType.Binary, endOfMessage: true, cancellationToken).ConfigureAwait(false);
            }
        }
        catch (Exception e) when (e is IOException or WebSocketException or OperationCanceledException or ObjectDisposedException)
        {
            // The end of either side.
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }
}
