using System.Net;

namespace K3sFast.Network.Proxy.Ebpf;

/// <summary>
/// What the maps of the socket programs should hold, and what a Service's change does to that. Whoever connects is a pod of this node or the node
/// itself, which all policies take for inside: of a Service's addresses only the cluster IP can be told to stay on this node.
/// </summary>
/// <remarks>One thread. A change costs by the size of its own Service.</remarks>
internal sealed class SocketState
{
    private const byte Udp = 17, Sctp = 132;

    private readonly Dictionary<string, Part> _parts = [];
    private readonly Dictionary<SocketEndpoint, Claim> _frontends = [];

    /// <summary>Node ports that are open: without any, nobody need know the node's addresses.</summary>
    internal int NodePorts { get; private set; }

    /// <summary>Frontends that lead somewhere or refuse.</summary>
    internal int FrontendCount => _frontends.Count;

    /// <summary>
    /// True for what must be decided by packets too: sockets of SCTP ask no program, sources are known in packets only, and there is no way to
    /// keep silent at a socket. What comes from outside is decided there in any case.
    /// </summary>
    internal static bool NeedsPackets(ServicePort port) => port.HasExternal || port.Protocol == Sctp || IsSilent(port);

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
                if (!after.Frontends.Contains(key)) Withdraw(key, owner, changes);
            }
        }
        if (after.Pools.Count > 0) _parts[owner] = after;
        else _parts.Remove(owner);
        NodePorts += after.NodePorts - (before?.NodePorts ?? 0);
    }

    /// <summary>Everything that should be there.</summary>
    internal (Dictionary<SocketEndpoint, SocketFrontend> Frontends, Dictionary<SlotKey, SocketEndpoint> Slots, Dictionary<MemberKey, byte> Members) Snapshot()
    {
        var (frontends, slots, members) = (new Dictionary<SocketEndpoint, SocketFrontend>(_frontends.Count), new Dictionary<SlotKey, SocketEndpoint>(), new Dictionary<MemberKey, byte>());
        foreach (var (key, claim) in _frontends) frontends[key] = claim.Value;
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
        var here = port.IsInternalLocal ? PoolOf(name, "/local", port, port.LocalEndpoints, before, after, changes) : null;
        var service = SocketNumbers.Of(name);
        void Offer(SocketEndpoint key, SocketPool pool)
        {
            after.Frontends.Add(key);
            Announce(key, owner, new SocketFrontend(service, pool.Number, (uint)pool.Slots.Count, (uint)port.Affinity.TotalSeconds), changes);
        }
        if (!IsSilent(port)) Offer(SocketEndpoint.Of(port.ClusterIP, port.Port, port.Protocol), here ?? anywhere!);
        if (anywhere is null) return;
        foreach (var address in port.ExternalIPs) Offer(SocketEndpoint.Of(address, port.Port, port.Protocol), anywhere);
        if (port.LoadBalancerSources.Count == 0)
        {
            foreach (var address in port.LoadBalancerIPs) Offer(SocketEndpoint.Of(address, port.Port, port.Protocol), anywhere);
        }
        if (port.NodePort == 0) return;
        Offer(SocketEndpoint.OfNode(port.NodePort, port.Protocol), anywhere);
        after.NodePorts++;
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

    // Two Services may claim one external address: the first has it, the other waits for it to go.
    private void Announce(SocketEndpoint key, string owner, SocketFrontend value, SocketChanges changes)
    {
        if (!_frontends.TryGetValue(key, out var first))
        {
            _frontends[key] = new Claim(owner) { Value = value };
            changes.Frontends[key] = value;
            return;
        }
        var claim = first;
        while (claim.Owner != owner && claim.Next is not null) claim = claim.Next;
        if (claim.Owner != owner)
        {
            claim.Next = new Claim(owner) { Value = value };
            return;
        }
        var isSame = claim.Value == value;
        claim.Value = value;
        if (claim == first && !isSame) changes.Frontends[key] = value;
    }

    private void Withdraw(SocketEndpoint key, string owner, SocketChanges changes)
    {
        if (!_frontends.TryGetValue(key, out var first)) return;
        if (first.Owner == owner)
        {
            if (first.Next is { } next) _frontends[key] = next;
            else _frontends.Remove(key);
            changes.Frontends[key] = first.Next?.Value;
            return;
        }
        for (var claim = first; claim.Next is { } next; claim = next)
        {
            if (next.Owner != owner) continue;
            claim.Next = next.Next;
            return;
        }
    }

    private sealed class Claim(string owner)
    {
        internal string Owner { get; } = owner;
        internal SocketFrontend Value { get; set; }
        internal Claim? Next { get; set; }
    }

    private sealed class Part
    {
        internal List<SocketPool> Pools { get; } = [];
        internal List<SocketEndpoint> Frontends { get; } = [];
        internal int NodePorts { get; set; }
    }
}
