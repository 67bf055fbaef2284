using System.Buffers.Binary;
using System.Net;
using System.Text;
using BenchmarkDotNet.Attributes;
using K3sFast.AddOns.Dns;

namespace K3sFast.Benchmarks.Dns;

/// <summary>
/// One operation: one question through all plugins of k3s' Corefile, from its bytes to the answer's (no system call). 0 B is the budget.
/// Answers per second of a core that does nothing else = 10^9 / ns.
/// </summary>
public class DnsAnswerBenchmarks
{
    private readonly Exchange _exchange = new(1232);
    private DnsEngine _engine = null!;
    private byte[] _query = null!;

    /// <summary>Services beside those that are asked for, ten endpoints each.</summary>
    [Params(10, 10_000)]
    public int Services { get; set; }

    /// <summary>What is asked.</summary>
    [Params("A service-5", "AAAA service-5", "A nobody", "SRV _http._tcp.database", "PTR endpoint")]
    public string Question { get; set; } = "";

    /// <summary>Makes the records and the query.</summary>
    [GlobalSetup]
    public void SetUp()
    {
        _engine = DnsRecords.Engine(DnsRecords.Parts(Services));
        var (type, name) = Question.Split(' ') switch
        {
            ["PTR", _] => ((ushort)12, "5.0.44.10.in-addr.arpa"),
            ["SRV", var what] => ((ushort)33, what + ".default.svc.cluster.local"),
            ["AAAA", var what] => ((ushort)28, what + ".default.svc.cluster.local"),
            [_, var what] => ((ushort)1, what + ".default.svc.cluster.local"),
            _ => throw new InvalidOperationException(),
        };
        var query = new List<byte> { 0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0 };
        foreach (var label in name.Split('.')) query.AddRange([(byte)label.Length, .. Encoding.ASCII.GetBytes(label)]);
        query.AddRange([0, 0, 0, 0, 1]);
        _query = [.. query];
        BinaryPrimitives.WriteUInt16BigEndian(_query.AsSpan(_query.Length - 4), type);
        _exchange.SetClient(new IPEndPoint(IPAddress.Loopback, 40000));
        if (Answer() < 20) throw new InvalidOperationException("no answer");
    }

    /// <summary>The answer's size.</summary>
    [Benchmark]
    public int Answer()
    {
        _query.CopyTo(_exchange.QueryBuffer);
        return _engine.Answer(_exchange, _query.Length, 53, isUdp: true) == Step.Answered ? _exchange.Length : 0;
    }
}
