using System.Buffers;
using System.Net;
using System.Net.Sockets;
using K3sFast.Interop.Namespaces;

namespace K3sFast.Network.Proxy.Userspace;

/// <summary>Carries connections (TCP, and SCTP as far as it is a stream): one to the endpoint for each that comes in, bytes both ways, each way's end by itself.</summary>
internal sealed class StreamRelay(NetworkNamespace? inside, RelaySpec spec, Func<IPAddress, bool> isInside, TimeProvider time) : Relay(inside, spec, isInside, time)
{
    // So much is under way in each direction of a connection at most.
    private const int BufferBytes = 64 * 1024;
    private const int Backlog = 512;

    // An endpoint that does not answer is given up for the next one after each of these (kube-proxy's userspace mode took the same).
    private static readonly TimeSpan[] s_patience = [TimeSpan.FromMilliseconds(250), TimeSpan.FromMilliseconds(500), TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(2)];

    private Socket? _listener;

    public override void Dispose()
    {
        base.Dispose();
        _listener?.Dispose();
    }

    private protected override void Listen()
    {
        _listener = Create(Spec.Address.AddressFamily);
        _listener.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
        _listener.Bind(Spec.Address);
        _listener.Listen(Backlog);
        _ = AcceptAsync(_listener);
    }

    private async Task AcceptAsync(Socket listener)
    {
        await Task.Yield();
        while (!Stopping.IsCancellationRequested)
        {
            try
            {
                _ = CarryAsync(await listener.AcceptAsync(Stopping).ConfigureAwait(false));
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
            catch (SocketException)
            {
                // Out of descriptors or memory: who waits in the backlog waits a little longer.
                if (Stopping.IsCancellationRequested) return;
                await Task.Delay(RetryDelay).ConfigureAwait(false);
            }
        }
    }

    // Connections outlive the relay: a Service that loses an address does not lose its clients.
    private async Task CarryAsync(Socket client)
    {
        Count(1);
        await Task.Yield();
        using (client)
        {
            try
            {
                using var endpoint = await ConnectAsync(((IPEndPoint)client.RemoteEndPoint!).Address).ConfigureAwait(false);
                if (endpoint is null)
                {
                    // A reset, as from a closed port.
                    client.LingerState = new LingerOption(true, 0);
                    return;
                }
                if (Spec.Protocol == (byte)ProtocolType.Tcp) client.NoDelay = endpoint.NoDelay = true;
                await Task.WhenAll(PumpAsync(client, endpoint), PumpAsync(endpoint, client)).ConfigureAwait(false);
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // One side broke off; so does the other, with it.
            }
            finally
            {
                Count(-1);
            }
        }
    }

    private async Task<Socket?> ConnectAsync(IPAddress client)
    {
        var spec = Spec;
        var endpoints = Chooser.Choose(spec, client);
        for (var attempt = 0; attempt < s_patience.Length && endpoints.Count > 0; attempt++)
        {
            var endpoint = endpoints[attempt % endpoints.Count];
            var socket = Create(endpoint.Address.AddressFamily);
            try
            {
                using var deadline = new CancellationTokenSource(s_patience[attempt], Time);
                await socket.ConnectAsync(new IPEndPoint(endpoint.Address, endpoint.Port), deadline.Token).ConfigureAwait(false);
                Chooser.Remember(spec, client, endpoint);
                return socket;
            }
            catch (Exception e) when (e is SocketException or OperationCanceledException)
            {
                socket.Dispose();
            }
        }
        return null;
    }

    private static async Task PumpAsync(Socket from, Socket to)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
        try
        {
            while (true)
            {
                var length = await from.ReceiveAsync(buffer.AsMemory(0, BufferBytes)).ConfigureAwait(false);
                if (length == 0) break;
                for (var sent = 0; sent < length;) sent += await to.SendAsync(buffer.AsMemory(sent, length - sent)).ConfigureAwait(false);
            }
            to.Shutdown(SocketShutdown.Send);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The other way must not go on alone.
            to.Dispose();
            from.Dispose();
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }
}
