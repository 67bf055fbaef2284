using System.Net;
using System.Net.Sockets;
using K3sFast.Client;
using K3sFast.Client.Testing;
using k8s.Models;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.AddOns.Dns.Tests;

/// <summary>The whole server on loopback, against an API in memory.</summary>
public sealed class DnsServerTests : IDisposable
{
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(90);

    private readonly CancellationTokenSource _stop = new(s_deadline);
    private readonly InMemoryApi _api = new();
    private DnsServer _server = null!;

    public void Dispose()
    {
        _stop.Cancel();
        _stop.Dispose();
    }

    [Fact]
    public async Task ServiceCreatedLater_IsAnsweredOverUdpAndTcp()
    {
        var at = await StartAsync();
        await CreateAsync(DnsBench.Service("web", "10.43.0.5"));
        Assert.Equal(["10.43.0.5"], (await UntilKnownAsync(at, "web.default.svc.cluster.local")).Data(DnsType.A));
        using var tcp = await ConnectAsync(at);
        // Three questions before an answer is read; they come back complete, each with its ID.
        var queries = new List<byte>();
        for (byte i = 1; i <= 3; i++)
        {
            var query = DnsProbe.Query("web.default.svc.cluster.local", DnsType.A);
            query[0] = i;
            queries.AddRange([0, (byte)query.Length, .. query]);
        }
        await tcp.SendAsync(queries.ToArray(), SocketFlags.None, _stop.Token);
        var ids = new HashSet<int>();
        for (var i = 0; i < 3; i++)
        {
            var answer = await ReadFramedAsync(tcp);
            Assert.Equal(["10.43.0.5"], answer.Data(DnsType.A));
            ids.Add(answer.Id >> 8);
        }
        Assert.Equal([1, 2, 3], ids.Order());
    }

    [Fact]
    public async Task TcpClient_WhoSendsNonsense_IsDisconnected()
    {
        var at = await StartAsync();
        using var tcp = await ConnectAsync(at);
        await tcp.SendAsync((byte[])[0xFF, 0xFF, 1, 2, 3], SocketFlags.None, _stop.Token);
        try
        {
            Assert.Equal(0, await tcp.ReceiveAsync(new byte[16], SocketFlags.None, _stop.Token));
        }
        catch (SocketException reset)
        {
            Assert.Equal(SocketError.ConnectionReset, reset.SocketErrorCode);
        }
    }

    [Fact]
    public async Task Starts_PublishesKubeDns_AndItsConfiguration()
    {
        await _api.Client.CreateAsync(Resources.Nodes, Node("node1", "10.0.0.1"), _stop.Token);
        await StartAsync();
        var service = await UntilAsync(() => _api.Client.FindAsync(Resources.Services, "kube-system", "kube-dns", _stop.Token), _ => true);
        Assert.Equal("10.43.0.10", service.Spec.ClusterIP);
        Assert.Equal([("dns", 53), ("dns-tcp", 53), ("metrics", 9153)], service.Spec.Ports.Select(port => (port.Name, port.Port)));
        await UntilAsync(() => _api.Client.FindAsync(Resources.Endpoints, "kube-system", "kube-dns", _stop.Token), _ => true);
        var slice = await UntilAsync(() => _api.Client.FindAsync(Resources.EndpointSlices, "kube-system", "kube-dns-node1", _stop.Token), _ => true);
        Assert.Equal("kube-dns", slice.Metadata.Labels["kubernetes.io/service-name"]);
        Assert.Equal(["127.0.0.1"], slice.Endpoints[0].Addresses);
        var map = await UntilAsync(() => _api.Client.FindAsync(Resources.ConfigMaps, "kube-system", "coredns", _stop.Token), _ => true);
        Assert.Equal(DefaultCorefile.For("cluster.local"), map.Data["Corefile"]);
        Assert.Equal("10.0.0.1 node1\n", map.Data["NodeHosts"]);
    }

    [Fact]
    public async Task SeveralServers_EachHasItsSlice_AndEndpointsNameAllThatAreReady()
    {
        await _api.Client.CreateAsync(Resources.Nodes, Node("node1", "127.0.0.1"), _stop.Token);
        await _api.Client.CreateAsync(Resources.Nodes, Node("node2", "127.0.0.2"), _stop.Token);
        await StartAsync();
        await StartAsync("node2", "127.0.0.2");
        await EndpointsAreAsync("127.0.0.1", "127.0.0.2");
        var node = await _api.Client.GetAsync(Resources.Nodes, null, "node2", _stop.Token);
        node.Status.Conditions = [new V1NodeCondition { Type = "Ready", Status = "Unknown" }];
        await _api.Client.UpdateStatusAsync(Resources.Nodes, node, _stop.Token);
        await UntilAsync(
            () => _api.Client.FindAsync(Resources.EndpointSlices, "kube-system", "kube-dns-node2", _stop.Token), slice => slice.Endpoints[0].Conditions.Ready == false);
    }

