using K3sFast.Interop.Netlink;

namespace K3sFast.Network.Overlay;

/// <summary>One thing that the kernel must know to reach a peer: a route, a neighbour, or a forwarding entry. Equal when it says the same.</summary>
internal abstract record KernelEntry
{
    /// <summary>What the kernel tells entries apart by: there is one of each key, and adding another replaces it.</summary>
    internal abstract string Key { get; }

    /// <summary>Asks for it to be there.</summary>
    internal abstract void Add(NetlinkBatch batch);

    /// <summary>Asks for it to be gone.</summary>
    internal abstract void Delete(NetlinkBatch batch);
}

/// <summary>A route to a peer's pods.</summary>
internal sealed record RouteEntry(RouteSpec Route) : KernelEntry
{
    internal override string Key => "route " + Route.Destination;

    internal override void Add(NetlinkBatch batch) => batch.ReplaceRoute(Route);

    internal override void Delete(NetlinkBatch batch) => batch.DeleteRoute(Route);
}

/// <summary>A peer's MAC behind an address, or its address behind a MAC.</summary>
internal sealed record NeighbourEntry(NeighbourSpec Neighbour) : KernelEntry
{
    internal override string Key => Neighbour.IsForwardingEntry ? "forward " + Neighbour.Address : "neighbour " + Neighbour.Destination;

    internal override void Add(NetlinkBatch batch) => batch.ReplaceNeighbour(Neighbour);

    internal override void Delete(NetlinkBatch batch) => batch.DeleteNeighbour(Neighbour);
}
