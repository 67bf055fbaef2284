using System.Net;
using System.Net.Sockets;

namespace K3sFast.Network.Proxy.Ebpf;

/// <summary>
/// What the maps of the programs should hold, and what a Service's change does to that. Whoever connects at a socket is a pod of this node or the node
/// itself, which all policies take for inside: of a Service's addresses only the cluster IP can be told to stay on this node. Who comes from outside finds
/// cluster IPs as they are for sockets, and all else by entries of its own.
/// </summary>
/// <param name="hasTraffic">Programs carry what comes from outside; false = rules do.</param>
/// <param name="nodeIPs">Addresses of this node.</param>
/// <remarks>One thread. A change costs by the size of its own Service.</remarks>
internal sealed class SocketState(bool hasTraffic = false, IReadOnlyList<IPAddress>? nodeIPs = null)
{
    private const byte Udp = 17, Sctp = 132;

    private readonly Dictionary<string, Part> _parts = [];
    private readonly FrontendClaims<SocketFrontend> _frontends = new();
    private readonly FrontendClaims<OutsideFrontend> _outside = new();

    /// <summary>Node ports that are open: without any, nobody need know the node's addresses.</summary>
    internal int NodePorts { get; private set; }

    /// <summary>Frontends that lead somewhere or refuse.</summary>
    internal int FrontendCount => _frontends.Count;

    /// <summary>
    /// True for what rules must decide too. Sockets of SCTP ask no program, and no program can mend SCTP's sum; of a pod that may not come in to a load
    /// balancer's address only its packets tell; no socket can be kept in silence; and who comes from outside for nobody is refused. Without programs for
    /// packets, all that comes from outside is theirs.
    /// </summary>
    internal static bool NeedsRules(ServicePort port, bool hasTraffic) => port.Protocol == Sctp || IsSilent(port)
        || (hasTraffic ? port.Endpoints.Count == 0 || (port.LoadBalancerIPs.Count > 0 && port.LoadBalancerSources.Count > 0) : port.HasExternal);

    /// <summary>Makes a Service what these ports say.</summary>
    /// <param name="owner">Family, namespace and name.</param>
    /// <param name="ports">All its ports in that family; none removes it.</param>
    /// <param name="changes">Where to add what has to be written.</param>
    internal void Set(string owner, IReadOnlyList<ServicePort> ports, SocketChanges changes)
    {
        var before = _parts.GetValueOrDefault(owner);
        var after = new Part();
        foreach (var port in ports) Add(owner, port, before, after, changes);
        if (before is not null)
        {
            foreach (var pool in before.Pools)
            {
                if (!after.Pools.Contains(pool)) pool.Set([], [], changes);
            }
            foreach (var key in before.Frontends)
            {
                if (!after.Frontends.Contains(key)) _frontends.Withdraw(key, owner, changes.Frontends);
            }
            foreach (var key in before.Outside)
            {
                if (!after.Outside.Contains(key)) _outside.Withdraw(key, owner, changes.Outside);
            }
            foreach (var key in before.Sources)
            {
                if (!after.Sources.Contains(key)) changes.Sources[key] = false;
            }
        }
        if (after.Pools.Count > 0) _parts[owner] = after;
        else _parts.Remove(owner);
        NodePorts += after.NodePorts - (before?.NodePorts ?? 0);
    }

    /// <summary>Everything that should be there for who comes from outside.</summary>
    internal (Dictionary<SocketEndpoint, OutsideFrontend> Frontends, HashSet<SourceKey> Sources) OutsideSnapshot() =>
        (_outside.Snapshot(), _parts.Values.SelectMany(static part => part.Sources).ToHashSet());

    /// <summary>Everything that should be there for sockets.</summary>
    internal (Dictionary<SocketEndpoint, SocketFrontend> Frontends, Dictionary<SlotKey, SocketEndpoint> Slots, Dictionary<MemberKey, byte> Members) Snapshot()
    {
        var (frontends, slots, members) = (_frontends.Snapshot(), new Dictionary<SlotKey, SocketEndpoint>(), new Dictionary<MemberKey, byte>());
        foreach (var part in _parts.Values)
        {
            foreach (var pool in part.Pools)
            {
                for (var i = 0; i < pool.Slots.Count; i++)
                {
                    slots[new SlotKey(pool.Number, (uint)i)] = pool.Slots[i];
                    if (pool.HasMembers) members[new MemberKey(pool.Number, pool.Slots[i])] = MemberKey.Usable;
                }
                foreach (var endpoint in pool.Lingering) members[new MemberKey(pool.Number, endpoint)] = MemberKey.Lingering;
            }
        }
        return (frontends, slots, members);
    }

