using System.Net;
using System.Net.Sockets;
using System.Text;

namespace K3sFast.Client;

/// <summary>
/// A port that answers short questions about health and metrics over HTTP/1.1: one request for each connection. There may be one for each Service, most
/// of which are never asked: an idle one costs a socket and nothing else. Requests are bounded in size, time and number at once.
/// </summary>
public sealed class HttpPort : IDisposable
{
    // A health check's request is some hundred bytes; longer ones are nobody's that we serve.
    private const int MaxRequestBytes = 8192;
    private const int MaxConnections = 64;
    private static readonly TimeSpan s_requestTimeout = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_acceptRetryDelay = TimeSpan.FromMilliseconds(200);

    private readonly Socket _listener;
    private readonly Func<string, HttpAnswer> _answer;
    private readonly SemaphoreSlim _slots = new(MaxConnections);
    private readonly CancellationTokenSource _stop = new();

    private HttpPort(Socket listener, Func<string, HttpAnswer> answer)
    {
        (_listener, _answer) = (listener, answer);
        _ = AcceptAsync();
    }

    /// <summary>Where it listens.</summary>
    public IPEndPoint Address => (IPEndPoint)_listener.LocalEndPoint!;

    /// <summary>Listens at an address and answers what <paramref name="answer"/> says for a path (without its query), until disposed. Any thread may be asked to answer.</summary>
    /// <param name="address">Where; every address of IPv6 means IPv4's too.</param>
    /// <param name="answer">Must be quick; several may run at once.</param>
    /// <param name="inside">Runs what makes the socket, in a network namespace for example; null = here.</param>
    /// <exception cref="SocketException">The address cannot be bound.</exception>
    public static HttpPort Open(IPEndPoint address, Func<string, HttpAnswer> answer, Func<Func<Socket>, Socket>? inside = null)
    {
        Socket Create() => new(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        var listener = inside is null ? Create() : inside(Create);
        try
        {
            if (address.Address.Equals(IPAddress.IPv6Any)) listener.DualMode = true;
            listener.Bind(address);
            listener.Listen(MaxConnections);
            return new HttpPort(listener, answer);
        }
        catch
        {
            listener.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _stop.Cancel();
        _listener.Dispose();
    }

    private async Task AcceptAsync()
    {
        await Task.Yield();
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                await _slots.WaitAsync(_stop.Token).ConfigureAwait(false);
                _ = ServeAsync(await _listener.AcceptAsync(_stop.Token).ConfigureAwait(false));
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
            catch (SocketException)
            {
                // Out of descriptors or memory, or the peer was gone already.
                _slots.Release();
                if (_stop.IsCancellationRequested) return;
                await Task.Delay(s_acceptRetryDelay).ConfigureAwait(false);
            }
        }
    }

    private async Task ServeAsync(Socket connection)
    {
        try
        {
            using var deadline = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
            deadline.CancelAfter(s_requestTimeout);
            if (await ReadRequestAsync(connection, deadline.Token).ConfigureAwait(false) is not { } request) return;
            var answer = request.Path.Length == 0 ? HttpAnswer.Text(400, "Bad Request") : _answer(request.Path);
            var head = $"HTTP/1.1 {answer.Status} {ReasonOf(answer.Status)}\r\nContent-Type: {answer.ContentType}\r\nX-Content-Type-Options: nosniff\r\n"
                + $"{(answer.Header.Length > 0 ? answer.Header + "\r\n" : "")}Content-Length: {answer.Body.Length}\r\nConnection: close\r\n\r\n";
            await SendAsync(connection, Encoding.ASCII.GetBytes(head), deadline.Token).ConfigureAwait(false);
            if (request.Method != "HEAD") await SendAsync(connection, answer.Body, deadline.Token).ConfigureAwait(false);
            connection.Shutdown(SocketShutdown.Send);
            // Closing with unread input would reset the connection, and the answer with it.
            var rest = new byte[256];
            while (await connection.ReceiveAsync(rest, deadline.Token).ConfigureAwait(false) > 0)
            {
            }
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException or ObjectDisposedException)
        {
            // Who asked has gone, or is too slow.
        }
        finally
        {
            connection.Dispose();
            _slots.Release();
        }
    }

    // Null = the peer said nothing. A path of "" = not HTTP, or too long.
    private static async Task<(string Method, string Path)?> ReadRequestAsync(Socket connection, CancellationToken cancellationToken)
    {
        var buffer = new byte[MaxRequestBytes];
        var length = 0;
        while (length < buffer.Length)
        {
            var read = await connection.ReceiveAsync(buffer.AsMemory(length), cancellationToken).ConfigureAwait(false);
            if (read == 0) return length == 0 ? null : ("", "");
            length += read;
            if (buffer.AsSpan(0, length).IndexOf("\r\n\r\n"u8) >= 0) return ParseLine(buffer.AsSpan(0, length));
        }
        return ("", "");
    }

    /// <summary>Method and path of a request's first line; a path of "" = malformed.</summary>
    internal static (string Method, string Path) ParseLine(ReadOnlySpan<byte> request)
    {
        var end = request.IndexOf("\r\n"u8);
        var words = Encoding.ASCII.GetString(end < 0 ? request : request[..end]).Split(' ');
        if (words is not [{ Length: > 0 } method, ['/', ..] target, ['H', 'T', 'T', 'P', '/', '1', '.', _]]) return ("", "");
        var query = target.IndexOf('?', StringComparison.Ordinal);
        return (method, query < 0 ? target : target[..query]);
    }

    private static async Task SendAsync(Socket connection, ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        while (bytes.Length > 0) bytes = bytes[await connection.SendAsync(bytes, cancellationToken).ConfigureAwait(false)..];
    }

    private static string ReasonOf(int status) => status switch { 200 => "OK", 400 => "Bad Request", 404 => "Not Found", 503 => "Service Unavailable", _ => "Status" };
}
