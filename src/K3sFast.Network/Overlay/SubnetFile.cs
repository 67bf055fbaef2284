using System.Net;
using System.Text;

namespace K3sFast.Network.Overlay;

/// <summary>
/// flannel's /run/flannel/subnet.env: what other programs on the node read to learn the pods' network. The node's own subnet is told by its second address.
/// </summary>
internal static class SubnetFile
{
    /// <exception cref="IOException">It cannot be written.</exception>
    internal static void Write(string path, IReadOnlyList<IPNetwork> clusterCidrs, IReadOnlyList<IPNetwork> subnets, int mtu)
    {
        var text = new StringBuilder();
        foreach (var subnet in subnets)
        {
            var prefix = subnet.BaseAddress.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6 ? "FLANNEL_IPV6" : "FLANNEL";
            foreach (var cluster in clusterCidrs)
            {
                if (cluster.BaseAddress.AddressFamily == subnet.BaseAddress.AddressFamily) text.Append($"{prefix}_NETWORK={cluster}\n");
            }
            text.Append($"{prefix}_SUBNET={Second(subnet)}/{subnet.PrefixLength}\n");
        }
        text.Append($"FLANNEL_MTU={mtu}\nFLANNEL_IPMASQ=true\n");
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path + ".new", text.ToString());
        File.Move(path + ".new", path, overwrite: true);
    }

    private static IPAddress Second(IPNetwork subnet)
    {
        var bytes = subnet.BaseAddress.GetAddressBytes();
        bytes[^1] |= 1;
        return new IPAddress(bytes);
    }
}