    private void Add(string owner, ServicePort port, Part? before, Part after, SocketChanges changes)
    {
        if (port.Protocol == Sctp) return;
        var name = $"{owner}/{port.Protocol}/{port.Port}";
        var anywhere = port.IsInternalLocal && !port.HasExternal ? null : PoolOf(name, "", port, port.Endpoints, before, after, changes);
        var here = port.IsInternalLocal || (hasTraffic && port is { IsExternalLocal: true, HasExternal: true }) ? PoolOf(name, "/local", port, port.LocalEndpoints, before, after, changes) : null;
        var service = SocketNumbers.Of(name);
        void Offer(SocketEndpoint key, SocketPool pool)
        {
            after.Frontends.Add(key);
            _frontends.Announce(key, owner, new SocketFrontend(service, pool.Number, (uint)pool.Slots.Count, (uint)port.Affinity.TotalSeconds), changes.Frontends);
        }
        if (!IsSilent(port)) Offer(SocketEndpoint.Of(port.ClusterIP, port.Port, port.Protocol), port.IsInternalLocal ? here! : anywhere!);
        if (anywhere is null) return;
        if (hasTraffic && port.HasExternal) AddOutside(owner, port, service, anywhere, here, before, after, changes);
        foreach (var address in port.ExternalIPs) Offer(SocketEndpoint.Of(address, port.Port, port.Protocol), anywhere);
        if (port.LoadBalancerSources.Count == 0)
        {
            foreach (var address in port.LoadBalancerIPs) Offer(SocketEndpoint.Of(address, port.Port, port.Protocol), anywhere);
        }
        if (port.NodePort == 0) return;
        Offer(SocketEndpoint.OfNode(port.ClusterIP.AddressFamily == AddressFamily.InterNetworkV6, port.NodePort, port.Protocol), anywhere);
        after.NodePorts++;
    }

    private void AddOutside(
        string owner, ServicePort port, ulong service, SocketPool anywhere, SocketPool? here, Part? before, Part after, SocketChanges changes)
    {
        var pool = port.IsExternalLocal ? here! : anywhere;
        var flags = !port.IsExternalLocal ? OutsideFlags.Masquerades : anywhere.Slots.Count > 0 ? OutsideFlags.IsSilent : OutsideFlags.None;
        var value = new OutsideFrontend(
            service, pool.Number, anywhere.Number, (uint)pool.Slots.Count, (uint)anywhere.Slots.Count, (uint)port.Affinity.TotalSeconds, flags);
        void Offer(SocketEndpoint key, OutsideFlags more = OutsideFlags.None)
        {
            after.Outside.Add(key);
            _outside.Announce(key, owner, value with { Flags = flags | more }, changes.Outside);
        }
        foreach (var address in port.ExternalIPs) Offer(SocketEndpoint.Of(address, port.Port, port.Protocol));
        foreach (var address in port.LoadBalancerIPs)
            Offer(SocketEndpoint.Of(address, port.Port, port.Protocol), port.LoadBalancerSources.Count > 0 ? OutsideFlags.HasSources : OutsideFlags.None);
        if (port.LoadBalancerIPs.Count > 0 && port.LoadBalancerSources.Count > 0)
        {
            foreach (var source in port.LoadBalancerSources) Admit(source);
            // A node that may come in does so with the balancer's address as source, when the balancer gave it one.
            if (port.LoadBalancerSources.Any(source => (nodeIPs ?? []).Any(source.Contains)))
            {
                foreach (var address in port.LoadBalancerIPs) Admit(new IPNetwork(address, address.AddressFamily == AddressFamily.InterNetworkV6 ? 128 : 32));
            }
        }
        if (port.NodePort != 0) Offer(SocketEndpoint.OfNode(port.ClusterIP.AddressFamily == AddressFamily.InterNetworkV6, port.NodePort, port.Protocol));

        void Admit(IPNetwork source)
        {
            var key = SourceKey.Of(service, source);
            if (!after.Sources.Contains(key)) after.Sources.Add(key);
            if (before is null || !before.Sources.Contains(key)) changes.Sources[key] = true;
        }
    }

    private static SocketPool PoolOf(
        string name, string kind, ServicePort port, IReadOnlyList<Endpoint> endpoints, Part? before, Part after, SocketChanges changes)
    {
        var number = SocketNumbers.Of(name + kind);
        var pool = before?.Pools.Find(pool => pool.Number == number) ?? new SocketPool(number, port.Protocol == Udp);
        // Datagrams of a socket stay with an endpoint as clients with affinity do.
        pool.SetMembership(port.Protocol == Udp || port.Affinity > TimeSpan.Zero, changes);
        pool.Set(Addresses(endpoints, port.Protocol), port.Protocol == Udp ? Addresses(port.ServingEndpoints, port.Protocol) : [], changes);
        after.Pools.Add(pool);
        return pool;
    }

    private static SocketEndpoint[] Addresses(IReadOnlyList<Endpoint> endpoints, byte protocol)
    {
        var addresses = new SocketEndpoint[endpoints.Count];
        for (var i = 0; i < addresses.Length; i++) addresses[i] = SocketEndpoint.Of(endpoints[i].Address, endpoints[i].Port, protocol);
        return addresses;
    }

    // "Not on this node" is silence: who asks tries on, as upstream has it.
    private static bool IsSilent(ServicePort port) => port.IsInternalLocal && port.LocalEndpoints.Count == 0 && port.Endpoints.Count > 0;

    private sealed class Part
    {
        internal List<SocketPool> Pools { get; } = [];
        internal List<SocketEndpoint> Frontends { get; } = [];
        internal List<SocketEndpoint> Outside { get; } = [];
        internal List<SourceKey> Sources { get; } = [];
        internal int NodePorts { get; set; }
    }
}
