using System.Net;
using System.Net.Sockets;

namespace K3sFast.Tests.Ports;

/// <summary>
/// A TCP port of 127.0.0.1 for a server that wants to be told its number. Until it is disposed nobody else is given it; while no server listens there, who
/// connects is refused.
/// </summary>
/// <remarks>
/// The socket is bound and never listens. Linux gives no port that is bound to who asks for any, and lets a server bind it all the same when both have
/// SO_REUSEADDR, which servers set, .NET for every TCP socket that it binds. A port that was free a moment ago would be anybody's by the time a server starts.
/// </remarks>
public sealed class LoopbackPort : IDisposable
{
    private readonly Socket _socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);

    public LoopbackPort()
    {
        _socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        Number = ((IPEndPoint)_socket.LocalEndPoint!).Port;
    }

    public int Number { get; }

    public void Dispose() => _socket.Dispose();
}
