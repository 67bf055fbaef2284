using System.Net;
using System.Net.Sockets;
using K3sFast.Client;
using K3sFast.Client.Testing;
using k8s.Models;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.AddOns.Dns.Tests;

/// <summary>One server: what it answers, over UDP and TCP, as its configuration and the cluster change.</summary>
public sealed class DnsServerTests : DnsServerTest
{
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
        await tcp.SendAsync(queries.ToArray(), SocketFlags.None, Stop.Token);
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
        await tcp.SendAsync((byte[])[0xFF, 0xFF, 1, 2, 3], SocketFlags.None, Stop.Token);
        try
        {
            Assert.Equal(0, await tcp.ReceiveAsync(new byte[16], SocketFlags.None, Stop.Token));
        }
        catch (SocketException reset)
        {
            Assert.Equal(SocketError.ConnectionReset, reset.SocketErrorCode);
        }
    }

    [Fact]
    public async Task Starts_PublishesKubeDns_AndItsConfiguration()
    {
        await Api.Client.CreateAsync(Resources.Nodes, Node("node1", "10.0.0.1"), Stop.Token);
        await StartAsync();
        var service = await UntilAsync(() => Api.Client.FindAsync(Resources.Services, "kube-system", "kube-dns", Stop.Token), _ => true);
        Assert.Equal("10.43.0.10", service.Spec.ClusterIP);
        Assert.Equal([("dns", 53), ("dns-tcp", 53), ("metrics", 9153)], service.Spec.Ports.Select(port => (port.Name, port.Port)));
        await UntilAsync(() => Api.Client.FindAsync(Resources.Endpoints, "kube-system", "kube-dns", Stop.Token), _ => true);
        var slice = await UntilAsync(() => Api.Client.FindAsync(Resources.EndpointSlices, "kube-system", "kube-dns-node1", Stop.Token), _ => true);
        Assert.Equal("kube-dns", slice.Metadata.Labels["kubernetes.io/service-name"]);
        Assert.Equal(["127.0.0.1"], slice.Endpoints[0].Addresses);
        var map = await UntilAsync(() => Api.Client.FindAsync(Resources.ConfigMaps, "kube-system", "coredns", Stop.Token), _ => true);
        Assert.Equal(DefaultCorefile.For("cluster.local"), map.Data["Corefile"]);
        Assert.Equal("10.0.0.1 node1\n", map.Data["NodeHosts"]);
    }

    [Fact]
    public async Task NodeAdded_ItsName_IsAnswered()
    {
        var at = await StartAsync();
        await Api.Client.CreateAsync(Resources.Nodes, Node("edge-7", "10.0.0.7"), Stop.Token);
        while ((await AskAsync(at, "edge-7", DnsType.A)).Data(DnsType.A) is not ["10.0.0.7"]) Stop.Token.ThrowIfCancellationRequested();
    }

    [Fact]
    public async Task CorefileChanged_IsTakenOver_AndNoQuestionIsLost()
    {
        await CreateAsync(DnsBench.Service("web", "10.43.0.5"));
        var at = await StartAsync();
        await UntilKnownAsync(at, "web.default.svc.cluster.local");
        using var done = CancellationTokenSource.CreateLinkedTokenSource(Stop.Token);
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
            while ((await AskAsync(at, $"v{i}.test", DnsType.A)).Data(DnsType.A) is not ["10.43.0.5"]) Stop.Token.ThrowIfCancellationRequested();
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
        while ((await AskAsync(at, "good.test", DnsType.A)).Data(DnsType.A) is not ["10.43.0.5"]) Stop.Token.ThrowIfCancellationRequested();
        await WriteCustomAsync(new() { ["a.override"] = "nonsense\n" });
        var told = await UntilAsync(
            async () => (await Api.Client.ListAsync(Resources.Events, "kube-system", default, Stop.Token)).Items.FirstOrDefault(item => item.Reason == "CorefileRefused"), _ => true);
        Assert.Contains("/etc/coredns/custom/a.override:1 - Error during parsing: Unknown directive 'nonsense'", told.Message);
        Assert.Equal("coredns", told.InvolvedObject.Name);
        Assert.Equal(1, Server.Metrics.ReloadFailed.Value);
        Assert.Equal(["10.43.0.5"], (await AskAsync(at, "good.test", DnsType.A)).Data(DnsType.A));
        // Mended: taken over again.
        await WriteCustomAsync(new() { ["a.override"] = "rewrite name mended.test web.default.svc.cluster.local\n" });
        while ((await AskAsync(at, "mended.test", DnsType.A)).Data(DnsType.A) is not ["10.43.0.5"]) Stop.Token.ThrowIfCancellationRequested();
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
                await probe.ConnectAsync(stub, Stop.Token);
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
        await Api.Client.CreateAsync(Resources.EndpointSlices, slice, Stop.Token);
        await UntilKnownAsync(at, "db.default.svc.cluster.local");
        for (var i = 2; i < 100; i++)
        {
            var next = DnsBench.Slice("db", ($"10.42.0.{i}", true, null));
            await Api.Client.UpdateAsync(Resources.EndpointSlices, next, Stop.Token);
            var answer = await AskAsync(at, "db.default.svc.cluster.local", DnsType.A);
            Assert.Equal(DnsCode.NoError, answer.Code);
            var last = int.Parse(Assert.Single(answer.Data(DnsType.A)).Split('.')[3]);
            Assert.InRange(last, 1, i);
        }
        while ((await AskAsync(at, "db.default.svc.cluster.local", DnsType.A)).Data(DnsType.A) is not ["10.42.0.99"]) Stop.Token.ThrowIfCancellationRequested();
    }

    [Fact]
    public async Task Status_HealthReadyAndMetrics_AreServed()
    {
        var at = await StartAsync();
        using var http = new HttpClient();
        Assert.Equal("OK", await http.GetStringAsync($"http://127.0.0.1:{at.Port + 1}/health", Stop.Token));
        Assert.Equal("OK", await http.GetStringAsync($"http://127.0.0.1:{at.Port + 2}/ready", Stop.Token));
        Assert.Equal(HttpStatusCode.NotFound, (await http.GetAsync($"http://127.0.0.1:{at.Port + 1}/other", Stop.Token)).StatusCode);
        await AskAsync(at, "svc.cluster.local", DnsType.A);
        await Api.Client.CreateAsync(Resources.Namespaces, new V1Namespace { Metadata = new V1ObjectMeta { Name = "x" } }, Stop.Token);
        var port = FreePort();
        await WriteMapAsync("coredns", new() { ["Corefile"] = DefaultCorefile.For("cluster.local").Replace(":9153", $"127.0.0.1:{port}") });
        var text = await UntilAsync(async () =>
        {
            try
            {
                return await http.GetStringAsync($"http://127.0.0.1:{port}/metrics", Stop.Token);
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

    private async Task CreateAsync(V1Service service) => await Api.Client.CreateAsync(Resources.Services, service, Stop.Token);

    private Task WriteCustomAsync(Dictionary<string, string> data) => WriteMapAsync("coredns-custom", data);

    private async Task WriteMapAsync(string name, Dictionary<string, string> data)
    {
        var current = await Api.Client.FindAsync(Resources.ConfigMaps, "kube-system", name, Stop.Token);
        var wanted = new V1ConfigMap { Metadata = new V1ObjectMeta { Name = name, NamespaceProperty = "kube-system" }, Data = data };
        if (current is null && name == "coredns") current = await UntilAsync(() => Api.Client.FindAsync(Resources.ConfigMaps, "kube-system", name, Stop.Token), _ => true);
        if (current is null) await Api.Client.CreateAsync(Resources.ConfigMaps, wanted, Stop.Token);
        else await Api.Client.UpdateAsync(Resources.ConfigMaps, wanted, Stop.Token);
    }

    private async Task<DnsProbe.Answer> UntilKnownAsync(IPEndPoint at, string name) =>
        await UntilAsync(async () => (DnsProbe.Answer?)await AskAsync(at, name, DnsType.A), answer => answer.Code == DnsCode.NoError);

    private async Task<Socket> ConnectAsync(IPEndPoint at)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(at, Stop.Token);
        return socket;
    }

    private async Task<DnsProbe.Answer> ReadFramedAsync(Socket socket)
    {
        await using var stream = new NetworkStream(socket);
        var prefix = new byte[2];
        await stream.ReadExactlyAsync(prefix, Stop.Token);
        var message = new byte[DnsMessage.U16(prefix)];
        await stream.ReadExactlyAsync(message, Stop.Token);
        return DnsProbe.Read(message);
    }
}
