namespace K3sFast.AddOns.Dns.Tests;

/// <summary>What strangers send: nothing of it may crash, throw, or be answered with more than it deserves.</summary>
public sealed class HostileInputTests : IDisposable
{
    private readonly DnsBench _dns = DnsBench.Cluster("rewrite name regex (.*)\\.in\\.test {1}.svc.cluster.local answer auto\n cache 30\n minimal\n log");

    public HostileInputTests()
    {
        _dns.Add(DnsBench.Service("web", "10.43.0.5"));
        _dns.Add(DnsBench.Service("db", "None"), DnsBench.Slice("db", ("10.42.0.7", true, "db-0"), ("10.42.0.8", true, null)));
        _dns.Add(DnsBench.Service("away", "", "db.default.svc.cluster.local"));
    }

    public void Dispose() => _dns.Dispose();

    [Theory]
    [InlineData(0, "")] // nothing
    [InlineData(0, "123401")] // less than a header
    [InlineData(0, "123481000001000000000000")] // an answer, not a question: dropped, so that two servers never talk to each other for ever
    [InlineData((int)DnsCode.NotImplemented, "123428000001000000000000")] // opcode UPDATE
    [InlineData((int)DnsCode.FormatError, "123401000000000000000000")] // no question
    [InlineData((int)DnsCode.FormatError, "123401000002000000000000")] // two questions
    [InlineData((int)DnsCode.FormatError, "1234010000010000000000003f61")] // a label that runs out of the packet
    [InlineData((int)DnsCode.FormatError, "123401000001000000000000c00c00010001")] // a pointer in the question
    [InlineData((int)DnsCode.FormatError, "123401000001000000000000400001000100")] // a label type that was never used
    [InlineData((int)DnsCode.FormatError, "12340100000100000000000100000100010000290")] // an OPT that is cut off
    public void Packet_IsRefusedOrDropped(int code, string hex)
    {
        var step = _dns.Raw(Convert.FromHexString(hex.Length % 2 == 0 ? hex : hex + "0"), isUdp: true);
        if (code == 0) Assert.Equal(Step.Drop, step);
        else Assert.Equal(code, _dns.Exchange.Answer.Span[3] & 0xF);
    }

    [Fact]
    public void UnknownEdnsVersion_IsBadVersion()
    {
        var query = DnsProbe.Query("web.default.svc.cluster.local", DnsType.A, udpSize: 1232);
        query[^5] = 1;
        _dns.Raw(query, isUdp: true);
        var answer = _dns.Exchange.Answer.Span;
        // BADVERS is 16: 0 in the header, 1 in OPT, whose version is ours.
        Assert.Equal(0, answer[3] & 0xF);
        Assert.Equal(1, answer[^6]);
        Assert.Equal(0, answer[^5]);
    }

    [Fact]
    public void SmallUdp_NeverAnsweredWithMoreThan512Bytes()
    {
        _dns.Add(DnsBench.Service("many", "None"), DnsBench.Slice("many", [.. Enumerable.Range(0, 500).Select(i => ($"10.42.{i / 250}.{i % 250}", true, (string?)null))]));
        foreach (var type in (DnsType[])[DnsType.A, DnsType.Srv, DnsType.Any])
        {
            _dns.Send(DnsProbe.Query("many.default.svc.cluster.local", type), isUdp: true);
            Assert.InRange(_dns.Exchange.Length, 12, 512);
            _dns.Send(DnsProbe.Query("many.default.svc.cluster.local", type, udpSize: 65535), isUdp: true);
            Assert.InRange(_dns.Exchange.Length, 12, 1232);
        }
    }

    [Fact]
    public void CompressionBombs_InAnswersOfOthers_AreRefused()
    {
        var bomb = new byte[600];
        bomb[2] = 0x81;
        bomb[5] = 1;
        bomb[7] = 1;
        // The owner points to itself; then to a chain that leads on and on.
        for (var i = 17; i + 1 < bomb.Length; i += 2) DnsMessage.U16(bomb.AsSpan(i), 0xC000 | i);
        Assert.Null(ForeignAnswer.Read(bomb));
        for (var i = 17; i + 1 < bomb.Length; i += 2) DnsMessage.U16(bomb.AsSpan(i), 0xC000 | Math.Min(i + 2, 590));
        Assert.Null(ForeignAnswer.Read(bomb));
    }

