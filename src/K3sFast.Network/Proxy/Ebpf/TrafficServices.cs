using System.Net;
using System.Net.Sockets;
using K3sFast.Interop.Bpf;
using K3sFast.Interop.Netlink;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.Proxy.Ebpf;

/// <summary>How programs are to carry what comes from outside.</summary>
/// <param name="Settings">Times and the masquerade mark.</param>
/// <param name="IsPods">True for links that pods are behind, whoever made them.</param>
internal sealed record TrafficSetup(TrafficSettings Settings, Predicate<LinkInfo> IsPods);

/// <summary>Services for who comes from outside: fills the maps of the programs for packets, and keeps those on the links.</summary>
/// <remarks>One thread at a time.</remarks>
internal sealed class TrafficServices(ProgramMaps maps, TrafficPrograms programs, TrafficLinks links, TrafficSettings settings) : IDisposable
{
    // Their numbers in pod_networks.
    private const uint IPv4 = 0, IPv6 = 1;

    internal TrafficSettings Settings => settings;
    internal BpfMap Connections => programs.Connections;

    /// <summary>Loads the programs.</summary>
    /// <exception cref="Interop.KernelException">Not possible on this machine.</exception>
    internal static TrafficServices Load(ProgramMaps maps, TrafficSetup setup, ILogger logger)
    {
        var programs = TrafficPrograms.Load(maps, setup.Settings);
        return new TrafficServices(maps, programs, new TrafficLinks(programs, setup.IsPods, logger), setup.Settings);
    }

    /// <summary>Who is a pod in a family: nobody needs to speak for him.</summary>
    internal void SetPods(AddressFamily family, IPNetwork? network, bool masqueradesAll) =>
        programs.PodNetworks.Set<uint, PodRange>([family == AddressFamily.InterNetworkV6 ? IPv6 : IPv4], [PodRange.Of(network, masqueradesAll)]);

    /// <summary>Lets the programs work on all links that lead outside, or puts them in the place of those of an earlier run. The maps must be filled, and pinned.</summary>
    internal void Attach(RouteSocket route, IReadOnlyList<AddressInfo> addresses)
    {
        maps.TakeOver<TrafficFlow, TrafficTranslation>(Connections.Spec.Name);
        links.Refresh(route, addresses, isThorough: true);
        // Those that began in the meantime.
        maps.TakeOver<TrafficFlow, TrafficTranslation>(Connections.Spec.Name);
    }

    /// <summary>Follows links and addresses; true = something was missing.</summary>
    internal bool Refresh(RouteSocket route, IReadOnlyList<AddressInfo> addresses, bool isThorough) => links.Refresh(route, addresses, isThorough);

    /// <summary>A link is gone.</summary>
    internal void Forget(int link) => links.Forget(link);

    /// <summary>Writes what is new or another now.</summary>
    internal void Write(SocketChanges changes, MapRoom room)
    {
        room.Set(programs.Sources, [.. changes.Sources.Where(static pair => pair.Value).Select(static pair => new KeyValuePair<SourceKey, byte>(pair.Key, 1))]);
        room.Set(programs.Frontends, [.. changes.Outside.Where(static pair => pair.Value is not null).Select(static pair => new KeyValuePair<SocketEndpoint, OutsideFrontend>(pair.Key, pair.Value!.Value))]);
    }

    /// <summary>Removes what is not to be there.</summary>
    internal void Remove(SocketChanges changes)
    {
        programs.Frontends.Delete<SocketEndpoint>([.. changes.Outside.Where(static pair => pair.Value is null).Select(static pair => pair.Key)]);
        programs.Sources.Delete<SourceKey>([.. changes.Sources.Where(static pair => !pair.Value).Select(static pair => pair.Key)]);
    }

    /// <summary>Adds what has to be written to make the maps what they should be.</summary>
    internal void Compare(SocketState state, SocketChanges changes)
    {
        var (frontends, sources) = state.OutsideSnapshot();
        foreach (var (key, value) in programs.Frontends.ReadAll<SocketEndpoint, OutsideFrontend>())
        {
            if (!frontends.TryGetValue(key, out var wanted)) changes.Outside[key] = null;
            else if (wanted == value) frontends.Remove(key);
        }
        foreach (var (key, value) in frontends) changes.Outside[key] = value;
        foreach (var key in programs.Sources.ReadKeys<SourceKey>())
        {
            if (!sources.Remove(key)) changes.Sources[key] = false;
        }
        foreach (var key in sources) changes.Sources[key] = true;
    }

    /// <summary>Closes what is open; the programs go on.</summary>
    public void Dispose() => programs.Dispose();
}
