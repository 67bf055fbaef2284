using System.Net;
using System.Net.Sockets;
using K3sFast.Client;
using K3sFast.Client.Testing;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.AddOns.Dns.Tests;

public sealed class DnsServerTests : IDisposable
{
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(90);

    private readonly CancellationTokenSource _stop = new(s_deadline);
    private readonly InMemoryApi _api = new();
    private readonly Socket _foreign = new(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
    private int _foreignQuestions;

    public void Dispose()
    {
        _stop.Cancel();
        _stop.Dispose();
        _foreign.Dispose();
    }

    [Fact]
    public async Task Server_ServiceCreatedLater_IsAnsweredOverUdp()
    {
        var port = await StartAsync("/nonexistent");
        await _api.Client.CreateAsync(Resources.Services, ClusterZoneTests.Service("web", "10.43.0.5"), _stop.Token);
        while (true)
        {
            var answer = await AskAsync(port, "web.default.svc.cluster.local", DnsType.A);
            if (answer.Code == DnsCode.NameError) continue;
            Assert.Equal(["10.43.0.5"], answer.Data(DnsType.A));
            return;
        }
    }

    [Fact]
    public async Task Server_Starts_PublishesKubeDns()
    {
        await StartAsync("/nonexistent");
        var service = await _api.Client.GetAsync(Resources.Services, "kube-system", "kube-dns", _stop.Token);
        Assert.Equal("10.43.0.10", service.Spec.ClusterIP);
        while (await _api.Client.FindAsync(Resources.Endpoints, "kube-system", "kube-dns", _stop.Token) is null) await Task.Yield();
        var slice = await _api.Client.GetAsync(Resources.EndpointSlices, "kube-system", "kube-dns-node1", _stop.Token);
        Assert.Equal("kube-dns", slice.Metadata.Labels["kubernetes.io/service-name"]);
        Assert.Equal(["127.0.0.1"], slice.Endpoints[0].Addresses);
    }

    [Fact]
    public async Task Forwarder_SecondQuestion_IsAnsweredFromWhatIsKept()
    {
        var forwarder = StartForeign();
        var key = Key("example.org", DnsType.A);
        var first = await forwarder.AskAsync(key, _stop.Token);
        var second = await forwarder.AskAsync(key, _stop.Token);
        Assert.NotNull(first);
        Assert.Same(first, second);
        Assert.Equal(1, _foreignQuestions);
    }

    [Fact]
    public async Task ExternalName_ForeignTarget_IsFollowed()
    {
        var forwarder = StartForeign();
        var zone = new ClusterZone("cluster.local");
        zone.Replace("default/out", ZoneRecords.Of(ClusterZoneTests.Service("out", "", "example.org"), [], "cluster.local"));
        var resolver = new Resolver(zone, forwarder, TimeProvider.System);
        var query = DnsProbe.Query("out.default.svc.cluster.local", DnsType.A);
        var buffer = new byte[4096];
        Assert.Equal(-1, resolver.TryAnswer(query, buffer, isUdp: true));
        var size = await resolver.AnswerAsync(query, buffer, isUdp: true, _stop.Token);
        var answer = DnsProbe.Read(buffer.AsSpan(0, size));
        Assert.Equal(["example.org."], answer.Data(DnsType.Cname));
        Assert.Equal(["192.0.2.1"], answer.Data(DnsType.A));
        // Kept now: answered at once.
        Assert.True(resolver.TryAnswer(query, buffer, isUdp: true) > 0);
    }

    [Fact]
    public async Task ForeignName_NoResolver_IsServerFailure()
    {
        var port = await StartAsync("/nonexistent");
        Assert.Equal(DnsCode.ServerFailure, (await AskAsync(port, "example.org", DnsType.A)).Code);
    }

    [Fact]
    public void ResolvConf_Lines_GiveAtMostThreeServers() => Assert.Equal(
        ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.3:53"],
        ResolvConf.Parse(["# comment", "search x", "nameserver 192.0.2.1", "nameserver\t2001:db8::1", "nameserver nonsense", "nameserver 192.0.2.3", "nameserver 192.0.2.4"])
            .Select(server => server.ToString()));

    private async Task<int> StartAsync(string resolvConf)
    {
        // A free port for both protocols.
        using var probe = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        probe.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        var port = ((IPEndPoint)probe.LocalEndPoint!).Port;
        probe.Close();
        var options = new DnsOptions
        {
            NodeName = "node1",
            NodeIPs = [IPAddress.Loopback],
            ClusterDns = [IPAddress.Parse("10.43.0.10")],
            Port = port,
            ResolvConf = resolvConf,
        };
        _ = new DnsServer(options, _api.Client, NullLoggerFactory.Instance).RunAsync(_stop.Token);
        while (await _api.Client.FindAsync(Resources.EndpointSlices, "kube-system", "kube-dns-node1", _stop.Token) is null)
        {
            _stop.Token.ThrowIfCancellationRequested();
            await Task.Yield();
        }
        return port;
    }

    private async Task<DnsProbe.Answer> AskAsync(int port, string name, DnsType type)
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        await socket.ConnectAsync(IPAddress.Loopback, port, _stop.Token);
        await socket.SendAsync(DnsProbe.Query(name, type, udpSize: 1232), SocketFlags.None, _stop.Token);
        var buffer = new byte[4096];
        var size = await socket.ReceiveAsync(buffer, SocketFlags.None, _stop.Token);
        return DnsProbe.Read(buffer.AsSpan(0, size));
    }

    // Another name server that knows one address for everything.
    private Forwarder StartForeign()
    {
        _foreign.Bind(new IPEndPoint(IPAddress.Parse("127.0.0.53"), 0));
        var endpoint = (IPEndPoint)_foreign.LocalEndPoint!;
        _ = ServeForeignAsync();
        return new Forwarder(new ResolvConf("/nonexistent") { Fixed = [endpoint] }, TimeProvider.System, NullLogger.Instance);
    }

    private async Task ServeForeignAsync()
    {
        var buffer = new byte[4096];
        while (!_stop.IsCancellationRequested)
        {
            var received = await _foreign.ReceiveFromAsync(buffer, SocketFlags.None, new IPEndPoint(IPAddress.Any, 0), _stop.Token);
            _foreignQuestions++;
            var answer = Answer(buffer.AsSpan(0, received.ReceivedBytes));
            await _foreign.SendToAsync(answer, SocketFlags.None, received.RemoteEndPoint, _stop.Token);
        }
    }

    private static byte[] Answer(ReadOnlySpan<byte> query)
    {
        DnsQuestion.TryParse(query, out var question, out _);
        var buffer = new byte[512];
        var answer = new DnsAnswer(question, buffer, 512);
        answer.Add(DnsType.A, 300, [192, 0, 2, 1]);
        return buffer[..answer.Finish(DnsCode.NoError, isAuthoritative: false, recursionDesired: true)];
    }

    private static byte[] Key(string name, DnsType type)
    {
        var wire = WireName.Encode(name)!;
        var key = new byte[wire.Length + Forwarder.KeyExtra];
        Forwarder.WriteKey(wire, type, 1, wantsDnssec: false, key);
        return key;
    }
}
