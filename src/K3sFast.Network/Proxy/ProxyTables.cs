using K3sFast.Interop;
using K3sFast.Interop.NfTables;
using K3sFast.Network.Proxy.Addresses;
using K3sFast.Network.Proxy.Ipvs;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.Proxy;

/// <summary>
/// Our rules in the kernel: one table per family, each made of a part that no Service has a say in and one part per Service. Sends the difference.
/// </summary>
/// <remarks>One thread at a time (the proxy's loop). Every call is synchronous: some 100 microseconds for one Service's change.</remarks>
internal class ProxyTables : ServiceBackend
{
    private readonly List<Family> _families = [];

    internal ProxyTables(NetworkOptions options, ILogger logger) : base(options, logger)
    {
        foreach (var family in FamiliesOf(options))
        {
            var steps = new PacketSteps(family);
            _families.Add(new Family(steps, new NftTable(family, BaseRules.TableName, options.HostNamespace), new LocalTraffic(steps, options, [])));
        }
    }

    internal override string Name => "nftables";

    /// <summary>Programs mark what is to be masqueraded.</summary>
    private protected virtual bool HasMarkedPackets => false;

    /// <summary>True if an earlier run left its rules: they carry Services until the first change replaces them at one instant.</summary>
    internal override bool ExistsInKernel() => _families.TrueForAll(family => family.Table.Exists());

    internal override void RemoveOthers()
    {
        base.RemoveOthers();
        using var addresses = new ServiceAddresses(Options.HostNamespace);
        if (!addresses.Remove()) return;
        IpvsBackend.RemoveServers(Options.HostNamespace, Options.Proxy.Ipvs.ExcludedNetworks);
        Log.ServiceAddressesRemoved(Logger, ServiceAddresses.LinkName);
    }

    internal override bool Verify()
    {
        var isRepaired = false;
        foreach (var family in _families) isRepaired |= family.HasBase && family.Table.Verify();
        return isRepaired;
    }

    public override void Dispose()
    {
        foreach (var family in _families) family.Table.Dispose();
        base.Dispose();
    }

    private protected override void OnNodeChanged()
    {
        foreach (var family in _families)
        {
            family.Pods = new LocalTraffic(family.Steps, Options, Node.PodCidrs);
            family.HasBase = false;
        }
    }

    private protected override void Write(PacketSteps steps, IReadOnlyList<ServiceChange> changes)
    {
        var family = _families.Find(other => other.Steps == steps)!;
        var fragments = new List<KeyValuePair<string, NftFragment?>>(changes.Count + 1);
        if (!family.HasBase) fragments.Add(new(BaseRules.Owner, BaseRules.Build(steps.Family, Options, Node.PodCidrs, HasMarkedPackets)));
        foreach (var (key, _, after) in changes) fragments.Add(new(key, Fragment(family, after)));
        family.HasBase = true;
        if (fragments.Count == 0) return;
        family.Table.Apply(fragments);
        LastBatchBytes += family.Table.LastBatchBytes;
    }

    private NftFragment? Fragment(Family family, IReadOnlyList<ServicePort> ports)
    {
        if (ports.Count == 0) return null;
        var fragment = new NftFragment();
        foreach (var port in ports) ServiceRules.Add(fragment, family.Steps, port, family.Pods, Options.NodeIPs);
        return fragment;
    }

    private sealed class Family(PacketSteps steps, NftTable table, LocalTraffic pods)
    {
        internal PacketSteps Steps { get; } = steps;
        internal NftTable Table { get; } = table;
        internal LocalTraffic Pods { get; set; } = pods;
        internal bool HasBase { get; set; }
    }
}
