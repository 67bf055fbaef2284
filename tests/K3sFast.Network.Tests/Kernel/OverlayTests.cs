using System.Net;
using System.Net.Sockets;
using K3sFast.Client;
using K3sFast.Interop.Namespaces;
using K3sFast.Network.Tests.Proxy;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>Traffic between nodes, by packets in network namespaces.</summary>
public sealed class OverlayTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("vxlan")]
    [InlineData("host-gw")]
    public async Task Pods_OfThreeNodes_ReachEachOtherAsThemselves(string backend)
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        await using var one = lan.AddNode(1);
        await using var two = lan.AddNode(2);
        await using var three = lan.AddNode(3);
        LanNode[] nodes = [one, two, three];
        foreach (var node in nodes) await node.StartAsync(backend);
        var pods = new List<TestPod>();
        foreach (var node in nodes) pods.Add(await node.AddPodAsync("pod" + node.Number));
        using var server = Traffic.ServeTcp(pods[2].Namespace, 8080, "three");

        foreach (var from in pods.Take(2))
        {
            foreach (var (own, address) in from.Addresses.Zip(pods[2].Addresses))
            {
                await WaitAnswerAsync(from.Namespace, address, nodes);
                // Nobody on the way speaks for the pod.
                Assert.Equal(("three", own), await Traffic.AskTcpAsync(from.Namespace, address, 8080));
            }
        }
        // A node reaches pods of another one.
        foreach (var address in pods[2].Addresses) Assert.Equal("three", (await Traffic.AskTcpAsync(one.Namespace, address, 8080)).Name);

        var mtu = backend == "vxlan" ? 1430 : 1500;
        Assert.Contains($"mtu {mtu} ", TestLan.Ip(pods[0].Namespace, "link show eth0"));
        await SendLongAsync(pods[0], pods[2]);
    }

    [Fact]
    public async Task Vxlan_SingleStack_TakesFiftyBytes()
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        await using var one = lan.AddNode(1, hasIPv6: false);
        await one.StartAsync("vxlan");
        var pod = await one.AddPodAsync("pod");
        Assert.Contains("mtu 1450 ", TestLan.Ip(pod.Namespace, "link show eth0"));
        Assert.Equal("FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n", await File.ReadAllTextAsync(one.SubnetFile, Cancellation));
        var device = TestLan.Ip(one.Namespace, "-d link show flannel.1");
        Assert.Contains("vxlan id 1 local 192.0.2.1 dev eth0 ", device);
        Assert.Contains("dstport 8472 nolearning", device);
        Assert.Contains("inet 10.42.1.0/32 ", TestLan.Ip(one.Namespace, "address show dev flannel.1"));
    }

    [Fact]
    public async Task Annotations_OfAFlannelNode_AreWrittenAndReadInItsForm()
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        await using var one = lan.AddNode(1);
        await one.StartAsync("vxlan", options => options with { Overlay = options.Overlay! with { ExternalIPs = [IPAddress.Parse("203.0.113.1")] } });
        await LanNode.Until(async () => (await lan.Api.Client.GetAsync(Resources.Nodes, null, one.Name, Cancellation)).Metadata.Annotations?.Count >= 6, one.Log.ToString());
        var notes = (await lan.Api.Client.GetAsync(Resources.Nodes, null, one.Name, Cancellation)).Metadata.Annotations;
        Assert.Equal("vxlan", notes["flannel.alpha.coreos.com/backend-type"]);
        Assert.Equal("true", notes["flannel.alpha.coreos.com/kube-subnet-manager"]);
        Assert.Equal("203.0.113.1", notes["flannel.alpha.coreos.com/public-ip"]);
        Assert.Equal("2001:db8::1", notes["flannel.alpha.coreos.com/public-ipv6"]);
        var mac = TestLan.Ip(one.Namespace, "link show flannel.1").Split("link/ether ")[1][..17];
        Assert.Equal($$"""{"VNI":1,"VtepMAC":"{{mac}}"}""", notes["flannel.alpha.coreos.com/backend-data"]);

        // A node that flannel runs on; and one that only shares the network with another backend.
        await lan.Api.Client.CreateAsync(Resources.Nodes, Flannel("f", 7, "vxlan", """{"VNI":1,"VtepMAC":"02:00:00:00:00:07"}"""), Cancellation);
        await lan.Api.Client.CreateAsync(Resources.Nodes, Flannel("g", 8, "host-gw", "null"), Cancellation);
        await LanNode.Until(() => Task.FromResult(TestLan.Ip(one.Namespace, "route show dev flannel.1").Contains("10.42.7.0/24 via 10.42.7.0 proto 107 onlink")), one.Log.ToString());
        Assert.Contains("10.42.7.0 lladdr 02:00:00:00:00:07 PERMANENT", TestLan.Ip(one.Namespace, "neighbour show dev flannel.1"));
        var (_, table) = TestNode.Execute(one.Namespace, "bridge", "", null, "fdb", "show", "dev", "flannel.1");
        Assert.Contains("02:00:00:00:00:07 dst 192.0.2.7 self permanent", table);
        await LanNode.Until(() => Task.FromResult(one.Log.Has("Pods of node g (10.42.8.0/24) cannot be reached from here: it uses backend host-gw and this node vxlan")), one.Log.ToString());
    }

    [Fact]
    public async Task Outsider_DeletesWhatIsOurs_ItIsBack()
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        await using var one = lan.AddNode(1);
        await using var two = lan.AddNode(2);
        LanNode[] nodes = [one, two];
        foreach (var node in nodes) await node.StartAsync("vxlan");
        var (from, to) = (await one.AddPodAsync("a"), await two.AddPodAsync("b"));
        using var server = Traffic.ServeTcp(to.Namespace, 8080, "b");
        await WaitAnswerAsync(from.Namespace, to.Address, nodes);

        TestLan.Ip(one.Namespace, "route del 10.42.2.0/24");
        await WaitAnswerAsync(from.Namespace, to.Address, nodes);
        TestLan.Ip(one.Namespace, "neighbour del 10.42.2.0 dev flannel.1");
        await WaitAnswerAsync(from.Namespace, to.Address, nodes);
        TestLan.Ip(one.Namespace, "address flush dev flannel.1");
        await WaitAnswerAsync(from.Namespace, to.Address, nodes);
        TestLan.Ip(one.Namespace, "link del flannel.1");
        await WaitAnswerAsync(from.Namespace, to.Address, nodes);
        TestLan.Ip(one.Namespace, "link set flannel.1 down");
        await WaitAnswerAsync(from.Namespace, to.Address, nodes);
        Assert.True(one.Log.Has("they are right again"), one.Log.ToString());
    }

    [Fact]
    public async Task Agent_Restarted_ConnectionsGoOnAndGonePeersAreForgotten()
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        await using var one = lan.AddNode(1);
        await using var two = lan.AddNode(2);
        LanNode[] nodes = [one, two];
        foreach (var node in nodes) await node.StartAsync("vxlan");
        await lan.Api.Client.CreateAsync(Resources.Nodes, Flannel("f", 7, "vxlan", """{"VNI":1,"VtepMAC":"02:00:00:00:00:07"}"""), Cancellation);
        var (from, to) = (await one.AddPodAsync("a"), await two.AddPodAsync("b"));
        using var server = Traffic.ServeTcp(to.Namespace, 8080, "b");
        await WaitAnswerAsync(from.Namespace, to.Address, nodes);
        await LanNode.Until(() => Task.FromResult(TestLan.Ip(one.Namespace, "route show dev flannel.1").Contains("10.42.7.0/24")), one.Log.ToString());
        using var connection = await Traffic.ConnectAsync(from.Namespace, to.Address, 8080);
        await Traffic.ReadLineAsync(connection);

        await one.StopAsync();
        await lan.Api.Client.DeleteAsync(Resources.Nodes, null, "f", Cancellation);
        await Traffic.EchoAsync(connection);
        await one.StartAsync("vxlan");
        await LanNode.Until(() => Task.FromResult(!TestLan.Ip(one.Namespace, "route show dev flannel.1").Contains("10.42.7.0/24")), one.Log.ToString());
        await Traffic.EchoAsync(connection);
        Assert.DoesNotContain("02:00:00:00:00:07", TestNode.Execute(one.Namespace, "bridge", "", null, "fdb", "show", "dev", "flannel.1").Output);
    }

    [Fact]
    public async Task Service_OnOneNode_LeadsToAPodOfTheOther()
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        await using var one = lan.AddNode(1);
        await using var two = lan.AddNode(2);
        LanNode[] nodes = [one, two];
        foreach (var node in nodes) await node.StartAsync("vxlan");
        var (from, to) = (await one.AddPodAsync("a"), await two.AddPodAsync("b"));
        using var server = Traffic.ServeTcp(to.Namespace, 8080, "b");
        var service = TestServices.Service("web", "10.43.0.80", 80);
        service.Spec.Type = "NodePort";
        service.Spec.Ports[0].NodePort = 30080;
        await lan.Api.Client.CreateAsync(Resources.Services, service, Cancellation);
        await lan.Api.Client.CreateAsync(Resources.EndpointSlices, TestServices.Slice("web", 8080, (to.Address, two.Name)), Cancellation);

        await WaitAnswerAsync(from.Namespace, IPAddress.Parse("10.43.0.80"), nodes, 80);
        // A pod is seen as itself, wherever its service leads.
        Assert.Equal(("b", from.Address), await Traffic.AskTcpAsync(from.Namespace, IPAddress.Parse("10.43.0.80"), 80));
        // A node, and somebody outside by the node port of the node without the pod.
        Assert.Equal("b", (await Traffic.AskTcpAsync(one.Namespace, IPAddress.Parse("10.43.0.80"), 80)).Name);
        TestLan.Ip(lan.Bridge, "address add 192.0.2.254/24 dev br0");
        foreach (var node in nodes) await WaitAnswerAsync(lan.Bridge, IPAddress.Parse($"192.0.2.{node.Number}"), nodes, 30080);
    }

    [Fact]
    public async Task Vxlan_DirectRouting_GoesByTheDeviceOnlyOverARouter()
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        await using var one = lan.AddNode(1, hasIPv6: false);
        await using var two = lan.AddNode(2, hasIPv6: false);
        LanNode[] nodes = [one, two];
        foreach (var node in nodes) await node.StartAsync("vxlan", options => options with { Overlay = options.Overlay! with { IsDirectRoutingOn = true } });
        var far = Flannel("far", 7, "vxlan", """{"VNI":1,"VtepMAC":"02:00:00:00:00:07"}""");
        far.Metadata.Annotations["flannel.alpha.coreos.com/public-ip"] = "198.51.100.7";
        await lan.Api.Client.CreateAsync(Resources.Nodes, far, Cancellation);
        var (from, to) = (await one.AddPodAsync("a"), await two.AddPodAsync("b"));
        using var server = Traffic.ServeTcp(to.Namespace, 8080, "b");
        await WaitAnswerAsync(from.Namespace, to.Address, nodes);
        Assert.Equal(("b", from.Address), await Traffic.AskTcpAsync(from.Namespace, to.Address, 8080));
        string Routes() => TestLan.Ip(one.Namespace, "route show");
        await LanNode.Until(() => Task.FromResult(Routes().Contains("10.42.7.0/24 via 10.42.7.0 dev flannel.1")), one.Log.ToString());
        Assert.Contains("10.42.2.0/24 via 192.0.2.2 dev eth0", Routes());
        Assert.DoesNotContain("dst 192.0.2.2", TestNode.Execute(one.Namespace, "bridge", "", null, "fdb", "show", "dev", "flannel.1").Output);
        // Somebody deletes it: it is back.
        TestLan.Ip(one.Namespace, "route del 10.42.2.0/24");
        await WaitAnswerAsync(from.Namespace, to.Address, nodes);
    }

    [Fact]
    public async Task PublicAddress_OverwrittenByAnAdministrator_IsWhatTheOthersUse()
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        await using var one = lan.AddNode(1, hasIPv6: false);
        await using var two = lan.AddNode(2, hasIPv6: false);
        TestLan.Ip(two.Namespace, "address add 192.0.2.88/24 dev eth0");
        var own = two.Object;
        own.Metadata.Annotations = new Dictionary<string, string> { ["flannel.alpha.coreos.com/public-ip-overwrite"] = "192.0.2.88" };
        await lan.Api.Client.CreateAsync(Resources.Nodes, own, Cancellation);
        LanNode[] nodes = [one, two];
        foreach (var node in nodes) await node.StartAsync("vxlan");
        await LanNode.Until(
            () => Task.FromResult(TestNode.Execute(one.Namespace, "bridge", "", null, "fdb", "show", "dev", "flannel.1").Output.Contains("dst 192.0.2.88")), one.Log.ToString());
        // Nodes with flannel read this one alone.
        await LanNode.Until(async () => (await lan.Api.Client.GetAsync(Resources.Nodes, null, two.Name, Cancellation)).Metadata.Annotations["flannel.alpha.coreos.com/public-ip"] == "192.0.2.88", two.Log.ToString());
    }

    [Fact]
    public async Task HostGateway_PeerBehindARouter_IsRefusedWithAWord()
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        await using var one = lan.AddNode(1);
        await one.StartAsync("host-gw");
        var far = Flannel("far", 7, "host-gw", "null");
        far.Metadata.Annotations["flannel.alpha.coreos.com/public-ip"] = "198.51.100.7";
        await lan.Api.Client.CreateAsync(Resources.Nodes, far, Cancellation);
        await LanNode.Until(() => Task.FromResult(one.Log.Has("Pods of node far (10.42.7.0/24) cannot be reached from here: its address 198.51.100.7 is not on a network of eth0 (192.0.2.0/24)")), one.Log.ToString());
        Assert.DoesNotContain("10.42.7.0", TestLan.Ip(one.Namespace, "route show"));
    }

    [Fact]
    public async Task WireGuard_KernelWithoutIt_IsRefusedWithAWord()
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        await using var one = lan.AddNode(1, hasIPv6: false);
        var (code, _) = TestNode.Execute(one.Namespace, "ip", "", null, "link", "add", "wgprobe", "type", "wireguard");
        if (code == 0) Assert.Skip("this kernel has WireGuard");
        await one.StartAsync("wireguard-native");
        await LanNode.Until(() => Task.FromResult(one.Log.Has("this kernel has no WireGuard")), one.Log.ToString());
        Assert.True(one.Log.Has("choose another --flannel-backend"));
    }

    internal static k8s.Models.V1Node Flannel(string name, int number, string type, string data) => new()
    {
        Metadata = new k8s.Models.V1ObjectMeta
        {
            Name = name,
            Annotations = new Dictionary<string, string>
            {
                ["flannel.alpha.coreos.com/backend-type"] = type,
                ["flannel.alpha.coreos.com/backend-data"] = data,
                ["flannel.alpha.coreos.com/kube-subnet-manager"] = "true",
                ["flannel.alpha.coreos.com/public-ip"] = $"192.0.2.{number}",
            },
        },
        Spec = new k8s.Models.V1NodeSpec { PodCIDR = $"10.42.{number}.0/24", PodCIDRs = [$"10.42.{number}.0/24"] },
    };

    private static Task WaitAnswerAsync(NetworkNamespace from, IPAddress address, LanNode[] nodes, int port = 8080) =>
        LanNode.Until(() => Traffic.AnswersAsync(from, address, port), $"{address}:{port} does not answer\n{string.Join("\n--\n", nodes.Select(node => node.Log.ToString()))}");

    // Segments of full size, in both directions.
    private static async Task SendLongAsync(TestPod from, TestPod to)
    {
        using var connection = await Traffic.ConnectAsync(from.Namespace, to.Address, 8080);
        await Traffic.ReadLineAsync(connection);
        var sent = new byte[256 * 1024];
        Random.Shared.NextBytes(sent);
        var sending = Task.Run(async () =>
        {
            for (var rest = sent.AsMemory(); rest.Length > 0;) rest = rest[await connection.SendAsync(rest)..];
        }, Cancellation);
        var received = new byte[sent.Length];
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        for (var rest = received.AsMemory(); rest.Length > 0;) rest = rest[await connection.ReceiveAsync(rest, deadline.Token)..];
        await sending;
        Assert.Equal(sent, received);
    }
}
