using System.Buffers;
using System.Net;
using System.Net.Sockets;
using K3sFast.Interop.Namespaces;

namespace K3sFast.Network.Proxy.Userspace;

/// <summary>Carries datagrams: a socket to an endpoint for each client, until neither has said anything for a while.</summary>
internal sealed class DatagramRelay(NetworkNamespace? inside, RelaySpec spec, Func<IPAddress, bool> isInside, TimeProvider time) : Relay(inside, spec, isInside, time)
{
    // RFC 768: the largest datagram.
    private const int MaxDatagramBytes = 65535;

    // Descriptors that a flood of clients can take from the node; clients beyond it wait for others to go.
    private const int MaxFlows = 4096;

    // nf_conntrack_udp_timeout_stream: how long the kernel itself remembers such a flow.
    private static readonly TimeSpan s_idle = TimeSpan.FromSeconds(120);
    private static readonly TimeSpan s_sweep = TimeSpan.FromSeconds(10);

    private readonly Lock _gate = new();
    private readonly Dictionary<IPEndPoint, Flow> _flows = [];
    private Socket? _socket;

    /// <summary>Flows to endpoints that answer no more end: their client's next datagram goes to another.</summary>
    internal override void Update(RelaySpec spec)
    {
        base.Update(spec);
        var right = spec.Inside.Concat(spec.Outside).Select(static endpoint => (endpoint.Address, endpoint.Port)).ToHashSet();
        lock (_gate)
        {
            foreach (var (client, flow) in _flows)
            {
                if (!right.Contains((flow.Endpoint.Address, flow.Endpoint.Port))) EndLocked(client, flow);
            }
        }
    }

    public override void Dispose()
    {
        base.Dispose();
        _socket?.Dispose();
        lock (_gate)
        {
            foreach (var (client, flow) in _flows) EndLocked(client, flow);
        }
    }

    private protected override void Listen()
    {
        _socket = Create(Spec.Address.AddressFamily);
        _socket.Bind(Spec.Address);
        _ = ReceiveAsync(_socket);
        _ = SweepAsync();
    }

    private async Task ReceiveAsync(Socket socket)
    {
        await Task.Yield();
        var buffer = new byte[MaxDatagramBytes];
        var anybody = new IPEndPoint(socket.AddressFamily == AddressFamily.InterNetworkV6 ? IPAddress.IPv6Any : IPAddress.Any, 0);
        while (!Stopping.IsCancellationRequested)
        {
            try
            {
                var received = await socket.ReceiveFromAsync(buffer, SocketFlags.None, anybody, Stopping).ConfigureAwait(false);
                if (FlowOf((IPEndPoint)received.RemoteEndPoint, socket) is { } flow) await flow.Socket.SendAsync(buffer.AsMemory(0, received.ReceivedBytes), Stopping).ConfigureAwait(false);
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                if (Stopping.IsCancellationRequested) return;
            }
            catch (SocketException)
            {
                // An endpoint that is not there says so on the next datagram; nobody has to be told.
            }
        }
    }

    private Flow? FlowOf(IPEndPoint client, Socket socket)
    {
        lock (_gate)
        {
            if (_flows.TryGetValue(client, out var known))
            {
                known.Touch();
                return known;
            }
            var spec = Spec;
            if (_flows.Count >= MaxFlows || Chooser.Choose(spec, client.Address) is not [var endpoint, ..]) return null;
            var outgoing = Create(endpoint.Address.AddressFamily);
            try
            {
                outgoing.Connect(new IPEndPoint(endpoint.Address, endpoint.Port));
            }
            catch (SocketException)
            {
                outgoing.Dispose();
                return null;
            }
            Chooser.Remember(spec, client.Address, endpoint);
            var flow = new Flow(outgoing, endpoint);
            _flows[client] = flow;
            _ = AnswerAsync(flow, client, socket);
            return flow;
        }
    }

    private async Task AnswerAsync(Flow flow, IPEndPoint client, Socket socket)
    {
        await Task.Yield();
        var buffer = ArrayPool<byte>.Shared.Rent(MaxDatagramBytes);
        try
        {
            while (true)
            {
                var length = await flow.Socket.ReceiveAsync(buffer, SocketFlags.None, Stopping).ConfigureAwait(false);
                flow.Touch();
                await socket.SendToAsync(buffer.AsMemory(0, length), SocketFlags.None, client, Stopping).ConfigureAwait(false);
            }
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException or ObjectDisposedException)
        {
            lock (_gate) EndLocked(client, flow);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private async Task SweepAsync()
    {
        using var timer = new PeriodicTimer(s_sweep);
        try
        {
            while (await timer.WaitForNextTickAsync(Stopping).ConfigureAwait(false))
            {
                lock (_gate)
                {
                    foreach (var (client, flow) in _flows)
                    {
                        if (flow.Idle >= s_idle) EndLocked(client, flow);
                    }
                }
            }
        }
        catch (OperationCanceledException)
        {
            // Stopping ends the flows as well.
        }
    }

    private void EndLocked(IPEndPoint client, Flow flow)
    {
        flow.Socket.Dispose();
        if (_flows.TryGetValue(client, out var known) && known == flow) _flows.Remove(client);
    }

    private sealed class Flow(Socket socket, Endpoint endpoint)
    {
        private long _last = System.Diagnostics.Stopwatch.GetTimestamp();

        internal Socket Socket { get; } = socket;
        internal Endpoint Endpoint { get; } = endpoint;
        internal TimeSpan Idle => System.Diagnostics.Stopwatch.GetElapsedTime(Volatile.Read(ref _last));

        internal void Touch() => Volatile.Write(ref _last, System.Diagnostics.Stopwatch.GetTimestamp());
    }
}