    // Seeds that anybody can repeat; the bound keeps it to a second or two.
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void RandomPackets_AreAnsweredOrDropped_NeverThrow(int seed)
    {
        var random = new Random(seed);
        string[] names = ["web.default.svc.cluster.local", "_http._tcp.db.default.svc.cluster.local", "7.0.42.10.in-addr.arpa", "x.in.test", "away.default.svc.cluster.local", "10-42-0-7.default.pod.cluster.local", "."];
        for (var i = 0; i < 30_000; i++)
        {
            var query = DnsProbe.Query(names[random.Next(names.Length)], (DnsType)random.Next(1, 260), random.Next(2) * random.Next(65536));
            for (var changes = random.Next(6); changes > 0; changes--) query[random.Next(query.Length)] = (byte)random.Next(256);
            if (random.Next(4) == 0) query = query[..random.Next(query.Length + 1)];
            if (random.Next(8) == 0) query = [.. query, .. query];
            var step = _dns.Raw(query, isUdp: random.Next(2) == 0);
            Assert.True(step is Step.Answered or Step.Drop, $"seed {seed}, packet {i}: {step} {Convert.ToHexString(query)}");
            if (step == Step.Answered) Assert.InRange(_dns.Exchange.Length, 12, ushort.MaxValue);
        }
    }

    [Theory]
    [InlineData(11)]
    [InlineData(12)]
    public void RandomAnswersOfOthers_AreReadOrRefused_NeverThrow(int seed)
    {
        var random = new Random(seed);
        var exchange = _dns.Exchange;
        for (var i = 0; i < 20_000; i++)
        {
            _dns.Raw(DnsProbe.Query("_http._tcp.db.default.svc.cluster.local", DnsType.Srv, udpSize: 1232), isUdp: true);
            var message = exchange.Answer.ToArray();
            for (var changes = random.Next(8); changes > 0; changes--) message[random.Next(message.Length)] = (byte)random.Next(256);
            if (random.Next(4) == 0) message = message[..random.Next(message.Length + 1)];
            if (ForeignAnswer.Read(message) is not { } answer) continue;
            // Both ways of giving it out: as it is, and spelled out behind an alias.
            _dns.Raw(DnsProbe.Query("_http._tcp.db.default.svc.cluster.local", DnsType.Srv, udpSize: 1232), isUdp: true);
            answer.WriteTo(exchange, (uint)random.Next(100), null);
            exchange.Finish();
            _dns.Raw(DnsProbe.Query("other.test", DnsType.Txt, udpSize: 1232), isUdp: false);
            exchange.Reset();
            exchange.IsQuestionName = false;
            answer.WriteTo(exchange, 0, 5);
            exchange.Finish();
            Assert.InRange(exchange.Length, 12, ushort.MaxValue);
        }
    }

    [Theory]
    [InlineData(21)]
    [InlineData(22)]
    public void RandomCorefiles_AreBuiltOrRefused_NeverThrowOtherwise(int seed)
    {
        var random = new Random(seed);
        string[] words =
        [
            ".", ".:53", "{", "}", "\n", "\n", "\n", "errors", "kubernetes", "cluster.local", "in-addr.arpa", "pods", "verified", "fallthrough", "ttl", "30", "cache", "serve_stale", "1h",
            "forward", "192.0.2.1", "tls://192.0.2.1%x", "policy", "random", "rewrite", "name", "regex", "(.*)", "{1}", "answer", "auto", "template", "IN", "A", "match", "\"{{ .Name }} A 1.2.3.4\"",
            "hosts", "1.2.3.4", "x", "file", "zone", "import", "*.override", "(s)", "s", "acl", "block", "net", "10.0.0.0/8", "log", "class", "all", "#", "\"", "loop", "reload", "autopath", "@kubernetes",
        ];
        for (var i = 0; i < 2_000; i++)
        {
            var text = string.Concat(Enumerable.Range(0, random.Next(40)).Select(_ => words[random.Next(words.Length)] + (random.Next(4) == 0 ? "\n" : " ")));
            if (random.Next(3) == 0) text = DefaultCorefile.For("cluster.local").Insert(random.Next(300), words[random.Next(words.Length)]);
            try
            {
                new DnsBench(text, new() { ["zone"] = text, ["NodeHosts"] = text }, new() { ["x.override"] = text }).Dispose();
            }
            catch (CorefileException)
            {
                // Refused, with a reason.
            }
        }
    }

    [Fact]
    public void RandomZoneFiles_AreReadOrRefused_NeverThrowOtherwise()
    {
        var random = new Random(31);
        const string Zone = "$TTL 1h\n@ IN SOA ns admin ( 1 2\n 3 4 5 )\nwww 300 A 192.0.2.1\n* TXT \"a b\" \\# c\nmx MX 10 www\n$ORIGIN sub\nx SRV 1 2 3 y\ng TYPE99 \\# 2 abcd\n";
        for (var i = 0; i < 5_000; i++)
        {
            var text = Zone.ToCharArray();
            for (var changes = random.Next(6); changes > 0; changes--) text[random.Next(text.Length)] = (char)random.Next(1, 128);
            try
            {
                ZoneFile.Parse(new string(text), WireName.Encode("lab.test")!);
            }
            catch (FormatException)
            {
                // Refused, with a reason.
            }
        }
    }
}
