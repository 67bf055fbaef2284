using System.Net;
using System.Net.Sockets;
using K3sFast.Interop;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.Routes;

/// <summary>What the node itself must be like for pods to have a network: forwarding switched on, and the uplink's properties known.</summary>
internal sealed class NodeSetup(RouteSocket host, NetworkNamespace? hostNamespace, IReadOnlyList<IPAddress> nodeIPs, ILogger logger)
{
    private const int DefaultMtu = 1500;

    // The loopback is the first link of every namespace.
    private const int LoopbackIndex = 1;

    /// <summary>Switches forwarding on for the families in use. A refusal is logged: traffic will not flow, but the node can say why.</summary>
    internal void ApplySettings(bool hasIPv6, bool hasLocalhostPorts = true)
    {
        Set("net/ipv4/ip_forward", "1");
        // Node ports on 127.0.0.1 leave through a pod's link with a loopback source until they are masqueraded.
        if (hasLocalhostPorts) Set("net/ipv4/conf/all/route_localnet", "1");
        if (!hasIPv6) return;
        KeepRouterAdvertisements();
        Set("net/ipv6/conf/all/forwarding", "1");
    }

    /// <summary>Settings that the user asked for, by name.</summary>
    internal void ApplySettings(IReadOnlyDictionary<string, string> settings)
    {
        foreach (var (name, value) in settings) Set(name, value);
    }

    // A host that forwards ignores router advertisements, and with them loses its own default route, unless told otherwise (2).
    private void KeepRouterAdvertisements()
    {
        foreach (var link in host.ListLinks())
        {
            var name = $"net/ipv6/conf/{link.Name}/accept_ra";
            if (link is { IsLoopback: false, Kind: not "veth" } && Sysctl.TryRead(name, hostNamespace) == "1") Set(name, "2");
        }
    }

    /// <summary>MTU of the link that carries the default route, else of the one that has the node's address, else Ethernet's.</summary>
    internal int FindMtu()
    {
        var links = host.ListLinks().ToDictionary(link => link.Index);
        var isIPv6 = nodeIPs.Count > 0 && nodeIPs[0].AddressFamily == AddressFamily.InterNetworkV6;
        var uplink = host.ListRoutes(isIPv6)
            .Where(route => route.Destination.PrefixLength == 0 && route.Table == 254 && route.LinkIndex != 0)
            .OrderBy(route => route.Metric)
            .Select(route => route.LinkIndex)
            .Concat(host.ListAddresses().Where(address => nodeIPs.Contains(address.Address)).Select(address => address.LinkIndex));
        foreach (var index in uplink)
        {
            if (links.TryGetValue(index, out var link) && link is { IsLoopback: false, Mtu: > 0 }) return link.Mtu;
        }
        return DefaultMtu;
    }

    /// <summary>The node's addresses that are really on this machine, first of each family: what the node speaks to its pods from.</summary>
    internal IReadOnlyList<IPAddress> FindPreferredSources()
    {
        var local = host.ListAddresses().Select(address => address.Address).ToHashSet();
        return [.. nodeIPs.Where(local.Contains).DistinctBy(address => address.AddressFamily)];
    }

    /// <summary>
    /// Gives cluster IPs a route. The node's own connections are routed before they are translated, and a node without a default route (an
    /// isolated gateway) would refuse them. The link is that of the node's address; no packet to a cluster IP ever leaves by it, because what was
    /// not translated is refused.
    /// </summary>
    /// <param name="serviceCidrs">Where cluster IPs are.</param>
    /// <param name="isUnreachable">Cluster IPs that Services have are the node's own addresses: others lead nowhere.</param>
    internal void AddServiceRoutes(IReadOnlyList<IPNetwork> serviceCidrs, bool isUnreachable = false)
    {
        var addresses = host.ListAddresses();
        using var batch = new NetlinkBatch();
        foreach (var network in serviceCidrs)
        {
            var family = network.BaseAddress.AddressFamily;
            if (isUnreachable)
            {
                batch.ReplaceRoute(new RouteSpec(network, 0) { Type = RouteType.Unreachable });
                continue;
            }
            if (addresses.FirstOrDefault(address => address.Address.AddressFamily == family && nodeIPs.Contains(address.Address)) is not { } own) continue;
            if (own.LinkIndex == LoopbackIndex) continue;
            var scope = family == AddressFamily.InterNetwork ? RouteScope.Link : RouteScope.Universe;
            batch.ReplaceRoute(new RouteSpec(network, own.LinkIndex, null, scope) { PreferredSource = own.Address });
        }
        host.Execute(batch);
    }

    private void Set(string name, string value)
    {
        try
        {
            if (!Sysctl.TryWrite(name, value, hostNamespace)) Log.SettingMissing(logger, name);
        }
        catch (IOException refused)
        {
            Log.SettingRefused(logger, refused.Message);
        }
    }
}
