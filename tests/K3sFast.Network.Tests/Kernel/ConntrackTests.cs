using System.Net;
using System.Net.Sockets;
using System.Text;
using K3sFast.Client;
using K3sFast.Interop;
using K3sFast.Interop.Namespaces;
using K3sFast.Network.Proxy;
using K3sFast.Network.Tests.Proxy;
using k8s.Models;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>What connection tracking remembers, and what it does not understand, must not break what goes through Services: over two nodes, as upstream's tests of it do.</summary>
public sealed class ConntrackTests
{
    private static readonly IPAddress s_clusterIP = IPAddress.Parse("10.43.0.80");

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(ProxyMode.Nftables, false)]
    [InlineData(ProxyMode.Nftables, true)]
    [InlineData(ProxyMode.Ebpf, false)]
    public async Task Connection_SegmentsOutsideItsWindow_DoNotResetIt(ProxyMode mode, bool isLiberal)
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        await using var one = lan.AddNode(1, hasIPv6: false);
        await using var two = lan.AddNode(2, hasIPv6: false);
        // As --kube-proxy-arg=conntrack-tcp-be-liberal says, or an administrator without us.
        if (isLiberal) Sysctl.TryWrite(ProxyOptions.LiberalSetting, "1", two.Namespace);
        var settings = isLiberal ? new Dictionary<string, string> { [ProxyOptions.LiberalSetting] = "1" } : [];
        await one.StartAsync("vxlan", options => options with { Proxy = new() { Mode = mode, ConntrackSettings = settings } });
        await two.StartAsync("vxlan", options => options with { Proxy = new() { Mode = mode } });
        var (client, far) = (await one.AddPodAsync("client"), await two.AddPodAsync("server"));
        using var server = Traffic.ServeTcp(far.Namespace, 9000, "server");
        using var forged = new ForgedSegments(far.Namespace, far.Address, 9000);
        await lan.Api.Client.CreateAsync(Resources.Services, TestServices.Service("web", "10.43.0.80", 9000), Cancellation);
        await lan.Api.Client.CreateAsync(Resources.EndpointSlices, TestServices.Slice("web", 9000, (far.Address, two.Name)), Cancellation);
        await LanNode.Until(() => Traffic.AnswersAsync(client.Namespace, s_clusterIP, 9000), one.Log.ToString());
        string Rules(LanNode node) => TestNode.Execute(node.Namespace, "nft", "", null, "list", "chain", "ip", "k3sfast", "filter-forward").Output;
        foreach (var node in (LanNode[])[one, two])
        {
            Assert.Equal(!isLiberal, Rules(node).Contains("ct state invalid drop", StringComparison.Ordinal));
            Assert.Equal(isLiberal, node.Log.Has("nf_conntrack_tcp_be_liberal is set"));
        }

        using var connection = await Traffic.ConnectAsync(client.Namespace, s_clusterIP, 9000);
        await Traffic.ReadLineAsync(connection);
        await LanNode.Until(() => Task.FromResult(forged.HasClient), "the server's pod saw no segment");
        var before = forged.Resets;
        foreach (var distance in (int[])[-100_000, 100_000_000, 1_000_000_000]) forged.Send(distance);
        // What follows on the same way was not overtaken.
        await Traffic.EchoAsync(connection);
        Assert.Equal(before, forged.Resets);

        if (mode == ProxyMode.Ebpf || isLiberal) return;
        // Without the rule it is as upstream's test describes it: the client is told of a connection that it does not have.
        foreach (var node in (LanNode[])[one, two]) TestNode.Execute(node.Namespace, "nft", "", null, "flush", "chain", "ip", "k3sfast", "filter-forward");
        await LanNode.Until(() =>
        {
            forged.Send(1_000_000_000);
            return Task.FromResult(forged.Resets > before);
        }, "no segment of the forger came to the client untranslated: this test shows nothing");
    }

    [Theory]
    [InlineData(ProxyMode.Nftables)]
    [InlineData(ProxyMode.Ebpf)]
    public async Task Datagrams_OfAClientThatNeverPauses_FollowTheEndpoints(ProxyMode mode)
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        await using var one = lan.AddNode(1, hasIPv6: false);
        await using var two = lan.AddNode(2, hasIPv6: false);
        LanNode[] nodes = [one, two];
        foreach (var node in nodes) await node.StartAsync("vxlan", options => options with { Proxy = new() { Mode = mode } });
        var (client, neighbour) = (await one.AddPodAsync("client"), await two.AddPodAsync("neighbour"));
        var (a, b) = (await two.AddPodAsync("a"), await two.AddPodAsync("b"));
        using var servers = new Servers((a, 8080, "a"), (b, 8080, "b"), (a, 9090, "a9"));
        (IPAddress, string)[] first = [(a.Address, two.Name)], both = [(a.Address, two.Name), (b.Address, two.Name)], second = [(b.Address, two.Name)];
        async Task Expect(Flow flow, string name)
        {
            flow.Forget();
            await LanNode.Until(() => Task.FromResult(flow.Last.StartsWith(name + " ", StringComparison.Ordinal)), $"{flow.What}: {flow.Last} answers, and not {name}\n{one.Log}\n--\n{two.Log}");
        }

        async Task SetAsync(string name, int port, (IPAddress, string)[] endpoints, bool isReady = true)
        {
            var slice = TestServices.Slice(name, port, "UDP", endpoints);
            foreach (var endpoint in slice.Endpoints) endpoint.Conditions = new V1EndpointConditions { Ready = isReady, Serving = isReady, Terminating = false };
            if (await lan.Api.Client.FindAsync(Resources.EndpointSlices, "default", name + "-abc", Cancellation) is { } known)
            {
                slice.Metadata.ResourceVersion = known.Metadata.ResourceVersion;
                await lan.Api.Client.UpdateAsync(Resources.EndpointSlices, slice, Cancellation);
            }
            else
            {
                await lan.Api.Client.CreateAsync(Resources.EndpointSlices, slice, Cancellation);
            }
        }

        // Who asks, where, and what the Service is; the client asks before anybody is there, and never pauses.
        (string Name, NetworkNamespace From, IPAddress To, int Port, Action<V1ServiceSpec>? Change)[] cases =
        [
            ("nodeport", client.Namespace, IPAddress.Parse("192.0.2.2"), 30001, static spec => (spec.Type, spec.Ports[0].NodePort) = ("NodePort", 30001)),
            ("clusterip", client.Namespace, IPAddress.Parse("10.43.0.81"), 80, null),
            ("local", neighbour.Namespace, IPAddress.Parse("10.43.0.82"), 80, static spec => spec.InternalTrafficPolicy = "Local"),
            ("host", one.Namespace, IPAddress.Parse("10.43.0.83"), 80, null),
        ];
        for (var i = 0; i < cases.Length; i++)
        {
            var (name, from, to, port, change) = cases[i];
            await lan.Api.Client.CreateAsync(Resources.Services, TestServices.Service(name, $"10.43.0.{80 + i}", 80, "UDP", change), Cancellation);
            using var flow = new Flow(name, from, 40000 + i, to, port);
            await SetAsync(name, 8080, first);
            await Expect(flow, "a");
            if (name != "local") await SetAsync(name, 8080, both);
            // A pod that is made anew leaves nobody for a while.
            else await SetAsync(name, 8080, []);
            await SetAsync(name, 8080, second);
            await Expect(flow, "b");
        }

        // Known before it is ready.
        await lan.Api.Client.CreateAsync(Resources.Services, TestServices.Service("unready", "10.43.0.90", 80, "UDP"), Cancellation);
        using (var flow = new Flow("unready", client.Namespace, 41000, IPAddress.Parse("10.43.0.90"), 80))
        {
            await SetAsync("unready", 8080, first, isReady: false);
            await SetAsync("unready", 8080, first);
            await Expect(flow, "a");
        }

        // Another port of the same pod.
        await lan.Api.Client.CreateAsync(Resources.Services, TestServices.Service("moves", "10.43.0.91", 80, "UDP", static spec => (spec.Type, spec.Ports[0].NodePort) = ("NodePort", 30002)), Cancellation);
        using (var flow = new Flow("moves", client.Namespace, 41001, IPAddress.Parse("192.0.2.2"), 30002))
        {
            await SetAsync("moves", 8080, first);
            await Expect(flow, "a");
            await SetAsync("moves", 9090, first);
            await Expect(flow, "a9");
        }
    }

    private sealed class Servers(params (TestPod Pod, int Port, string Name)[] servers) : IDisposable
    {
        private readonly List<IDisposable> _servers = [.. servers.Select(static server => Traffic.ServeUdp(server.Pod.Namespace, server.Port, server.Name))];

        public void Dispose() => _servers.ForEach(static server => server.Dispose());
    }

    /// <summary>One flow: a datagram from the same port every few milliseconds, whatever comes back.</summary>
    private sealed class Flow : IDisposable
    {
        private static readonly TimeSpan s_interval = TimeSpan.FromMilliseconds(5);

        private readonly Socket _socket;
        private readonly IPEndPoint _to;
        private readonly Thread _thread;
        private volatile string _last = "";
        private volatile bool _isStopped;

        internal Flow(string what, NetworkNamespace from, int sourcePort, IPAddress to, int port)
        {
            (What, _to, _socket) = (what, new IPEndPoint(to, port), Traffic.UdpClient(from, sourcePort));
            _thread = new Thread(Run) { IsBackground = true };
            _thread.Start();
        }

        internal string What { get; }

        /// <summary>The last answer.</summary>
        internal string Last => _last;

        internal void Forget() => _last = "";

        public void Dispose()
        {
            _isStopped = true;
            _thread.Join();
            _socket.Dispose();
        }

        private void Run()
        {
            var buffer = new byte[256];
            while (!_isStopped)
            {
                try
                {
                    _socket.SendTo("?"u8, _to);
                    while (_socket.Poll(s_interval, SelectMode.SelectRead)) _last = Encoding.ASCII.GetString(buffer, 0, _socket.Receive(buffer));
                }
                catch (SocketException)
                {
                    // Nobody is there, and it is said so.
                }
            }
        }
    }
}
