using System.Net;
using System.Net.Sockets;
using k8s.Models;
using K3sFast.Interop;
using K3sFast.Interop.Conntrack;
using K3sFast.Interop.NfTables;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.Proxy;

/// <summary>
/// Our rules in the kernel: one table per family, each made of a part that no Service has a say in and one part per Service. Given Services and
/// their slices, it works out and sends the difference.
/// </summary>
/// <remarks>One thread at a time (the proxy's loop). Every call is synchronous: some 100 microseconds for one Service's change.</remarks>
internal sealed class ProxyTables : IDisposable
{
    private readonly NetworkOptions _options;
    private readonly ConntrackTable _conntrack;
    private readonly StaleFlows _flows;
    private readonly List<Family> _families = [];

    internal ProxyTables(NetworkOptions options, ILogger logger)
    {
        _options = options;
        _conntrack = ConntrackTable.Open(options.HostNamespace);
        _flows = new StaleFlows(_conntrack, logger);
        foreach (var family in FamiliesOf(options))
        {
            var wanted = family == NftFamily.IPv6 ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork;
            IPNetwork? pods = options.ClusterCidrs.Where(network => network.BaseAddress.AddressFamily == wanted).Cast<IPNetwork?>().FirstOrDefault();
            _families.Add(new Family(new PacketSteps(family), new NftTable(family, BaseRules.TableName, options.HostNamespace), pods));
        }
    }

    /// <summary>Bytes of the transactions that the last change took.</summary>
    internal int LastBatchBytes { get; private set; }

    /// <summary>The families that have addresses in this cluster.</summary>
    internal static IEnumerable<NftFamily> FamiliesOf(NetworkOptions options)
    {
        var networks = options.ClusterCidrs.Concat(options.ServiceCidrs).Select(network => network.BaseAddress.AddressFamily).ToHashSet();
        if (networks.Contains(AddressFamily.InterNetwork) || networks.Count == 0) yield return NftFamily.IPv4;
        if (networks.Contains(AddressFamily.InterNetworkV6)) yield return NftFamily.IPv6;
    }

    /// <summary>True if an earlier run left its rules: they carry Services until the first <see cref="Apply"/> replaces them at one instant.</summary>
    internal bool ExistsInKernel() => _families.TrueForAll(family => family.Table.Exists());

    /// <summary>Makes the rules of these Services what they should be; one without a Service is removed.</summary>
    /// <exception cref="KernelException">Refused; call <see cref="Verify"/> until it succeeds.</exception>
    internal void Apply(IReadOnlyList<(string Key, V1Service? Service, IReadOnlyList<V1EndpointSlice> Slices)> services)
    {
        LastBatchBytes = 0;
        foreach (var family in _families)
        {
            var changes = new List<KeyValuePair<string, NftFragment?>>(services.Count + 1);
            if (!family.HasBase) changes.Add(new(BaseRules.Owner, BaseRules.Build(family.Steps.Family, _options)));
            var destinations = new List<StaleFlows.Destination>();
            foreach (var (key, service, slices) in services)
            {
                var before = family.Ports.GetValueOrDefault(key) ?? [];
                var after = service is null ? [] : ServicePorts.Build(service, slices, family.Steps.Family, _options.NodeName);
                StaleFlows.Collect(before, after, destinations);
                if (after.Count > 0) family.Ports[key] = after;
                else family.Ports.Remove(key);
                if (before.Count > 0 || after.Count > 0) changes.Add(new(key, Fragment(family, after)));
            }
            family.HasBase = true;
            if (changes.Count > 0)
            {
                family.Table.Apply(changes);
                LastBatchBytes += family.Table.LastBatchBytes;
            }
            _flows.Forget(family.Steps.IsIPv6, destinations);
        }
    }

    /// <summary>Puts back what somebody else removed, or what a failed change left behind; true = something had to be.</summary>
    /// <exception cref="KernelException">Refused.</exception>
    internal bool Verify()
    {
        var isRepaired = false;
        foreach (var family in _families) isRepaired |= family.HasBase && family.Table.Verify();
        return isRepaired;
    }

    /// <summary>Closes the sockets; the rules stay.</summary>
    public void Dispose()
    {
        foreach (var family in _families) family.Table.Dispose();
        _conntrack.Dispose();
    }

    private NftFragment? Fragment(Family family, List<ServicePort> ports)
    {
        if (ports.Count == 0) return null;
        var fragment = new NftFragment();
        foreach (var port in ports) ServiceRules.Add(fragment, family.Steps, port, family.Pods, _options.NodeIPs);
        return fragment;
    }

    private sealed class Family(PacketSteps steps, NftTable table, IPNetwork? pods)
    {
        internal PacketSteps Steps { get; } = steps;
        internal NftTable Table { get; } = table;
        internal IPNetwork? Pods { get; } = pods;
        internal Dictionary<string, List<ServicePort>> Ports { get; } = [];
        internal bool HasBase { get; set; }
    }
}