    [Fact]
    public async Task ServerSilent_IsNotAskedAnyMore_LongBeforeItsNodeIsMissed()
    {
        await ListServersAsync("192.0.2.1", "192.0.2.2");
        await StartAsync(server: "192.0.2.1");
        await StartAsync("node2", "127.0.0.2", server: "192.0.2.2");
        await EndpointsAreAsync("127.0.0.1", "127.0.0.2");
        await ListServersAsync("192.0.2.1");
        await EndpointsAreAsync("127.0.0.1");
        await UntilAsync(
            () => _api.Client.FindAsync(Resources.EndpointSlices, "kube-system", "kube-dns-node2", _stop.Token), slice => slice.Endpoints[0].Conditions.Ready == false);
        await ListServersAsync("192.0.2.1", "192.0.2.2");
        await EndpointsAreAsync("127.0.0.1", "127.0.0.2");
        // None is listed: all are asked, for an answer may come all the same.
        await ListServersAsync("192.0.2.9");
        await UntilAsync(
            () => _api.Client.FindAsync(Resources.EndpointSlices, "kube-system", "kube-dns-node2", _stop.Token), slice => slice.Endpoints[0].Conditions.Ready == true);
        await EndpointsAreAsync("127.0.0.1", "127.0.0.2");
    }

    [Fact]
    public async Task ServerWithoutNode_ServesOnceThereIsAnother_AndIsForgottenWhenSilent()
    {
        await ListServersAsync("192.0.2.1", "192.0.2.2");
        using var power = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
        var alone = await NewServerAsync("control", "127.0.0.2", "192.0.2.2", awaitsNodes: true);
        var running = alone.RunAsync(power.Token);
        Assert.False(alone.Listening.IsCompleted);
        await StartAsync(server: "192.0.2.1");
        var at = await alone.Listening.WaitAsync(_stop.Token);
        await EndpointsAreAsync("127.0.0.1", "127.0.0.2");
        Assert.Equal(["127.0.0.1"], (await AskAsync(at, "node1", DnsType.A)).Data(DnsType.A));
        await power.CancelAsync();
        await running;
        await ListServersAsync("192.0.2.1");
        await UntilAsync(
            async () => await _api.Client.FindAsync(Resources.EndpointSlices, "kube-system", "kube-dns-control", _stop.Token) is null ? "gone" : null, _ => true);
        await EndpointsAreAsync("127.0.0.1");
    }

    [Fact]
    public async Task ReachedThroughPodNetwork_BindsAndPublishesWhatTheNodeHasThere_OnceItHas()
    {
        var node = Node("node1", "192.0.2.1");
        await _api.Client.CreateAsync(Resources.Nodes, node, _stop.Token);
        var server = await NewServerAsync("node1", "192.0.2.1", null, awaitsNodes: false, isReachedThroughPodNetwork: true);
        _ = server.RunAsync(_stop.Token);
        Assert.False(server.Listening.IsCompleted);
        node = await _api.Client.GetAsync(Resources.Nodes, null, "node1", _stop.Token);
        // An address that this host has, as the link between nodes would bear it.
        node.Spec = new V1NodeSpec { PodCIDR = "127.0.0.1/32", PodCIDRs = ["127.0.0.1/32"] };
        await _api.Client.UpdateAsync(Resources.Nodes, node, _stop.Token);
        var at = await server.Listening.WaitAsync(_stop.Token);
        Assert.Equal("127.0.0.1", at.Address.ToString());
        Assert.Equal(["192.0.2.1"], (await AskAsync(at, "node1", DnsType.A)).Data(DnsType.A));
        await EndpointsAreAsync("127.0.0.1");
    }

    [Fact]
    public async Task NodeAdded_ItsName_IsAnswered()
    {
        var at = await StartAsync();
        await _api.Client.CreateAsync(Resources.Nodes, Node("edge-7", "10.0.0.7"), _stop.Token);
        while ((await AskAsync(at, "edge-7", DnsType.A)).Data(DnsType.A) is not ["10.0.0.7"]) _stop.Token.ThrowIfCancellationRequested();
    }

