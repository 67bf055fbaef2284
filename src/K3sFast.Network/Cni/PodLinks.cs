using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using K3sFast.Interop;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;

namespace K3sFast.Network.Cni;

/// <summary>
/// Makes and removes pods' links. Each pod has a veth pair of its own, routed and not bridged: the pod's gateway is a fixed link-local address
/// with a permanent neighbour (the host end), the host has one route and one permanent neighbour per pod address. Nobody ever asks who has
/// which address, and no bridge bounds the number of pods.
/// </summary>
/// <remarks>Any thread; synchronous, a few milliseconds for a pod.</remarks>
internal sealed class PodLinks(RouteSocket host, NetworkNamespace? hostNamespace)
{
    // Every pod's gateway. Link-local, so that no pod can need the address for anything else (RFC 3927, RFC 4291 §2.5.6).
    internal static readonly IPAddress Gateway4 = IPAddress.Parse("169.254.1.1");
    internal static readonly IPAddress Gateway6 = IPAddress.Parse("fe80::1");

    /// <summary>Builds the pod's link, addresses and routes on both sides; a link of the same name that is there is replaced.</summary>
    /// <returns>The link that had the name and was not of a pod; null = there was none.</returns>
    /// <exception cref="KernelException">Refused; half of it may be there: remove it.</exception>
    internal LinkInfo? Add(PodAttachment attachment, NetworkNamespace pod, int mtu, IReadOnlyList<IPAddress> preferredSources)
    {
        using var batch = new NetlinkBatch();
        var before = host.FindLink(attachment.HostLinkName);
        if (before is not null) Remove(attachment.HostLinkName);
        batch.AddVeth(new VethSpec(attachment.HostLinkName, PodAttachment.HostAddress, attachment.InterfaceName, attachment.PodAddress, pod, mtu));
        host.Execute(batch);
        var link = host.FindLink(attachment.HostLinkName) ?? throw new KernelException("get link " + attachment.HostLinkName, Errno.ENODEV);

        if (attachment.Bandwidth.IsLimited) PodShaper.Add(host, attachment, link.Index, mtu);
        ConfigurePod(attachment, pod, batch);
        ConfigureHostSettings(attachment);

        batch.Clear();
        foreach (var address in attachment.Addresses) AddRoad(batch, attachment, address, link.Index, preferredSources);
        host.Execute(batch);
        // A call that is made again finds its own.
        return before is null || before.Address.Equals(PodAttachment.HostAddress) ? null : before;
    }

    /// <summary>
    /// Puts back routes to pods that somebody deleted. The kernel itself does: with an address of the node go all routes that speak from it.
    /// </summary>
    /// <returns>How many were missing.</returns>
    internal int Restore(IReadOnlyList<PodAttachment> attachments, IReadOnlyList<IPAddress> preferredSources)
    {
        if (attachments.Count == 0) return 0;
        // In this order: a pod that goes meanwhile loses its link after its routes were seen, and is not taken for one that lost its routes.
        var routes = host.ListRoutes(isIPv6: false).Concat(host.ListRoutes(isIPv6: true)).Select(route => (route.Destination, route.LinkIndex)).ToHashSet();
        var links = host.ListLinks().ToDictionary(link => link.Name, link => link.Index);
        using var batch = new NetlinkBatch();
        var missing = 0;
        foreach (var attachment in attachments)
        {
            if (!links.TryGetValue(attachment.HostLinkName, out var index)) continue;
            foreach (var address in attachment.Addresses)
            {
                if (routes.Contains((HostNetwork(address), index))) continue;
                AddRoad(batch, attachment, address, index, preferredSources);
                missing++;
            }
        }
        host.Execute(batch);
        return missing;
    }

    private static void AddRoad(NetlinkBatch batch, PodAttachment attachment, IPAddress address, int linkIndex, IReadOnlyList<IPAddress> preferredSources)
    {
        batch.ReplaceNeighbour(new NeighbourSpec(linkIndex, address, attachment.PodAddress));
        batch.ReplaceRoute(new RouteSpec(HostNetwork(address), linkIndex, null, ScopeOf(address))
        {
            PreferredSource = preferredSources.FirstOrDefault(source => source.AddressFamily == address.AddressFamily),
        });
    }

    /// <summary>Removes a pod's link, and with it routes and neighbours on both sides; one that is not there is fine.</summary>
    internal void Remove(string hostLinkName)
    {
        using var batch = new NetlinkBatch();
        batch.DeleteLink(hostLinkName);
        batch.DeleteLink(PodAttachment.ShaperNameOf(hostLinkName));
        host.Execute(batch);
    }

    /// <summary>Removes shaping devices whose pod's link is gone: the plugin takes down links alone while no agent runs.</summary>
    internal void RemoveOrphans(IReadOnlySet<string> linkNames)
    {
        foreach (var name in linkNames)
        {
            if (name.StartsWith(PodAttachment.ShaperPrefix, StringComparison.Ordinal) && name.Length == 15
                && !linkNames.Contains(PodAttachment.LinkPrefix + name[PodAttachment.ShaperPrefix.Length..]))
            {
                using var batch = new NetlinkBatch();
                batch.DeleteLink(name);
                host.Execute(batch);
            }
        }
    }

