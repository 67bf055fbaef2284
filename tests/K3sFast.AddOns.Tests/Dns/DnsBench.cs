using k8s.Models;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.AddOns.Dns.Tests;

/// <summary>An engine with a Corefile over records that a test fills; questions are asked of it without a network.</summary>
internal sealed class DnsBench : IDisposable
{
    private readonly DnsConfig _config;
    private readonly Exchange _exchange = new(ushort.MaxValue);

    internal DnsBench(string corefile, Dictionary<string, string>? files = null, Dictionary<string, string>? custom = null)
    {
        Parts = NewParts(Records);
        _config = DnsConfigBuilder.Build(corefile, new CorefileFiles(files, custom), Parts, out var warnings);
        Warnings = warnings;
        Engine = Parts.Engine.Value = new DnsEngine(_config);
    }

    /// <summary>k3s' default, without the plugins that talk to others.</summary>
    internal static DnsBench Cluster(string more = "") => new($$"""
        .:53 {
            errors
            kubernetes cluster.local in-addr.arpa ip6.arpa {
              pods insecure
              fallthrough in-addr.arpa ip6.arpa
            }
            loadbalance
            {{more}}
        }
        """);

    internal ClusterRecords Records { get; } = new() { HasSynced = true };

    internal DnsParts Parts { get; }

    internal DnsEngine Engine { get; }

    internal DnsConfig Config => _config;

    internal IReadOnlyList<string> Warnings { get; }

    internal static DnsParts NewParts(ClusterRecords records) => new(
        new DnsOptions { NodeName = "node1", NodeIPs = [System.Net.IPAddress.Loopback], ClusterDns = [System.Net.IPAddress.Parse("10.43.0.10")] },
        records, new DnsMetrics(), new DnsEngineReference(), TimeProvider.System, NullLogger.Instance)
    {
        ResolvConf = new ResolvConf("/nonexistent"),
    };

    public void Dispose() => _config.Dispose();

    internal void Add(V1Service service, params V1EndpointSlice[] slices)
    {
        AddNamespace(service.Metadata.NamespaceProperty);
        Records.Replace(ServiceRecords.Key(service.Metadata.Name, service.Metadata.NamespaceProperty)!, ServiceRecords.Of(service, slices));
    }

    internal void Remove(string name, string @namespace = "default") => Records.Replace(ServiceRecords.Key(name, @namespace)!, null);

    internal void AddNamespace(string name, Dictionary<string, string>? labels = null) => Records.ReplaceNamespace(name, true, labels);

    internal DnsProbe.Answer Ask(string name, DnsType type) => Send(DnsProbe.Query(name, type, udpSize: 1232), isUdp: true);

    /// <summary>What is known at once.</summary>
    internal DnsProbe.Answer Send(byte[] query, bool isUdp, string client = "10.42.0.99")
    {
        Assert.Equal(Step.Answered, Raw(query, isUdp, client));
        return DnsProbe.Read(_exchange.Answer.Span);
    }

    /// <summary>What may have to be asked elsewhere.</summary>
    internal async Task<DnsProbe.Answer> AskAsync(string name, DnsType type, CancellationToken cancellationToken, string client = "10.42.0.99")
    {
        if (Raw(DnsProbe.Query(name, type, udpSize: 1232), true, client) == Step.Waiting) await Engine.CompleteAsync(_exchange, cancellationToken);
        return DnsProbe.Read(_exchange.Answer.Span);
    }

    internal Step Raw(byte[] query, bool isUdp, string client = "10.42.0.99", int port = 53)
    {
        query.CopyTo(_exchange.QueryBuffer);
        _exchange.SetClient(new System.Net.IPEndPoint(System.Net.IPAddress.Parse(client), 40000));
        return Engine.Answer(_exchange, query.Length, port, isUdp);
    }

    internal Exchange Exchange => _exchange;

    internal static V1Service Service(string name, string clusterIP, string? externalName = null, string @namespace = "default", params string[] more) => new()
    {
        Metadata = new V1ObjectMeta { Name = name, NamespaceProperty = @namespace },
        Spec = new V1ServiceSpec
        {
            Type = externalName is null ? "ClusterIP" : "ExternalName",
            ExternalName = externalName,
            ClusterIP = clusterIP,
            ClusterIPs = [clusterIP, .. more],
            Ports = [new V1ServicePort { Name = "http", Port = 80, Protocol = "TCP" }],
        },
    };

    internal static V1EndpointSlice Slice(string service, params (string Address, bool IsReady, string? Hostname)[] endpoints) => new()
    {
        Metadata = new V1ObjectMeta
        {
            Name = service + "-x", NamespaceProperty = "default", Labels = new Dictionary<string, string> { ["kubernetes.io/service-name"] = service },
        },
        AddressType = "IPv4",
        Ports = [new Discoveryv1EndpointPort { Name = "http", Port = 80, Protocol = "TCP" }],
        Endpoints = [.. endpoints.Select(e => new V1Endpoint
        {
            Addresses = [e.Address],
            Hostname = e.Hostname,
            Conditions = new V1EndpointConditions { Ready = e.IsReady },
        })],
    };
}
