namespace K3sFast.AddOns.Dns.Tests;

/// <summary>The Kubernetes DNS specification 1.1.0, section by section, and what CoreDNS adds to it.</summary>
public sealed class KubernetesPluginTests : IDisposable
{
    private readonly DnsBench _dns = DnsBench.Cluster();

    public void Dispose() => _dns.Dispose();

    // 2.2
    [Fact]
    public void DnsVersion_Txt_IsTheSpecifications() => Assert.Equal(["1.1.0"], _dns.Ask("dns-version.cluster.local", DnsType.Txt).Data(DnsType.Txt));

    // 2.3.1
    [Fact]
    public void ClusterIPService_A_AnswersItsAddress()
    {
        _dns.Add(DnsBench.Service("web", "10.43.0.5"));
        var answer = _dns.Ask("Web.Default.svc.CLUSTER.local", DnsType.A);
        Assert.Equal(["10.43.0.5"], answer.Data(DnsType.A));
        Assert.True(answer.IsAuthoritative);
        Assert.Equal(0x1234, answer.Id);
        Assert.Equal(5u, answer.Records[0].Ttl);
    }

    [Fact]
    public void DualStackService_BothTypes_AnswerTheirFamily()
    {
        _dns.Add(DnsBench.Service("web", "10.43.0.5", null, "default", "fd00::5"));
        Assert.Equal(["10.43.0.5"], _dns.Ask("web.default.svc.cluster.local", DnsType.A).Data(DnsType.A));
        Assert.Equal(["fd00::5"], _dns.Ask("web.default.svc.cluster.local", DnsType.Aaaa).Data(DnsType.Aaaa));
        Assert.Equal(
            ["web.default.svc.cluster.local."], _dns.Ask("5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", DnsType.Ptr).Data(DnsType.Ptr));
    }

    [Fact]
    public void ClusterIPService_AaaaOfSingleStack_IsNoDataWithSoa()
    {
        _dns.Add(DnsBench.Service("web", "10.43.0.5"));
        var answer = _dns.Ask("web.default.svc.cluster.local", DnsType.Aaaa);
        Assert.Equal(DnsCode.NoError, answer.Code);
        Assert.Contains(answer.Records, r => r is { Section: 1, Type: DnsType.Soa, Owner: "cluster.local.", Ttl: 5 });
    }

    // 2.3.2
    [Fact]
    public void NamedPort_Srv_LeadsToTheService()
    {
        _dns.Add(DnsBench.Service("web", "10.43.0.5"));
        var answer = _dns.Ask("_http._tcp.web.default.svc.cluster.local", DnsType.Srv);
        Assert.Equal(["0 100 80 web.default.svc.cluster.local."], answer.Data(DnsType.Srv));
        Assert.Contains(answer.Records, r => r is { Section: 2, Type: DnsType.A, Data: "10.43.0.5", Owner: "web.default.svc.cluster.local." });
        Assert.Equal(DnsCode.NameError, _dns.Ask("_http._udp.web.default.svc.cluster.local", DnsType.Srv).Code);
        Assert.Equal(DnsCode.NameError, _dns.Ask("_sql._tcp.web.default.svc.cluster.local", DnsType.Srv).Code);
    }

    // 2.3.3
    [Fact]
    public void ClusterIP_Ptr_NamesTheService()
    {
        _dns.Add(DnsBench.Service("web", "10.43.0.5"));
        Assert.Equal(["web.default.svc.cluster.local."], _dns.Ask("5.0.43.10.in-addr.arpa", DnsType.Ptr).Data(DnsType.Ptr));
    }

