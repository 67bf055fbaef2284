using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;

namespace K3sFast.Configuration;

/// <summary>Finds the address that other machines reach this one by.</summary>
internal static class NodeAddresses
{
    // Documentation addresses (RFC 5737, RFC 3849): only the route lookup of connect(2) on a datagram socket is wanted, nothing is sent.
    private static readonly IPEndPoint s_anywhere4 = new(IPAddress.Parse("192.0.2.1"), 9);
    private static readonly IPEndPoint s_anywhere6 = new(IPAddress.Parse("2001:db8::1"), 9);

    /// <summary>Source address of the default route, IPv4 before IPv6; else the first address of an interface that is up.</summary>
    /// <returns>Null when the machine has loopback addresses only.</returns>
    public static IPAddress? Detect() => SourceFor(s_anywhere4) ?? FirstOfInterfaces() ?? SourceFor(s_anywhere6);

    private static IPAddress? SourceFor(IPEndPoint destination)
    {
        try
        {
            using var socket = new Socket(destination.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
            socket.Connect(destination);
            var address = ((IPEndPoint)socket.LocalEndPoint!).Address;
            return IPAddress.IsLoopback(address) ? null : address;
        }
        catch (SocketException)
        {
            return null;
        }
    }

    private static IPAddress? FirstOfInterfaces()
    {
        foreach (var link in NetworkInterface.GetAllNetworkInterfaces())
        {
            if (link.OperationalStatus == OperationalStatus.Down || link.NetworkInterfaceType == NetworkInterfaceType.Loopback)
                continue;
            foreach (var unicast in link.GetIPProperties().UnicastAddresses)
            {
                if (unicast.Address.AddressFamily == AddressFamily.InterNetwork && !IPAddress.IsLoopback(unicast.Address))
                    return unicast.Address;
            }
        }
        return null;
    }
}
