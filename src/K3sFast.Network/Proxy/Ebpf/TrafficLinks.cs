using System.Net;
using K3sFast.Interop;
using K3sFast.Interop.Bpf;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.Proxy.Ebpf;

/// <summary>
/// Keeps the programs on the links that lead outside: those that have an address of the node, and are neither pods' nor ours. Filters of others on the same
/// links stay, and see packets after ours have.
/// </summary>
/// <remarks>One thread at a time.</remarks>
internal sealed class TrafficLinks(TrafficPrograms programs, Predicate<LinkInfo> isPods, ILogger logger)
{
    internal const string IngressName = "k3sfast-arriving", EgressName = "k3sfast-leaving";

    // A place of our own, rather before others than after them: who takes packets away takes them as they will be delivered.
    internal const ushort Priority = 13;

    private const int EthernetAddressLength = 6;

    private readonly HashSet<int> _attached = [];
    private readonly HashSet<int> _refused = [];
    private HashSet<int> _seen = [];

    /// <summary>Links that carry the programs now.</summary>
    internal IReadOnlySet<int> Attached => _attached;

    /// <summary>A link is gone; its number may come again.</summary>
    internal void Forget(int link)
    {
        _attached.Remove(link);
        _refused.Remove(link);
        _seen.Remove(link);
    }

    /// <summary>Puts the programs where they belong; true = something was missing.</summary>
    /// <param name="addresses">Addresses of the node.</param>
    /// <param name="isThorough">Looks at links that should have them too, for what others did, or for programs of an earlier run.</param>
    /// <exception cref="KernelException">Links could not be listed.</exception>
    internal bool Refresh(RouteSocket route, IReadOnlyList<AddressInfo> addresses, bool isThorough)
    {
        var outside = addresses.Where(static entry => !IPAddress.IsLoopback(entry.Address) && !entry.Address.IsIPv6LinkLocal).Select(static entry => entry.LinkIndex).ToHashSet();
        // Pods' links come and go with addresses that say nothing.
        if (!isThorough && outside.SetEquals(_seen)) return false;
        _seen = outside;
        var wanted = route.ListLinks().Where(link => outside.Contains(link.Index) && !link.IsLoopback && !NetworkCleanup.IsOurs(link) && !isPods(link)).ToDictionary(static link => link.Index);
        var isRepaired = false;
        foreach (var gone in _attached.Where(index => !wanted.ContainsKey(index)).ToList())
        {
            Detach(route, gone);
            Forget(gone);
        }
        foreach (var link in wanted.Values)
        {
            if (_attached.Contains(link.Index) && (!isThorough || IsComplete(route, link))) continue;
            isRepaired |= Attach(route, link);
        }
        return isRepaired;
    }

    /// <summary>Takes the programs off all links of a namespace; true = there were some.</summary>
    internal static bool Remove(NetworkNamespace? inside)
    {
        using var route = RouteSocket.Open(inside);
        var isRemoved = false;
        foreach (var link in route.ListLinks()) isRemoved |= Detach(route, link.Index);
        return isRemoved;
    }

    private bool Attach(RouteSocket route, LinkInfo link)
    {
        using var batch = new NetlinkBatch();
        var (ingress, egress) = ProgramsOf(link);
        batch.AddClassifier(link.Index);
        batch.ReplaceProgram(link.Index, isEgress: true, Priority, EgressName, egress);
        batch.ReplaceProgram(link.Index, isEgress: false, Priority, IngressName, ingress);
        try
        {
            route.Execute(batch);
            _refused.Remove(link.Index);
            if (_attached.Add(link.Index)) Log.TrafficLinkAttached(logger, link.Name);
            return true;
        }
        catch (KernelException refused)
        {
            // It may be gone by now; if it is not, the next look at everything tries again.
            if (refused.Errno != Errno.ENODEV && _refused.Add(link.Index)) Log.TrafficLinkRefused(logger, link.Name, refused);
            return false;
        }
    }

    private bool IsComplete(RouteSocket route, LinkInfo link)
    {
        var (ingress, egress) = ProgramsOf(link);
        var filters = route.ListFilters(link.Index);
        return filters.Contains(new FilterInfo(false, Priority, "bpf", IngressName, ingress.Id)) && filters.Contains(new FilterInfo(true, Priority, "bpf", EgressName, egress.Id));
    }

    private (BpfProgram Ingress, BpfProgram Egress) ProgramsOf(LinkInfo link) =>
        programs.For(link.Address.GetAddressBytes().Length == EthernetAddressLength ? TrafficSettings.Ethernet : 0);

    // The classifier goes with the last filter: an empty one does nothing for anybody.
    private static bool Detach(RouteSocket route, int link)
    {
        var filters = route.ListFilters(link);
        var ours = filters.Where(static filter => filter.Name is IngressName or EgressName).ToList();
        if (ours.Count == 0) return false;
        using var batch = new NetlinkBatch();
        if (ours.Count == filters.Count) batch.DeleteClassifier(link);
        else
        {
            foreach (var filter in ours) batch.DeleteProgram(link, filter.IsEgress, filter.Priority);
        }
        try
        {
            route.Execute(batch);
        }
        catch (KernelException gone) when (gone.Errno is Errno.ENODEV or Errno.EINVAL)
        {
            // The link went meanwhile.
        }
        return true;
    }
}
