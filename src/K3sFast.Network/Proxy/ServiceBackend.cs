using System.Diagnostics;
using System.Net.Sockets;
using System.Runtime.ExceptionServices;
using k8s.Models;
using K3sFast.Interop;
using K3sFast.Interop.Conntrack;
using K3sFast.Interop.NfTables;
using K3sFast.Network.Proxy.Ebpf;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.Proxy;

/// <summary>What became of a Service: its ports as they were and as they are to be, in one family. Both empty never occurs.</summary>
/// <param name="Key">Namespace and name.</param>
/// <param name="Before">What the back end was told last.</param>
/// <param name="After">What it is to make true.</param>
internal readonly record struct ServiceChange(string Key, IReadOnlyList<ServicePort> Before, IReadOnlyList<ServicePort> After);

/// <summary>
/// What carries Services. This part is the same for all: it reads Services and slices into service ports, knows what was told before, and lets UDP flows go
/// that a change made wrong. Who inherits brings the difference into the kernel.
/// </summary>
/// <remarks>One thread at a time (the proxy's loop).</remarks>
internal abstract class ServiceBackend : IDisposable
{
    private readonly ConntrackTable? _conntrack;
    private readonly StaleFlows? _flows;
    private readonly List<Family> _families = [];

    /// <param name="options">What the agent is told.</param>
    /// <param name="logger">Where it tells.</param>
    /// <param name="hasConntrack">False: no flow is the kernel's to forget.</param>
    private protected ServiceBackend(NetworkOptions options, ILogger logger, bool hasConntrack = true)
    {
        (Options, Logger) = (options, logger);
        if (hasConntrack) _flows = new StaleFlows(_conntrack = ConntrackTable.Open(options.HostNamespace), logger);
        foreach (var family in FamiliesOf(options)) _families.Add(new Family(new PacketSteps(family)));
    }

    /// <summary>What <c>/proxyMode</c> answers.</summary>
    internal abstract string Name { get; }

    /// <summary>Bytes that the last change took.</summary>
    internal int LastBatchBytes { get; private protected set; }

    /// <summary>What this node is; zone and pod networks may become known later.</summary>
    internal ProxyNode Node { get; private set; } = ProxyNode.Unknown;

    /// <summary>Where counts and times go; null = nowhere.</summary>
    internal ProxyMetrics? Metrics { get; init; }

    /// <summary>The families, as upstream names them.</summary>
    internal IEnumerable<string> FamilyNames => _families.Select(static family => family.Name);

    /// <summary>The socket programs are this back end's own.</summary>
    private protected virtual bool HasSocketPrograms => false;

    private protected NetworkOptions Options { get; }
    private protected ILogger Logger { get; }

    /// <summary>The families that have addresses in this cluster.</summary>
    internal static IEnumerable<NftFamily> FamiliesOf(NetworkOptions options)
    {
        var networks = options.ClusterCidrs.Concat(options.ServiceCidrs).Select(network => network.BaseAddress.AddressFamily).ToHashSet();
        if (networks.Contains(AddressFamily.InterNetwork) || networks.Count == 0) yield return NftFamily.IPv4;
        if (networks.Contains(AddressFamily.InterNetworkV6)) yield return NftFamily.IPv6;
    }

    /// <summary>Takes note of what this node is; true = every Service must be applied anew.</summary>
    internal bool Configure(ProxyNode node)
    {
        var isSame = Node.Zone == node.Zone && Node.PodCidrs.SequenceEqual(node.PodCidrs);
        Node = node;
        if (!isSame) OnNodeChanged();
        return !isSame;
    }

