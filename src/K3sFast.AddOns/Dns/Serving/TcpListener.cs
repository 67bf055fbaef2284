using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.Logging;

namespace K3sFast.AddOns.Dns;

/// <summary>
/// Questions over TCP at one address. A client may send many before it reads an answer (RFC 7766 §6.2.1.1); those that must wait for other
/// servers do not hold up those behind them.
/// </summary>
internal sealed class TcpListener : IDisposable
{
    // A client that sends nothing for this long is disconnected (RFC 7766 §6.2.3 asks for seconds).
    private static readonly TimeSpan s_idle = TimeSpan.FromSeconds(10);

    // Connections at once; further ones are closed at once. Bounds memory at 512 x (16 KiB + what is under way).
    private const int MaxConnections = 512;

    // Questions of one connection under way at once; the client's next ones wait in its socket.
    private const int MaxUnderWay = 16;

    private readonly DnsEngine _engine;
    private readonly DnsMetrics _metrics;
    private readonly ILogger _logger;
    private readonly ExchangePool _pool = new(ushort.MaxValue, 32);
    private readonly Socket _socket;
    private readonly int _port;
    private readonly CancellationTokenSource _stop = new();
    private int _connections;

    /// <summary>Binds; <paramref name="port"/> is the Corefile's word for the endpoint's port.</summary>
    /// <exception cref="SocketException">The port is in use, or the address is not this host's.</exception>
    internal TcpListener(IPEndPoint endpoint, int port, DnsEngine engine, DnsMetrics metrics, ILogger logger)
    {
        (_engine, _metrics, _logger, _port) = (engine, metrics, logger, port);
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
    }

    /// <summary>Begins to answer, until disposed.</summary>
    internal void Start() => _ = AcceptAsync();

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
                var connection = await _socket.AcceptAsync(_stop.Token).ConfigureAwait(false);
                if (Interlocked.Increment(ref _connections) <= MaxConnections) _ = ServeAsync(connection);
                else
                {
                    Interlocked.Decrement(ref _connections);
                    connection.Dispose();
                    Log.TooManyConnections(_logger, MaxConnections);
                }
            }
            catch (Exception stopped) when (stopped is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
            catch (SocketException failure)
            {
                Log.DnsPacketFailed(_logger, failure.Message);
            }
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        using var connection = new Connection(socket);
        try
        {
            var client = (IPEndPoint)socket.RemoteEndPoint!;
            using var patience = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
            patience.CancelAfter(s_idle);
            var buffer = new byte[2 * (Exchange.QuerySize + 2)];
            var (start, end) = (0, 0);
            while (true)
            {
                // Every whole message that is there; the client's patience begins anew with each.
                while (end - start >= 2)
                {
                    var size = DnsMessage.U16(buffer.AsSpan(start));
                    if (size > Exchange.QuerySize) return;
                    if (end - start < size + 2) break;
                    if (!await AnswerAsync(connection, buffer.AsMemory(start + 2, size), client).ConfigureAwait(false)) return;
                    start += size + 2;
                    patience.CancelAfter(s_idle);
                }
                buffer.AsSpan(start, end - start).CopyTo(buffer);
                (start, end) = (0, end - start);
                var received = await socket.ReceiveAsync(buffer.AsMemory(end), SocketFlags.None, patience.Token).ConfigureAwait(false);
                if (received == 0) break;
                end += received;
            }
            // A client that has nothing more to ask still wants its answers.
            await connection.DrainAsync(_stop.Token).ConfigureAwait(false);
        }
        catch (Exception ended) when (ended is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The client left, or was silent too long.
        }
        catch (Exception bug)
        {
            _metrics.Panics.Add();
            Log.DnsFaulted(_logger, bug);
        }
        finally
        {
            Interlocked.Decrement(ref _connections);
        }
    }

    // False = this is no client to talk to.
    private async ValueTask<bool> AnswerAsync(Connection connection, ReadOnlyMemory<byte> query, IPEndPoint client)
    {
        var exchange = _pool.Rent();
        query.Span.CopyTo(exchange.QueryBuffer);
        exchange.SetClient(client);
        var step = _engine.Answer(exchange, query.Length, _port, isUdp: false);
        if (step == Step.Waiting)
        {
            await connection.UnderWay.WaitAsync(_stop.Token).ConfigureAwait(false);
            _ = CompleteAsync(connection, exchange);
            return true;
        }
        if (step == Step.Answered) await connection.SendAsync(exchange.FramedAnswer, _stop.Token).ConfigureAwait(false);
        _pool.Return(exchange);
        return step == Step.Answered;
    }

    private async Task CompleteAsync(Connection connection, Exchange exchange)
    {
        try
        {
            if (await _engine.CompleteAsync(exchange, _stop.Token).ConfigureAwait(false) == Step.Answered)
            {
                await connection.SendAsync(exchange.FramedAnswer, _stop.Token).ConfigureAwait(false);
            }
            _pool.Return(exchange);
        }
        catch (Exception ended) when (ended is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The client left.
        }
        catch (Exception bug)
        {
            _metrics.Panics.Add();
            Log.DnsFaulted(_logger, bug);
        }
        finally
        {
            connection.Completed();
        }
    }

    /// <summary>A client: what is under way for it, and its socket, which one answer at a time is written to.</summary>
    private sealed class Connection(Socket socket) : IDisposable
    {
        private readonly SemaphoreSlim _writing = new(1);

        internal SemaphoreSlim UnderWay { get; } = new(MaxUnderWay);

        internal async ValueTask SendAsync(ReadOnlyMemory<byte> answer, CancellationToken cancellationToken)
        {
            await _writing.WaitAsync(cancellationToken).ConfigureAwait(false);
            try
            {
                while (answer.Length > 0) answer = answer[await socket.SendAsync(answer, SocketFlags.None, cancellationToken).ConfigureAwait(false)..];
            }
            finally
            {
                _writing.Release();
            }
        }

        internal async Task DrainAsync(CancellationToken cancellationToken)
        {
            for (var i = 0; i < MaxUnderWay; i++) await UnderWay.WaitAsync(cancellationToken).ConfigureAwait(false);
        }

        internal void Completed() => UnderWay.Release();

        public void Dispose() => socket.Dispose();
    }
}
