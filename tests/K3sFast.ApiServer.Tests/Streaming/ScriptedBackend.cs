using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace K3sFast.ApiServer.Tests;

/// <summary>One request as it came over the wire.</summary>
internal sealed record BackendRequest(string Line, string Head, Stream Wire)
{
    /// <summary>All values of a header, joined.</summary>
    internal string Header(string name) => string.Join(", ", Head.Split("\r\n").Skip(1)
        .Where(line => line.StartsWith(name + ":", StringComparison.OrdinalIgnoreCase)).Select(line => line[(name.Length + 1)..].Trim()));

    /// <summary>The body of a request that tells its length.</summary>
    internal async Task<string> BodyAsync()
    {
        var body = new byte[int.Parse(Header("Content-Length"), CultureInfo.InvariantCulture)];
        await Wire.ReadExactlyAsync(body);
        return Encoding.UTF8.GetString(body);
    }

    /// <summary>The next chunk of a chunked body; null at its end.</summary>
    internal async Task<string?> ChunkAsync()
    {
        var size = int.Parse(await ScriptedBackend.ReadUntilAsync(Wire, "\r\n"), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        var chunk = new byte[size + 2];
        await Wire.ReadExactlyAsync(chunk);
        return size == 0 ? null : Encoding.UTF8.GetString(chunk, 0, size);
    }

    internal ValueTask WriteAsync(string text) => Wire.WriteAsync(Encoding.UTF8.GetBytes(text));

    /// <summary>A whole answer with its length; the connection stays open.</summary>
    internal ValueTask AnswerAsync(string body, string headers = "Content-Type: text/plain\r\n", string status = "200 OK") =>
        WriteAsync($"HTTP/1.1 {status}\r\n{headers}Content-Length: {Encoding.UTF8.GetByteCount(body)}\r\n\r\n{body}");
}

/// <summary>An HTTP/1.1 server of the test: each request goes to the script, which reads and writes the wire itself. Over TLS when given a certificate.</summary>
internal sealed class ScriptedBackend : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly Func<BackendRequest, Task> _script;
    private readonly X509Certificate2? _certificate;
    private readonly ConcurrentBag<Task> _connections = [];
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _loop;

    internal ScriptedBackend(Func<BackendRequest, Task> script, X509Certificate2? certificate = null)
    {
        _script = script;
        _certificate = certificate;
        _listener.Start();
        _loop = AcceptAsync();
    }

    internal int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    internal ConcurrentQueue<BackendRequest> Requests { get; } = [];

    /// <summary>The names of clients that showed a certificate; "" for those that showed none.</summary>
    internal ConcurrentQueue<string> Clients { get; } = [];

    /// <summary>Ends when a connection has been closed by the other side or by the script's end.</summary>
    internal TaskCompletionSource Closed { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Dispose();
        await _loop;
        await Task.WhenAll(_connections);
        _stop.Dispose();
    }

    internal static async Task<string> ReadUntilAsync(Stream wire, string end, CancellationToken cancel = default)
    {
        var text = new StringBuilder();
        var one = new byte[1];
        while (!text.ToString().EndsWith(end, StringComparison.Ordinal))
        {
            if (await wire.ReadAsync(one, cancel) == 0)
                throw new IOException("closed");
            text.Append((char)one[0]);
        }
        return text.ToString(0, text.Length - end.Length);
    }

    private async Task AcceptAsync()
    {
        while (true)
        {
            try
            {
                _connections.Add(ServeAsync(await _listener.AcceptSocketAsync(_stop.Token)));
            }
            catch (Exception error) when (error is SocketException or ObjectDisposedException or OperationCanceledException or InvalidOperationException)
            {
                return;
            }
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        // Disposing the socket ends whatever the script waits for.
        using var stopped = _stop.Token.Register(socket.Dispose);
        try
        {
            await using var wire = await OpenAsync(socket);
            while (true)
            {
                var head = await ReadUntilAsync(wire, "\r\n\r\n", _stop.Token);
                var request = new BackendRequest(head.Split("\r\n")[0], head, wire);
                Requests.Enqueue(request);
                await _script(request);
                if (head.Contains("\r\nUpgrade:", StringComparison.OrdinalIgnoreCase))
                    return;
            }
        }
        catch (Exception error) when (error is IOException or ObjectDisposedException or OperationCanceledException or SocketException or System.Security.Authentication.AuthenticationException)
        {
            // The server under test hung up, as it may.
        }
        finally
        {
            socket.Dispose();
            Closed.TrySetResult();
        }
    }

    private async Task<Stream> OpenAsync(Socket socket)
    {
        var plain = new NetworkStream(socket, ownsSocket: true);
        if (_certificate is null)
            return plain;
        var tls = new SslStream(plain);
        await tls.AuthenticateAsServerAsync(new SslServerAuthenticationOptions
        {
            ServerCertificate = _certificate, ClientCertificateRequired = true, RemoteCertificateValidationCallback = static (_, _, _, _) => true,
        });
        Clients.Enqueue(tls.RemoteCertificate?.Subject ?? "");
        return tls;
    }
}