    /// <summary>Makes these Services what they should be; one without a Service is removed.</summary>
    /// <exception cref="KernelException">Refused; call <see cref="Verify"/> until it succeeds.</exception>
    internal void Apply(IReadOnlyList<(string Key, V1Service? Service, IReadOnlyList<V1EndpointSlice> Slices)> services)
    {
        LastBatchBytes = 0;
        ExceptionDispatchInfo? failure = null;
        foreach (var family in _families)
        {
            var started = Stopwatch.GetTimestamp();
            var changes = new List<ServiceChange>(services.Count);
            var destinations = new List<StaleFlows.Destination>();
            foreach (var (key, service, slices) in services)
            {
                var before = family.Ports.GetValueOrDefault(key) ?? [];
                var after = service is null ? [] : ServicePorts.Build(service, slices, family.Steps.Family, Options.NodeName, Node.Zone, Options.Proxy.AllowsExternalIPs);
                StaleFlows.Collect(before, after, destinations);
                family.Count(before, -1);
                family.Count(after, 1);
                if (after.Count > 0) family.Ports[key] = after;
                else family.Ports.Remove(key);
                if (before.Count > 0 || after.Count > 0) changes.Add(new ServiceChange(key, before, after));
            }
            try
            {
                Write(family.Steps, changes);
                Forget(family, destinations);
                Note(family, started, services.Count);
            }
            catch (KernelException refused)
            {
                // The other family's rules are not to wait for this one's.
                Metrics?.SyncFailed(family.Name);
                failure ??= ExceptionDispatchInfo.Capture(refused);
            }
        }
        failure?.Throw();
    }

    /// <summary>True if an earlier run left what carries Services: it does so until the first <see cref="Apply"/>.</summary>
    internal abstract bool ExistsInKernel();

    /// <summary>All that is known has been written: what another proxy mode left in the kernel may go.</summary>
    internal virtual void RemoveOthers()
    {
        if (!HasSocketPrograms && SocketServices.Remove(Options.HostNamespace)) Log.EbpfRemoved(Logger);
    }

    /// <summary>Puts back what somebody else removed, or what a failed change left behind; true = something had to be.</summary>
    /// <exception cref="KernelException">Refused.</exception>
    internal abstract bool Verify();

    /// <summary>Closes what is open; what carries Services stays in the kernel.</summary>
    public virtual void Dispose() => _conntrack?.Dispose();

    /// <summary>Brings a family's changes into the kernel. Called with no change as well: at the start, and when the node changed.</summary>
    /// <exception cref="KernelException">Refused.</exception>
    private protected abstract void Write(PacketSteps steps, IReadOnlyList<ServiceChange> changes);

    /// <summary>Zone or pod networks of the node are others now.</summary>
    private protected virtual void OnNodeChanged()
    {
    }

    private void Forget(Family family, List<StaleFlows.Destination> destinations)
    {
        if (destinations.Count == 0 || _flows is null) return;
        var started = Stopwatch.GetTimestamp();
        var count = _flows.Forget(family.Steps.IsIPv6, destinations);
        Metrics?.ForgetFlows.With(family.Name).Observe(Stopwatch.GetElapsedTime(started).TotalSeconds);
        Metrics?.ForgottenFlows.With(family.Name).Add(count);
    }

    private void Note(Family family, long started, int services)
    {
        if (Metrics is null) return;
        var seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
        Metrics.Sync.With(family.Name).Observe(seconds);
        (services == family.Ports.Count ? Metrics.FullSync : Metrics.PartialSync).With(family.Name).Observe(seconds);
        Metrics.LastSync.With(family.Name).Set(DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / 1000.0);
        Metrics.WithoutLocal.With(family.Name, "internal").Set(family.WithoutLocalInternal);
        Metrics.WithoutLocal.With(family.Name, "external").Set(family.WithoutLocalExternal);
    }

    private sealed class Family(PacketSteps steps)
    {
        internal PacketSteps Steps { get; } = steps;
        internal string Name { get; } = steps.IsIPv6 ? "IPv6" : "IPv4";
        internal Dictionary<string, List<ServicePort>> Ports { get; } = [];
        internal int WithoutLocalInternal { get; private set; }
        internal int WithoutLocalExternal { get; private set; }

        // Ports whose policy asks for an endpoint here that is not there.
        internal void Count(List<ServicePort> ports, int amount)
        {
            foreach (var port in ports)
            {
                if (port.Endpoints.Count == 0 || port.LocalEndpoints.Count > 0) continue;
                if (port.IsInternalLocal) WithoutLocalInternal += amount;
                if (port is { IsExternalLocal: true, HasExternal: true }) WithoutLocalExternal += amount;
            }
        }
    }
}
