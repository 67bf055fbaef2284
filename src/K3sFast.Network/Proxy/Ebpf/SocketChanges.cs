namespace K3sFast.Network.Proxy.Ebpf;

/// <summary>
/// What a round of changes does to the maps. Applied in the order of <see cref="Members"/>, <see cref="Slots"/>, <see cref="Sources"/>, <see cref="Outside"/>,
/// <see cref="Frontends"/>, then what goes, the other way round.
/// </summary>
internal sealed class SocketChanges
{
    /// <summary>Endpoints that can be stayed with: <see cref="MemberKey.Usable"/> or <see cref="MemberKey.Lingering"/>.</summary>
    internal List<KeyValuePair<MemberKey, byte>> Members { get; } = [];

    /// <summary>Endpoints to choose from.</summary>
    internal List<KeyValuePair<SlotKey, SocketEndpoint>> Slots { get; } = [];

    /// <summary>Where services are reached; null = there no longer.</summary>
    internal Dictionary<SocketEndpoint, SocketFrontend?> Frontends { get; } = [];

    /// <summary>Where services are reached from outside; null = there no longer.</summary>
    internal Dictionary<SocketEndpoint, OutsideFrontend?> Outside { get; } = [];

    /// <summary>Who may come in from outside; false = no longer.</summary>
    internal Dictionary<SourceKey, bool> Sources { get; } = [];

    /// <summary>Slots behind a pool's new end.</summary>
    internal List<SlotKey> GoneSlots { get; } = [];

    /// <summary>Endpoints that nobody may stay with.</summary>
    internal List<MemberKey> GoneMembers { get; } = [];

    /// <summary>Of those, the ones that UDP sockets may be connected to.</summary>
    internal HashSet<SocketEndpoint> GoneDatagram { get; } = [];

    /// <summary>Entries that are written or deleted.</summary>
    internal int Count => Members.Count + Slots.Count + Frontends.Count + Outside.Count + Sources.Count + GoneSlots.Count + GoneMembers.Count;

    /// <summary>Forgets all.</summary>
    internal void Clear()
    {
        Members.Clear();
        Slots.Clear();
        Frontends.Clear();
        Outside.Clear();
        Sources.Clear();
        GoneSlots.Clear();
        GoneMembers.Clear();
        GoneDatagram.Clear();
    }
}