    // 2.4.1
    [Fact]
    public void Headless_A_AnswersReadyEndpointsOnly()
    {
        _dns.Add(DnsBench.Service("db", "None"), DnsBench.Slice("db", ("10.42.0.7", true, "db-0"), ("10.42.0.8", false, "db-1"), ("10.42.0.9", true, null)));
        Assert.Equal(["10.42.0.7", "10.42.0.9"], _dns.Ask("db.default.svc.cluster.local", DnsType.A).Data(DnsType.A));
        Assert.Equal(["10.42.0.7"], _dns.Ask("db-0.db.default.svc.cluster.local", DnsType.A).Data(DnsType.A));
        Assert.Equal(["10.42.0.9"], _dns.Ask("10-42-0-9.db.default.svc.cluster.local", DnsType.A).Data(DnsType.A));
        Assert.Equal(DnsCode.NameError, _dns.Ask("db-1.db.default.svc.cluster.local", DnsType.A).Code);
        // An endpoint with a hostname is called by that alone.
        Assert.Equal(DnsCode.NameError, _dns.Ask("10-42-0-7.db.default.svc.cluster.local", DnsType.A).Code);
    }

    [Fact]
    public void Headless_NotReadyButPublished_IsAnswered()
    {
        var service = DnsBench.Service("db", "None");
        service.Spec.PublishNotReadyAddresses = true;
        _dns.Add(service, DnsBench.Slice("db", ("10.42.0.8", false, "db-1")));
        Assert.Equal(["10.42.0.8"], _dns.Ask("db.default.svc.cluster.local", DnsType.A).Data(DnsType.A));
    }

    [Fact]
    public void Headless_WithoutReadyEndpoint_HasNoName()
    {
        _dns.Add(DnsBench.Service("db", "None"), DnsBench.Slice("db", ("10.42.0.8", false, "db-1")));
        Assert.Equal(DnsCode.NameError, _dns.Ask("db.default.svc.cluster.local", DnsType.A).Code);
    }

    // 2.4.2, 2.4.3
    [Fact]
    public void Headless_Srv_ListsEveryHost()
    {
        _dns.Add(DnsBench.Service("db", "None"), DnsBench.Slice("db", ("10.42.0.7", true, "db-0"), ("10.42.0.8", true, "db-1")));
        var answer = _dns.Ask("_http._tcp.db.default.svc.cluster.local", DnsType.Srv);
        Assert.Equal(["0 50 80 db-0.db.default.svc.cluster.local.", "0 50 80 db-1.db.default.svc.cluster.local."], answer.Data(DnsType.Srv));
        Assert.Equal(2, answer.Records.Count(r => r is { Section: 2, Type: DnsType.A }));
        Assert.Equal(["db-0.db.default.svc.cluster.local."], _dns.Ask("7.0.42.10.in-addr.arpa", DnsType.Ptr).Data(DnsType.Ptr));
    }

    [Fact]
    public void Ptr_AddressOfTwoServices_NamesBoth()
    {
        _dns.Add(DnsBench.Service("one", "None"), DnsBench.Slice("one", ("10.42.0.7", true, null)));
        _dns.Add(DnsBench.Service("two", "None"), DnsBench.Slice("two", ("10.42.0.7", true, null)));
        Assert.Equal(
            ["10-42-0-7.one.default.svc.cluster.local.", "10-42-0-7.two.default.svc.cluster.local."], _dns.Ask("7.0.42.10.in-addr.arpa", DnsType.Ptr).Data(DnsType.Ptr));
        _dns.Remove("one");
        Assert.Equal(["10-42-0-7.two.default.svc.cluster.local."], _dns.Ask("7.0.42.10.in-addr.arpa", DnsType.Ptr).Data(DnsType.Ptr));
        _dns.Remove("two");
        Assert.NotEqual(DnsCode.NoError, _dns.Ask("7.0.42.10.in-addr.arpa", DnsType.Ptr).Code);
    }

    // 2.5
    [Fact]
    public void ExternalName_WithinTheCluster_IsFollowed()
    {
        _dns.Add(DnsBench.Service("web", "10.43.0.5"));
        _dns.Add(DnsBench.Service("away", "", "web.default.svc.cluster.local"));
        var answer = _dns.Ask("away.default.svc.cluster.local", DnsType.A);
        Assert.Equal(["web.default.svc.cluster.local."], answer.Data(DnsType.Cname));
        Assert.Equal(["10.43.0.5"], answer.Data(DnsType.A));
        Assert.Equal("web.default.svc.cluster.local.", answer.Records[1].Owner);
    }

