using System.Buffers;
using System.Net.WebSockets;
using System.Text;

namespace K3sFast.Kubelet.Streaming;

/// <summary>
/// Several channels over one WebSocket: each message is a channel byte and the channel's bytes (or, in the base64 form, the channel's digit and
/// base64 text). Version 5 adds the message 255, channel: this channel is closed.
/// </summary>
internal sealed class ChannelSocket(WebSocket socket, string protocol) : IAsyncDisposable
{
    // The largest message that is taken; kubectl sends 32 KiB.
    private const int MaxMessageBytes = 1024 * 1024;
    private const byte CloseSignal = 255;

    private readonly SemaphoreSlim _sending = new(1);
    private byte[] _message = new byte[64 * 1024];

    /// <summary>Protocols of exec and attach, the best first.</summary>
    public static readonly string[] RemoteCommandProtocols =
        ["v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io", "base64.channel.k8s.io"];

    /// <summary>Protocols of port-forward with one channel pair per port.</summary>
    public static readonly string[] PortForwardProtocols = ["v4.channel.k8s.io", "v4.base64.channel.k8s.io"];

    /// <summary>True where the error channel carries a Status, also one of success.</summary>
    public bool SendsStatus { get; } = protocol.StartsWith('v');

    private readonly bool _isBase64 = protocol.Contains("base64", StringComparison.Ordinal);
    private readonly bool _hasCloseSignal = protocol.StartsWith("v5", StringComparison.Ordinal);

    /// <summary>
    /// Next message; null = the client closed. <c>IsClosed</c>: the client has nothing more to say on this channel. The bytes are valid until the next call.
    /// </summary>
    public async ValueTask<(int Channel, ReadOnlyMemory<byte> Bytes, bool IsClosed)?> ReceiveAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            var length = 0;
            ValueWebSocketReceiveResult result;
            do
            {
                if (length == _message.Length)
                {
                    if (length >= MaxMessageBytes) throw new InvalidDataException($"a message is longer than {MaxMessageBytes} bytes");
                    Array.Resize(ref _message, _message.Length * 2);
                }
                result = await socket.ReceiveAsync(_message.AsMemory(length), cancellationToken).ConfigureAwait(false);
                length += result.Count;
                if (result.MessageType == WebSocketMessageType.Close) return null;
            }
            while (!result.EndOfMessage);
            if (length == 0) continue;
            if (_isBase64)
            {
                var text = Encoding.ASCII.GetString(_message, 1, length - 1);
                return (_message[0] - '0', Convert.FromBase64String(text), false);
            }
            if (_hasCloseSignal && _message[0] == CloseSignal && length >= 2) return (_message[1], default, true);
            return (_message[0], _message.AsMemory(1, length - 1), false);
        }
    }

    /// <summary>Sends bytes on a channel.</summary>
    public async ValueTask SendAsync(byte channel, ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        await _sending.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (_isBase64)
            {
                var text = (char)('0' + channel) + Convert.ToBase64String(bytes.Span);
                await socket.SendAsync(Encoding.ASCII.GetBytes(text), WebSocketMessageType.Text, endOfMessage: true, cancellationToken).ConfigureAwait(false);
                return;
            }
            var frame = ArrayPool<byte>.Shared.Rent(bytes.Length + 1);
            frame[0] = channel;
            bytes.CopyTo(frame.AsMemory(1));
            await socket.SendAsync(frame.AsMemory(0, bytes.Length + 1), WebSocketMessageType.Binary, endOfMessage: true, cancellationToken).ConfigureAwait(false);
            ArrayPool<byte>.Shared.Return(frame);
        }
        finally
        {
            _sending.Release();
        }
    }

    /// <summary>Says goodbye; the client has got everything.</summary>
    public async ValueTask CloseAsync(CancellationToken cancellationToken)
    {
        try
        {
            if (socket.State is WebSocketState.Open or WebSocketState.CloseReceived)
            {
                await socket.CloseOutputAsync(WebSocketCloseStatus.NormalClosure, null, cancellationToken).ConfigureAwait(false);
            }
        }
        catch (Exception e) when (e is WebSocketException or IOException or OperationCanceledException)
        {
            // Gone already.
        }
    }

    public ValueTask DisposeAsync()
    {
        socket.Dispose();
        return ValueTask.CompletedTask;
    }
}
