namespace K3sFast.AddOns.Dns.Tests;

/// <summary>What each plugin of a Corefile does to questions and answers, as its users see it.</summary>
public sealed class PluginTests
{
    [Fact]
    public void Rewrite_ExactName_IsUnseenByTheClient()
    {
        using var dns = DnsBench.Cluster("rewrite name web.example.com web.default.svc.cluster.local");
        dns.Add(DnsBench.Service("web", "10.43.0.5"));
        var answer = dns.Ask("web.example.com", DnsType.A);
        Assert.Equal(["10.43.0.5"], answer.Data(DnsType.A));
        Assert.Equal("web.example.com.", answer.Records[0].Owner);
    }

    [Theory]
    [InlineData("suffix .example.com .default.svc.cluster.local answer auto", "web.example.com")]
    [InlineData("prefix my- {{}} answer auto", "my-web.default.svc.cluster.local")]
    [InlineData("substring .in.here. .default.svc. answer auto", "web.in.here.cluster.local")]
    [InlineData(@"regex (.*)\.in\.(.*)\.example\.com {1}.{2}.svc.cluster.local answer auto", "web.in.default.example.com")]
    [InlineData(@"regex (.*)\.shop\.test {1}.default.svc.cluster.local answer name (.*)\.default\.svc\.cluster\.local {1}.shop.test", "web.shop.test")]
    public void Rewrite_OtherMatches_LeadBackToTheQuestion(string rule, string name)
    {
        using var dns = DnsBench.Cluster("rewrite stop name " + rule.Replace("{{}}", "\"\""));
        dns.Add(DnsBench.Service("web", "10.43.0.5"));
        var answer = dns.Ask(name, DnsType.A);
        Assert.Equal(["10.43.0.5"], answer.Data(DnsType.A));
        Assert.Equal(name + ".", answer.Records[0].Owner);
    }

    [Fact]
    public void Rewrite_WithoutAnswerRule_ShowsTheOtherName()
    {
        using var dns = DnsBench.Cluster("rewrite name suffix .example.com .default.svc.cluster.local");
        dns.Add(DnsBench.Service("web", "10.43.0.5"));
        Assert.Equal("web.default.svc.cluster.local.", dns.Ask("web.example.com", DnsType.A).Records[0].Owner);
    }

    [Fact]
    public void Rewrite_AnswerValue_ChangesTargets()
    {
        using var dns = DnsBench.Cluster("rewrite stop {\n name suffix .arpa .arpa answer auto\n answer value (.*)\\.default\\.svc\\.cluster\\.local {1}.example.com\n }");
        dns.Add(DnsBench.Service("web", "10.43.0.5"));
        Assert.Equal(["web.example.com."], dns.Ask("5.0.43.10.in-addr.arpa", DnsType.Ptr).Data(DnsType.Ptr));
    }

    [Fact]
    public void Rewrite_ContinueThenStop_AppliesBothInOrder()
    {
        using var dns = DnsBench.Cluster("rewrite continue name exact a.test b.test\n rewrite stop name exact b.test web.default.svc.cluster.local\n rewrite name exact web.default.svc.cluster.local nowhere.test");
        dns.Add(DnsBench.Service("web", "10.43.0.5"));
        var answer = dns.Ask("a.test", DnsType.A);
        Assert.Equal(["10.43.0.5"], answer.Data(DnsType.A));
        Assert.Equal("a.test.", answer.Records[0].Owner);
    }

    [Fact]
    public void Rewrite_TypeTtlAndCode_ChangeWhatTheySay()
    {
        using var dns = DnsBench.Cluster("rewrite continue type HTTPS A\n rewrite continue ttl regex (.*) 60-\n rewrite continue rcode suffix .svc.cluster.local NXDOMAIN REFUSED");
        dns.Add(DnsBench.Service("web", "10.43.0.5"));
        Assert.Equal(60u, dns.Ask("web.default.svc.cluster.local", DnsType.Https).Records[0].Ttl);
        Assert.Equal(DnsCode.Refused, dns.Ask("no.default.svc.cluster.local", DnsType.A).Code);
    }

