using k8s.Models;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.AddOns.Dns.Tests;

public sealed class ClusterZoneTests
{
    private readonly ClusterZone _zone = new("cluster.local");

    [Fact]
    public void ClusterIPService_A_AnswersItsAddress()
    {
        Add(Service("web", "10.43.0.5"));
        var answer = Ask("Web.Default.svc.CLUSTER.local", DnsType.A);
        Assert.Equal(["10.43.0.5"], answer.Data(DnsType.A));
        Assert.True(answer.IsAuthoritative);
        Assert.Equal(0x1234, answer.Id);
        Assert.Equal(5u, answer.Records[0].Ttl);
    }

    [Fact]
    public void ClusterIPService_AaaaOfSingleStack_IsNoDataWithSoa()
    {
        Add(Service("web", "10.43.0.5"));
        var answer = Ask("web.default.svc.cluster.local", DnsType.Aaaa);
        Assert.Equal(DnsCode.NoError, answer.Code);
        Assert.Contains(answer.Records, r => r is { Section: 1, Type: DnsType.Soa, Owner: "cluster.local." });
    }

    [Fact]
    public void NamedPort_Srv_LeadsToTheService()
    {
        Add(Service("web", "10.43.0.5"));
        var answer = Ask("_http._tcp.web.default.svc.cluster.local", DnsType.Srv);
        Assert.Equal(["0 100 80 web.default.svc.cluster.local."], answer.Data(DnsType.Srv));
        Assert.Contains(answer.Records, r => r is { Section: 2, Type: DnsType.A, Data: "10.43.0.5" });
    }

    [Fact]
    public void ClusterIP_Ptr_NamesTheService()
    {
        Add(Service("web", "10.43.0.5"));
        Assert.Equal(["web.default.svc.cluster.local."], Ask("5.0.43.10.in-addr.arpa", DnsType.Ptr).Data(DnsType.Ptr));
    }

    [Fact]
    public void Headless_A_AnswersReadyEndpointsOnly()
    {
        Add(Service("db", "None"), Slice("db", ("10.42.0.7", true, "db-0"), ("10.42.0.8", false, "db-1"), ("10.42.0.9", true, null)));
        Assert.Equal(["10.42.0.7", "10.42.0.9"], Ask("db.default.svc.cluster.local", DnsType.A).Data(DnsType.A));
        Assert.Equal(["10.42.0.7"], Ask("db-0.db.default.svc.cluster.local", DnsType.A).Data(DnsType.A));
        Assert.Equal(["10.42.0.9"], Ask("10-42-0-9.db.default.svc.cluster.local", DnsType.A).Data(DnsType.A));
        Assert.Equal(DnsCode.NameError, Ask("db-1.db.default.svc.cluster.local", DnsType.A).Code);
    }

    [Fact]
    public void Headless_Srv_ListsEveryHost()
    {
        Add(Service("db", "None"), Slice("db", ("10.42.0.7", true, "db-0"), ("10.42.0.8", true, "db-1")));
        Assert.Equal(
            ["0 50 80 db-0.db.default.svc.cluster.local.", "0 50 80 db-1.db.default.svc.cluster.local."],
            Ask("_http._tcp.db.default.svc.cluster.local", DnsType.Srv).Data(DnsType.Srv));
        Assert.Equal(["db-0.db.default.svc.cluster.local."], Ask("7.0.42.10.in-addr.arpa", DnsType.Ptr).Data(DnsType.Ptr));
    }

    [Fact]
    public void Pod_DashedAddress_AnswersIt()
    {
        Assert.Equal(["10.42.0.7"], Ask("10-42-0-7.default.pod.cluster.local", DnsType.A).Data(DnsType.A));
        Assert.Equal(["2001:db8::1"], Ask("2001-db8--1.default.pod.cluster.local", DnsType.Aaaa).Data(DnsType.Aaaa));
        Assert.Equal(DnsCode.NameError, Ask("nonsense.default.pod.cluster.local", DnsType.A).Code);
        Assert.Equal(DnsCode.NameError, Ask("1.10-42-0-7.default.pod.cluster.local", DnsType.A).Code);
    }

    [Fact]
    public void ServiceDeleted_NameAndNamespace_AreGone()
    {
        Add(Service("web", "10.43.0.5"));
        Assert.Equal(DnsCode.NoError, Ask("default.svc.cluster.local", DnsType.A).Code);
        _zone.Replace("default/web", []);
        Assert.Equal(DnsCode.NameError, Ask("web.default.svc.cluster.local", DnsType.A).Code);
        Assert.Equal(DnsCode.NameError, Ask("default.svc.cluster.local", DnsType.A).Code);
        Assert.False(_zone.OwnsReverse(WireName.Encode("5.0.43.10.in-addr.arpa")));
    }

    [Fact]
    public void DnsVersion_Txt_IsTheSpecifications() => Assert.Equal(["1.1.0"], Ask("dns-version.cluster.local", DnsType.Txt).Data(DnsType.Txt));

