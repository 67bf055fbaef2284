using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.Logging;

namespace K3sFast.AddOns.Dns;

/// <summary>
/// The sockets of one address: UDP served by threads of their own (a question from the cluster's zone is received, answered and sent without
/// leaving the thread), TCP by tasks.
/// </summary>
internal sealed class DnsListeners : IDisposable
{
    // A client that sends nothing for this long is disconnected (RFC 7766 §6.2.3 asks for seconds).
    private static readonly TimeSpan s_idle = TimeSpan.FromSeconds(10);

    // Connections at once; more are closed at once. Bounds memory at 128 x 64 KiB.
    private const int MaxConnections = 128;

    // The largest query taken over UDP: real ones are far smaller.
    private const int QuerySize = 4096;

    private readonly Resolver _resolver;
    private readonly ILogger _logger;
    private readonly Socket _udp;
    private readonly Socket _tcp;
    private readonly Thread[] _threads;
    private int _connections;

    /// <summary>Binds both sockets.</summary>
    /// <exception cref="SocketException">The port is in use, or the address is not this host's.</exception>
    internal DnsListeners(IPEndPoint endpoint, int udpThreads, Resolver resolver, ILogger logger)
    {
        (_resolver, _logger) = (resolver, logger);
        _udp = new Socket(endpoint.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
        _tcp = new Socket(endpoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            _udp.Bind(endpoint);
            Endpoint = (IPEndPoint)_udp.LocalEndPoint!;
            _tcp.Bind(Endpoint);
            _tcp.Listen(MaxConnections);
        }
        catch
        {
            Dispose();
            throw;
        }
        _threads = new Thread[udpThreads];
    }

    /// <summary>The bound address.</summary>
    internal IPEndPoint Endpoint { get; } = null!;

    /// <summary>Serves until cancelled.</summary>
    internal async Task RunAsync(CancellationToken cancellationToken)
    {
        for (var i = 0; i < _threads.Length; i++)
        {
            _threads[i] = new Thread(() => ServeUdp(cancellationToken), maxStackSize: 256 * 1024) { IsBackground = true, Name = "dns-udp" };
            _threads[i].Start();
        }
        await using var registration = cancellationToken.Register(Dispose).ConfigureAwait(false);
        while (!cancellationToken.IsCancellationRequested)
        {
            try
            {
                var connection = await _tcp.AcceptAsync(cancellationToken).ConfigureAwait(false);
                if (Interlocked.Increment(ref _connections) <= MaxConnections) _ = ServeConnectionAsync(connection, cancellationToken);
                else
                {
                    Interlocked.Decrement(ref _connections);
                    connection.Dispose();
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

    /// <inheritdoc/>
    public void Dispose()
    {
        _udp.Dispose();
        _tcp.Dispose();
    }

    private void ServeUdp(CancellationToken cancellationToken)
    {
        var query = new byte[QuerySize];
        var answer = new byte[QuerySize];
        var client = new SocketAddress(_udp.AddressFamily);
        while (!cancellationToken.IsCancellationRequested)
        {
            try
            {
                var received = _udp.ReceiveFrom(query, SocketFlags.None, client);
                var size = _resolver.TryAnswer(query.AsSpan(0, received), answer, isUdp: true);
                if (size > 0) _udp.SendTo(answer.AsSpan(0, size), SocketFlags.None, client);
                else if (size < 0) _ = ForwardAsync(query.AsSpan(0, received).ToArray(), Copy(client), cancellationToken);
            }
            catch (Exception) when (cancellationToken.IsCancellationRequested)
            {
                return;
            }
            catch (SocketException failure)
            {
                // A client's port that closed meanwhile comes back as ECONNREFUSED here; nothing is wrong with the socket.
                if (failure.SocketErrorCode != SocketError.ConnectionRefused) Log.DnsPacketFailed(_logger, failure.Message);
            }
            catch (Exception bug)
            {
                Log.DnsFaulted(_logger, bug);
            }
        }
    }

    private async Task ForwardAsync(byte[] query, SocketAddress client, CancellationToken cancellationToken)
    {
        try
        {
            var answer = new byte[QuerySize];
            var size = await _resolver.AnswerAsync(query, answer, isUdp: true, cancellationToken).ConfigureAwait(false);
            if (size > 0) await _udp.SendToAsync(answer.AsMemory(0, size), SocketFlags.None, client, cancellationToken).ConfigureAwait(false);
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
            Log.DnsFaulted(_logger, bug);
        }
    }

    private async Task ServeConnectionAsync(Socket connection, CancellationToken cancellationToken)
    {
        try
        {
            using var _ = connection;
            await using var stream = new NetworkStream(connection);
            var prefix = new byte[2];
            var answer = new byte[ushort.MaxValue + 2];
            while (true)
            {
                using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
                patience.CancelAfter(s_idle);
                await stream.ReadExactlyAsync(prefix, patience.Token).ConfigureAwait(false);
                var query = new byte[BinaryPrimitives.ReadUInt16BigEndian(prefix)];
                await stream.ReadExactlyAsync(query, patience.Token).ConfigureAwait(false);
                var size = _resolver.TryAnswer(query, answer.AsSpan(2), isUdp: false);
                if (size < 0) size = await _resolver.AnswerAsync(query, answer.AsMemory(2), isUdp: false, cancellationToken).ConfigureAwait(false);
                if (size == 0) return;
                BinaryPrimitives.WriteUInt16BigEndian(answer, (ushort)size);
                await stream.WriteAsync(answer.AsMemory(0, size + 2), patience.Token).ConfigureAwait(false);
            }
        }
        catch (Exception ended) when (ended is IOException or OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The client left, or was silent too long.
        }
        catch (Exception bug)
        {
            Log.DnsFaulted(_logger, bug);
        }
        finally
        {
            Interlocked.Decrement(ref _connections);
        }
    }

    private static SocketAddress Copy(SocketAddress address)
    {
        var copy = new SocketAddress(address.Family, address.Buffer.Length) { Size = address.Size };
        address.Buffer.CopyTo(copy.Buffer);
        return copy;
    }
}
