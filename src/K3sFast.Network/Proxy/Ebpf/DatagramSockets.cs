using K3sFast.Interop;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.Proxy.Ebpf;

/// <summary>
/// Ends UDP sockets that connected to an endpoint which is gone. Such a socket asks no program again, and UDP has no end: it would send into the void for as
/// long as it lives. Its owner's next call fails, and he connects anew, to another endpoint.
/// </summary>
internal sealed class DatagramSockets(SocketPrograms programs, bool isScoped, ILogger logger)
{
    private const byte Udp = 17;
    private bool _isRefused;

    /// <summary>Ends the sockets that asked for a Service and got one of these endpoints. Failures are logged.</summary>
    internal void End(IReadOnlySet<SocketEndpoint> gone)
    {
        if (gone.Count == 0 || _isRefused) return;
        var ended = 0;
        foreach (var path in NamespacePaths.All())
        {
            try
            {
                using var inside = NetworkNamespace.Open(path);
                if (isScoped && !programs.Namespaces.TryGet<ulong, byte>(inside.ReadCookie(), out _)) continue;
                ended += EndInside(inside, gone);
            }
            catch (KernelException e) when (e.Errno is Errno.EOPNOTSUPP or Errno.ENOENT or Errno.EPROTONOSUPPORT)
            {
                _isRefused = true;
                Log.SocketsNotEnded(logger, e);
                return;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // The process whose namespace it was has ended.
            }
        }
        if (ended > 0) Log.SocketsEnded(logger, ended);
    }

    private int EndInside(NetworkNamespace inside, IReadOnlySet<SocketEndpoint> gone)
    {
        using var sockets = SocketDiagnostics.Open(inside);
        var count = 0;
        foreach (var isIPv6 in (ReadOnlySpan<bool>)[false, true])
        {
            // Who asked for the endpoint itself is none of our business: only those that a program sent there are noted.
            var stale = sockets.ListDatagram(isIPv6, (address, port, cookie) =>
            {
                var at = SocketEndpoint.Of(SocketAddress.Of(address), port, Udp);
                return gone.Contains(at) && programs.Peers.TryGet<ulong, SocketPeer>(cookie, out var peer) && peer.Backend == at;
            });
            sockets.Destroy(stale);
            count += stale.Count;
        }
        return count;
    }
}
