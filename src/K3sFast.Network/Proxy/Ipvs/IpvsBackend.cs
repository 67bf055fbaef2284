using System.Net;
using K3sFast.Interop;
using K3sFast.Interop.Ipvs;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;
using K3sFast.Interop.NfTables;
using K3sFast.Network.Proxy.Addresses;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.Proxy.Ipvs;

/// <summary>
/// Carries Services by the kernel's virtual servers: their addresses are the node's own, and each address and port is a server whose destinations are the
/// endpoints. Destinations that go keep the connections that they have.
/// </summary>
internal sealed class IpvsBackend : ServiceBackend
{
    private const byte Tcp = 6;

    private readonly IpvsSocket _socket;
    private readonly ServiceAddresses _addresses;
    private readonly MasqueradeTables _masquerade;
    private readonly Dictionary<(bool IsIPv6, string Key), IReadOnlyList<ServicePort>> _services = [];
    private readonly HashSet<NftFamily> _started = [];
    private List<IPAddress> _nodeAddresses = [];
    private bool _isWhole;

    private IpvsBackend(NetworkOptions options, IpvsSocket socket, ILogger logger) : base(options, logger)
    {
        _socket = socket;
        _addresses = new ServiceAddresses(options.HostNamespace);
        _masquerade = new MasqueradeTables(options, logger);
        ApplySettings();
    }

    internal override string Name => "ipvs";

    /// <summary>The back end; null = the kernel has no IPVS.</summary>
    internal static IpvsBackend? TryCreate(NetworkOptions options, ProxyMetrics metrics, ILogger logger) =>
        IpvsSocket.TryOpen(options.HostNamespace) is { } socket ? new IpvsBackend(options, socket, logger) { Metrics = metrics } : null;

    /// <summary>Takes the virtual servers out of the kernel, for another mode and for who cleans up.</summary>
    /// <param name="inside">Where; null = the process' namespace.</param>
    /// <param name="excluded">Servers in these networks are somebody else's.</param>
    /// <returns>How many.</returns>
    internal static int RemoveServers(NetworkNamespace? inside, IReadOnlyList<IPNetwork> excluded)
    {
        using var socket = IpvsSocket.TryOpen(inside);
        if (socket is null) return 0;
        using var batch = new NetlinkBatch();
        foreach (var server in socket.ListServers())
        {
            if (!excluded.Any(network => network.Contains(server.Address.Address))) IpvsMessages.DeleteServer(batch, socket.Family, server);
        }
        socket.Execute(batch);
        return batch.Count;
    }

    internal override bool ExistsInKernel() => _socket.ListServers().Count > 0;

    /// <summary>All is known: servers that no Service asks for may go as well.</summary>
    internal override void RemoveOthers()
    {
        base.RemoveOthers();
        _isWhole = true;
        Verify();
    }

    internal override bool Verify()
    {
        var isRepaired = _masquerade.Verify() | _addresses.Apply();
        _nodeAddresses = _addresses.NodePortAddresses(Options);
        return Reconcile(IpvsPlan.Of(_services.Values.SelectMany(static ports => ports), _nodeAddresses, Options.Proxy.Ipvs.Scheduler), _isWhole) || isRepaired;
    }

    public override void Dispose()
    {
        _socket.Dispose();
        _addresses.Dispose();
        _masquerade.Dispose();
        base.Dispose();
    }

    private protected override void OnNodeChanged() => _started.Clear();

    private protected override void Write(PacketSteps steps, IReadOnlyList<ServiceChange> changes)
    {
        if (_nodeAddresses.Count == 0) _nodeAddresses = _addresses.NodePortAddresses(Options);
        if (_started.Add(steps.Family)) _masquerade.Apply((family, fragment) => IpvsRules.Extend(new PacketSteps(family), Options, new LocalTraffic(new PacketSteps(family), Options, Node.PodCidrs), fragment));
        foreach (var (key, before, after) in changes)
        {
            _addresses.Change(before.SelectMany(AddressesOf), after.SelectMany(AddressesOf));
            if (after.Count > 0) _services[(steps.IsIPv6, key)] = after;
            else _services.Remove((steps.IsIPv6, key));
        }
        _addresses.Apply();
        _masquerade.Apply(steps.Family, [.. changes.Select(change => new KeyValuePair<string, NftFragment?>(change.Key, IpvsRules.Build(steps, change.After, Options.NodeIPs)))]);

        var scheduler = Options.Proxy.Ipvs.Scheduler;
        var (gone, wanted) = (IpvsPlan.Of(changes.SelectMany(static change => change.Before), _nodeAddresses, scheduler), IpvsPlan.Of(changes.SelectMany(static change => change.After), _nodeAddresses, scheduler));
        using var batch = new NetlinkBatch();
        foreach (var (place, (server, _)) in gone)
        {
            if (!wanted.ContainsKey(place)) IpvsMessages.DeleteServer(batch, _socket.Family, server);
        }
        foreach (var (place, (server, destinations)) in wanted)
        {
            var known = gone.GetValueOrDefault(place);
            if (known.Server is null) IpvsMessages.AddServer(batch, _socket.Family, server);
            // One that was there already, from an earlier run, may be another.
            if (known.Server != server) IpvsMessages.SetServer(batch, _socket.Family, server);
            foreach (var destination in destinations)
            {
                if (known.Destinations?.Contains(destination) == true) continue;
                IpvsMessages.AddDestination(batch, _socket.Family, server, new IpvsDestination(destination));
                // One that was on its way out is back.
                IpvsMessages.SetDestination(batch, _socket.Family, server, new IpvsDestination(destination));
            }
            foreach (var destination in known.Destinations ?? [])
            {
                if (!destinations.Contains(destination)) Leave(batch, server, new IpvsDestination(destination));
            }
        }
        LastBatchBytes += batch.Length;
        _socket.Execute(batch);
    }

