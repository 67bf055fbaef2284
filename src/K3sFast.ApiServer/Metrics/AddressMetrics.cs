using System.Diagnostics;
using System.Net;
using K3sFast.Client;

namespace K3sFast.ApiServer;

/// <summary>The cluster addresses and node ports that Services have, under upstream's names.</summary>
internal sealed class AddressMetrics
{
    private const string Addresses = "kube_apiserver_clusterip_allocator_";
    private const string Ports = "kube_apiserver_nodeport_allocator_";

    // Prometheus' own bounds.
    private static readonly double[] s_seconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

    private readonly MetricFamily<Counter> _allocations, _errors;
    private readonly MetricFamily<Histogram> _durations;
    private readonly MetricFamily<Counter> _ports, _portErrors;

    internal AddressMetrics(MetricRegistry registry)
    {
        _allocations = registry.Counters(Addresses + "allocation_total", "[ALPHA] Number of Cluster IPs allocations", "cidr", "scope");
        _errors = registry.Counters(Addresses + "allocation_errors_total", "[ALPHA] Number of errors trying to allocate Cluster IPs", "cidr", "scope");
        _durations = registry.Histograms(Addresses + "allocation_duration_seconds", "[ALPHA] Duration in seconds to allocate a Cluster IP by ServiceCIDR", s_seconds, "cidr");
        _ports = registry.Counters(Ports + "allocation_total", "[ALPHA] Number of NodePort allocations", "scope");
        _portErrors = registry.Counters(Ports + "allocation_errors_total", "[ALPHA] Number of errors trying to allocate NodePort", "scope");
    }

    /// <summary>Registers what is counted when metrics are printed: how many addresses of each range, and how many ports, are taken and free.</summary>
    internal static void Follow(MetricRegistry registry, ServiceAddresses addresses, NodePorts ports)
    {
        void Ranges(string name, string help, Func<ulong, ulong, double> value) => registry.Collected(Addresses + name, "gauge", help, text =>
        {
            foreach (var (range, taken) in addresses.Usage())
                text.Sample(Addresses + name, $"cidr=\"{range.Network}\"", value(taken, range.Size));
        });
        Ranges("allocated_ips", "[ALPHA] Gauge measuring the number of allocated IPs for Services", static (taken, _) => taken);
        Ranges("available_ips", "[ALPHA] Gauge measuring the number of available IPs for Services", static (taken, size) => size - Math.Min(taken, size));
        registry.Collected(
            Ports + "allocated_ports", "gauge", "[ALPHA] Gauge measuring the number of allocated NodePorts for Services",
            text => text.Sample(Ports + "allocated_ports", "", ports.Taken));
        registry.Collected(
            Ports + "available_ports", "gauge", "[ALPHA] Gauge measuring the number of available NodePorts for Services",
            text => text.Sample(Ports + "available_ports", "", ports.Size - ports.Taken));
    }

    /// <summary>An address of the range was taken, one that was asked for or any.</summary>
    internal void Took(IPNetwork range, bool isAskedFor, long started)
    {
        _allocations.With(range.ToString(), Scope(isAskedFor)).Add();
        _durations.With(range.ToString()).Observe(Stopwatch.GetElapsedTime(started).TotalSeconds);
    }

    /// <summary>No address of the range could be had.</summary>
    internal void Failed(IPNetwork range, bool isAskedFor) => _errors.With(range.ToString(), Scope(isAskedFor)).Add();

    /// <summary>A node port was taken, or could not be.</summary>
    internal void Port(bool isTaken, bool isAskedFor) => (isTaken ? _ports : _portErrors).With(Scope(isAskedFor)).Add();

    private static string Scope(bool isAskedFor) => isAskedFor ? "static" : "dynamic";
}
