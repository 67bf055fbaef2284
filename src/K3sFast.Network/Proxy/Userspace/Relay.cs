using System.Net;
using System.Net.Sockets;
using K3sFast.Interop.Namespaces;

namespace K3sFast.Network.Proxy.Userspace;

/// <summary>A socket at a Service's address, and what carries what comes in there to an endpoint.</summary>
internal abstract class Relay : IDisposable
{
    private protected static readonly TimeSpan RetryDelay = TimeSpan.FromMilliseconds(200);

    private readonly NetworkNamespace? _inside;
    private readonly CancellationTokenSource _stop = new();
    private volatile RelaySpec _spec;
    private int _open;

    private protected Relay(NetworkNamespace? inside, RelaySpec spec, Func<IPAddress, bool> isInside, TimeProvider time)
    {
        (_inside, _spec, Time) = (inside, spec, time);
        Chooser = new EndpointChooser(time, isInside);
        Stopping = _stop.Token;
    }

    /// <summary>What it does.</summary>
    internal RelaySpec Spec => _spec;

    /// <summary>Connections that are open: they need the address, whatever becomes of the Service.</summary>
    internal int OpenCount => Volatile.Read(ref _open);

    private protected EndpointChooser Chooser { get; }
    private protected TimeProvider Time { get; }
    private protected CancellationToken Stopping { get; }

    /// <summary>Opens the socket and carries from now on.</summary>
    /// <exception cref="SocketException">The address cannot be bound, or the protocol is not there.</exception>
    internal static Relay Open(NetworkNamespace? inside, RelaySpec spec, Func<IPAddress, bool> isInside, TimeProvider time)
    {
        Relay relay = spec.Protocol == (byte)ProtocolType.Udp ? new DatagramRelay(inside, spec, isInside, time) : new StreamRelay(inside, spec, isInside, time);
        try
        {
            relay.Listen();
            return relay;
        }
        catch
        {
            relay.Dispose();
            throw;
        }
    }

    /// <summary>Other endpoints, sources or affinity from now on. Connections that are open stay as they are.</summary>
    internal virtual void Update(RelaySpec spec) => _spec = spec;

    public virtual void Dispose() => _stop.Cancel();

    private protected abstract void Listen();

    private protected void Count(int amount) => Interlocked.Add(ref _open, amount);

    private protected Socket Create(AddressFamily family)
    {
        var isUdp = Spec.Protocol == (byte)ProtocolType.Udp;
        Socket Make() => new(family, isUdp ? SocketType.Dgram : SocketType.Stream, (ProtocolType)Spec.Protocol);
        return _inside is null ? Make() : _inside.Run(Make);
    }
}
