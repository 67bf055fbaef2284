using System.Buffers;
using System.Globalization;
using System.Text;
using K3sFast.ApiMachinery;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace K3sFast.ApiServer;

/// <summary>
/// Passes an upgraded connection (WebSocket or SPDY) through to a backend as raw bytes both ways. The backend speaks the protocol; we only carry.
/// One side's end is passed on as a half-close, so that a client that has sent everything still gets the rest of the answer.
/// </summary>
internal static class UpgradeTunnel
{
    private const int BufferBytes = 32 * 1024;

    // A response head of a kubelet is a few hundred bytes.
    private const int MaxHeadBytes = 16 * 1024;

    // How long a client may take to answer the end of its session.
    private static readonly TimeSpan s_goodbye = TimeSpan.FromSeconds(2);

    internal static async ValueTask RunAsync(HttpApiCall call, Stream backend, string hostHeader, string pathAndQuery)
    {
        await using (backend.ConfigureAwait(false))
        {
            await backend.WriteAsync(RequestHead(call, hostHeader, pathAndQuery), call.Aborted).ConfigureAwait(false);
            await backend.FlushAsync(call.Aborted).ConfigureAwait(false);
            var head = await ReadHeadAsync(backend, call.Aborted).ConfigureAwait(false);
            if (head.StatusCode != 101)
            {
                await RefuseAsync(call, backend, head).ConfigureAwait(false);
                return;
            }
            var response = call.Features.GetRequiredFeature<IHttpResponseFeature>();
            foreach (var (name, value) in head.Headers)
            {
                if (!name.Equals("Content-Length", StringComparison.OrdinalIgnoreCase) && !name.Equals("Date", StringComparison.OrdinalIgnoreCase))
                    response.Headers.Append(name, value);
            }
            call.NoteUpgraded();
            var client = await call.Features.GetRequiredFeature<IHttpUpgradeFeature>().UpgradeAsync().ConfigureAwait(false);
            await using (client.ConfigureAwait(false))
                await PumpBothAsync(client, backend, head.Rest, call.Stopping).ConfigureAwait(false);
        }
    }

    /// <summary>True if the client asked for an upgrade that this connection can make.</summary>
    internal static bool IsUpgrade(HttpApiCall call) => call.Features.Get<IHttpUpgradeFeature>() is { IsUpgradableRequest: true };

    private static async Task PumpBothAsync(Stream client, Stream backend, byte[] first, CancellationToken stopping)
    {
        using var cancel = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        if (first.Length > 0)
            await client.WriteAsync(first, cancel.Token).ConfigureAwait(false);
        var up = PumpAsync(client, backend, isToBackend: true, cancel.Token);
        var down = PumpAsync(backend, client, isToBackend: false, cancel.Token);
        // The backend's end is the end of the session. The client's end is not: its half is closed and the answer goes on. Nor is a backend that
        // takes no more: what it has said last is still on its way. Only a client that is gone ends all.
        if (await Task.WhenAny(down, up).ConfigureAwait(false) == up && await up.ConfigureAwait(false) == PumpEnd.SourceBroken)
            await cancel.CancelAsync().ConfigureAwait(false);
        await down.ConfigureAwait(false);
        // A connection that is closed over unread bytes is reset, and takes the last answer with it: the client closes first, in a bounded time.
        cancel.CancelAfter(s_goodbye);
        await up.ConfigureAwait(false);
    }