    [Fact]
    public void Hosts_FileAndInline_AnswerBothWays()
    {
        using var dns = new DnsBench(
            """
            . {
                hosts NodeHosts example.org . {
                    192.0.2.9 inline.example.org
                    192.0.2.8 *.wild.example.org
                    ttl 60
                    fallthrough
                }
                whoami
            }
            """, new() { ["NodeHosts"] = "10.0.0.1 node1\n# comment\n10.0.0.2 node2 # and another\nfd00::2 node2\n" });
        Assert.Equal(["10.0.0.1"], dns.Ask("node1", DnsType.A).Data(DnsType.A));
        Assert.Equal(60u, dns.Ask("node1", DnsType.A).Records[0].Ttl);
        Assert.Equal(["fd00::2"], dns.Ask("node2", DnsType.Aaaa).Data(DnsType.Aaaa));
        Assert.Equal(["192.0.2.9"], dns.Ask("inline.example.org", DnsType.A).Data(DnsType.A));
        Assert.Equal(["192.0.2.8"], dns.Ask("any.wild.example.org", DnsType.A).Data(DnsType.A));
        Assert.Equal(["node2."], dns.Ask("2.0.0.10.in-addr.arpa", DnsType.Ptr).Data(DnsType.Ptr));
        // The name is known, the record is not: no data. Unknown names go on.
        Assert.Equal(DnsCode.NoError, dns.Ask("node1", DnsType.Aaaa).Code);
        Assert.Contains(dns.Ask("node3", DnsType.A).Records, r => r is { Section: 2, Data: "10.42.0.99" });
    }

    [Fact]
    public void Template_Pattern_MakesTheRecord()
    {
        using var dns = new DnsBench("""
            . {
                template IN A ip.test {
                    match ^ip-(?P<a>[0-9]+)-(?P<b>[0-9]+)-(?P<c>[0-9]+)-(?P<d>[0-9]+)[.]ip[.]test[.]$
                    answer "{{ .Name }} 60 IN A {{ .Group.a }}.{{ .Group.b }}.{{ .Group.c }}.{{ index .Match 4 }}"
                    authority "ip.test. 60 IN NS ns.ip.test."
                    fallthrough
                }
                template IN A ip.test {
                    rcode NXDOMAIN
                    authority "ip.test. 60 {{ .Class }} SOA ns.ip.test. admin.ip.test. (1 60 60 60 60)"
                }
            }
            """.Replace("(1 60", "1 60").Replace("60)", "60"));
        var answer = dns.Ask("ip-10-1-2-3.ip.test", DnsType.A);
        Assert.Equal(["10.1.2.3"], answer.Data(DnsType.A));
        Assert.Contains(answer.Records, r => r is { Section: 1, Type: DnsType.NS });
        Assert.Equal(DnsCode.NameError, dns.Ask("other.ip.test", DnsType.A).Code);
    }

    [Fact]
    public void File_Zone_AnswersNamesWildcardsAliasesAndDelegations()
    {
        using var dns = new DnsBench(
            """
            lab.test:53 {
                file /etc/coredns/custom/lab.zone
            }
            """, custom: new()
            {
                ["lab.zone"] = """
                    $TTL 1h
                    @   IN SOA ns.lab.test. admin.lab.test. ( 2024 ; serial
                            7200 3600 1209600 300 )
                        IN NS  ns
                    ns  A 192.0.2.1
                    www 300 IN A 192.0.2.2
                    *.apps CNAME www
                    txt TXT "one two" three
                    sub NS ns.sub
                    ns.sub A 192.0.2.5
                    a.deep A 192.0.2.6
                    mail MX 10 www
                    """,
            });
        Assert.Equal(["192.0.2.2"], dns.Ask("WWW.lab.test", DnsType.A).Data(DnsType.A));
        var alias = dns.Ask("shop.apps.lab.test", DnsType.A);
        Assert.Equal(["www.lab.test."], alias.Data(DnsType.Cname));
        Assert.Equal(["192.0.2.2"], alias.Data(DnsType.A));
        Assert.Equal(["one two"], dns.Ask("txt.lab.test", DnsType.Txt).Data(DnsType.Txt));
        var referral = dns.Ask("host.sub.lab.test", DnsType.A);
        Assert.False(referral.IsAuthoritative);
        Assert.Contains(referral.Records, r => r is { Section: 1, Type: DnsType.NS, Owner: "sub.lab.test." });
        Assert.Contains(referral.Records, r => r is { Section: 2, Type: DnsType.A, Data: "192.0.2.5" });
        Assert.Equal(DnsCode.NoError, dns.Ask("deep.lab.test", DnsType.A).Code);
        var denial = dns.Ask("no.lab.test", DnsType.A);
        Assert.Equal(DnsCode.NameError, denial.Code);
        Assert.Contains(denial.Records, r => r is { Section: 1, Type: DnsType.Soa, Ttl: 300 });
        Assert.Contains(dns.Ask("mail.lab.test", DnsType.MX).Records, r => r is { Section: 2, Data: "192.0.2.2" });
        // Another zone's names are nobody's here.
        Assert.Equal(DnsCode.Refused, dns.Ask("example.org", DnsType.A).Code);
    }

