using System.Net;
using System.Net.Sockets;
using K3sFast.Network.Proxy.Ebpf;
using K3sFast.Network.Tests.Proxy;
using static K3sFast.Network.Tests.Kernel.TrafficNode;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>The programs for packets on the real kernel: Services as who is outside sees them.</summary>
public sealed class TrafficTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Tcp_EveryWayFromOutside_ReachesEveryEndpointAndIsSpokenForByTheNode(bool isIPv6)
    {
        using var node = new TrafficNode();
        var (a, b) = (node.AddServer("a"), node.AddServer("b"));
        var family = isIPv6 ? 1 : 0;
        node.Set(Service(isIPv6: isIPv6), TestServices.Slice("web", 8080, (a.Addresses[family], "node"), (b.Addresses[family], "node")));
        await ReachableAsync(node, isIPv6);

        foreach (var (address, port) in Ways(isIPv6))
        {
            var seen = new HashSet<(string, IPAddress)>();
            for (var i = 0; i < 60 && seen.Count < 2; i++) seen.Add(await Traffic.AskTcpAsync(node.Node.Outside, address, port));
            var nodeIP = isIPv6 ? TestNode.NodeIP6 : TestNode.NodeIP;
            Assert.Equal([("a", nodeIP), ("b", nodeIP)], seen.Order(Comparer<(string Name, IPAddress)>.Create(static (x, y) => string.CompareOrdinal(x.Name, y.Name))));
        }
        // No rule knows of it.
        var rules = node.Rules();
        Assert.DoesNotContain("30080", rules);
        Assert.DoesNotContain(isIPv6 ? "2001:db8:1::" : "203.0.113.", rules);
        // Much data, both ways, in large pieces: all sums are right.
        using var open = await Traffic.ConnectAsync(node.Node.Outside, Ways(isIPv6)[0].Address, 30080);
        await Traffic.ReadLineAsync(open);
        var sent = new byte[4 * 1024 * 1024];
        new Random(5).NextBytes(sent);
        var received = new byte[sent.Length];
        var sending = open.SendAsync(sent);
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        for (var length = 0; length < received.Length;)
        {
            var read = await open.ReceiveAsync(received.AsMemory(length), deadline.Token);
            Assert.True(read > 0);
            length += read;
        }
        await sending;
        Assert.True(received.AsSpan().SequenceEqual(sent));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Udp_EveryWayFromOutside_AnswersFromTheAddressThatWasAsked(bool isIPv6)
    {
        using var node = new TrafficNode();
        var pod = node.AddPod();
        using var server = Serve(pod, "udp");
        node.Set(Service("UDP", isIPv6), TestServices.Slice("web", 8080, "UDP", (pod.Addresses[isIPv6 ? 1 : 0], "node")));
        await ReachableAsync(node, isIPv6);
        using var socket = Udp(node.Node.Outside, isIPv6);
        foreach (var (address, port) in Ways(isIPv6)) Assert.Equal($"udp {(isIPv6 ? TestNode.NodeIP6 : TestNode.NodeIP)} ?", await AskAsync(socket, address, port));
    }

    [Fact]
    public async Task DualStack_OneNodePortOfBothFamilies_EachHasItsOwnEndpoints()
    {
        using var node = new TrafficNode();
        var (four, six) = (node.AddPod(), node.AddPod());
        using var serverFour = Traffic.ServeTcp(four.Namespace, 8080, "four");
        using var serverSix = Traffic.ServeTcp(six.Namespace, 8080, "six");
        var service = Service(change: static spec => (spec.ClusterIPs, spec.ExternalIPs, spec.IpFamilyPolicy) = ([ClusterIP.ToString(), ClusterIP6.ToString()], [], "RequireDualStack"));
        var sliceSix = TestServices.Slice("web", 8080, (six.Addresses[1], "node"));
        sliceSix.Metadata.Name = "web-six";
        node.Set(service, TestServices.Slice("web", 8080, (four.Addresses[0], "node")), sliceSix);
        await ReachableAsync(node, isIPv6: true);
        // From outside, and at the sockets of the node.
        foreach (var from in (Interop.Namespaces.NetworkNamespace[])[node.Node.Outside, node.Node.Namespace])
        {
            Assert.Equal("four", (await Traffic.AskTcpAsync(from, TestNode.NodeIP, 30080)).Name);
            Assert.Equal("six", (await Traffic.AskTcpAsync(from, TestNode.NodeIP6, 30080)).Name);
        }
    }

    [Fact]
    public async Task Udp_EndpointGone_FlowMovesOnAndOneThatLingersKeepsIt()
    {
        using var node = new TrafficNode();
        var (a, b) = (node.AddPod(), node.AddPod());
        using var serverA = Serve(a, "a");
        using var serverB = Serve(b, "b");
        using var socket = Udp(node.Node.Outside);
        node.Set(Service("UDP"), TestServices.Slice("web", 8080, "UDP", (a.Address, "node")));
        Assert.Equal("a", Name(await AskAsync(socket, TestNode.NodeIP, 30080)));

        // It ends, but still answers: what is under way goes on, what is new goes elsewhere.
        var both = TestServices.Slice("web", 8080, "UDP", (a.Address, "node"), (b.Address, "node"));
        (both.Endpoints[0].Conditions.Ready, both.Endpoints[0].Conditions.Terminating) = (false, true);
        node.Set(Service("UDP"), both);
        Assert.Equal("a", Name(await AskAsync(socket, TestNode.NodeIP, 30080)));
        using var fresh = Udp(node.Node.Outside);
        Assert.Equal("b", Name(await AskAsync(fresh, TestNode.NodeIP, 30080)));

        node.Set(Service("UDP"), TestServices.Slice("web", 8080, "UDP", (b.Address, "node")));
        Assert.Equal("b", Name(await AskAsync(socket, TestNode.NodeIP, 30080)));
    }

    [Fact]
    public async Task ExternalPolicyLocal_FromOutside_KeepsTheSourceAndIsSilentWithoutAnEndpointHere()
    {
        using var node = new TrafficNode();
        var (pod, client) = (node.AddPod(), node.AddPod());
        using var server = Traffic.ServeTcp(pod.Namespace, 8080, "web");
        var service = Service(change: static spec => spec.ExternalTrafficPolicy = "Local");
        node.Set(service, TestServices.Slice("web", 8080, (pod.Address, "node"), (IPAddress.Parse("10.42.9.9"), "other")));
        for (var i = 0; i < 20; i++) Assert.Equal(("web", TestNode.OutsideIP), await Traffic.AskTcpAsync(node.Node.Outside, TestNode.NodeIP, 30080));
        Assert.Equal(("web", TestNode.OutsideIP), await Traffic.AskTcpAsync(node.Node.Outside, LoadBalancerIP, 80));

        node.Set(service, TestServices.Slice("web", 8080, (pod.Address, "other")));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Traffic.ConnectAsync(node.Node.Outside, TestNode.NodeIP, 30080, TimeSpan.FromMilliseconds(500)));
        Assert.Equal("web", (await Traffic.AskTcpAsync(client.Namespace, TestNode.NodeIP, 30080)).Name);
        Assert.Equal("web", (await Traffic.AskTcpAsync(node.Node.Outside, ClusterIP, 80)).Name);
    }

    [Fact]
    public async Task LoadBalancer_SourceRanges_LetInWhoTheyName()
    {
        using var node = new TrafficNode();
        var pod = node.AddServer("web");
        var slice = TestServices.Slice("web", 8080, (pod.Address, "node"));
        node.Set(Service(change: static spec => spec.LoadBalancerSourceRanges = ["198.51.100.0/24", "192.0.2.2/32"]), slice);
        Assert.Equal("web", (await Traffic.AskTcpAsync(node.Node.Outside, LoadBalancerIP, 80)).Name);
        // Nobody else's ranges, and no ranges of a node port.
        node.Set(Service(change: static spec => spec.LoadBalancerSourceRanges = ["198.51.100.0/24"]), slice);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Traffic.ConnectAsync(node.Node.Outside, LoadBalancerIP, 80, TimeSpan.FromMilliseconds(500)));
        Assert.Equal("web", (await Traffic.AskTcpAsync(node.Node.Outside, TestNode.NodeIP, 30080)).Name);
        node.Set(Service(), slice);
        Assert.Equal("web", (await Traffic.AskTcpAsync(node.Node.Outside, LoadBalancerIP, 80)).Name);
    }

    [Fact]
    public async Task Affinity_ClientOutside_StaysForTheTimeoutAndWhileTheEndpointIsThere()
    {
        using var node = new TrafficNode();
        var (a, b) = (node.AddServer("a"), node.AddServer("b"));
        var service = Service(change: static spec => spec.SessionAffinity = "ClientIP");
        async Task<string> Ask() => (await Traffic.AskTcpAsync(node.Node.Outside, TestNode.NodeIP, 30080)).Name;
        node.Set(service, TestServices.Slice("web", 8080, (a.Address, "node"), (b.Address, "node")));
        var first = await Ask();
        for (var i = 0; i < 30; i++) Assert.Equal(first, await Ask());
        // All addresses of a service port are one to it.
        Assert.Equal(first, (await Traffic.AskTcpAsync(node.Node.Outside, LoadBalancerIP, 80)).Name);

        node.Set(service, TestServices.Slice("web", 8080, ((first == "a" ? b : a).Address, "node")));
        var second = await Ask();
        Assert.NotEqual(first, second);
        node.Set(service, TestServices.Slice("web", 8080, (a.Address, "node"), (b.Address, "node")));
        for (var i = 0; i < 30; i++) Assert.Equal(second, await Ask());
    }

    [Fact]
    public async Task NoEndpoints_FromOutside_IsRefusedAtOnceOnEveryAddress()
    {
        using var node = new TrafficNode();
        node.Set(Service());
        foreach (var (address, port) in Ways())
        {
            var refused = await Assert.ThrowsAsync<SocketException>(() => Traffic.ConnectAsync(node.Node.Outside, address, port));
            Assert.Equal(SocketError.ConnectionRefused, refused.SocketErrorCode);
        }
        // With the first endpoint the same client gets through.
        var pod = node.AddServer("web");
        node.Set(Service(), TestServices.Slice("web", 8080, (pod.Address, "node")));
        foreach (var (address, port) in Ways()) Assert.Equal("web", (await Traffic.AskTcpAsync(node.Node.Outside, address, port)).Name);
        node.Remove("web");
        await Assert.ThrowsAnyAsync<Exception>(() => Traffic.ConnectAsync(node.Node.Outside, TestNode.NodeIP, 30080, TimeSpan.FromSeconds(2)));
    }

    [Fact]
    public async Task EndpointIsTheNodeItself_FromOutside_Answers()
    {
        using var node = new TrafficNode();
        using var server = Traffic.ServeTcp(node.Node.Namespace, 6443, "api");
        node.Set(Service(), TestServices.Slice("web", 6443, (TestNode.NodeIP, "node")));
        foreach (var (address, port) in Ways()) Assert.Equal(("api", TestNode.OutsideIP), await Traffic.AskTcpAsync(node.Node.Outside, address, port));
    }

    [Fact]
    public async Task EndpointIsOutside_ComesBackThroughTheNode()
    {
        using var node = new TrafficNode();
        using var server = Traffic.ServeTcp(node.Node.Outside, 9999, "far");
        node.Set(Service(), TestServices.Slice("web", 9999, (TestNode.OutsideIP, "other")));
        // The client is its own endpoint, and the node speaks for it.
        Assert.Equal(("far", TestNode.NodeIP), await Traffic.AskTcpAsync(node.Node.Outside, TestNode.NodeIP, 30080));
    }

    [Fact]
    public async Task TwoServicesOneEndpoint_FromOnePortOfOneClient_AreTwoConnections()
    {
        using var node = new TrafficNode();
        var pod = node.AddServer("web");
        node.Set(Service(change: static spec => spec.ExternalTrafficPolicy = "Local"), TestServices.Slice("web", 8080, (pod.Address, "node")));
        var open = new List<Socket>();
        // The kernel lets a client use its port for each peer.
        foreach (var (address, port) in Ways())
        {
            var socket = node.Node.Outside.Run(static () => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
            socket.Bind(new IPEndPoint(IPAddress.Any, 45454));
            await socket.ConnectAsync(new IPEndPoint(address, port));
            open.Add(socket);
            Assert.StartsWith("web ", await Traffic.ReadLineAsync(socket));
        }
        foreach (var socket in open)
        {
            await socket.SendAsync("mine\n"u8.ToArray());
            Assert.Equal("mine", await Traffic.ReadLineAsync(socket));
            socket.Dispose();
        }
    }

    [Fact]
    public async Task NodePortsNumber_UsedByTheNodeForItself_IsNotTakenForAClient()
    {
        using var node = new TrafficNode();
        var pod = node.AddPod();
        using var web = Traffic.ServeTcp(pod.Namespace, 8080, "web");
        using var echo = Serve(pod, "udp");
        node.Set(Service(), TestServices.Slice("web", 8080, (pod.Address, "node")));
        var udpService = Service("UDP", name: "udp", change: static spec => (spec.ClusterIP, spec.ClusterIPs, spec.ExternalIPs) = ("10.43.0.81", ["10.43.0.81"], []));
        node.Set(udpService, TestServices.Slice("udp", 8080, "UDP", (pod.Address, "node")));

        using var far = Traffic.ServeTcp(node.Node.Outside, 9999, "far");
        using var socket = node.Node.Namespace.Run(static () => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        socket.Bind(new IPEndPoint(TestNode.NodeIP, 30080));
        await socket.ConnectAsync(new IPEndPoint(TestNode.OutsideIP, 9999));
        Assert.Equal($"far {TestNode.NodeIP}", await Traffic.ReadLineAsync(socket));

        using var farEcho = Traffic.ServeUdp(node.Node.Outside, 9998, "far");
        using var own = Udp(node.Node.Namespace, port: 30080);
        Assert.Equal($"far {TestNode.NodeIP}", await AskAsync(own, TestNode.OutsideIP, 9998));
        // Clients go on to get through meanwhile.
        using var client = Udp(node.Node.Outside);
        Assert.Equal("udp", Name(await AskAsync(client, TestNode.NodeIP, 30080)));
        Assert.Equal("web", (await Traffic.AskTcpAsync(node.Node.Outside, TestNode.NodeIP, 30080)).Name);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task BigDatagrams_InPartsAndTooBigForThePod_ComeThroughBothWays(bool isIPv6)
    {
        using var node = new TrafficNode();
        var pod = node.AddPod();
        using var server = Serve(pod, "udp");
        var family = isIPv6 ? 1 : 0;
        node.Set(Service("UDP", isIPv6, static spec => spec.ExternalTrafficPolicy = "Local"), TestServices.Slice("web", 8080, "UDP", (pod.Addresses[family], "node")));
        await ReachableAsync(node, isIPv6);
        using var socket = Udp(node.Node.Outside, isIPv6);
        var (address, port) = Ways(isIPv6)[0];
        // Five packets each way: only the first of them has a port.
        var big = Enumerable.Repeat((byte)'x', 6000).ToArray();
        Assert.EndsWith(new string('x', 6000), await AskAsync(socket, address, port, big));

        // The pod's link takes less than the client's: who sends too much hears of it from the node, as if it were about what he sent.
        var link = node.Node.Host.ListLinks().Single(static link => link.Name.StartsWith("k3sf", StringComparison.Ordinal)).Name;
        TestLan.Ip(node.Node.Namespace, $"link set {link} mtu 1300");
        TestLan.Ip(pod.Namespace, "link set eth0 mtu 1300");
        var question = Enumerable.Repeat((byte)'y', 1340).ToArray();
        string? answer = null;
        for (var tries = 0; answer is null && tries < 20; tries++) answer = await AskAsync(socket, address, port, question, TimeSpan.FromSeconds(3));
        Assert.EndsWith(new string('y', 1340), answer);
        Assert.Contains("mtu 1300", TestLan.Ip(node.Node.Outside, $"route get {address}"));
    }

    [Fact]
    public async Task PortUnreachable_FromTheEndpoint_ReachesTheClientAsTheServices()
    {
        using var node = new TrafficNode();
        var pod = node.AddPod();
        node.Set(Service("UDP"), TestServices.Slice("web", 8080, "UDP", (pod.Address, "node")));
        using var socket = Udp(node.Node.Outside);
        await socket.ConnectAsync(new IPEndPoint(TestNode.NodeIP, 30080));
        await socket.SendAsync("?"u8.ToArray());
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        var refused = await Assert.ThrowsAsync<SocketException>(async () => await socket.ReceiveAsync(new byte[16], deadline.Token));
        Assert.Equal(SocketError.ConnectionRefused, refused.SocketErrorCode);
    }

    private static string? Name(string? answer) => answer?.Split(' ')[0];

    // An address of IPv6 is tried out for a second before it can be used.
    private static async Task ReachableAsync(TrafficNode node, bool isIPv6)
    {
        if (!isIPv6) return;
        await LanNode.Until(() => Task.FromResult(!(TestLan.Ip(node.Node.Outside, "-6 address") + TestLan.Ip(node.Node.Namespace, "-6 address")).Contains("tentative", StringComparison.Ordinal)), "addresses of IPv6 that can be used");
    }
}
