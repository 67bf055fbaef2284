using System.Net;
using BenchmarkDotNet.Attributes;
using K3sFast.Interop.NfTables;
using K3sFast.Network;
using K3sFast.Network.Proxy;

namespace K3sFast.Benchmarks.Network;

/// <summary>
/// One operation: one endpoint of one Service is exchanged, up to the bytes that the kernel would get (no syscall). <see cref="BatchBytes"/>,
/// printed at the end, must be the same whatever the number of Services. Operations per second = 10^9 / ns.
/// </summary>
public class EndpointUpdateBenchmarks
{
    private readonly PacketSteps _steps = new(NftFamily.IPv4);
    private NftTable _table = null!;
    private int _turn;

    /// <summary>Services beside the one that changes.</summary>
    [Params(10, 10_000)]
    public int Services { get; set; }

    private int BatchBytes { get; set; }

    /// <summary>Makes the table.</summary>
    [GlobalSetup]
    public void SetUp()
    {
        _table = new NftTable(NftFamily.IPv4, "benchmark");
        var root = new NftFragment();
        var key = NftType.Concat(NftType.IPv4Address, NftType.Protocol, NftType.Port);
        root.Sets.Add(new NftSet(BaseRules.ServicesMap, key, NftType.Verdict));
        for (var shard = 0u; shard < BaseRules.EndpointShards; shard++) root.Sets.Add(BaseRules.EndpointsMap(_steps, shard));
        root.Sets.Add(new NftSet(BaseRules.HairpinSet, NftType.Concat(NftType.IPv4Address, NftType.IPv4Address)));
        var parts = new List<KeyValuePair<string, NftFragment?>> { new("", root) };
        for (var i = 0; i < Services; i++) parts.Add(new($"default/service-{i}", Fragment(i, 3)));
        _table.Encode(parts);
    }

    /// <summary>The exchange.</summary>
    [Benchmark]
    public int ReplaceOneEndpoint() => BatchBytes = _table.Encode([new("default/service-5", Fragment(5, 3 + (++_turn & 1)))]);

    /// <summary>Prints the size.</summary>
    [GlobalCleanup]
    public void CleanUp()
    {
        Console.WriteLine($"// batch with {Services} services: {BatchBytes} bytes");
        _table.Dispose();
    }

    private readonly LocalTraffic _pods = new(new PacketSteps(NftFamily.IPv4), new NetworkOptions
    {
        NodeName = "node", NodeIPs = [], ClusterCidrs = [System.Net.IPNetwork.Parse("10.42.0.0/16")], ServiceCidrs = [], CniConfDir = "", CniBinDir = "",
    }, []);

    private NftFragment Fragment(int number, int lastEndpoint)
    {
        var fragment = new NftFragment();
        Endpoint Pod(int index) => new(new IPAddress([10, 42, 1, (byte)index]), 8080, IsLocal: false);
        ServiceRules.Add(fragment, _steps, new ServicePort
        {
            Namespace = "default", Name = $"service-{number:D5}", Protocol = 6, Port = 80,
            ClusterIP = new IPAddress([10, 43, (byte)(number >> 8), (byte)number]),
            Endpoints = [Pod(1), Pod(2), Pod(lastEndpoint)],
        }, _pods, []);
        return fragment;
    }
}
