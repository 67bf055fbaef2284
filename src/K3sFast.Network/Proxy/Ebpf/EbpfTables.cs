using System.Net;
using System.Net.Sockets;
using K3sFast.Interop.Bpf;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.Proxy.Ebpf;

/// <summary>
/// Services carried by programs: at the socket for who connects on this node, on the links that lead outside for who does from there. By rules what is left:
/// masquerading, refusals, SCTP (see <see cref="SocketState.NeedsRules"/>). A Service with endpoints needs none, as a rule.
/// </summary>
/// <remarks>One thread at a time (the proxy's loop).</remarks>
internal sealed class EbpfTables : ProxyTables
{
    // The longest entry, key and value; what a round writes is told in bytes of this.
    private const int EntryBytes = 60;

    // Below, the kernel's share for each processor leaves nothing; above, it takes a gigabyte.
    private const long MinConnectionEntries = 1024, MaxConnectionEntries = 8 * 1024 * 1024;

    private readonly SocketServices _sockets;
    private int _familiesToHear;

    /// <summary>Loads the programs; they carry nothing before the first changes of all families.</summary>
    /// <exception cref="EbpfUnavailableException">Not possible on this machine.</exception>
    internal EbpfTables(NetworkOptions options, ILogger logger) : base(options, logger)
    {
        try
        {
            var setup = new TrafficSetup(TrafficSettings.Of(options.Proxy), link => IsPods(options.Proxy, link));
            _sockets = new SocketServices(
                options.HostNamespace, options.Proxy.HasLocalhostNodePorts, HasNodePorts, logger, options.NodeIPs, setup, spec => Resize(options.Proxy, spec), () => Metrics);
            TellPods();
        }
        catch
        {
            base.Dispose();
            throw;
        }
        _familiesToHear = FamiliesOf(options).Count();
    }

    internal override string Name => "ebpf";

    private protected override bool HasSocketPrograms => true;

    private protected override bool HasMarkedPackets => HasTraffic;

    internal override bool ExistsInKernel() => _sockets.ExistsInKernel() && base.ExistsInKernel();

    internal override bool Verify()
    {
        var areSocketsRepaired = _familiesToHear == 0 && _sockets.Verify();
        return base.Verify() || areSocketsRepaired;
    }

    /// <summary>Minds pods that were there before: their namespaces are found by their addresses.</summary>
    internal void AdoptPods(IReadOnlySet<IPAddress> addresses) => _sockets.AdoptNamespaces(addresses);

    /// <summary>A pod came: where several nodes share a machine, its sockets are minded from now on.</summary>
    internal void AddPod(NetworkNamespace pod) => _sockets.AddNamespace(pod);

    /// <summary>A pod goes.</summary>
    internal void RemovePod(NetworkNamespace pod) => _sockets.RemoveNamespace(pod);

    /// <summary>Programs carry what comes from outside too; false = rules do.</summary>
    internal bool HasTraffic => _sockets.HasTraffic;

    /// <summary>Follows the node's addresses and links, and what the programs find; ends when cancelled.</summary>
    internal Task FollowAsync(CancellationToken cancellationToken) =>
        Task.WhenAll(_sockets.FollowAddressesAsync(cancellationToken), _sockets.Watch.RunAsync(Options.Proxy.SyncPeriod, cancellationToken));

    public override void Dispose()
    {
        _sockets.Dispose();
        base.Dispose();
    }

    private protected override void Write(PacketSteps steps, IReadOnlyList<ServiceChange> changes)
    {
        var rules = new List<ServiceChange>();
        foreach (var change in changes)
        {
            _sockets.Set((steps.IsIPv6 ? "6/" : "4/") + change.Key, change.After);
            if (change.Before.Any(NeedsRules) || change.After.Any(NeedsRules)) rules.Add(change with { After = [.. change.After.Where(NeedsRules)] });
        }
        // What an earlier run left is compared with what all families want.
        if (_familiesToHear > 0) _familiesToHear--;
        try
        {
            if (_familiesToHear == 0)
            {
                _sockets.Flush();
                LastBatchBytes += _sockets.LastEntries * EntryBytes;
            }
        }
        finally
        {
            base.Write(steps, rules);
        }
    }

    private protected override void OnNodeChanged()
    {
        base.OnNodeChanged();
        TellPods();
    }

    private bool NeedsRules(ServicePort port) => SocketState.NeedsRules(port, _sockets.HasTraffic);

    private void TellPods()
    {
        foreach (var family in (ReadOnlySpan<AddressFamily>)[AddressFamily.InterNetwork, AddressFamily.InterNetworkV6])
            _sockets.SetPods(family, LocalTraffic.NetworkOf(family, Options, Node.PodCidrs), Options.Proxy.IsMasqueradeAll);
    }

    // Pods behind links of others are this node's own, and none of them is outside.
    private static bool IsPods(ProxyOptions options, LinkInfo link) => options.LocalDetection switch
    {
        LocalDetection.BridgeInterface => link.Name == options.Interface,
        LocalDetection.InterfaceNamePrefix => link.Name.StartsWith(options.Interface, StringComparison.Ordinal),
        _ => false,
    };

    // As many connections as the kernel's own tracking is told to keep, two entries each.
    private static BpfMapSpec Resize(ProxyOptions options, BpfMapSpec spec) =>
        spec.Name == "connections" && options.ConntrackSettings.TryGetValue("net/netfilter/nf_conntrack_max", out var text) && long.TryParse(text, out var connections)
            ? spec with { MaxEntries = (uint)Math.Clamp(connections * 2, MinConnectionEntries, MaxConnectionEntries) }
            : spec;

    private bool HasNodePorts(IPAddress address)
    {
        if (Options.Proxy.IsNodePortPrimaryOnly) return Options.NodeIPs.DistinctBy(static own => own.AddressFamily).Contains(address);
        var networks = Options.Proxy.NodePortNetworks.Where(network => network.BaseAddress.AddressFamily == address.AddressFamily).ToList();
        return networks.Count == 0 || networks.Exists(network => network.Contains(address));
    }
}