    [Fact]
    public void ExternalName_LeadingInACircle_Ends()
    {
        _dns.Add(DnsBench.Service("one", "", "two.default.svc.cluster.local"));
        _dns.Add(DnsBench.Service("two", "", "one.default.svc.cluster.local"));
        var answer = _dns.Ask("one.default.svc.cluster.local", DnsType.A);
        Assert.Equal(DnsCode.NoError, answer.Code);
        Assert.InRange(answer.Records.Count, 2, 20);
    }

    // 2.6 and CoreDNS' "pods insecure"
    [Fact]
    public void Pod_DashedAddress_AnswersIt()
    {
        _dns.AddNamespace("default");
        Assert.Equal(["10.42.0.7"], _dns.Ask("10-42-0-7.default.pod.cluster.local", DnsType.A).Data(DnsType.A));
        Assert.Equal(["2001:db8::1"], _dns.Ask("2001-db8--1.default.pod.cluster.local", DnsType.Aaaa).Data(DnsType.Aaaa));
        Assert.Equal(DnsCode.NameError, _dns.Ask("nonsense.default.pod.cluster.local", DnsType.A).Code);
        Assert.Equal(DnsCode.NameError, _dns.Ask("1.10-42-0-7.default.pod.cluster.local", DnsType.A).Code);
        Assert.Equal(DnsCode.NameError, _dns.Ask("10-42-0-7.nowhere.pod.cluster.local", DnsType.A).Code);
    }

    [Fact]
    public void Pod_Verified_AnswersOnlyPodsThatAreThere()
    {
        using var dns = new DnsBench(".:53 {\n kubernetes cluster.local {\n pods verified\n }\n}\n");
        Assert.True(dns.Config.NeedsPods);
        dns.AddNamespace("default");
        dns.AddNamespace("other");
        dns.Records.ReplacePod(AddressKey.Of(System.Net.IPAddress.Parse("10.42.0.7")), "default", isThere: true);
        Assert.Equal(["10.42.0.7"], dns.Ask("10-42-0-7.default.pod.cluster.local", DnsType.A).Data(DnsType.A));
        Assert.Equal(DnsCode.NameError, dns.Ask("10-42-0-7.other.pod.cluster.local", DnsType.A).Code);
        Assert.Equal(DnsCode.NameError, dns.Ask("10-42-0-8.default.pod.cluster.local", DnsType.A).Code);
        dns.Records.ReplacePod(AddressKey.Of(System.Net.IPAddress.Parse("10.42.0.7")), "default", isThere: false);
        Assert.Equal(DnsCode.NameError, dns.Ask("10-42-0-7.default.pod.cluster.local", DnsType.A).Code);
    }

    [Fact]
    public void Pod_Disabled_HasNoName()
    {
        using var dns = new DnsBench(".:53 {\n kubernetes cluster.local\n}\n");
        dns.AddNamespace("default");
        Assert.Equal(DnsCode.NameError, dns.Ask("10-42-0-7.default.pod.cluster.local", DnsType.A).Code);
    }

    [Fact]
    public void Namespace_Exists_IsNoData_AndElseNoName()
    {
        _dns.AddNamespace("empty");
        Assert.Equal(DnsCode.NoError, _dns.Ask("empty.svc.cluster.local", DnsType.A).Code);
        Assert.Equal(DnsCode.NoError, _dns.Ask("svc.cluster.local", DnsType.A).Code);
        Assert.Equal(DnsCode.NameError, _dns.Ask("nowhere.svc.cluster.local", DnsType.A).Code);
        _dns.Records.ReplaceNamespace("empty", isThere: false);
        Assert.Equal(DnsCode.NameError, _dns.Ask("empty.svc.cluster.local", DnsType.A).Code);
    }