    private static IEnumerable<IPAddress> AddressesOf(ServicePort port) => [port.ClusterIP, .. port.ExternalIPs, .. port.LoadBalancerIPs];

    // TCP connections may end by themselves: no new ones come, and the destination goes when it has none. Datagrams have no end to wait for.
    private void Leave(NetlinkBatch batch, IpvsServer server, IpvsDestination destination)
    {
        if (server.Protocol == Tcp) IpvsMessages.SetDestination(batch, _socket.Family, server, destination with { Weight = 0 });
        else IpvsMessages.DeleteDestination(batch, _socket.Family, server, destination);
    }

    // What is there is compared with what should be: others' changes, destinations that have ended, and what an earlier run left.
    private bool Reconcile(Dictionary<(byte, IPEndPoint), (IpvsServer Server, HashSet<IPEndPoint> Destinations)> wanted, bool removesUnknown)
    {
        using var batch = new NetlinkBatch();
        var present = _socket.ListServers().ToDictionary(static server => (server.Protocol, server.Address));
        foreach (var (place, server) in present)
        {
            if (removesUnknown && !wanted.ContainsKey(place) && IsOurs(server)) IpvsMessages.DeleteServer(batch, _socket.Family, server);
        }
        foreach (var (place, (server, destinations)) in wanted)
        {
            var known = present.GetValueOrDefault(place);
            if (known is null) IpvsMessages.AddServer(batch, _socket.Family, server);
            else if (known != server) IpvsMessages.SetServer(batch, _socket.Family, server);
            var there = known is null ? [] : _socket.ListDestinations(server).ToDictionary(static destination => destination.Address);
            foreach (var destination in destinations)
            {
                if (!there.TryGetValue(destination, out var found)) IpvsMessages.AddDestination(batch, _socket.Family, server, new IpvsDestination(destination));
                else if (found.Weight != 1) IpvsMessages.SetDestination(batch, _socket.Family, server, new IpvsDestination(destination));
            }
            foreach (var (address, found) in there)
            {
                if (destinations.Contains(address)) continue;
                if (found.Weight != 0) Leave(batch, server, found);
                else if (found.ActiveConnections == 0) IpvsMessages.DeleteDestination(batch, _socket.Family, server, found);
            }
        }
        if (batch.Count == 0) return false;
        _socket.Execute(batch);
        return true;
    }

    private bool IsOurs(IpvsServer server) => !Options.Proxy.Ipvs.ExcludedNetworks.Any(network => network.Contains(server.Address.Address));

    private void ApplySettings()
    {
        // Connections that a virtual server carries are to be masqueraded by rules, which need connection tracking; those to a destination that is gone end.
        Set("net/ipv4/vs/conntrack", "1");
        Set("net/ipv4/vs/conn_reuse_mode", "0");
        Set("net/ipv4/vs/expire_nodest_conn", "1");
        Set("net/ipv4/vs/expire_quiescent_template", "1");
        if (Options.Proxy.Ipvs.IsStrictArp)
        {
            Set("net/ipv4/conf/all/arp_ignore", "1");
            Set("net/ipv4/conf/all/arp_announce", "2");
        }
        var (tcp, fin, udp) = Options.Proxy.Ipvs.Timeouts;
        if (tcp + fin + udp == TimeSpan.Zero) return;
        using var batch = new NetlinkBatch();
        IpvsMessages.SetTimeouts(batch, _socket.Family, (uint)tcp.TotalSeconds, (uint)fin.TotalSeconds, (uint)udp.TotalSeconds);
        _socket.Execute(batch);
    }

    private void Set(string name, string value)
    {
        try
        {
            if (!Sysctl.TryWrite(name, value, Options.HostNamespace)) Log.SettingMissing(Logger, name);
        }
        catch (IOException refused)
        {
            Log.SettingRefused(Logger, refused.Message);
        }
    }
}
