using System.Net;
using K3sFast.Interop;
using K3sFast.Interop.Namespaces;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.Proxy.Ebpf;

/// <summary>
/// Services carried by programs at the socket, and by rules what no socket of this node asks for: connections from outside, SCTP, and what only packets
/// can be told (see <see cref="SocketState.NeedsPackets"/>). A Service that has only a cluster IP needs no rule.
/// </summary>
/// <remarks>One thread at a time (the proxy's loop).</remarks>
internal sealed class EbpfTables : ProxyTables
{
    // The longest entry, key and value; what a round writes is told in bytes of this.
    private const int EntryBytes = 48;

    private readonly SocketServices _sockets;
    private int _familiesToHear;

    /// <summary>Loads the programs; they carry nothing before the first changes of all families.</summary>
    /// <exception cref="EbpfUnavailableException">Not possible on this machine.</exception>
    internal EbpfTables(NetworkOptions options, ILogger logger) : base(options, logger)
    {
        try
        {
            _sockets = new SocketServices(options.HostNamespace, options.Proxy.HasLocalhostNodePorts, HasNodePorts, logger);
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

    /// <summary>Follows the node's addresses, which node ports answer on; ends when cancelled.</summary>
    internal Task FollowAddressesAsync(CancellationToken cancellationToken) => _sockets.FollowAddressesAsync(cancellationToken);

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
            if (change.Before.Any(SocketState.NeedsPackets) || change.After.Any(SocketState.NeedsPackets))
                rules.Add(change with { After = [.. change.After.Where(SocketState.NeedsPackets)] });
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

    private bool HasNodePorts(IPAddress address)
    {
        if (Options.Proxy.IsNodePortPrimaryOnly) return Options.NodeIPs.DistinctBy(static own => own.AddressFamily).Contains(address);
        var networks = Options.Proxy.NodePortNetworks.Where(network => network.BaseAddress.AddressFamily == address.AddressFamily).ToList();
        return networks.Count == 0 || networks.Exists(network => network.Contains(address));
    }
}