    [Fact]
    public async Task CorefileChanged_IsTakenOver_AndNoQuestionIsLost()
    {
        await CreateAsync(DnsBench.Service("web", "10.43.0.5"));
        var at = await StartAsync();
        await UntilKnownAsync(at, "web.default.svc.cluster.local");
        using var done = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
        var asked = 0;
        var asking = Task.Run(async () =>
        {
            while (!done.IsCancellationRequested)
            {
                Assert.Equal(["10.43.0.5"], (await AskAsync(at, "web.default.svc.cluster.local", DnsType.A)).Data(DnsType.A));
                asked++;
            }
        });
        for (var i = 1; i <= 20; i++)
        {
            await WriteCustomAsync(new() { ["a.override"] = $"rewrite name v{i}.test web.default.svc.cluster.local\n" });
            while ((await AskAsync(at, $"v{i}.test", DnsType.A)).Data(DnsType.A) is not ["10.43.0.5"]) _stop.Token.ThrowIfCancellationRequested();
        }
        await done.CancelAsync();
        await asking;
        Assert.True(asked > 0);
    }

    [Fact]
    public async Task CorefileBroken_IsSaidLoudly_AndTheLastGoodOneServes()
    {
        var at = await StartAsync();
        await CreateAsync(DnsBench.Service("web", "10.43.0.5"));
        await WriteCustomAsync(new() { ["a.override"] = "rewrite name good.test web.default.svc.cluster.local\n" });
        while ((await AskAsync(at, "good.test", DnsType.A)).Data(DnsType.A) is not ["10.43.0.5"]) _stop.Token.ThrowIfCancellationRequested();
        await WriteCustomAsync(new() { ["a.override"] = "nonsense\n" });
        var told = await UntilAsync(
            async () => (await _api.Client.ListAsync(Resources.Events, "kube-system", default, _stop.Token)).Items.FirstOrDefault(item => item.Reason == "CorefileRefused"), _ => true);
        Assert.Contains("/etc/coredns/custom/a.override:1 - Error during parsing: Unknown directive 'nonsense'", told.Message);
        Assert.Equal("coredns", told.InvolvedObject.Name);
        Assert.Equal(1, _server.Metrics.ReloadFailed.Value);
        Assert.Equal(["10.43.0.5"], (await AskAsync(at, "good.test", DnsType.A)).Data(DnsType.A));
        // Mended: taken over again.
        await WriteCustomAsync(new() { ["a.override"] = "rewrite name mended.test web.default.svc.cluster.local\n" });
        while ((await AskAsync(at, "mended.test", DnsType.A)).Data(DnsType.A) is not ["10.43.0.5"]) _stop.Token.ThrowIfCancellationRequested();
    }

    [Fact]
    public async Task StubZone_OnAPortOfItsOwn_OpensAndCloses()
    {
        var at = await StartAsync();
        var port = FreePort();
        await WriteCustomAsync(new() { ["lab.server"] = $"lab.test:{port} {{\n  template IN A {{\n    answer \"{{{{ .Name }}}} 60 IN A 192.0.2.7\"\n  }}\n}}\n" });
        var stub = new IPEndPoint(IPAddress.Loopback, port);
        await UntilAsync(async () =>
        {
            try
            {
                return (await AskAsync(stub, "x.lab.test", DnsType.A)).Data(DnsType.A);
            }
            catch (SocketException)
            {
                // Nobody listens yet.
                return null;
            }
        }, data => data is ["192.0.2.7"]);
        await WriteCustomAsync([]);
        await UntilAsync(async () =>
        {
            using var probe = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            try
            {
                await probe.ConnectAsync(stub, _stop.Token);
                return null;
            }
            catch (SocketException)
            {
                return "closed";
            }
        }, _ => true);
        Assert.Equal(DnsCode.NoError, (await AskAsync(at, "svc.cluster.local", DnsType.A)).Code);
    }

