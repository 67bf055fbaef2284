using System.Buffers.Binary;
using System.Globalization;

namespace K3sFast.Kubelet.Streaming;

/// <summary>
/// Port-forward for WebSocket clients that use one pair of channels per port: 2n carries data, 2n+1 errors; the first message of each is the port's
/// number, little endian.
/// </summary>
internal static class PortForwardProxy
{
    public static async Task RunAsync(ChannelSocket client, Stream runtime, IReadOnlyList<ushort> ports, CancellationToken cancellationToken)
    {
        await using var spdy = new SpdyClient(runtime);
        var dataIds = new uint[ports.Count];
        for (var i = 0; i < ports.Count; i++)
        {
            var (dataChannel, errorChannel) = ((byte)(2 * i), (byte)((2 * i) + 1));
            var number = new byte[2];
            BinaryPrimitives.WriteUInt16LittleEndian(number, ports[i]);
            await client.SendAsync(dataChannel, number, cancellationToken).ConfigureAwait(false);
            await client.SendAsync(errorChannel, number, cancellationToken).ConfigureAwait(false);
            (string, string) port = ("port", ports[i].ToString(CultureInfo.InvariantCulture)), request = ("requestid", i.ToString(CultureInfo.InvariantCulture));
            var errorId = await spdy.OpenAsync([("streamtype", "error"), port, request], (bytes, _) => ForwardAsync(errorChannel, bytes), cancellationToken).ConfigureAwait(false);
            await spdy.SendAsync(errorId, default, isLast: true, cancellationToken).ConfigureAwait(false);
            dataIds[i] = await spdy.OpenAsync([("streamtype", "data"), port, request], (bytes, _) => ForwardAsync(dataChannel, bytes), cancellationToken).ConfigureAwait(false);
        }
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var output = spdy.RunAsync(stop.Token);
        var input = PumpInputAsync(client, spdy, dataIds, stop.Token);
        await Task.WhenAny(output, input).ConfigureAwait(false);
        await client.CloseAsync(cancellationToken).ConfigureAwait(false);
        await stop.CancelAsync().ConfigureAwait(false);
        try
        {
            await Task.WhenAll(output, input).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or System.Net.WebSockets.WebSocketException or ObjectDisposedException)
        {
            // Either end going away is how forwarding ends.
        }

        ValueTask ForwardAsync(byte channel, ReadOnlyMemory<byte> bytes) => bytes.IsEmpty ? ValueTask.CompletedTask : client.SendAsync(channel, bytes, cancellationToken);
    }

    private static async Task PumpInputAsync(ChannelSocket client, SpdyClient spdy, uint[] dataIds, CancellationToken cancellationToken)
    {
        while (await client.ReceiveAsync(cancellationToken).ConfigureAwait(false) is var (channel, bytes, _))
        {
            if (channel % 2 == 0 && channel / 2 < dataIds.Length) await spdy.SendAsync(dataIds[channel / 2], bytes, isLast: false, cancellationToken).ConfigureAwait(false);
        }
    }
}
