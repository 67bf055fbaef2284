using System.Net;
using System.Net.NetworkInformation;
using K3sFast.Interop;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;
using K3sFast.Network.Cni;

namespace K3sFast.Network.Proxy.Addresses;

/// <summary>
/// Makes this node the owner of Services' addresses, for the back ends that receive what is sent to them instead of rewriting it on its way: each is an address of
/// a link that leads nowhere. A pair of links of our own, because every kernel that runs pods has those.
/// </summary>
/// <remarks>One thread at a time (the proxy's loop).</remarks>
internal sealed class ServiceAddresses : IDisposable
{
    // Starts like the links of pods, so that who cleans up takes it along.
    internal const string LinkName = PodAttachment.LinkPrefix + "-services", PeerName = PodAttachment.LinkPrefix + "-nowhere";

    // What one machine sends itself needs no small pieces.
    private const int Mtu = 65535;

    private readonly NetworkNamespace? _inside;
    private readonly RouteSocket _host;
    private readonly Dictionary<IPAddress, int> _users = [];

    internal ServiceAddresses(NetworkNamespace? inside)
    {
        _inside = inside;
        _host = RouteSocket.Open(inside);
    }

    /// <summary>Addresses that are wanted on the node.</summary>
    internal IEnumerable<IPAddress> Wanted => _users.Keys;

    /// <summary>Counts users of addresses: those before no longer are, those after are.</summary>
    internal void Change(IEnumerable<IPAddress> before, IEnumerable<IPAddress> after)
    {
        foreach (var address in after) _users[address] = _users.GetValueOrDefault(address) + 1;
        foreach (var address in before)
        {
            if (_users[address] == 1) _users.Remove(address);
            else _users[address]--;
        }
    }

    /// <summary>Makes the link have exactly the wanted addresses that are not the node's own anyway; true = something had to be done.</summary>
    /// <exception cref="KernelException">Refused.</exception>
    internal bool Apply()
    {
        var link = _host.FindLink(LinkName);
        if (link is null && _users.Count == 0) return false;
        using var batch = new NetlinkBatch();
        if (link is null)
        {
            using var here = _inside is null ? NetworkNamespace.OpenCurrent() : NetworkNamespace.Open(_inside.Path);
            // Somebody's link of the other end's name would be in the way.
            batch.DeleteLink(PeerName);
            batch.AddVeth(new VethSpec(LinkName, PodAttachment.HostAddress, PeerName, PodAttachment.HostAddress, here, Mtu));
            _host.Execute(batch);
            batch.Clear();
            link = _host.FindLink(LinkName) ?? throw new KernelException("get link " + LinkName, Errno.ENODEV);
            batch.SetLinkUp(_host.FindLink(PeerName)!.Index);
        }
        var addresses = _host.ListAddresses();
        var there = addresses.Where(entry => entry.LinkIndex == link.Index && !entry.Address.IsIPv6LinkLocal).Select(static entry => entry.Address).ToHashSet();
        var elsewhere = addresses.Where(entry => entry.LinkIndex != link.Index).Select(static entry => entry.Address).ToHashSet();
        foreach (var address in there)
        {
            if (!_users.ContainsKey(address)) batch.DeleteAddress(link.Index, address, address.GetAddressBytes().Length * 8);
        }
        foreach (var address in _users.Keys)
        {
            if (!there.Contains(address) && !elsewhere.Contains(address)) batch.AddAddress(link.Index, address, address.GetAddressBytes().Length * 8);
        }
        if (batch.Count == 0) return false;
        _host.Execute(batch);
        return true;
    }

    /// <summary>Removes the link with all addresses; false = it was not there.</summary>
    internal bool Remove()
    {
        if (_host.FindLink(LinkName) is null) return false;
        using var batch = new NetlinkBatch();
        batch.DeleteLink(LinkName);
        _host.Execute(batch);
        return true;
    }

    /// <summary>Addresses of the node that node ports answer on.</summary>
    internal List<IPAddress> NodePortAddresses(NetworkOptions options)
    {
        if (options.Proxy.IsNodePortPrimaryOnly) return [.. options.NodeIPs.DistinctBy(static address => address.AddressFamily)];
        var own = _host.FindLink(LinkName)?.Index ?? -1;
        var networks = options.Proxy.NodePortNetworks;
        return [.. _host.ListAddresses().Where(entry => entry.LinkIndex != own && !entry.Address.IsIPv6LinkLocal).Select(static entry => entry.Address).Distinct()
            .Where(address => IPAddress.IsLoopback(address) ? options.Proxy.HasLocalhostNodePorts && address.Equals(IPAddress.Loopback) : networks.Count == 0 || networks.Any(network => network.Contains(address)))];
    }

    public void Dispose() => _host.Dispose();
}