    private static async Task<PumpEnd> PumpAsync(Stream source, Stream destination, bool isToBackend, CancellationToken cancel)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
        var end = PumpEnd.SourceBroken;
        try
        {
            while (true)
            {
                end = PumpEnd.SourceBroken;
                var read = await source.ReadAsync(buffer, cancel).ConfigureAwait(false);
                end = PumpEnd.DestinationBroken;
                if (read == 0)
                    break;
                await destination.WriteAsync(buffer.AsMemory(0, read), cancel).ConfigureAwait(false);
                await destination.FlushAsync(cancel).ConfigureAwait(false);
            }
            if (isToBackend && destination is System.Net.Security.SslStream tls)
                await tls.ShutdownAsync().ConfigureAwait(false);
            return PumpEnd.InOrder;
        }
        catch (Exception error) when (error is IOException or OperationCanceledException or ObjectDisposedException or InvalidOperationException)
        {
            return end;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private enum PumpEnd
    {
        InOrder,
        SourceBroken,
        DestinationBroken,
    }

    private static byte[] RequestHead(HttpApiCall call, string hostHeader, string pathAndQuery)
    {
        var head = new StringBuilder();
        head.Append(CultureInfo.InvariantCulture, $"{call.Method} {pathAndQuery} HTTP/1.1\r\nHost: {hostHeader}\r\n");
        foreach (var header in call.RequestHeaders)
        {
            if (!IsPassedOn(header.Key))
                continue;
            foreach (var value in header.Value)
                head.Append(CultureInfo.InvariantCulture, $"{header.Key}: {value}\r\n");
        }
        head.Append("\r\n");
        return Encoding.Latin1.GetBytes(head.ToString());
    }

    // Who the client is, is between him and us.
    private static bool IsPassedOn(string name) =>
        !name.Equals("Host", StringComparison.OrdinalIgnoreCase) && !name.Equals("Authorization", StringComparison.OrdinalIgnoreCase)
        && !name.StartsWith("Impersonate-", StringComparison.OrdinalIgnoreCase) && !name.StartsWith(':')
        && !name.StartsWith("X-Remote-", StringComparison.OrdinalIgnoreCase);

    private sealed record Head(int StatusCode, List<(string Name, string Value)> Headers, byte[] Rest);

    private static async Task<Head> ReadHeadAsync(Stream backend, CancellationToken cancel)
    {
        var buffer = new byte[MaxHeadBytes];
        var length = 0;
        while (true)
        {
            var read = await backend.ReadAsync(buffer.AsMemory(length), cancel).ConfigureAwait(false);
            length += read;
            var end = buffer.AsSpan(0, length).IndexOf("\r\n\r\n"u8);
            if (end >= 0)
                return ParseHead(Encoding.Latin1.GetString(buffer, 0, end), buffer[(end + 4)..length]);
            if (read == 0 || length == buffer.Length)
                throw ApiStatus.InternalError("the backend closed the connection before it answered the upgrade").ToException();
        }
    }

    private static Head ParseHead(string text, byte[] rest)
    {
        var lines = text.Split("\r\n");
        var words = lines[0].Split(' ', 3);
        if (words.Length < 2 || !int.TryParse(words[1], NumberStyles.None, CultureInfo.InvariantCulture, out var code))
            throw ApiStatus.InternalError("the backend's answer to the upgrade is not HTTP").ToException();
        var headers = new List<(string, string)>();
        foreach (var line in lines.AsSpan(1))
        {
            var colon = line.IndexOf(':', StringComparison.Ordinal);
            if (colon > 0)
                headers.Add((line[..colon], line[(colon + 1)..].Trim()));
        }
        return new Head(code, headers, rest);
    }

    // The backend said no: its words go to the client with its code.
    private static async Task RefuseAsync(HttpApiCall call, Stream backend, Head head)
    {
        var length = 0L;
        var contentType = "text/plain; charset=utf-8";
        foreach (var (name, value) in head.Headers)
        {
            if (name.Equals("Content-Length", StringComparison.OrdinalIgnoreCase))
                _ = long.TryParse(value, CultureInfo.InvariantCulture, out length);
            else if (name.Equals("Content-Type", StringComparison.OrdinalIgnoreCase))
                contentType = value;
        }
        var body = new PooledBuffer((int)Math.Clamp(length, 1, MaxHeadBytes));
        body.Write(head.Rest);
        while (body.Length < length && body.Length < MaxHeadBytes)
        {
            var read = await backend.ReadAsync(body.GetMemory(1024), call.Aborted).ConfigureAwait(false);
            if (read == 0)
                break;
            body.Advance(read);
        }
        await ResponseWriter.WriteBufferAsync(call, head.StatusCode, contentType, body).ConfigureAwait(false);
    }
}