    /// <summary>Addresses that lead to links of ours, by the link's name: what is in use, whatever files say.</summary>
    internal ILookup<string, IPAddress> AddressesInUse()
    {
        var names = host.ListLinks().Where(static link => link.Name.StartsWith(PodAttachment.LinkPrefix, StringComparison.Ordinal)).ToDictionary(static link => link.Index, static link => link.Name);
        return host.ListRoutes(isIPv6: false).Concat(host.ListRoutes(isIPv6: true))
            .Where(route => names.ContainsKey(route.LinkIndex) && route.Destination.PrefixLength == route.Destination.BaseAddress.GetAddressBytes().Length * 8)
            .ToLookup(route => names[route.LinkIndex], static route => route.Destination.BaseAddress);
    }

    /// <summary>What is wrong with a pod's link; null = nothing.</summary>
    internal string? Check(PodAttachment attachment, NetworkNamespace pod)
    {
        if (host.FindLink(attachment.HostLinkName) is not { } link) return $"link {attachment.HostLinkName} is gone";
        if (!link.IsUp) return $"link {attachment.HostLinkName} is down";
        using var inside = RouteSocket.Open(pod);
        if (inside.FindLink(attachment.InterfaceName) is not { } podLink) return $"link {attachment.InterfaceName} of the pod is gone";
        var addresses = inside.ListAddresses().Where(address => address.LinkIndex == podLink.Index).Select(address => address.Address).ToHashSet();
        foreach (var address in attachment.Addresses)
        {
            if (!addresses.Contains(address)) return $"the pod lost its address {address}";
        }
        return null;
    }

    private static void ConfigurePod(PodAttachment attachment, NetworkNamespace pod, NetlinkBatch batch)
    {
        var hasIPv6 = attachment.Addresses.Any(address => address.AddressFamily == AddressFamily.InterNetworkV6);
        // One visit to the namespace: the socket that is opened there keeps belonging to it.
        using var inside = pod.Run(() =>
        {
            if (hasIPv6)
            {
                // Containers start with IPv6 off under some runtimes. Router advertisements are nobody's to send here.
                Sysctl.TryWrite($"net/ipv6/conf/{attachment.InterfaceName}/disable_ipv6", "0");
                Sysctl.TryWrite($"net/ipv6/conf/{attachment.InterfaceName}/accept_ra", "0");
            }
            return RouteSocket.Open();
        });
        var link = inside.FindLink(attachment.InterfaceName) ?? throw new KernelException("get link " + attachment.InterfaceName, Errno.ENODEV);

        batch.Clear();
        batch.SetLinkUp(link.Index);
        foreach (var address in attachment.Addresses)
        {
            var isIPv4 = address.AddressFamily == AddressFamily.InterNetwork;
            var gateway = isIPv4 ? Gateway4 : Gateway6;
            var everywhere = new IPNetwork(isIPv4 ? IPAddress.Any : IPAddress.IPv6Any, 0);
            batch.AddAddress(link.Index, address, HostNetwork(address).PrefixLength);
            batch.ReplaceNeighbour(new NeighbourSpec(link.Index, gateway, PodAttachment.HostAddress));
            batch.ReplaceRoute(new RouteSpec(HostNetwork(gateway), link.Index, null, ScopeOf(gateway)));
            batch.ReplaceRoute(new RouteSpec(everywhere, link.Index, gateway) { IsOnLink = true });
        }
        inside.Execute(batch);
    }

    private void ConfigureHostSettings(PodAttachment attachment)
    {
        var name = attachment.HostLinkName;
        var hasIPv6 = attachment.Addresses.Any(address => address.AddressFamily == AddressFamily.InterNetworkV6);
        void Write()
        {
            // A pod may send from its own address only: the way back to any other is not its link.
            Sysctl.TryWrite($"net/ipv4/conf/{name}/rp_filter", "1");
            // A link-local address per pod's link would only make multicast noise where nobody speaks IPv6.
            Sysctl.TryWrite($"net/ipv6/conf/{name}/accept_ra", "0");
            if (!hasIPv6) Sysctl.TryWrite($"net/ipv6/conf/{name}/disable_ipv6", "1");
        }
        if (hostNamespace is null) Write();
        else hostNamespace.Run(Write);
    }

    private static IPNetwork HostNetwork(IPAddress address) => new(address, address.AddressFamily == AddressFamily.InterNetwork ? 32 : 128);

    // IPv6 knows no scopes of routes.
    private static RouteScope ScopeOf(IPAddress address) => address.AddressFamily == AddressFamily.InterNetwork ? RouteScope.Link : RouteScope.Universe;
}