    [Fact]
    public void ServiceDeleted_ItsNames_AreGone()
    {
        _dns.Add(DnsBench.Service("web", "10.43.0.5"));
        _dns.Remove("web");
        Assert.Equal(DnsCode.NameError, _dns.Ask("web.default.svc.cluster.local", DnsType.A).Code);
        Assert.NotEqual(DnsCode.NoError, _dns.Ask("5.0.43.10.in-addr.arpa", DnsType.Ptr).Code);
    }

    [Fact]
    public void Apex_SoaAndNS_NameTheServer()
    {
        Assert.Contains(_dns.Ask("cluster.local", DnsType.Soa).Records, r => r is { Section: 0, Type: DnsType.Soa });
        var answer = _dns.Ask("cluster.local", DnsType.NS);
        Assert.Contains(answer.Records, r => r is { Section: 0, Type: DnsType.NS, Data: "ns.dns.cluster.local." });
        Assert.Contains(answer.Records, r => r is { Section: 2, Type: DnsType.A, Data: "10.43.0.10" });
        Assert.Equal(["10.43.0.10"], _dns.Ask("ns.dns.cluster.local", DnsType.A).Data(DnsType.A));
    }

    [Fact]
    public void BeforeTheFirstList_UnknownName_IsServerFailure()
    {
        _dns.Records.HasSynced = false;
        Assert.Equal(DnsCode.ServerFailure, _dns.Ask("web.default.svc.cluster.local", DnsType.A).Code);
    }

    [Fact]
    public void Options_NamespacesLabelsAndEmptyServices_Hide()
    {
        using var dns = new DnsBench("""
            .:53 {
                kubernetes cluster.local {
                    namespaces default
                    labels tier in (front, back), !hidden
                    ignore empty_service
                    ttl 30
                }
            }
            """);
        void Add(string name, string @namespace, Dictionary<string, string>? labels, params (string, bool, string?)[] endpoints)
        {
            var service = DnsBench.Service(name, "10.43.0.5", null, @namespace);
            service.Metadata.Labels = labels;
            dns.Add(service, DnsBench.Slice(name, endpoints));
        }
        Add("web", "default", new() { ["tier"] = "front" }, ("10.42.0.7", true, null));
        Add("idle", "default", new() { ["tier"] = "front" });
        Add("plain", "default", null, ("10.42.0.7", true, null));
        Add("away", "other", new() { ["tier"] = "front" }, ("10.42.0.7", true, null));
        Assert.Equal(30u, dns.Ask("web.default.svc.cluster.local", DnsType.A).Records.Single().Ttl);
        Assert.Equal(DnsCode.NameError, dns.Ask("idle.default.svc.cluster.local", DnsType.A).Code);
        Assert.Equal(DnsCode.NameError, dns.Ask("plain.default.svc.cluster.local", DnsType.A).Code);
        Assert.Equal(DnsCode.NameError, dns.Ask("away.other.svc.cluster.local", DnsType.A).Code);
    }

    [Fact]
    public void ManyEndpoints_OverPlainUdp_AreTruncated_AndWholeOverTcp()
    {
        _dns.Add(DnsBench.Service("db", "None"), DnsBench.Slice("db", [.. Enumerable.Range(1, 60).Select(i => ($"10.42.0.{i}", true, (string?)null))]));
        var query = DnsProbe.Query("db.default.svc.cluster.local", DnsType.A);
        Assert.True(_dns.Send(query, isUdp: true).IsTruncated);
        Assert.Equal(60, _dns.Send(query, isUdp: false).Data(DnsType.A).Length);
        Assert.Equal(60, _dns.Send(DnsProbe.Query("db.default.svc.cluster.local", DnsType.A, udpSize: 4096), isUdp: true).Data(DnsType.A).Length);
    }

