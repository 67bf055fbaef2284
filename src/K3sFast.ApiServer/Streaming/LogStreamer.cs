using System.Net;
using System.Net.WebSockets;
using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// pods/log: the kubelet's answer as it comes, as plain text or, for who asks by WebSocket, as messages. What ends early, at either side, ends the log:
/// upstream's readers cannot tell the two apart either.
/// </summary>
internal sealed class LogStreamer(KubeletConnector kubelets)
{
    // Upstream reads no more of a refusal.
    private const int MaxRefusalBytes = 50_000;

    private const int PieceBytes = 4096;

    internal async ValueTask StreamAsync(HttpApiCall call, KubeletAddress kubelet, string pathAndQuery)
    {
        var uri = $"https://{StreamRouter.HostOf(kubelet.Host, kubelet.Port)}{pathAndQuery}";
        var client = call.QueryBool("insecureSkipTLSVerifyBackend"u8) ? kubelets.UnverifiedHttp : kubelets.Http;
        using var request = new HttpRequestMessage(HttpMethod.Get, uri);
        using var response = await SendAsync(client, request, kubelet, call.Aborted).ConfigureAwait(false);
        var code = (int)response.StatusCode;
        if (code is >= 300 and < 400 && response.Headers.Location is { } elsewhere)
            throw ApiStatus.Unknown($"Get {GoText.Quote(elsewhere.ToString())}: redirects forbidden").ToException();
        if (code is < 200 or > 206)
            throw await RefusalAsync(response, call).ConfigureAwait(false);
        using var cancel = CancellationTokenSource.CreateLinkedTokenSource(call.Aborted, call.Stopping);
        var source = await response.Content.ReadAsStreamAsync(cancel.Token).ConfigureAwait(false);
        await using (source.ConfigureAwait(false))
        {
            if (WebSocketUpgrade.IsRequested(call))
                await ToWebSocketAsync(call, source, cancel).ConfigureAwait(false);
            else
                await ToBodyAsync(call, source, cancel.Token).ConfigureAwait(false);
        }
    }

    private static async Task<HttpResponseMessage> SendAsync(HttpMessageInvoker client, HttpRequestMessage request, KubeletAddress kubelet, CancellationToken cancel)
    {
        try
        {
            return await client.SendAsync(request, cancel).ConfigureAwait(false);
        }
        catch (Exception error) when (BackendDialer.IsFailure(error, cancel))
        {
            var why = BackendDialer.Describe(kubelet.Host, kubelet.Port, error);
            throw ApiStatus.Unknown($"Get {GoText.Quote(request.RequestUri!.ToString())}: {why}").ToException();
        }
    }

    // Every piece goes out as it comes: a followed log must not wait for a full buffer.
    private static async Task ToBodyAsync(HttpApiCall call, Stream source, CancellationToken cancel)
    {
        call.Start(200, "text/plain", -1);
        var output = call.Output;
        await output.FlushAsync(cancel).ConfigureAwait(false);
        while (true)
        {
            var read = await ReadAsync(source, output.GetMemory(PieceBytes), call, cancel).ConfigureAwait(false);
            if (read == 0)
                return;
            output.Advance(read);
            if ((await output.FlushAsync(call.Aborted).ConfigureAwait(false)).IsCompleted)
                return;
        }
    }

    private static async Task ToWebSocketAsync(HttpApiCall call, Stream source, CancellationTokenSource cancel)
    {
        using var socket = await WebSocketUpgrade.AcceptAsync(call, ["binary.k8s.io", "base64.binary.k8s.io"]).ConfigureAwait(false);
        var isText = socket.SubProtocol == "base64.binary.k8s.io";
        var kind = isText ? WebSocketMessageType.Text : WebSocketMessageType.Binary;
        // The client has nothing to say but its goodbye, which ends the log.
        var goodbye = WebSocketUpgrade.IgnoreAsync(socket, cancel);
        // An empty message tells that the stream stands.
        await socket.SendAsync(ReadOnlyMemory<byte>.Empty, kind, true, cancel.Token).ConfigureAwait(false);
        var buffer = new byte[PieceBytes];
        try
        {
            while (await ReadAsync(source, buffer, call, cancel.Token).ConfigureAwait(false) is > 0 and var read)
            {
                var message = isText ? Encoding.ASCII.GetBytes(Convert.ToBase64String(buffer, 0, read)) : buffer.AsMemory(0, read);
                await socket.SendAsync(message, kind, true, cancel.Token).ConfigureAwait(false);
            }
            await WebSocketUpgrade.CloseAsync(socket).ConfigureAwait(false);
        }
        catch (Exception error) when (error is WebSocketException or IOException or OperationCanceledException)
        {
            // The client left in the middle.
        }
        await cancel.CancelAsync().ConfigureAwait(false);
        await goodbye.ConfigureAwait(false);
    }

    // 0 = the end: of the log, of the kubelet, or of us.
    private static async Task<int> ReadAsync(Stream source, Memory<byte> buffer, HttpApiCall call, CancellationToken cancel)
    {
        try
        {
            return await source.ReadAsync(buffer, cancel).ConfigureAwait(false);
        }
        catch (Exception error) when (error is IOException or HttpRequestException || error is OperationCanceledException && !call.Aborted.IsCancellationRequested)
        {
            return 0;
        }
    }

    private static async Task<ApiStatusException> RefusalAsync(HttpResponseMessage response, ApiCall call)
    {
        var text = await ReadRefusalAsync(response, call.Aborted).ConfigureAwait(false);
        return (response.StatusCode switch
        {
            HttpStatusCode.InternalServerError => ApiStatus.InternalError(text),
            HttpStatusCode.BadRequest => ApiStatus.BadRequest(text),
            var code => BackendStatus.Of((int)code, "pods/log", call.Info.NameText, text),
        }).ToException();
    }

    private static async Task<string> ReadRefusalAsync(HttpResponseMessage response, CancellationToken cancel)
    {
        try
        {
            var stream = await response.Content.ReadAsStreamAsync(cancel).ConfigureAwait(false);
            var buffer = new byte[MaxRefusalBytes];
            var length = await stream.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, cancel).ConfigureAwait(false);
            return Encoding.UTF8.GetString(buffer, 0, length);
        }
        catch (Exception error) when (error is IOException or HttpRequestException)
        {
            throw ApiStatus.InternalError(error.Message).ToException();
        }
    }
}
