namespace K3sFast.Network.Proxy.Ebpf;

/// <summary>The endpoints that a service port's connections are spread over, each in a slot. A change moves as few of them as can be.</summary>
internal sealed class SocketPool(ulong number, bool isDatagram)
{
    private readonly List<SocketEndpoint> _slots = [];
    private List<SocketEndpoint> _lingering = [];

    /// <summary>Its number.</summary>
    internal ulong Number => number;

    /// <summary>Endpoints by slot.</summary>
    internal IReadOnlyList<SocketEndpoint> Slots => _slots;

    /// <summary>Endpoints that flows may stay with, though nothing new goes there.</summary>
    internal IReadOnlyList<SocketEndpoint> Lingering => _lingering;

    /// <summary>Its endpoints are noted as members too: clients stay with them.</summary>
    internal bool HasMembers { get; private set; }

    /// <summary>Notes its endpoints as members, or takes the notes back.</summary>
    internal void SetMembership(bool hasMembers, SocketChanges changes)
    {
        if (HasMembers == hasMembers) return;
        HasMembers = hasMembers;
        foreach (var endpoint in _slots)
        {
            if (hasMembers) changes.Members.Add(new(new MemberKey(number, endpoint), MemberKey.Usable));
            else changes.GoneMembers.Add(new MemberKey(number, endpoint));
        }
    }

    /// <summary>Takes these endpoints: what is new goes where something went, what is left over to the end; holes are filled from the end.</summary>
    /// <param name="wanted">Endpoints that take connections.</param>
    /// <param name="serving">Endpoints that answer, those among them; counts for datagrams only.</param>
    /// <param name="changes">Where to add what has to be written.</param>
    internal void Set(IReadOnlyList<SocketEndpoint> wanted, IReadOnlyList<SocketEndpoint> serving, SocketChanges changes)
    {
        var missing = new HashSet<SocketEndpoint>(wanted);
        Linger(missing, serving, changes);
        var holes = new List<int>();
        for (var i = 0; i < _slots.Count; i++)
        {
            if (missing.Remove(_slots[i])) continue;
            holes.Add(i);
            if (!_lingering.Contains(_slots[i])) Forget(_slots[i], changes);
        }
        var filled = 0;
        // In the wanted order, which is the same on every run.
        foreach (var endpoint in wanted)
        {
            if (!missing.Remove(endpoint)) continue;
            if (HasMembers) changes.Members.Add(new(new MemberKey(number, endpoint), MemberKey.Usable));
            if (filled < holes.Count) Put(holes[filled++], endpoint, changes);
            else Put(_slots.Count, endpoint, changes);
        }
        for (var i = holes.Count - 1; i >= filled; i--)
        {
            var last = _slots.Count - 1;
            if (holes[i] != last) Put(holes[i], _slots[last], changes);
            _slots.RemoveAt(last);
            changes.GoneSlots.Add(new SlotKey(number, (uint)last));
        }
    }

    private void Linger(HashSet<SocketEndpoint> wanted, IReadOnlyList<SocketEndpoint> serving, SocketChanges changes)
    {
        if (!isDatagram) return;
        var before = _lingering;
        _lingering = [];
        foreach (var endpoint in serving)
        {
            if (wanted.Contains(endpoint)) continue;
            _lingering.Add(endpoint);
            if (!before.Contains(endpoint)) changes.Members.Add(new(new MemberKey(number, endpoint), MemberKey.Lingering));
        }
        foreach (var endpoint in before)
        {
            if (!wanted.Contains(endpoint) && !_lingering.Contains(endpoint)) Forget(endpoint, changes);
        }
    }

    private void Forget(SocketEndpoint endpoint, SocketChanges changes)
    {
        if (HasMembers) changes.GoneMembers.Add(new MemberKey(number, endpoint));
        if (isDatagram) changes.GoneDatagram.Add(endpoint);
    }

    private void Put(int slot, SocketEndpoint endpoint, SocketChanges changes)
    {
        if (slot == _slots.Count) _slots.Add(endpoint);
        else _slots[slot] = endpoint;
        changes.Slots.Add(new(new SlotKey(number, (uint)slot), endpoint));
    }
}