    [Fact]
    public void ManyEndpoints_OverPlainUdp_AreTruncated_AndWholeOverTcp()
    {
        Add(Service("db", "None"), Slice("db", [.. Enumerable.Range(1, 60).Select(i => ($"10.42.0.{i}", true, (string?)null))]));
        var query = DnsProbe.Query("db.default.svc.cluster.local", DnsType.A);
        Assert.True(Send(query, isUdp: true).IsTruncated);
        Assert.Equal(60, Send(query, isUdp: false).Data(DnsType.A).Length);
        Assert.Equal(60, Send(DnsProbe.Query("db.default.svc.cluster.local", DnsType.A, udpSize: 4096), isUdp: true).Data(DnsType.A).Length);
    }

    [Fact]
    public void Answer_RepeatedQuestions_TakeTurns()
    {
        Add(Service("db", "None"), Slice("db", ("10.42.0.7", true, null), ("10.42.0.8", true, null)));
        var first = Enumerable.Range(0, 10).Select(_ => Ask("db.default.svc.cluster.local", DnsType.A).Records[0].Data).Distinct();
        Assert.Equal(2, first.Count());
    }

    [Fact]
    public void Answer_FromTheZone_AllocatesNothing()
    {
        Add(Service("web", "10.43.0.5"));
        var resolver = Resolver();
        byte[][] queries =
        [
            DnsProbe.Query("web.default.svc.cluster.local", DnsType.A),
            DnsProbe.Query("web.default.svc.cluster.local.default.svc.cluster.local", DnsType.A),
            DnsProbe.Query("_http._tcp.web.default.svc.cluster.local", DnsType.Srv),
            DnsProbe.Query("10-42-0-7.default.pod.cluster.local", DnsType.A),
        ];
        var buffer = new byte[4096];
        foreach (var query in queries) resolver.TryAnswer(query, buffer, isUdp: true);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
        {
            foreach (var query in queries) resolver.TryAnswer(query, buffer, isUdp: true);
        }
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Theory]
    [InlineData(0, "")] // nothing
    [InlineData(0, "123481000001000000000000")] // an answer, not a question: dropped, so that two servers never talk to each other for ever
    [InlineData((int)DnsCode.NotImplemented, "123428000001000000000000")] // opcode UPDATE
    [InlineData((int)DnsCode.FormatError, "123401000002000000000000")] // two questions
    [InlineData((int)DnsCode.FormatError, "1234010000010000000000003f61")] // a label that runs out of the packet
    [InlineData((int)DnsCode.FormatError, "123401000001000000000000c00c00010001")] // a pointer in the question
    public void HostilePacket_IsRefusedOrDropped(int code, string hex)
    {
        var buffer = new byte[512];
        var size = Resolver().TryAnswer(Convert.FromHexString(hex), buffer, isUdp: true);
        if (code == 0) Assert.Equal(0, size);
        else Assert.Equal(code, buffer[3] & 0xF);
    }

    internal static V1Service Service(string name, string clusterIP, string? externalName = null) => new()
    {
        Metadata = new V1ObjectMeta { Name = name, NamespaceProperty = "default" },
        Spec = new V1ServiceSpec
        {
            Type = externalName is null ? "ClusterIP" : "ExternalName",
            ExternalName = externalName,
            ClusterIP = clusterIP,
            Ports = [new V1ServicePort { Name = "http", Port = 80, Protocol = "TCP" }],
        },
    };

    private static V1EndpointSlice Slice(string service, params (string Address, bool IsReady, string? Hostname)[] endpoints) => new()
    {
        Metadata = new V1ObjectMeta { Name = service + "-x", NamespaceProperty = "default" },
        AddressType = "IPv4",
        Ports = [new Discoveryv1EndpointPort { Name = "http", Port = 80, Protocol = "TCP" }],
        Endpoints = [.. endpoints.Select(e => new V1Endpoint
        {
            Addresses = [e.Address],
            Hostname = e.Hostname,
            Conditions = new V1EndpointConditions { Ready = e.IsReady },
        })],
    };

    private void Add(V1Service service, params V1EndpointSlice[] slices) =>
        _zone.Replace($"default/{service.Metadata.Name}", ZoneRecords.Of(service, slices, "cluster.local"));

    private DnsProbe.Answer Ask(string name, DnsType type) => Send(DnsProbe.Query(name, type, udpSize: 1232), isUdp: true);

    private DnsProbe.Answer Send(byte[] query, bool isUdp)
    {
        var buffer = new byte[ushort.MaxValue];
        var size = Resolver().TryAnswer(query, buffer, isUdp);
        Assert.True(size > 0);
        return DnsProbe.Read(buffer.AsSpan(0, size));
    }

    private Resolver Resolver() =>
        new(_zone, new Forwarder(new ResolvConf("/nonexistent"), TimeProvider.System, NullLogger.Instance), TimeProvider.System);
}
