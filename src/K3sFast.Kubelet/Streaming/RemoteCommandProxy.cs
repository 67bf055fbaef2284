using System.Text;

namespace K3sFast.Kubelet.Streaming;

/// <summary>
/// Joins a WebSocket client (channels 0 stdin, 1 stdout, 2 stderr, 3 error, 4 resize) with the runtime's SPDY streams for exec and attach. Ends when
/// the runtime has said how the command ended, or when the client goes away.
/// </summary>
internal static class RemoteCommandProxy
{
    private const byte Stdin = 0, Stdout = 1, Stderr = 2, Error = 3, Resize = 4;

    // After the command's end, how long the client is given to answer our goodbye.
    private static readonly TimeSpan s_closeTimeout = TimeSpan.FromSeconds(2);

    public static async Task RunAsync(ChannelSocket client, Stream runtime, bool stdin, bool stdout, bool stderr, bool tty, CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        await using var spdy = new SpdyClient(runtime);
        var status = new MemoryStream();
        // The runtime waits for all of its streams; the error stream comes first, as upstream opens it.
        await spdy.OpenAsync([("streamtype", "error")], (bytes, _) => CollectAsync(status, bytes), stop.Token).ConfigureAwait(false);
        var stdinId = stdin ? await spdy.OpenAsync([("streamtype", "stdin")], IgnoreAsync, stop.Token).ConfigureAwait(false) : 0;
        if (stdout) await spdy.OpenAsync([("streamtype", "stdout")], (bytes, _) => ForwardAsync(Stdout, bytes), stop.Token).ConfigureAwait(false);
        if (stderr && !tty) await spdy.OpenAsync([("streamtype", "stderr")], (bytes, _) => ForwardAsync(Stderr, bytes), stop.Token).ConfigureAwait(false);
        var resizeId = tty ? await spdy.OpenAsync([("streamtype", "resize")], IgnoreAsync, stop.Token).ConfigureAwait(false) : 0;
        // An empty message tells the client that the session is up.
        await client.SendAsync(stdout ? Stdout : stderr ? Stderr : Error, default, stop.Token).ConfigureAwait(false);

        var output = spdy.RunAsync(stop.Token);
        var input = PumpInputAsync(client, spdy, stdinId, resizeId, stop.Token);
        // The client's end ends the session; the runtime's end is followed by the status.
        if (await Task.WhenAny(output, input).ConfigureAwait(false) == input && await input.ConfigureAwait(false))
        {
            await stop.CancelAsync().ConfigureAwait(false);
            await SwallowAsync(output).ConfigureAwait(false);
            return;
        }
        await SwallowAsync(output).ConfigureAwait(false);
        await SendStatusAsync(client, status, cancellationToken).ConfigureAwait(false);
        await client.CloseAsync(cancellationToken).ConfigureAwait(false);
        stop.CancelAfter(s_closeTimeout);
        await SwallowAsync(input).ConfigureAwait(false);

        ValueTask ForwardAsync(byte channel, ReadOnlyMemory<byte> bytes) => bytes.IsEmpty ? ValueTask.CompletedTask : client.SendAsync(channel, bytes, stop.Token);
    }

    // True = the client is gone; false = it has said all it had to say and still listens.
    private static async Task<bool> PumpInputAsync(ChannelSocket client, SpdyClient spdy, uint stdinId, uint resizeId, CancellationToken cancellationToken)
    {
        var isStdinOpen = stdinId != 0;
        while (await ReceiveAsync(client, cancellationToken).ConfigureAwait(false) is var (channel, bytes, isClosed))
        {
            try
            {
                if (channel == Stdin && isStdinOpen)
                {
                    isStdinOpen = !isClosed;
                    await spdy.SendAsync(stdinId, bytes, isClosed, cancellationToken).ConfigureAwait(false);
                }
                else if (channel == Resize && resizeId != 0 && !isClosed)
                {
                    await spdy.SendAsync(resizeId, bytes, isLast: false, cancellationToken).ConfigureAwait(false);
                }
            }
            catch (IOException)
            {
                // The command has ended and its runtime listens no more; its output and status are still on their way to the client.
                (isStdinOpen, resizeId) = (false, 0);
            }
        }
        return true;
    }

    // A client that leaves without a goodbye has left all the same.
    private static async ValueTask<(int Channel, ReadOnlyMemory<byte> Bytes, bool IsClosed)?> ReceiveAsync(ChannelSocket client, CancellationToken cancellationToken)
    {
        try
        {
            return await client.ReceiveAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (System.Net.WebSockets.WebSocketException)
        {
            return null;
        }
    }

    private static async Task SendStatusAsync(ChannelSocket client, MemoryStream status, CancellationToken cancellationToken)
    {
        var text = Encoding.UTF8.GetString(status.ToArray());
        // The older protocols tell failures only, and as text.
        var isSuccess = text.Length == 0 || text.Contains("\"status\":\"Success\"", StringComparison.Ordinal);
        if (!client.SendsStatus && isSuccess) return;
        if (text.Length == 0) text = """{"metadata":{},"status":"Success"}""";
        await client.SendAsync(Error, Encoding.UTF8.GetBytes(text), cancellationToken).ConfigureAwait(false);
    }

    private static ValueTask CollectAsync(MemoryStream status, ReadOnlyMemory<byte> bytes)
    {
        status.Write(bytes.Span);
        return ValueTask.CompletedTask;
    }

    private static ValueTask IgnoreAsync(ReadOnlyMemory<byte> bytes, bool isLast) => ValueTask.CompletedTask;

    private static async Task SwallowAsync(Task task)
    {
        try
        {
            await task.ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or System.Net.WebSockets.WebSocketException or ObjectDisposedException)
        {
            // Either end going away is how sessions end.
        }
    }
}