    [Fact]
    public async Task Churn_EveryAnswer_IsOneThatWasTrue_AndTheLastIsNow()
    {
        var at = await StartAsync();
        await CreateAsync(DnsBench.Service("db", "None"));
        var slice = DnsBench.Slice("db", ("10.42.0.1", true, null));
        await _api.Client.CreateAsync(Resources.EndpointSlices, slice, _stop.Token);
        await UntilKnownAsync(at, "db.default.svc.cluster.local");
        for (var i = 2; i < 100; i++)
        {
            var next = DnsBench.Slice("db", ($"10.42.0.{i}", true, null));
            await _api.Client.UpdateAsync(Resources.EndpointSlices, next, _stop.Token);
            var answer = await AskAsync(at, "db.default.svc.cluster.local", DnsType.A);
            Assert.Equal(DnsCode.NoError, answer.Code);
            var last = int.Parse(Assert.Single(answer.Data(DnsType.A)).Split('.')[3]);
            Assert.InRange(last, 1, i);
        }
        while ((await AskAsync(at, "db.default.svc.cluster.local", DnsType.A)).Data(DnsType.A) is not ["10.42.0.99"]) _stop.Token.ThrowIfCancellationRequested();
    }

    [Fact]
    public async Task Status_HealthReadyAndMetrics_AreServed()
    {
        var at = await StartAsync();
        using var http = new HttpClient();
        Assert.Equal("OK", await http.GetStringAsync($"http://127.0.0.1:{at.Port + 1}/health", _stop.Token));
        Assert.Equal("OK", await http.GetStringAsync($"http://127.0.0.1:{at.Port + 2}/ready", _stop.Token));
        Assert.Equal(HttpStatusCode.NotFound, (await http.GetAsync($"http://127.0.0.1:{at.Port + 1}/other", _stop.Token)).StatusCode);
        await AskAsync(at, "svc.cluster.local", DnsType.A);
        await _api.Client.CreateAsync(Resources.Namespaces, new V1Namespace { Metadata = new V1ObjectMeta { Name = "x" } }, _stop.Token);
        var port = FreePort();
        await WriteMapAsync("coredns", new() { ["Corefile"] = DefaultCorefile.For("cluster.local").Replace(":9153", $"127.0.0.1:{port}") });
        var text = await UntilAsync(async () =>
        {
            try
            {
                return await http.GetStringAsync($"http://127.0.0.1:{port}/metrics", _stop.Token);
            }
            catch (HttpRequestException)
            {
                // Nobody listens yet.
                return null;
            }
        }, _ => true);
        Assert.Contains("coredns_dns_requests_total{", text);
        Assert.Contains("coredns_plugin_enabled{name=\"kubernetes\"", text);
    }

