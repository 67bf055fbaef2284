using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using K3sFast.Interop;
using Microsoft.Extensions.Logging;

namespace K3sFast.AddOns.Dns;

/// <summary>
/// Questions over UDP at one address: a few threads with a socket each, among which the kernel spreads the clients. A batch of questions is
/// received by one system call, answered in place and sent by another.
/// </summary>
internal sealed class UdpListener : IDisposable
{
    // Questions taken at once: more would only make the first of them wait.
    private const int BatchSize = 32;

    // Bytes that wait in a socket while its thread works; the system's limit may make it less.
    private const int SocketBuffer = 4 * 1024 * 1024;

    // After a call that failed unexpectedly, before the next: what is lasting must not fill log and core.
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(100);

    // asm-generic/socket.h
    private const int SOL_SOCKET = 1, SO_REUSEPORT = 15;

    private readonly DnsEngine _engine;
    private readonly DnsMetrics _metrics;
    private readonly ILogger _logger;
    private readonly ExchangePool _pool = new(DnsMessage.LargestUdpSize, 256);
    private readonly Socket[] _sockets;
    private readonly CancellationTokenSource _stop = new();
    private readonly int _port;
    private volatile bool _isStopped;
    private bool _isStarted;

    /// <summary>Binds; <paramref name="port"/> is the Corefile's word for the endpoint's port.</summary>
    /// <exception cref="SocketException">The port is in use, or the address is not this host's.</exception>
    internal UdpListener(IPEndPoint endpoint, int port, int threads, DnsEngine engine, DnsMetrics metrics, ILogger logger)
    {
        (_engine, _metrics, _logger, _port) = (engine, metrics, logger, port);
        _sockets = new Socket[threads];
        try
        {
            for (var i = 0; i < threads; i++)
            {
                var socket = _sockets[i] = new Socket(endpoint.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
                if (threads > 1) socket.SetRawSocketOption(SOL_SOCKET, SO_REUSEPORT, BitConverter.GetBytes(1));
                socket.ReceiveBufferSize = SocketBuffer;
                socket.Bind(endpoint);
                endpoint = (IPEndPoint)socket.LocalEndPoint!;
            }
        }
        catch
        {
            foreach (var socket in _sockets) socket?.Dispose();
            throw;
        }
        Endpoint = endpoint;
    }

    /// <summary>The bound address.</summary>
    internal IPEndPoint Endpoint { get; }

    /// <summary>Begins to answer, until disposed.</summary>
    internal void Start()
    {
        _isStarted = true;
        foreach (var socket in _sockets)
        {
            new Thread(() => Serve(socket), maxStackSize: 256 * 1024) { IsBackground = true, Name = "dns-udp" }.Start();
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_isStopped) return;
        _isStopped = true;
        _stop.Cancel();
        foreach (var socket in _sockets)
        {
            // Each thread closes its own socket, when it is no longer in a call.
            if (_isStarted) DatagramBatch.Wake((int)socket.SafeHandle.DangerousGetHandle());
            else socket.Dispose();
        }
    }

    private void Serve(Socket socket)
    {
        using var batch = new DatagramBatch(BatchSize);
        var slots = new Exchange[BatchSize];
        for (var i = 0; i < BatchSize; i++) Place(batch, slots, i);
        using (socket)
        {
            // Safe because: the socket is disposed by this thread alone.
            var descriptor = (int)socket.SafeHandle.DangerousGetHandle();
            while (!_isStopped)
            {
                var count = batch.Receive(descriptor);
                if (_isStopped) break;
                // A client's port that closed meanwhile comes back as ECONNREFUSED here; nothing is wrong with the socket.
                if (count < 0 && Marshal.GetLastPInvokeError() is var error && error is not (Errno.EINTR or Errno.ECONNREFUSED))
                {
                    Log.DnsPacketFailed(_logger, $"errno {error}");
                    _stop.Token.WaitHandle.WaitOne(s_pause);
                }
                for (var i = 0; i < count; i++) Answer(batch, slots, i, socket);
                batch.Send(descriptor);
            }
        }
    }

    private void Answer(DatagramBatch batch, Exchange[] slots, int place, Socket socket)
    {
        var exchange = slots[place];
        Step step;
        try
        {
            step = _engine.Answer(exchange, batch.LengthOf(place), _port, isUdp: true);
        }
        catch (Exception bug)
        {
            _metrics.Panics.Add();
            Log.DnsFaulted(_logger, bug);
            exchange.Fail(DnsCode.ServerFailure);
            exchange.Finish();
            step = Step.Answered;
        }
        if (step == Step.Answered)
        {
            batch.Queue(exchange.Memory, Exchange.AnswerAt, exchange.Length, Exchange.QuerySize, SizeOfAddress(exchange));
        }
        else if (step == Step.Waiting)
        {
            // The question keeps its exchange; the place gets another.
            Place(batch, slots, place);
            _ = CompleteAsync(exchange, socket);
        }
    }

    private void Place(DatagramBatch batch, Exchange[] slots, int place)
    {
        var exchange = slots[place] = _pool.Rent();
        batch.SetBuffer(place, exchange.Memory, 0, Exchange.QuerySize, Exchange.QuerySize, Exchange.AddressSize);
    }

    private async Task CompleteAsync(Exchange exchange, Socket socket)
    {
        try
        {
            if (await _engine.CompleteAsync(exchange, _stop.Token).ConfigureAwait(false) == Step.Answered)
            {
                var client = new SocketAddress(socket.AddressFamily, SizeOfAddress(exchange));
                exchange.Client[..client.Size].CopyTo(client.Buffer.Span);
                // Not SendToAsync: that would make the socket non-blocking, also for the thread that waits in it.
                socket.SendTo(exchange.Answer.Span, SocketFlags.None, client);
            }
            _pool.Return(exchange);
        }
        catch (Exception stopped) when (stopped is OperationCanceledException or ObjectDisposedException)
        {
            // The server stops; the client asks again elsewhere.
        }
        catch (SocketException failure)
        {
            Log.DnsPacketFailed(_logger, failure.Message);
        }
        catch (Exception bug)
        {
            _metrics.Panics.Add();
            Log.DnsFaulted(_logger, bug);
        }
    }

    // sizeof(struct sockaddr_in) and sizeof(struct sockaddr_in6)
    private static int SizeOfAddress(Exchange exchange) => exchange.Client[0] == (byte)AddressFamily.InterNetwork ? 16 : 28;
}