    [Fact]
    public void Acl_Rules_DecideByClientAndType()
    {
        using var dns = DnsBench.Cluster("acl {\n allow net 10.42.1.0/24\n filter type AAAA net *\n block net 10.42.2.0/24\n drop net 10.42.3.7\n }");
        dns.Add(DnsBench.Service("web", "10.43.0.5"));
        var query = DnsProbe.Query("web.default.svc.cluster.local", DnsType.A);
        Assert.Equal(DnsCode.NoError, dns.Send(query, true, "10.42.1.9").Code);
        Assert.Equal(DnsCode.Refused, dns.Send(query, true, "10.42.2.9").Code);
        Assert.Equal(Step.Drop, dns.Raw(query, true, "10.42.3.7"));
        Assert.Empty(dns.Send(DnsProbe.Query("web.default.svc.cluster.local", DnsType.Aaaa), true, "10.42.9.9").Records);
    }

    [Fact]
    public void AnyAndLocalAndChaos_AnswerByThemselves()
    {
        using var dns = new DnsBench(". {\n any\n local\n chaos version-1 someone\n}\n");
        Assert.Contains(dns.Ask("example.org", DnsType.Any).Records, r => r.Type == DnsType.Hinfo);
        Assert.Equal(["127.0.0.1"], dns.Ask("localhost", DnsType.A).Data(DnsType.A));
        Assert.Equal(["localhost."], dns.Ask("1.0.0.127.in-addr.arpa", DnsType.Ptr).Data(DnsType.Ptr));
        var query = DnsProbe.Query("version.bind", DnsType.Txt);
        query[^1] = 3;
        Assert.Equal(["version-1"], dns.Send(query, true).Data(DnsType.Txt));
    }

    [Fact]
    public void MinimalHeaderAndBufsize_ShapeTheAnswer()
    {
        using var dns = DnsBench.Cluster("minimal\n header {\n response clear ra aa\n }\n bufsize 600");
        dns.Add(DnsBench.Service("db", "None"), DnsBench.Slice("db", [.. Enumerable.Range(1, 60).Select(i => ($"10.42.0.{i}", true, (string?)null))]));
        dns.Add(DnsBench.Service("web", "10.43.0.5"));
        var answer = dns.Ask("_http._tcp.web.default.svc.cluster.local", DnsType.Srv);
        Assert.Single(answer.Records);
        Assert.False(answer.IsAuthoritative);
        Assert.Equal(0, dns.Exchange.Answer.Span[3] & 0x80);
        Assert.True(dns.Ask("db.default.svc.cluster.local", DnsType.A).IsTruncated);
        Assert.InRange(dns.Exchange.Length, 500, 600);
    }

    [Fact]
    public void Nsid_AskedFor_NamesTheServer()
    {
        using var dns = DnsBench.Cluster("nsid Use The Force");
        var query = DnsProbe.Query("web.default.svc.cluster.local", DnsType.A, udpSize: 1232).ToList();
        query[^1] = 4;
        query.AddRange([0, 3, 0, 0]);
        Assert.Equal(Step.Answered, dns.Raw([.. query], true));
        Assert.True(dns.Exchange.Answer.Span.EndsWith("Use The Force"u8));
    }

