using System.Net.WebSockets;
using System.Security.Cryptography;
using System.Text;
using K3sFast.ApiMachinery;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace K3sFast.ApiServer;

/// <summary>WebSockets that end here (RFC 6455), as opposed to those that are carried through to a backend.</summary>
internal static class WebSocketUpgrade
{
    // RFC 6455 §1.3.
    private const string Magic = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

    private static readonly TimeSpan s_goodbye = TimeSpan.FromSeconds(2);

    internal static bool IsRequested(HttpApiCall call) =>
        UpgradeTunnel.IsUpgrade(call) && string.Equals(call.Header("Upgrade"), "websocket", StringComparison.OrdinalIgnoreCase);

    /// <summary>Accepts; the protocol is the first that the client offers and we know. A client that offers none gets none.</summary>
    /// <exception cref="ApiStatusException">400: the handshake is broken, or no protocol is known.</exception>
    internal static async Task<WebSocket> AcceptAsync(HttpApiCall call, string[] protocols)
    {
        var key = call.Header("Sec-WebSocket-Key") ?? "";
        if (key.Length == 0 || call.Header("Sec-WebSocket-Version") is not "13" || call.Features.Get<IHttpUpgradeFeature>() is not { IsUpgradableRequest: true } upgrade)
            throw ApiStatus.BadRequest("not websocket protocol").ToException();
        var offered = (call.Header("Sec-WebSocket-Protocol") ?? "").Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        var protocol = Array.Find(offered, name => Array.IndexOf(protocols, name) >= 0);
        if (protocol is null && offered.Length > 0)
            throw ApiStatus.BadRequest($"requested protocol(s) are not supported: [{string.Join(' ', offered)}]; supports [{string.Join(' ', protocols)}]").ToException();
        // The handshake asks for SHA-1; nothing is secured by it.
#pragma warning disable CA5350
        var accept = Convert.ToBase64String(SHA1.HashData(Encoding.ASCII.GetBytes(key + Magic)));
#pragma warning restore CA5350
        call.SetHeader("Upgrade", "websocket");
        call.SetHeader("Sec-WebSocket-Accept", accept);
        if (protocol is not null)
            call.SetHeader("Sec-WebSocket-Protocol", protocol);
        call.NoteUpgraded();
        var stream = await upgrade.UpgradeAsync().ConfigureAwait(false);
        return WebSocket.CreateFromStream(stream, new WebSocketCreationOptions { IsServer = true, SubProtocol = protocol, KeepAliveInterval = TimeSpan.FromSeconds(30) });
    }

    /// <summary>Reads and forgets whatever comes; the client's end, orderly or not, cancels.</summary>
    internal static async Task IgnoreAsync(WebSocket socket, CancellationTokenSource cancel)
    {
        var buffer = new byte[256];
        try
        {
            while ((await socket.ReceiveAsync(buffer.AsMemory(), cancel.Token).ConfigureAwait(false)).MessageType != WebSocketMessageType.Close)
            {
                // Nothing that a client says here means anything.
            }
        }
        catch (Exception error) when (error is WebSocketException or IOException or OperationCanceledException or ObjectDisposedException)
        {
            // Gone without goodbye, or we ended it.
        }
        await cancel.CancelAsync().ConfigureAwait(false);
    }

    /// <summary>Says goodbye and gives the other side a bounded time to take it.</summary>
    internal static async Task CloseAsync(WebSocket socket)
    {
        using var limit = new CancellationTokenSource(s_goodbye);
        try
        {
            await socket.CloseOutputAsync(WebSocketCloseStatus.NormalClosure, null, limit.Token).ConfigureAwait(false);
        }
        catch (Exception error) when (error is WebSocketException or IOException or OperationCanceledException or ObjectDisposedException)
        {
            // There was nobody left.
        }
    }
}
