using System.Net;
using System.Net.Sockets;
using K3sFast.Interop;
using K3sFast.Interop.Netlink;
using K3sFast.Network.Proxy.Addresses;
using K3sFast.Network.Proxy.Ipvs;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.Proxy.Userspace;

/// <summary>
/// Carries Services without any help of the kernel's: their addresses are the node's own, sockets listen there, and this process carries what comes in to
/// an endpoint. For kernels that have neither nf_tables nor programs. Endpoints see the node as their client, and connections end with the process.
/// </summary>
internal sealed class RelayBackend : ServiceBackend
{
    private readonly ServiceAddresses _addresses;
    private readonly MasqueradeTables _masquerade;
    private readonly Dictionary<(byte Protocol, IPEndPoint Address), Relay> _relays = [];
    private readonly Dictionary<(bool IsIPv6, string Key), IReadOnlyList<ServicePort>> _services = [];
    private readonly List<Relay> _lingering = [];
    private List<IPAddress> _nodeAddresses = [];
    private readonly TimeProvider _time;
    private bool _isStarted;

    internal RelayBackend(NetworkOptions options, ILogger logger, TimeProvider? time = null) : base(options, logger, hasConntrack: false)
    {
        _time = time ?? TimeProvider.System;
        _addresses = new ServiceAddresses(options.HostNamespace);
        _masquerade = new MasqueradeTables(options, logger);
    }

    internal override string Name => "userspace";

    /// <summary>Sockets that are open.</summary>
    internal int RelayCount => _relays.Count;

    internal override bool ExistsInKernel() => false;

    internal override void RemoveOthers()
    {
        base.RemoveOthers();
        IpvsBackend.RemoveServers(Options.HostNamespace, Options.Proxy.Ipvs.ExcludedNetworks);
    }

    // Addresses that somebody took off, or that the node got meanwhile, and sockets that could not be opened before.
    internal override bool Verify()
    {
        foreach (var relay in _lingering.FindAll(static relay => relay.OpenCount == 0))
        {
            _addresses.Change([relay.Spec.Address.Address], []);
            _lingering.Remove(relay);
        }
        var isRepaired = _masquerade.Verify() | _addresses.Apply();
        var before = _relays.Count;
        _nodeAddresses = _addresses.NodePortAddresses(Options);
        var wanted = new Dictionary<(byte, IPEndPoint), RelaySpec>();
        foreach (var ports in _services.Values) Collect(ports, wanted);
        foreach (var place in _relays.Keys.Where(place => !wanted.ContainsKey(place)).ToList()) Close(place);
        foreach (var spec in wanted.Values) Open(spec);
        return isRepaired || _relays.Count != before;
    }

    public override void Dispose()
    {
        foreach (var relay in _relays.Values) relay.Dispose();
        _addresses.Dispose();
        _masquerade.Dispose();
        base.Dispose();
    }

    private protected override void Write(PacketSteps steps, IReadOnlyList<ServiceChange> changes)
    {
        var (gone, wanted) = (new Dictionary<(byte, IPEndPoint), RelaySpec>(), new Dictionary<(byte, IPEndPoint), RelaySpec>());
        if (!_isStarted) _masquerade.Apply();
        _isStarted = true;
        if (_nodeAddresses.Count == 0) _nodeAddresses = _addresses.NodePortAddresses(Options);
        foreach (var (key, before, after) in changes)
        {
            Collect(before, gone);
            Collect(after, wanted);
            if (after.Count > 0) _services[(steps.IsIPv6, key)] = after;
            else _services.Remove((steps.IsIPv6, key));
        }
        foreach (var place in gone.Keys)
        {
            if (!wanted.ContainsKey(place)) Close(place);
        }
        // Connections that are open keep their address: closing counted them.
        foreach (var (_, before, after) in changes) _addresses.Change(before.SelectMany(AddressesOf), after.SelectMany(AddressesOf));
        _addresses.Apply();
        foreach (var spec in wanted.Values) Open(spec);
    }

    private static IEnumerable<IPAddress> AddressesOf(ServicePort port) => [port.ClusterIP, .. port.ExternalIPs, .. port.LoadBalancerIPs];

    // The first Service that names a place has it.
    private void Collect(IReadOnlyList<ServicePort> ports, Dictionary<(byte, IPEndPoint), RelaySpec> specs)
    {
        foreach (var spec in ports.SelectMany(port => RelaySpec.Of(port, _nodeAddresses, Options.NodeIPs))) specs.TryAdd((spec.Protocol, spec.Address), spec);
    }

    private void Open(RelaySpec spec)
    {
        var place = (spec.Protocol, spec.Address);
        if (_relays.TryGetValue(place, out var known))
        {
            if (known.Spec != spec) known.Update(spec);
            return;
        }
        try
        {
            _relays[place] = Relay.Open(Options.HostNamespace, spec, IsInside, _time);
        }
        catch (SocketException failure)
        {
            // Tried again when the rules are looked at next.
            Log.RelayFailed(Logger, spec.Service, spec.Address.ToString(), failure.Message);
        }
    }

    private void Close((byte, IPEndPoint) place)
    {
        if (!_relays.Remove(place, out var relay)) return;
        relay.Dispose();
        if (relay.OpenCount == 0) return;
        _addresses.Change([], [relay.Spec.Address.Address]);
        _lingering.Add(relay);
    }

    // Pods, and the node itself: a policy that keeps traffic on its node is for who comes from outside.
    private bool IsInside(IPAddress client)
    {
        if (client.IsIPv4MappedToIPv6) client = client.MapToIPv4();
        return IPAddress.IsLoopback(client) || Options.NodeIPs.Contains(client) || _nodeAddresses.Contains(client)
            || (Options.Proxy.ClusterCidrs ?? Options.ClusterCidrs).Any(network => network.Contains(client)) || Node.PodCidrs.Any(network => network.Contains(client));
    }
}