    [Fact]
    public async Task ManyClientsAtOnce_EachGetsItsOwnAnswer()
    {
        var at = await StartAsync();
        for (var i = 0; i < 50; i++) await CreateAsync(DnsBench.Service($"s{i}", $"10.43.1.{i}"));
        await UntilKnownAsync(at, "s49.default.svc.cluster.local");
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(async () =>
        {
            for (var i = 0; i < 50; i++) Assert.Equal([$"10.43.1.{i}"], (await AskAsync(at, $"s{i}.default.svc.cluster.local", DnsType.A)).Data(DnsType.A));
        })));
    }

    private async Task<IPEndPoint> StartAsync(string node = "node1", string address = "127.0.0.1", string? server = null)
    {
        _server = await NewServerAsync(node, address, server, awaitsNodes: false);
        var running = _server.RunAsync(_stop.Token);
        await await Task.WhenAny(running, _server.Listening);
        return await _server.Listening;
    }

    private async Task<DnsServer> NewServerAsync(string node, string address, string? server, bool awaitsNodes, bool isReachedThroughPodNetwork = false)
    {
        foreach (var name in (string[])["default", "kube-system"])
        {
            if (await _api.Client.FindAsync(Resources.Namespaces, null, name, _stop.Token) is null)
            {
                await _api.Client.CreateAsync(Resources.Namespaces, new V1Namespace { Metadata = new V1ObjectMeta { Name = name } }, _stop.Token);
            }
        }
        if (!awaitsNodes && await _api.Client.FindAsync(Resources.Nodes, null, node, _stop.Token) is null)
        {
            await _api.Client.CreateAsync(Resources.Nodes, Node(node, address), _stop.Token);
        }
        var options = new DnsOptions
        {
            NodeName = node,
            NodeIPs = [IPAddress.Parse(address)],
            ServerAddress = server is null ? null : IPAddress.Parse(server),
            AwaitsNodes = awaitsNodes,
            IsReachedThroughPodNetwork = isReachedThroughPodNetwork,
            ClusterDns = [IPAddress.Parse("10.43.0.10")],
            Port = FreePort(),
            ResolvConf = "/nonexistent",
        };
        return new DnsServer(options, _api.Client, NullLoggerFactory.Instance);
    }

    // The API servers that live, as they keep it themselves.
    private async Task ListServersAsync(params string[] addresses)
    {
        var slice = new V1EndpointSlice
        {
            Metadata = new V1ObjectMeta
            {
                Name = "kubernetes", NamespaceProperty = "default", Labels = new Dictionary<string, string> { ["kubernetes.io/service-name"] = "kubernetes" },
            },
            AddressType = "IPv4",
            Endpoints = [.. addresses.Select(address => new V1Endpoint { Addresses = [address], Conditions = new V1EndpointConditions { Ready = true } })],
        };
        if (await _api.Client.FindAsync(Resources.EndpointSlices, "default", "kubernetes", _stop.Token) is null) await _api.Client.CreateAsync(Resources.EndpointSlices, slice, _stop.Token);
        else await _api.Client.UpdateAsync(Resources.EndpointSlices, slice, _stop.Token);
    }

    private Task<V1Endpoints> EndpointsAreAsync(params string[] wanted) => UntilAsync(
        () => _api.Client.FindAsync(Resources.Endpoints, "kube-system", "kube-dns", _stop.Token),
        endpoints => endpoints.Subsets.SelectMany(subset => subset.Addresses).Select(address => address.Ip).SequenceEqual(wanted));

    private async Task CreateAsync(V1Service service) => await _api.Client.CreateAsync(Resources.Services, service, _stop.Token);

    private Task WriteCustomAsync(Dictionary<string, string> data) => WriteMapAsync("coredns-custom", data);

    private async Task WriteMapAsync(string name, Dictionary<string, string> data)
    {
        var current = await _api.Client.FindAsync(Resources.ConfigMaps, "kube-system", name, _stop.Token);
        var wanted = new V1ConfigMap { Metadata = new V1ObjectMeta { Name = name, NamespaceProperty = "kube-system" }, Data = data };
        if (current is null && name == "coredns") current = await UntilAsync(() => _api.Client.FindAsync(Resources.ConfigMaps, "kube-system", name, _stop.Token), _ => true);
        if (current is null) await _api.Client.CreateAsync(Resources.ConfigMaps, wanted, _stop.Token);
        else await _api.Client.UpdateAsync(Resources.ConfigMaps, wanted, _stop.Token);
    }

    private async Task<DnsProbe.Answer> UntilKnownAsync(IPEndPoint at, string name) =>
        await UntilAsync(async () => (DnsProbe.Answer?)await AskAsync(at, name, DnsType.A), answer => answer.Code == DnsCode.NoError);

    private async Task<T> UntilAsync<T>(Func<ValueTask<T?>> get, Func<T, bool> isWanted) where T : class
    {
        while (true)
        {
            if (await get() is { } value && isWanted(value)) return value;
            _stop.Token.ThrowIfCancellationRequested();
            await Task.Delay(10, _stop.Token);
        }
    }

    private async Task<DnsProbe.Answer> AskAsync(IPEndPoint at, string name, DnsType type)
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        await socket.ConnectAsync(at, _stop.Token);
        await socket.SendAsync(DnsProbe.Query(name, type, udpSize: 1232), SocketFlags.None, _stop.Token);
        var buffer = new byte[4096];
        var size = await socket.ReceiveAsync(buffer, SocketFlags.None, _stop.Token);
        return DnsProbe.Read(buffer.AsSpan(0, size));
    }

    private async Task<Socket> ConnectAsync(IPEndPoint at)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(at, _stop.Token);
        return socket;
    }

    private async Task<DnsProbe.Answer> ReadFramedAsync(Socket socket)
    {
        await using var stream = new NetworkStream(socket);
        var prefix = new byte[2];
        await stream.ReadExactlyAsync(prefix, _stop.Token);
        var message = new byte[DnsMessage.U16(prefix)];
        await stream.ReadExactlyAsync(message, _stop.Token);
        return DnsProbe.Read(message);
    }

    // Three in a row: DNS, health, readiness.
    private static int FreePort()
    {
        while (true)
        {
            var port = Random.Shared.Next(20_000, 32_000);
            if (Enumerable.Range(port, 3).All(IsFree)) return port;
        }
    }

    private static bool IsFree(int port)
    {
        using var probe = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            probe.Bind(new IPEndPoint(IPAddress.Loopback, port));
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    private static V1Node Node(string name, string address) => new()
    {
        Metadata = new V1ObjectMeta { Name = name },
        Status = new V1NodeStatus { Addresses = [new V1NodeAddress { Type = "InternalIP", Address = address }] },
    };
}
