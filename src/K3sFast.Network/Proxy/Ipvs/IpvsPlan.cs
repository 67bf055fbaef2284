using System.Net;
using K3sFast.Interop.Ipvs;

namespace K3sFast.Network.Proxy.Ipvs;

/// <summary>The virtual servers of service ports, with their destinations. Pure.</summary>
internal static class IpvsPlan
{
    /// <summary>Servers by where clients reach them; the first Service that names a place has it.</summary>
    internal static Dictionary<(byte Protocol, IPEndPoint Address), (IpvsServer Server, HashSet<IPEndPoint> Destinations)> Of(
        IEnumerable<ServicePort> ports, IReadOnlyList<IPAddress> nodeAddresses, string scheduler)
    {
        var servers = new Dictionary<(byte, IPEndPoint), (IpvsServer, HashSet<IPEndPoint>)>();
        foreach (var port in ports)
        {
            void Add(IPAddress address, ushort number, bool isLocal)
            {
                // mh chooses by what it hashes; its first flag lets it pass over destinations that are going.
                var server = new IpvsServer(port.Protocol, new IPEndPoint(address, number), scheduler, port.Affinity, scheduler == "mh");
                var destinations = (isLocal ? port.LocalEndpoints : port.Endpoints).Select(static endpoint => new IPEndPoint(endpoint.Address, endpoint.Port)).ToHashSet();
                servers.TryAdd((port.Protocol, server.Address), (server, destinations));
            }
            Add(port.ClusterIP, port.Port, port.IsInternalLocal);
            foreach (var address in port.ExternalIPs.Concat(port.LoadBalancerIPs)) Add(address, port.Port, port.IsExternalLocal);
            if (port.NodePort == 0) continue;
            foreach (var address in nodeAddresses)
            {
                if (address.AddressFamily == port.ClusterIP.AddressFamily) Add(address, port.NodePort, port.IsExternalLocal);
            }
        }
        return servers;
    }
}
