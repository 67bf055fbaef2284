using System.Buffers;
using System.Buffers.Binary;
using System.IO.Pipelines;
using System.Net.WebSockets;
using System.Security.Cryptography;
using System.Text;
using K3sFast.ApiMachinery;
using Microsoft.AspNetCore.Http.Features;

namespace K3sFast.ApiServer;

/// <summary>
/// A watch over WebSocket (RFC 6455): every frame of the watch is one message, text for JSON and binary, without its length, for protobuf. What the
/// client sends is not looked at, except that it closes.
/// </summary>
/// <remarks>A pipe writer for one writing thread; a flush sends what was written since the last one.</remarks>
internal sealed class WatchSocket : PipeWriter
{
    // RFC 6455 §1.3.
    private const string AcceptGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

    private static readonly TimeSpan s_closeWait = TimeSpan.FromSeconds(1);

    private readonly WebSocket _socket;
    private readonly MediaKind _media;
    private readonly ArrayBufferWriter<byte> _pending = new(4096);
    private readonly TaskCompletionSource _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private WatchSocket(Stream stream, MediaKind media, string? protocol)
    {
        _socket = WebSocket.CreateFromStream(stream, new WebSocketCreationOptions { IsServer = true, SubProtocol = protocol });
        _media = media;
        _ = ListenAsync();
    }

    /// <summary>The request asks for a WebSocket and can have one.</summary>
    internal static bool IsAsked(HttpApiCall call) =>
        call.Features.Get<IHttpUpgradeFeature>() is { IsUpgradableRequest: true }
        && string.Equals(call.Header("Upgrade"), "websocket", StringComparison.OrdinalIgnoreCase);

    /// <summary>Shakes hands.</summary>
    /// <exception cref="ApiStatusException">400: the handshake is none.</exception>
    internal static async ValueTask<WatchSocket> AcceptAsync(HttpApiCall call, MediaKind media)
    {
        if (call.Header("Sec-WebSocket-Version") != "13" || call.Header("Sec-WebSocket-Key") is not { Length: > 0 } key)
            throw ApiStatus.BadRequest("missing or bad WebSocket handshake: version 13 and a key are needed").ToException();
        // A token may travel as a protocol; it is a credential, not a protocol, and is never sent back.
        var protocols = (call.Header("Sec-WebSocket-Protocol") ?? "").Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)
            .Where(static name => !name.StartsWith("base64url.bearer.authorization.k8s.io.", StringComparison.Ordinal)).ToList();
        if (protocols.Count > 1)
            throw ApiStatus.BadRequest("missing or bad WebSocket-Protocol").ToException();
        var protocol = protocols.Count == 1 ? protocols[0] : null;
        call.SetHeader("Upgrade", "websocket");
        call.SetHeader("Connection", "Upgrade");
        call.SetHeader("Sec-WebSocket-Accept", Convert.ToBase64String(SHA1.HashData(Encoding.ASCII.GetBytes(key + AcceptGuid))));
        if (protocol is not null)
            call.SetHeader("Sec-WebSocket-Protocol", protocol);
        call.NoteUpgraded();
        var stream = await call.Features.GetRequiredFeature<IHttpUpgradeFeature>().UpgradeAsync().ConfigureAwait(false);
        return new WatchSocket(stream, media, protocol);
    }

    /// <summary>Calls back once, when the client has closed or gone.</summary>
    internal void WhenClosed(Action whenClosed) => _closed.Task.ContinueWith(
        static (_, state) => ((Action)state!)(), whenClosed, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);

    internal async ValueTask CloseAsync()
    {
        try
        {
            if (_socket.State is WebSocketState.Open or WebSocketState.CloseReceived)
            {
                using var limit = new CancellationTokenSource(s_closeWait);
                await _socket.CloseOutputAsync(WebSocketCloseStatus.NormalClosure, null, limit.Token).ConfigureAwait(false);
                await _closed.Task.WaitAsync(s_closeWait).ConfigureAwait(false);
            }
        }
        catch (Exception gone) when (gone is WebSocketException or OperationCanceledException or TimeoutException or IOException)
        {
            // A client that does not say goodbye is cut off.
        }
        _socket.Abort();
        _socket.Dispose();
    }

    public override void Advance(int bytes) => _pending.Advance(bytes);

    public override Memory<byte> GetMemory(int sizeHint = 0) => _pending.GetMemory(sizeHint);

    public override Span<byte> GetSpan(int sizeHint = 0) => _pending.GetSpan(sizeHint);

    public override void CancelPendingFlush()
    {
    }

    public override void Complete(Exception? exception = null)
    {
    }

    public override async ValueTask<FlushResult> FlushAsync(CancellationToken cancellationToken = default)
    {
        var rest = _pending.WrittenMemory;
        try
        {
            while (!rest.IsEmpty)
            {
                var (start, end) = NextMessage(rest.Span);
                await _socket.SendAsync(
                    rest[start..end], _media == MediaKind.Protobuf ? WebSocketMessageType.Binary : WebSocketMessageType.Text, endOfMessage: true, cancellationToken).ConfigureAwait(false);
                rest = rest[end..];
            }
        }
        catch (Exception gone) when (gone is WebSocketException or IOException)
        {
            return new FlushResult(isCanceled: false, isCompleted: true);
        }
        _pending.ResetWrittenCount();
        return new FlushResult(isCanceled: false, isCompleted: _closed.Task.IsCompleted);
    }

    // JSON frames end with the only line end that they have; protobuf frames begin with their length.
    private (int Start, int End) NextMessage(ReadOnlySpan<byte> frames)
    {
        if (_media == MediaKind.Protobuf)
            return (4, 4 + BinaryPrimitives.ReadInt32BigEndian(frames));
        var lineEnd = frames.IndexOf((byte)'\n');
        return (0, lineEnd < 0 ? frames.Length : lineEnd + 1);
    }

    private async Task ListenAsync()
    {
        var ignored = new byte[256];
        try
        {
            while ((await _socket.ReceiveAsync(ignored.AsMemory(), CancellationToken.None).ConfigureAwait(false)).MessageType != WebSocketMessageType.Close)
            {
            }
        }
        catch (Exception gone) when (gone is WebSocketException or OperationCanceledException or ObjectDisposedException or IOException)
        {
            // Gone is closed.
        }
        _closed.TrySetResult();
    }
}
