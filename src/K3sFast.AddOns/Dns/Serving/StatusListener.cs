using System.Buffers;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace K3sFast.AddOns.Dns;

/// <summary>Answers GET of one path over HTTP/1.1, a request per connection: /health, /ready, /metrics. Small enough to need no web server.</summary>
internal sealed class StatusListener : IDisposable
{
    // A request line and a few headers; whoever sends more is no probe.
    private const int MaxRequest = 4096;

    private const int MaxConnections = 32;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(5);

    private readonly Socket _socket;
    private readonly string _path;
    private readonly Func<(int Status, ReadOnlyMemory<byte> Body)> _answer;
    private readonly CancellationTokenSource _stop = new();
    private readonly SemaphoreSlim _connections = new(MaxConnections);

    /// <summary>Binds and answers, until disposed.</summary>
    /// <exception cref="SocketException">The port is in use, or the address is not this host's.</exception>
    internal StatusListener(IPEndPoint endpoint, string path, Func<(int Status, ReadOnlyMemory<byte> Body)> answer)
    {
        (_path, _answer) = (path, answer);
        _socket = new Socket(endpoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            _socket.Bind(endpoint);
            _socket.Listen(MaxConnections);
        }
        catch
        {
            _socket.Dispose();
            throw;
        }
        Endpoint = (IPEndPoint)_socket.LocalEndPoint!;
        _ = AcceptAsync();
    }

    /// <summary>The bound address.</summary>
    internal IPEndPoint Endpoint { get; }

    /// <summary>An answer of text.</summary>
    internal static (int Status, ReadOnlyMemory<byte> Body) Text(int status, string text) => (status, Encoding.ASCII.GetBytes(text));

    /// <inheritdoc/>
    public void Dispose()
    {
        _stop.Cancel();
        _socket.Dispose();
    }

    private async Task AcceptAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                await _connections.WaitAsync(_stop.Token).ConfigureAwait(false);
                _ = ServeAsync(await _socket.AcceptAsync(_stop.Token).ConfigureAwait(false));
            }
            catch (SocketException)
            {
                // The client left before it was heard.
                _connections.Release();
            }
            catch (Exception stopped) when (stopped is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
        }
    }

    private async Task ServeAsync(Socket connection)
    {
        try
        {
            using var _ = connection;
            using var patience = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
            patience.CancelAfter(s_patience);
            var request = new byte[MaxRequest];
            var size = 0;
            while (!request.AsSpan(0, size).EndsWith("\r\n\r\n"u8))
            {
                if (size == request.Length) return;
                var received = await connection.ReceiveAsync(request.AsMemory(size), SocketFlags.None, patience.Token).ConfigureAwait(false);
                if (received == 0) return;
                size += received;
            }
            var line = Encoding.ASCII.GetString(request, 0, request.AsSpan(0, size).IndexOf((byte)'\r')).Split(' ');
            var isHead = line[0] == "HEAD";
            var (status, body) = line.Length < 2 || (line[0] != "GET" && !isHead) ? Text(405, "method not allowed\n")
                : line[1].Split('?')[0] == _path ? _answer() : Text(404, "404 page not found\n");
            var head = string.Create(CultureInfo.InvariantCulture,
                $"HTTP/1.1 {status} {(HttpStatusCode)status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {body.Length}\r\nConnection: close\r\n\r\n");
            var answer = new ArrayBufferWriter<byte>(head.Length + body.Length);
            answer.Write(Encoding.ASCII.GetBytes(head));
            if (!isHead) answer.Write(body.Span);
            for (var rest = answer.WrittenMemory; rest.Length > 0;) rest = rest[await connection.SendAsync(rest, SocketFlags.None, patience.Token).ConfigureAwait(false)..];
            connection.Shutdown(SocketShutdown.Send);
        }
        catch (Exception ended) when (ended is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The client left, or was silent too long.
        }
        finally
        {
            _connections.Release();
        }
    }
}
