using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.Logging;

namespace K3sFast.AddOns.Dns.Tests;

/// <summary>Questions that other servers answer, and what is kept of the answers.</summary>
public sealed class ForwardTests : IAsyncDisposable
{
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(120);

    private readonly CancellationTokenSource _stop = new(s_deadline);
    private readonly List<ForeignServer> _servers = [];

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        foreach (var server in _servers) server.Dispose();
        _stop.Dispose();
    }

    [Fact]
    public async Task Cache_SecondQuestion_IsAnsweredFromWhatIsKept_ForItsClient()
    {
        var server = Start();
        using var dns = new DnsBench($". {{\n cache 30\n {Forward(server)}\n}}\n");
        var first = await dns.AskAsync("example.org", DnsType.A, _stop.Token);
        Assert.Equal(["192.0.2.1"], first.Data(DnsType.A));
        // Another spelling, another ID, no EDNS: the client gets its own back.
        var second = dns.Send(DnsProbe.Query("Example.ORG", DnsType.A), isUdp: true);
        Assert.Equal(["192.0.2.1"], second.Data(DnsType.A));
        Assert.Equal("Example.ORG.", second.Records[0].Owner);
        Assert.InRange(second.Records[0].Ttl, 1u, 300u);
        Assert.Equal(1, server.Questions);
    }

    [Fact]
    public async Task Listener_AfterForwardedAnswers_StillWaitsForQuestions()
    {
        var server = Start();
        using var dns = new DnsBench($". {{\n {Forward(server)}\n}}\n");
        var log = new Lines();
        using var listener = new UdpListener(new IPEndPoint(IPAddress.Loopback, 0), 53, 1, dns.Engine, new DnsMetrics(), log);
        listener.Start();
        using var client = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        await client.ConnectAsync(listener.Endpoint, _stop.Token);
        var buffer = new byte[1232];
        for (var i = 0; i < 10; i++)
        {
            await client.SendAsync(DnsProbe.Query("example.org", DnsType.A), SocketFlags.None, _stop.Token);
            var size = await client.ReceiveAsync(buffer, SocketFlags.None, _stop.Token);
            Assert.Equal(["192.0.2.1"], DnsProbe.Read(buffer.AsSpan(0, size)).Data(DnsType.A));
        }
        Assert.Empty(log.Texts);
    }

    [Fact]
    public async Task Cache_Denial_IsKept_AsLongAsItsSoaSays()
    {
        var server = Start();
        using var dns = new DnsBench($". {{\n cache 30\n {Forward(server)}\n}}\n");
        Assert.Equal(DnsCode.NameError, (await dns.AskAsync("no.example.org", DnsType.A, _stop.Token)).Code);
        Assert.Equal(DnsCode.NameError, dns.Ask("no.example.org", DnsType.A).Code);
        Assert.Equal(1, server.Questions);
    }

    [Fact]
    public async Task Cache_DisabledForZone_AsksAgain()
    {
        var server = Start();
        using var dns = new DnsBench($". {{\n cache 30 {{\n disable success example.org\n }}\n {Forward(server)}\n}}\n");
        await dns.AskAsync("example.org", DnsType.A, _stop.Token);
        await dns.AskAsync("example.org", DnsType.A, _stop.Token);
        Assert.Equal(2, server.Questions);
    }

    [Fact]
    public async Task CachedAnswer_AllocatesNothing()
    {
        var server = Start();
        using var dns = new DnsBench($". {{\n cache 30\n loadbalance\n {Forward(server)}\n}}\n");
        await dns.AskAsync("example.org", DnsType.A, _stop.Token);
        var query = DnsProbe.Query("example.org", DnsType.A, udpSize: 1232);
        for (var i = 0; i < 100; i++) Assert.Equal(Step.Answered, dns.Raw(query, isUdp: true));
        Assert.Equal(0, Allocated(dns, query));
    }

    [Fact]
    public async Task ExternalName_ForeignTarget_IsFollowed()
    {
        var server = Start();
        using var dns = DnsBench.Cluster($"cache 30\n {Forward(server)}");
        dns.Add(DnsBench.Service("out", "", "example.org"));
        var answer = await dns.AskAsync("out.default.svc.cluster.local", DnsType.A, _stop.Token);
        Assert.Equal(["example.org."], answer.Data(DnsType.Cname));
        Assert.Equal(["192.0.2.1"], answer.Data(DnsType.A));
        // Kept now: answered at once.
        Assert.Equal(["192.0.2.1"], dns.Ask("out.default.svc.cluster.local", DnsType.A).Data(DnsType.A));
    }

    [Fact]
    public async Task Rewrite_BeforeForward_AnswersUnderTheAskedName()
    {
        var server = Start();
        using var dns = new DnsBench($". {{\n rewrite name exact alias.test example.org\n {Forward(server)}\n}}\n");
        var answer = await dns.AskAsync("alias.test", DnsType.A, _stop.Token);
        Assert.Equal(["192.0.2.1"], answer.Data(DnsType.A));
        Assert.Equal("alias.test.", answer.Records[0].Owner);
        Assert.Equal("example.org", server.LastName);
    }

    [Fact]
    public async Task AutoPath_ForeignName_IsFoundInOneAnswer()
    {
        var server = Start();
        using var dns = DnsBench.Cluster($"autopath @kubernetes\n cache 30\n {Forward(server)}");
        dns.AddNamespace("default");
        dns.Records.ReplacePod(AddressKey.Of(IPAddress.Parse("10.42.0.99")), "default", isThere: true);
        var answer = await dns.AskAsync("example.org.default.svc.cluster.local", DnsType.A, _stop.Token);
        Assert.Equal(["example.org."], answer.Data(DnsType.Cname));
        Assert.Equal(["192.0.2.1"], answer.Data(DnsType.A));
        // Found nowhere: the answer to the question itself, denied.
        var denied = await dns.AskAsync("no.example.org.default.svc.cluster.local", DnsType.A, _stop.Token);
        Assert.Equal(DnsCode.NameError, denied.Code);
        Assert.Empty(denied.Data(DnsType.Cname));
    }

    [Fact]
    public async Task TruncatedOverUdp_IsAskedOverTcp()
    {
        var server = Start();
        using var dns = new DnsBench($". {{\n {Forward(server)}\n}}\n");
        Assert.Equal(["192.0.2.1"], (await dns.AskAsync("big.example.org", DnsType.A, _stop.Token)).Data(DnsType.A));
        Assert.Equal(1, server.TcpQuestions);
    }

    [Fact]
    public async Task ForceTcp_KeepsItsConnection()
    {
        var server = Start();
        using var dns = new DnsBench($". {{\n forward . {server} {{\n force_tcp\n read_timeout 60s\n }}\n}}\n");
        await dns.AskAsync("a.org", DnsType.A, _stop.Token);
        await dns.AskAsync("b.org", DnsType.A, _stop.Token);
        Assert.Equal(2, server.TcpQuestions);
        Assert.Equal(1, server.Connections);
    }

    [Fact]
    public async Task DeadServer_IsPassedOver_UntilItAnswersAgain()
    {
        var live = Start();
        var dead = Start();
        dead.IsSilent = true;
        using var dns = new DnsBench($". {{\n forward . {dead} {live} {{\n policy sequential\n read_timeout 100ms\n health_check 50ms\n max_fails 1\n }}\n}}\n");
        // However slow the machine is: a tenth of a second may be too short for the live one, too.
        while ((await dns.AskAsync("a.org", DnsType.A, _stop.Token)).Data(DnsType.A) is not ["192.0.2.1"]) _stop.Token.ThrowIfCancellationRequested();
        // The checks find it dead: questions no longer go there.
        for (var i = 0; ; i++)
        {
            var before = dead.Names("q").Count;
            await dns.AskAsync($"q{i}.org", DnsType.A, _stop.Token);
            if (dead.Names("q").Count == before) break;
        }
        dead.IsSilent = false;
        for (var i = 0; ; i++)
        {
            var before = dead.Names("r").Count;
            await dns.AskAsync($"r{i}.org", DnsType.A, _stop.Token);
            if (dead.Names("r").Count > before) return;
        }
    }

    [Theory]
    [InlineData("immediate")]
    [InlineData("verify")]
    public async Task NoServerAnswers_IsServerFailure_AndWhatIsKeptServesOn(string mode)
    {
        var server = Start();
        server.TtlSeconds = 1;
        using var dns = new DnsBench($". {{\n cache 30 {{\n success 1024 30 0\n serve_stale 1h {mode}\n }}\n forward . {server} {{\n read_timeout 100ms\n max_fails 0\n }}\n}}\n");
        while ((await dns.AskAsync("a.org", DnsType.A, _stop.Token)).Code != DnsCode.NoError) _stop.Token.ThrowIfCancellationRequested();
        server.IsSilent = true;
        Assert.Equal(DnsCode.ServerFailure, (await dns.AskAsync("unknown.org", DnsType.A, _stop.Token)).Code);
        // Its second is over when it is given out with a TTL of 0.
        while (true)
        {
            var answer = await dns.AskAsync("a.org", DnsType.A, _stop.Token);
            Assert.Equal(["192.0.2.1"], answer.Data(DnsType.A));
            if (answer.Records[0].Ttl == 0) return;
            _stop.Token.ThrowIfCancellationRequested();
        }
    }

    [Fact]
    public async Task ForgedAnswers_WithAnotherIdOrQuestion_AreNotBelieved()
    {
        var server = Start();
        server.ForgesFirst = true;
        using var dns = new DnsBench($". {{\n cache 30\n {Forward(server)}\n}}\n");
        Assert.Equal(["192.0.2.1"], (await dns.AskAsync("example.org", DnsType.A, _stop.Token)).Data(DnsType.A));
    }

    [Fact]
    public async Task EqualQuestionsAtOnce_AreAskedOnce()
    {
        var server = Start();
        server.IsHeld = true;
        using var dns = new DnsBench($". {{\n {Forward(server)}\n}}\n");
        var exchanges = Enumerable.Range(0, 10).Select(_ => new Exchange(1232)).ToList();
        var waiting = exchanges.Select(exchange =>
        {
            var query = DnsProbe.Query("example.org", DnsType.A);
            query.CopyTo(exchange.QueryBuffer);
            exchange.SetClient(new IPEndPoint(IPAddress.Loopback, 1));
            Assert.Equal(Step.Waiting, dns.Engine.Answer(exchange, query.Length, 53, isUdp: true));
            return dns.Engine.CompleteAsync(exchange, _stop.Token).AsTask();
        }).ToList();
        server.IsHeld = false;
        await Task.WhenAll(waiting);
        Assert.Equal(1, server.Questions);
        Assert.All(exchanges, exchange => Assert.Equal(["192.0.2.1"], DnsProbe.Read(exchange.Answer.Span).Data(DnsType.A)));
    }

    [Fact]
    public async Task MaxConcurrent_FurtherQuestions_AreRefused()
    {
        var server = Start();
        server.IsSilent = true;
        using var dns = new DnsBench($". {{\n forward . {server} {{\n max_concurrent 1\n read_timeout 60s\n }}\n}}\n");
        var held = new Exchange(1232);
        var query = DnsProbe.Query("one.org", DnsType.A);
        query.CopyTo(held.QueryBuffer);
        dns.Engine.Answer(held, query.Length, 53, isUdp: true);
        using var giveUp = new CancellationTokenSource();
        var first = dns.Engine.CompleteAsync(held, giveUp.Token).AsTask();
        Assert.Equal(DnsCode.Refused, (await dns.AskAsync("two.org", DnsType.A, _stop.Token)).Code);
        await giveUp.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => first);
    }

    [Fact]
    public async Task Loop_QuestionThatComesBack_EndsTheForwarding()
    {
        // The "other" server leads every question back to us.
        var server = Start();
        using var dns = DnsBench.Cluster($"loop\n forward . {server} {{\n read_timeout 100ms\n }}");
        dns.Add(DnsBench.Service("web", "10.43.0.5"));
        server.Relay = query =>
        {
            var exchange = new Exchange(1232);
            query.CopyTo(exchange.QueryBuffer);
            exchange.SetClient(new IPEndPoint(IPAddress.Loopback, 1));
            dns.Engine.Answer(exchange, query.Length, 53, isUdp: true);
        };
        dns.Config.Start();
        while (dns.Parts.Metrics.Loops.Value == 0) await Task.Delay(10, _stop.Token);
        Assert.Equal(DnsCode.ServerFailure, (await dns.AskAsync("example.org", DnsType.A, _stop.Token)).Code);
        Assert.Equal(1, dns.Parts.Metrics.Loops.Value);
        Assert.Equal(["10.43.0.5"], dns.Ask("web.default.svc.cluster.local", DnsType.A).Data(DnsType.A));
    }

    [Fact]
    public void ResolvConf_Lines_GiveAtMostThreeServers() => Assert.Equal(
        ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.3:53"],
        ResolvConf.Parse(["# comment", "search x", "nameserver 192.0.2.1", "nameserver\t2001:db8::1", "nameserver nonsense", "nameserver 192.0.2.3", "nameserver 192.0.2.4"])
            .Select(server => server.ToString()));

    private static long Allocated(DnsBench dns, byte[] query)
    {
        var exchange = dns.Exchange;
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
        {
            query.CopyTo(exchange.QueryBuffer);
            dns.Engine.Answer(exchange, query.Length, 53, isUdp: true);
        }
        return GC.GetAllocatedBytesForCurrentThread() - before;
    }

    // Of a server that answers always: no question is given up and asked again because the machine is slow.
    private static string Forward(ForeignServer server) => $"forward . {server} {{\n read_timeout 60s\n }}";

    private ForeignServer Start()
    {
        var server = new ForeignServer(_stop.Token);
        _servers.Add(server);
        return server;
    }

    private sealed class Lines : ILogger
    {
        internal ConcurrentQueue<string> Texts { get; } = new();

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            Texts.Enqueue(formatter(state, exception));
    }
}
