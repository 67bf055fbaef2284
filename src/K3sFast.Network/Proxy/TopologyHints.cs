namespace K3sFast.Network.Proxy;

/// <summary>
/// Which endpoints traffic distribution and topology hints leave to this node: those meant for the node itself if all ready ones say whom they are
/// for and one says us, else likewise for its zone, else all. Pure.
/// </summary>
internal static class TopologyHints
{
    /// <summary>What hints say of one endpoint.</summary>
    [Flags]
    internal enum Hints
    {
        None = 0,
        HasNode = 1,
        ForThisNode = 2,
        HasZone = 4,
        ForThisZone = 8,
    }

    /// <summary>The ready endpoints that this node uses.</summary>
    internal static List<Endpoint> Filter(List<Endpoint> ready)
    {
        var all = Hints.HasNode | Hints.HasZone;
        var any = Hints.None;
        foreach (var endpoint in ready)
        {
            all &= endpoint.Hints;
            any |= endpoint.Hints;
        }
        if ((all & Hints.HasNode) != 0 && (any & Hints.ForThisNode) != 0) return ready.FindAll(static endpoint => (endpoint.Hints & Hints.ForThisNode) != 0);
        if ((all & Hints.HasZone) != 0 && (any & Hints.ForThisZone) != 0) return ready.FindAll(static endpoint => (endpoint.Hints & Hints.ForThisZone) != 0);
        return ready;
    }

    /// <summary>Reads an endpoint's hints; a zone that is "" is nobody's.</summary>
    internal static Hints Read(k8s.Models.V1EndpointHints? hints, string nodeName, string zone)
    {
        var read = Hints.None;
        foreach (var node in hints?.ForNodes ?? [])
        {
            read |= Hints.HasNode;
            if (node.Name == nodeName) read |= Hints.ForThisNode;
        }
        foreach (var other in hints?.ForZones ?? [])
        {
            read |= Hints.HasZone;
            if (zone.Length > 0 && other.Name == zone) read |= Hints.ForThisZone;
        }
        return read;
    }
}
