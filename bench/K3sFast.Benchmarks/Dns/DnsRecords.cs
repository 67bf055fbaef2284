using System.Net;
using K3sFast.AddOns.Dns;
using k8s.Models;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Benchmarks.Dns;

/// <summary>A cluster's names with k3s' own Corefile in front, without an API: what DNS is measured with.</summary>
internal static class DnsRecords
{
    // Nobody listens there: what is measured is never forwarded.
    private static readonly Dictionary<string, string> s_files = new() { ["NodeHosts"] = "192.0.2.11 node1\n" };

    internal static DnsParts Parts(int services)
    {
        var records = new ClusterRecords { HasSynced = true };
        records.ReplaceNamespace("default", isThere: true);
        for (var i = 0; i < services; i++)
        {
            var service = Service($"service-{i}", $"10.43.{i >> 8}.{i & 255}");
            records.Replace(ServiceRecords.Key(service.Metadata.Name, "default")!, ServiceRecords.Of(service, [Slice(i, 10)]));
        }
        var database = Service("database", "None");
        records.Replace(ServiceRecords.Key("database", "default")!, ServiceRecords.Of(database, [Slice(0, 3)]));
        var options = new DnsOptions { NodeName = "node1", NodeIPs = [IPAddress.Loopback], ClusterDns = [IPAddress.Parse("10.43.0.10")] };
        return new DnsParts(options, records, new DnsMetrics(), new DnsEngineReference(), TimeProvider.System, NullLogger.Instance)
        {
            ResolvConf = new ResolvConf("/nonexistent"),
        };
    }

    internal static DnsEngine Engine(DnsParts parts) =>
        parts.Engine.Value = new DnsEngine(DnsConfigBuilder.Build(DefaultCorefile.For("cluster.local"), new CorefileFiles(s_files, null), parts, out _));

    private static V1Service Service(string name, string address) => new()
    {
        Metadata = new V1ObjectMeta { Name = name, NamespaceProperty = "default" },
        Spec = new V1ServiceSpec { Type = "ClusterIP", ClusterIP = address, ClusterIPs = [address], Ports = [new V1ServicePort { Name = "http", Port = 80, Protocol = "TCP" }] },
    };

    private static V1EndpointSlice Slice(int service, int endpoints) => new()
    {
        Metadata = new V1ObjectMeta { Name = $"slice-{service}", NamespaceProperty = "default" },
        AddressType = "IPv4",
        Ports = [new Discoveryv1EndpointPort { Name = "http", Port = 8080, Protocol = "TCP" }],
        Endpoints = [.. Enumerable.Range(service * endpoints, endpoints).Select(static i => new V1Endpoint { Addresses = [$"10.{44 + (i >> 16)}.{(i >> 8) & 255}.{i & 255}"] })],
    };
}
