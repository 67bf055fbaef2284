using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;
using K3sFast.Interop.NfTables;
using K3sFast.Network.Cni;
using K3sFast.Network.HostPorts;
using K3sFast.Network.Policy;
using K3sFast.Network.Proxy;
using K3sFast.Network.Proxy.Addresses;
using K3sFast.Network.Proxy.Ipvs;
using K3sFast.Network.Proxy.Ebpf;

namespace K3sFast.Network;

/// <summary>Takes everything of ours out of the kernel: for the commands that kill or uninstall. Run it when no agent runs.</summary>
public static class NetworkCleanup
{
    /// <summary>
    /// Removes our nf_tables tables, our routes, every pod's link with its routes and neighbours, and the devices between nodes, in the caller's network namespace. What is not there is
    /// fine; foreign tables, links and routes are not touched.
    /// </summary>
    /// <returns>Tables, links and routes that were removed, by name.</returns>
    /// <exception cref="IOException">The kernel refuses; what was removed before stays removed.</exception>
    public static IReadOnlyList<string> RemoveAll() => RemoveAll(null);

    internal static IReadOnlyList<string> RemoveAll(NetworkNamespace? inside)
    {
        var removed = new List<string>();
        foreach (var family in (ReadOnlySpan<NftFamily>)[NftFamily.IPv4, NftFamily.IPv6])
        {
            foreach (var name in (ReadOnlySpan<string>)[BaseRules.TableName, HostPortTable.TableName, PolicyRules.TableName])
            {
                using var table = new NftTable(family, name, inside);
                if (!table.Exists()) continue;
                table.Remove();
                removed.Add($"table {(family == NftFamily.IPv6 ? "ip6" : "ip")} {name}");
            }
        }
        if (SocketServices.Remove(inside)) removed.Add("socket programs");
        using var host = RouteSocket.Open(inside);
        // The link of Services' addresses tells of a mode that may have had virtual servers; without it nobody asks for them, which would load their module.
        if (host.FindLink(ServiceAddresses.LinkName) is not null && IpvsBackend.RemoveServers(inside, []) is > 0 and var servers) removed.Add($"{servers} virtual servers");
        using var batch = new NetlinkBatch();
        var gone = new HashSet<int>();
        foreach (var link in host.ListLinks())
        {
            if (!IsOurs(link)) continue;
            batch.DeleteLink(link.Name);
            gone.Add(link.Index);
            removed.Add("link " + link.Name);
        }
        foreach (var route in host.ListRoutes(isIPv6: false).Concat(host.ListRoutes(isIPv6: true)))
        {
            // Pods' routes went with their links in this very batch.
            if (route.Protocol != RouteSpec.OwnProtocol || gone.Contains(route.LinkIndex)) continue;
            batch.DeleteRoute(new RouteSpec(route.Destination, route.LinkIndex, route.Gateway, route.Scope) { Table = route.Table, Type = route.Type });
            removed.Add("route " + route.Destination);
        }
        host.Execute(batch);
        return removed;
    }

    // Pods' links by their prefix, those between nodes by flannel's names: k3s' own script removes the same.
    internal static bool IsOurs(LinkInfo link) => link.Kind switch
    {
        "veth" => link.Name.StartsWith(PodAttachment.LinkPrefix, StringComparison.Ordinal),
        "ifb" => link.Name.StartsWith(PodAttachment.ShaperPrefix, StringComparison.Ordinal),
        "vxlan" => link.Name.StartsWith("flannel.", StringComparison.Ordinal) || link.Name.StartsWith("flannel-v6.", StringComparison.Ordinal),
        "wireguard" => link.Name is "flannel-wg" or "flannel-wg-v6",
        _ => false,
    };
}
