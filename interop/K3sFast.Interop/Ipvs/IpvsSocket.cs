using System.Net.Sockets;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;

namespace K3sFast.Interop.Ipvs;

/// <summary>The kernel's virtual servers (IPVS): reads what is there, and carries out batches.</summary>
/// <remarks>Any thread; one exchange at a time.</remarks>
public sealed class IpvsSocket : IDisposable
{
    private readonly NetlinkSocket _socket;

    internal IpvsSocket(NetlinkSocket socket, ushort family) => (_socket, Family) = (socket, family);

    internal ushort Family { get; }

    /// <summary>Opens it in <paramref name="inside"/>, or in the caller's namespace; null = the kernel has no IPVS and no module for it.</summary>
    public static IpvsSocket? TryOpen(NetworkNamespace? inside = null)
    {
        var socket = GenericNetlink.Open(inside);
        if (GenericNetlink.FindFamily(socket, "IPVS") is { } family) return new IpvsSocket(socket, family);
        socket.Dispose();
        return null;
    }

    /// <summary>All virtual servers.</summary>
    public IReadOnlyList<IpvsServer> ListServers()
    {
        using var request = new NetlinkBatch();
        IpvsMessages.ListServers(request, Family);
        var found = new List<IpvsServer>();
        _socket.Dump(request, found, static list => list.Clear(), static (_, payload, list) =>
        {
            if (IpvsMessages.ReadServer(payload) is { } server) list.Add(server);
        });
        return found;
    }

    /// <summary>The destinations of a server.</summary>
    public IReadOnlyList<IpvsDestination> ListDestinations(IpvsServer server)
    {
        using var request = new NetlinkBatch();
        IpvsMessages.ListDestinations(request, Family, server);
        var state = (Found: new List<IpvsDestination>(), IsIPv6: server.Address.AddressFamily == AddressFamily.InterNetworkV6);
        _socket.Dump(request, state, static state => state.Found.Clear(), static (_, payload, state) =>
        {
            if (IpvsMessages.ReadDestination(payload, state.IsIPv6) is { } destination) state.Found.Add(destination);
        });
        return state.Found;
    }

    /// <summary>Sends what was written.</summary>
    /// <exception cref="KernelException">The first that was refused.</exception>
    internal void Execute(NetlinkBatch batch) => _socket.Execute(batch);

    /// <summary>Closes the socket; the servers stay.</summary>
    public void Dispose() => _socket.Dispose();
}