    [Fact]
    public void Dns64_OnlyV4Addresses_AreTranslated()
    {
        using var dns = DnsBench.Cluster("dns64 {\n allow_ipv4\n }");
        dns.Add(DnsBench.Service("web", "10.43.0.5"));
        Assert.Equal(["64:ff9b::a2b:5"], dns.Ask("web.default.svc.cluster.local", DnsType.Aaaa).Data(DnsType.Aaaa));
    }

    [Fact]
    public void AutoPath_FirstSearchDomain_AnswersForTheWholePath()
    {
        using var dns = DnsBench.Cluster("autopath @kubernetes");
        Assert.True(dns.Config.NeedsPods);
        dns.Add(DnsBench.Service("web", "10.43.0.5", null, "other"));
        dns.AddNamespace("default");
        dns.Records.ReplacePod(AddressKey.Of(System.Net.IPAddress.Parse("10.42.0.99")), "default", isThere: true);
        // A client in "default" asks for web.other: its second domain has it.
        var answer = dns.Ask("web.other.default.svc.cluster.local", DnsType.A);
        Assert.Equal(["web.other.svc.cluster.local."], answer.Data(DnsType.Cname));
        Assert.Equal(["10.43.0.5"], answer.Data(DnsType.A));
        Assert.Equal("web.other.default.svc.cluster.local.", answer.Records[0].Owner);
        // Whoever is not known to be a pod searches himself.
        Assert.Equal(DnsCode.NameError, dns.Send(DnsProbe.Query("web.other.default.svc.cluster.local", DnsType.A), true, "192.0.2.77").Code);
    }

    [Fact]
    public void Blocks_LongestZoneAndPort_Decide()
    {
        using var dns = new DnsBench("""
            . {
                template ANY ANY {
                    rcode REFUSED
                }
            }
            example.org sub.test {
                template ANY ANY {
                    rcode NXDOMAIN
                }
            }
            .:5353 {
                template ANY ANY {
                    rcode NOTIMP
                }
            }
            10.0.0.0/23 {
                template ANY ANY {
                    rcode SERVFAIL
                }
            }
            """);
        Assert.Equal(DnsCode.Refused, dns.Ask("org", DnsType.A).Code);
        Assert.Equal(DnsCode.NameError, dns.Ask("www.example.org", DnsType.A).Code);
        Assert.Equal(DnsCode.NameError, dns.Ask("sub.test", DnsType.A).Code);
        Assert.Equal(DnsCode.Refused, dns.Ask("notexample.org", DnsType.A).Code);
        Assert.Equal(DnsCode.ServerFailure, dns.Ask("9.1.0.10.in-addr.arpa", DnsType.Ptr).Code);
        Assert.Equal(DnsCode.Refused, dns.Ask("9.2.0.10.in-addr.arpa", DnsType.Ptr).Code);
        Assert.Equal(Step.Answered, dns.Raw(DnsProbe.Query("example.org", DnsType.A), true, port: 5353));
        Assert.Equal(DnsCode.NotImplemented, DnsProbe.Read(dns.Exchange.Answer.Span).Code);
    }

    [Fact]
    public void Metrics_AnswersAreCounted_UnderCoreDnsNames()
    {
        using var dns = DnsBench.Cluster("prometheus :9153");
        dns.Add(DnsBench.Service("web", "10.43.0.5"));
        dns.Ask("web.default.svc.cluster.local", DnsType.A);
        dns.Ask("no.default.svc.cluster.local", DnsType.Aaaa);
        var text = new System.Buffers.ArrayBufferWriter<byte>();
        dns.Parts.Metrics.Registry.Write(text);
        var printed = System.Text.Encoding.UTF8.GetString(text.WrittenSpan);
        Assert.Contains("coredns_dns_requests_total{family=\"1\",proto=\"udp\",server=\"dns://:53\",type=\"A\",view=\"\",zone=\".\"} 1", printed);
        Assert.Contains("coredns_dns_responses_total{plugin=\"kubernetes\",rcode=\"NXDOMAIN\",server=\"dns://:53\",view=\"\",zone=\".\"} 1", printed);
        Assert.Contains("coredns_plugin_enabled{name=\"kubernetes\",server=\"dns://:53\",view=\"\",zone=\".\"} 1", printed);
    }
}