    [Fact]
    public void Answer_RepeatedQuestions_TakeTurns()
    {
        _dns.Add(DnsBench.Service("db", "None"), DnsBench.Slice("db", ("10.42.0.7", true, null), ("10.42.0.8", true, null)));
        var first = Enumerable.Range(0, 10).Select(_ => _dns.Ask("db.default.svc.cluster.local", DnsType.A).Records[0].Data).Distinct();
        Assert.Equal(2, first.Count());
    }

    [Fact]
    public void Answer_FromTheCluster_AllocatesNothing()
    {
        using var dns = DnsBench.Cluster("prometheus :9153\n hosts /etc/coredns/NodeHosts {\n fallthrough\n }\n cache 30\n loop\n reload\n forward . 192.0.2.53");
        dns.Add(DnsBench.Service("web", "10.43.0.5"));
        dns.Add(DnsBench.Service("db", "None"), DnsBench.Slice("db", ("10.42.0.7", true, "db-0"), ("10.42.0.8", true, "db-1")));
        dns.Add(DnsBench.Service("alias", "", "web.default.svc.cluster.local"));
        byte[][] queries =
        [
            DnsProbe.Query("web.default.svc.cluster.local", DnsType.A),
            DnsProbe.Query("web.default.svc.cluster.local", DnsType.Aaaa, udpSize: 1232),
            DnsProbe.Query("web.default.svc.cluster.local.default.svc.cluster.local", DnsType.A),
            DnsProbe.Query("_http._tcp.web.default.svc.cluster.local", DnsType.Srv),
            DnsProbe.Query("_http._tcp.db.default.svc.cluster.local", DnsType.Srv, udpSize: 1232),
            DnsProbe.Query("db-1.db.default.svc.cluster.local", DnsType.A),
            DnsProbe.Query("alias.default.svc.cluster.local", DnsType.A),
            DnsProbe.Query("10-42-0-7.default.pod.cluster.local", DnsType.A),
            DnsProbe.Query("8.0.42.10.in-addr.arpa", DnsType.Ptr),
            DnsProbe.Query("5.0.43.10.in-addr.arpa", DnsType.Ptr),
        ];
        foreach (var query in queries)
        {
            for (var i = 0; i < 100; i++) Assert.Equal(Step.Answered, dns.Raw(query, isUdp: true));
        }
        var client = dns.Exchange;
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
        {
            foreach (var query in queries)
            {
                query.CopyTo(client.QueryBuffer);
                dns.Engine.Answer(client, query.Length, 53, isUdp: true);
            }
        }
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public void HundredThousandEndpoints_TakeAtMost20Megabytes()
    {
        var heapBefore = GC.GetTotalMemory(forceFullCollection: true);
        var records = new ClusterRecords();
        // 1,000 services of 20 endpoints behind addresses, and a headless one of 80,000 with hostnames.
        for (var i = 0; i < 1000; i++)
        {
            var service = DnsBench.Service($"service-{i}", $"10.43.{i >> 8}.{i & 255}");
            var slice = DnsBench.Slice(service.Metadata.Name, [.. Enumerable.Range(0, 20).Select(n => ($"10.1.{i >> 2}.{(i & 3) * 20 + n}", true, (string?)null))]);
            records.Replace(ServiceRecords.Key(service.Metadata.Name, "default")!, ServiceRecords.Of(service, [slice]));
        }
        var big = DnsBench.Slice("big", [.. Enumerable.Range(0, 80_000).Select(n => ($"10.{100 + (n >> 16)}.{(n >> 8) & 255}.{n & 255}", true, (string?)$"big-{n}"))]);
        records.Replace(ServiceRecords.Key("big", "default")!, ServiceRecords.Of(DnsBench.Service("big", "None"), [big]));
        big = null;
        Assert.InRange(records.SizeBytes, 1_000_000, 20_000_000);
        // What the collector says may be a little more (free room in tables), and other tests run beside.
        var heap = GC.GetTotalMemory(forceFullCollection: true) - heapBefore;
        TestContext.Current.TestOutputHelper?.WriteLine($"counted {records.SizeBytes} bytes, heap grew by {heap}");
        GC.KeepAlive(records);
    }
}
