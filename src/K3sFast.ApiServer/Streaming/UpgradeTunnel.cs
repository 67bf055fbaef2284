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

    // How long a refusal may take to be told.
    private static readonly TimeSpan s_refusal = TimeSpan.FromSeconds(10);

    /// <summary>
    /// Asks the backend for the same upgrade, and joins both sides when it agrees. When it refuses, its answer is the client's, and neither connection
    /// is left open.
    /// </summary>
    internal static async ValueTask RunAsync(HttpApiCall call, Func<CancellationToken, Task<Stream>> connect, string pathAndQuery)
    {
        if (call.Features.Get<IHttpUpgradeFeature>() is not { IsUpgradableRequest: true } upgrade)
            throw ApiStatus.BadRequest("Upgrade request required: over HTTP/1.1, and without a body").ToException();
        // What a client has sent behind a request for an upgrade is of the other protocol: unless there is one, the connection ends with the answer.
        var response = call.Features.GetRequiredFeature<IHttpResponseFeature>();
        response.Headers.Connection = "close";
        Stream backend;
        try
        {
            backend = await connect(call.Aborted).ConfigureAwait(false);
        }
        catch (BackendException error)
        {
            throw ApiStatus.Unknown($"error dialing backend: {error.Message}").ToException();
        }
        await using (backend.ConfigureAwait(false))
        {
            var head = await AskAsync(call, backend, pathAndQuery).ConfigureAwait(false);
            if (head.StatusCode != 101)
            {
                await RefuseAsync(call, backend, head).ConfigureAwait(false);
                return;
            }
            response.Headers.Remove("Connection");
            foreach (var (name, value) in head.Headers)
            {
                if (!name.Equals("Content-Length", StringComparison.OrdinalIgnoreCase) && !name.Equals("Date", StringComparison.OrdinalIgnoreCase))
                    response.Headers.Append(name, value);
            }
            call.NoteUpgraded();
            var client = await upgrade.UpgradeAsync().ConfigureAwait(false);
            await using (client.ConfigureAwait(false))
                await PumpBothAsync(client, backend, head.Rest, call.Stopping).ConfigureAwait(false);
        }
    }

    /// <summary>True if the client asks for an upgrade; whether his connection can make it is another question.</summary>
    internal static bool IsUpgrade(HttpApiCall call) => call.RequestHeaders.Connection.ToString().Contains("upgrade", StringComparison.OrdinalIgnoreCase);

    private static async Task<Head> AskAsync(HttpApiCall call, Stream backend, string pathAndQuery)
    {
        // A backend that takes the request and says nothing holds a connection, no more.
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(call.Aborted, call.Stopping);
        try
        {
            await backend.WriteAsync(RequestHead(call, pathAndQuery), patience.Token).ConfigureAwait(false);
            await backend.FlushAsync(patience.Token).ConfigureAwait(false);
            return await ReadHeadAsync(backend, patience.Token).ConfigureAwait(false);
        }
        catch (IOException error)
        {
            throw ApiStatus.Unknown($"error sending request: {error.Message}").ToException();
        }
    }

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

    private static byte[] RequestHead(HttpApiCall call, string pathAndQuery)
    {
        var head = new StringBuilder();
        head.Append(CultureInfo.InvariantCulture, $"{call.Method} {pathAndQuery} HTTP/1.1\r\n");
        foreach (var header in call.RequestHeaders)
        {
            if (header.Key.StartsWith(':') || ProxyHeaders.IsIdentity(header.Key) || header.Key.Equals("X-Forwarded-For", StringComparison.OrdinalIgnoreCase))
                continue;
            foreach (var value in header.Value)
                head.Append(CultureInfo.InvariantCulture, $"{header.Key}: {value}\r\n");
        }
        head.Append(CultureInfo.InvariantCulture, $"X-Forwarded-For: {ProxyHeaders.ForwardedFor(call)}\r\n\r\n");
        return Encoding.Latin1.GetBytes(head.ToString());
    }

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
                throw ApiStatus.Unknown(length == buffer.Length ? "the backend's answer to the upgrade has too long a head" : "unexpected EOF").ToException();
        }
    }

    private static Head ParseHead(string text, byte[] rest)
    {
        var lines = text.Split("\r\n");
        var words = lines[0].Split(' ', 3);
        if (words.Length < 2 || !int.TryParse(words[1], NumberStyles.None, CultureInfo.InvariantCulture, out var code))
            throw ApiStatus.Unknown($"malformed HTTP response {GoText.Quote(lines[0])}").ToException();
        var headers = new List<(string, string)>();
        foreach (var line in lines.AsSpan(1))
        {
            var colon = line.IndexOf(':', StringComparison.Ordinal);
            if (colon > 0)
                headers.Add((line[..colon], line[(colon + 1)..].Trim()));
        }
        return new Head(code, headers, rest);
    }

    // The backend said no: its words go to the client with its code. An answer that is neither yes nor no is nobody's.
    private static async Task RefuseAsync(HttpApiCall call, Stream backend, Head head)
    {
        if (head.StatusCode < 400)
            throw ApiStatus.Unknown(string.Create(CultureInfo.InvariantCulture, $"invalid upgrade response: status code {head.StatusCode}")).ToException();
        long? length = null;
        call.Start(head.StatusCode, "", -1);
        var headers = call.Features.GetRequiredFeature<IHttpResponseFeature>().Headers;
        foreach (var (name, value) in head.Headers)
        {
            if (name.Equals("Content-Length", StringComparison.OrdinalIgnoreCase))
                length = long.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : null;
            else if (!IsOfConnection(name))
                headers.Append(name, value);
        }
        headers.Connection = "close";
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(call.Aborted);
        patience.CancelAfter(s_refusal);
        var isChunked = head.Headers.Exists(static header => header.Name.Equals("Transfer-Encoding", StringComparison.OrdinalIgnoreCase));
        using var body = new PooledBuffer(4096);
        body.Write(head.Rest);
        try
        {
            // Without a length the body ends with the connection, and a chunked one with its last chunk, which is small.
            while (length is { } whole ? body.Length < whole && body.Length < MaxHeadBytes : body.Length < MaxHeadBytes && !(isChunked && body.Span.EndsWith("0\r\n\r\n"u8)))
            {
                var read = await backend.ReadAsync(body.GetMemory(1024), patience.Token).ConfigureAwait(false);
                if (read == 0)
                    break;
                body.Advance(read);
            }
        }
        catch (Exception error) when (error is IOException || error is OperationCanceledException && !call.Aborted.IsCancellationRequested)
        {
            // What came is what there is.
        }
        call.Output.Write(isChunked ? Unchunk(body.Span) : body.Span);
        await call.Output.FlushAsync(call.Aborted).ConfigureAwait(false);
    }

    private static bool IsOfConnection(string name) =>
        name.Equals("Connection", StringComparison.OrdinalIgnoreCase) || name.Equals("Transfer-Encoding", StringComparison.OrdinalIgnoreCase)
        || name.Equals("Upgrade", StringComparison.OrdinalIgnoreCase) || name.Equals("Date", StringComparison.OrdinalIgnoreCase);

    // RFC 9112 §7.1: size in hexadecimal, CRLF, data, CRLF, ... 0.
    private static byte[] Unchunk(ReadOnlySpan<byte> chunked)
    {
        var body = new ArrayBufferWriter<byte>();
        while (chunked.IndexOf("\r\n"u8) is > 0 and var line
            && int.TryParse(chunked[..line], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var size) && size > 0)
        {
            chunked = chunked[(line + 2)..];
            body.Write(chunked[..Math.Min(size, chunked.Length)]);
            chunked = chunked[Math.Min(size + 2, chunked.Length)..];
        }
        return body.WrittenSpan.ToArray();
    }
}
