using System.Net;
using System.Net.Sockets;
using k8s.Models;
using K3sFast.Network.Tests.Proxy;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>The node's rules as a whole: what they do for pods that no Service names, beside the rules of others, in great number, and when they go.</summary>
public sealed class NodeRuleTests
{
    private static readonly IPAddress s_clusterIP = IPAddress.Parse("10.43.0.80");

    [Fact]
    public async Task Masquerade_PodLeavesCluster_OutsideSeesNode()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        using var services = new NodeServices(node);
        services.Tables.Apply([]);
        var pod = node.AddPod();
        using var server = Traffic.ServeTcp(node.Outside, 80, "outside");

        Assert.Equal(("outside", TestNode.NodeIP), await Traffic.AskTcpAsync(pod.Namespace, TestNode.OutsideIP, 80));
    }

    [Fact]
    public async Task ForeignRules_StayAndTrafficFlows_FlushedRulesComeBack()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        const string foreign = """
            table inet foreign {
            	chain forward {
            		type filter hook forward priority filter; policy drop;
            		ct state established,related accept
            		iifname "k3sf*" accept
            		oifname "k3sf*" accept
            	}
            	chain come {
            		type nat hook prerouting priority dstnat; policy accept;
            		tcp dport 80 redirect to :9
            	}
            	chain leave {
            		type nat hook postrouting priority srcnat; policy accept;
            		ip saddr 192.0.2.0/24 masquerade
            	}
            }
            """;
        Assert.Equal((0, ""), TestNode.Execute(node.Namespace, "nft", foreign, null, "-f", "-"));
        var before = TestNode.Execute(node.Namespace, "nft", "", null, "list", "table", "inet", "foreign");
        using var services = new NodeServices(node);
        var (pod, client) = (node.AddPod(), node.AddPod());
        using var server = Traffic.ServeTcp(pod.Namespace, 8080, "web");
        services.Set(
            TestServices.Service("web", "10.43.0.80", 80, change: spec => (spec.Type, spec.Ports[0].NodePort) = ("NodePort", 30080)),
            TestServices.Slice("web", 8080, (pod.Address, "node")));

        Assert.Equal(("web", client.Address), await Traffic.AskTcpAsync(client.Namespace, s_clusterIP, 80));
        Assert.Equal("web", (await Traffic.AskTcpAsync(node.Outside, TestNode.NodeIP, 30080)).Name);
        Assert.Equal(before, TestNode.Execute(node.Namespace, "nft", "", null, "list", "table", "inet", "foreign"));
        Assert.False(services.Tables.Verify());

        TestNode.Execute(node.Namespace, "nft", "", null, "flush", "ruleset");
        Assert.True(services.Tables.Verify());
        Assert.Equal(("web", client.Address), await Traffic.AskTcpAsync(client.Namespace, s_clusterIP, 80));
    }

    [Fact]
    public void NftList_OurTables_ArePrintedInWords()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        using var services = new NodeServices(node);
        services.Set(
            TestServices.Service("web", "10.43.0.80", 80, change: spec => (spec.Type, spec.Ports[0].NodePort) = ("NodePort", 30080)),
            TestServices.Slice("web", 8080, (IPAddress.Parse("10.42.0.5"), "node"), (IPAddress.Parse("10.42.0.6"), "other")));
        services.Set(
            TestServices.Service("sticky", "10.43.0.81", 80, change: spec => spec.SessionAffinity = "ClientIP"),
            TestServices.Slice("sticky", 8080, (IPAddress.Parse("10.42.0.5"), "node")));

        var (exitCode, output) = TestNode.Execute(node.Namespace, "nft", "", null, "list", "ruleset");

        Assert.True(exitCode == 0, output);
        Assert.Contains("10.43.0.80 . tcp . 80 : goto service-default/web/tcp/80", output);
        Assert.Contains("tcp . 30080 : goto external-default/web/tcp/80", output);
        Assert.Contains("numgen random mod 2 map @endpoints-", output);
        Assert.Contains(". 0x00000001 : 10.42.0.6 . 8080", output);
        Assert.Contains("ip daddr . meta l4proto . th dport vmap @service-ips", output);
        Assert.Contains("iifname \"k3sf*\" ct state invalid drop", output);
        Assert.Contains("update @clients-10800s-default/sticky/tcp/80/10.42.0.5/8080 { ip saddr timeout 3h }", output);
    }

    [Fact]
    public async Task Services_TenThousand_OneChangeStaysSmall()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        using var services = new NodeServices(node);
        var (a, b, client) = (node.AddPod(), node.AddPod(), node.AddPod());
        using var serverA = Traffic.ServeTcp(a.Namespace, 8080, "a");
        using var serverB = Traffic.ServeTcp(b.Namespace, 8080, "b");
        var service = TestServices.Service("web", "10.43.0.80", 80);
        services.Set(service, TestServices.Slice("web", 8080, (a.Address, "node")));
        services.Set(service, TestServices.Slice("web", 8080, (b.Address, "node")));
        var smallBytes = services.Tables.LastBatchBytes;

        var many = new List<(string, V1Service?, IReadOnlyList<V1EndpointSlice>)>();
        for (var i = 0; i < 10_000; i++)
        {
            many.Add(($"default/s{i}", TestServices.Service($"s{i}", $"10.43.{100 + (i >> 8)}.{i & 255}", 80),
                [TestServices.Slice($"s{i}", 8080, (IPAddress.Parse("10.42.1.1"), "other"), (IPAddress.Parse("10.42.1.2"), "other"))]));
        }
        var started = System.Diagnostics.Stopwatch.GetTimestamp();
        services.Tables.Apply(many);
        TestContext.Current.TestOutputHelper?.WriteLine(
            $"10,000 services: {services.Tables.LastBatchBytes} bytes in {System.Diagnostics.Stopwatch.GetElapsedTime(started).TotalMilliseconds:F0} ms");
        double Best(Func<int, V1EndpointSlice> slice)
        {
            var best = double.MaxValue;
            for (var i = 0; i < 20; i++)
            {
                var started = System.Diagnostics.Stopwatch.GetTimestamp();
                services.Set(service, slice(i));
                best = Math.Min(best, System.Diagnostics.Stopwatch.GetElapsedTime(started).TotalMilliseconds);
            }
            return best;
        }
        var (one, other) = ((a.Address, "node"), (b.Address, "node"));
        var scaled = Best(i => (i & 1) == 0 ? TestServices.Slice("web", 8080, one, other) : TestServices.Slice("web", 8080, other));
        var exchanged = Best(i => TestServices.Slice("web", 8080, (i & 1) == 0 ? one : other));
        TestContext.Current.TestOutputHelper?.WriteLine($"an endpoint more or less: {scaled:F2} ms, another endpoint: {exchanged:F2} ms and {services.Tables.LastBatchBytes} bytes");

        Assert.Equal(smallBytes, services.Tables.LastBatchBytes);
        Assert.Equal("b", (await Traffic.AskTcpAsync(client.Namespace, s_clusterIP, 80)).Name);
    }

    [Fact]
    public async Task HostPorts_FromEverywhere_ReachPodAndGoWithIt()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        using var services = new NodeServices(node);
        services.Tables.Apply([]);
        var client = node.AddPod();
        var pod = node.AddPod(new Network.Cni.PortMapping(6, null, 8000, 80), new Network.Cni.PortMapping(6, IPAddress.Loopback, 8001, 80), new Network.Cni.PortMapping(17, null, 8000, 53));
        using var server = Traffic.ServeTcp(pod.Namespace, 80, "pod");
        using var udp = Traffic.ServeUdp(pod.Namespace, 53, "udp");
        using var socket = Traffic.UdpClient(node.Outside, 40001);

        Assert.Equal(("pod", TestNode.OutsideIP), await Traffic.AskTcpAsync(node.Outside, TestNode.NodeIP, 8000));
        Assert.Equal("pod", (await Traffic.AskTcpAsync(node.Namespace, TestNode.NodeIP, 8000)).Name);
        Assert.Equal("pod", (await Traffic.AskTcpAsync(node.Namespace, IPAddress.Loopback, 8000)).Name);
        Assert.Equal("pod", (await Traffic.AskTcpAsync(node.Namespace, IPAddress.Loopback, 8001)).Name);
        Assert.Equal(("pod", client.Address), await Traffic.AskTcpAsync(client.Namespace, TestNode.NodeIP, 8000));
        Assert.Equal("pod", (await Traffic.AskTcpAsync(pod.Namespace, TestNode.NodeIP, 8000)).Name);
        Assert.Equal($"udp {TestNode.OutsideIP}", await Traffic.AskUdpAsync(socket, TestNode.NodeIP, 8000, TimeSpan.FromSeconds(30)));
        await Assert.ThrowsAsync<SocketException>(() => Traffic.ConnectAsync(node.Outside, TestNode.NodeIP, 8001));

        node.StartCni();
        Assert.Equal("pod", (await Traffic.AskTcpAsync(node.Outside, TestNode.NodeIP, 8000)).Name);

        node.DeletePod(pod);
        await Assert.ThrowsAsync<SocketException>(() => Traffic.ConnectAsync(node.Outside, TestNode.NodeIP, 8000));
    }

    [Fact]
    public void Cleanup_RemoveAll_LeavesForeignThingsOnly()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode("10.42.0.0/24", "fd00:42::/64");
        TestNode.Execute(node.Namespace, "nft", "", null, "add", "table", "inet", "foreign");
        using var services = new NodeServices(node);
        services.Tables.Apply([]);
        node.AddPod(new Network.Cni.PortMapping(6, null, 8000, 80));

        var removed = NetworkCleanup.RemoveAll(node.Namespace);

        Assert.Equal(7, removed.Count);
        Assert.Equal("table inet foreign\n", TestNode.Execute(node.Namespace, "nft", "", null, "list", "tables").Output);
        Assert.Equal(["lo", "uplink"], node.Host.ListLinks().Select(link => link.Name));
        Assert.DoesNotContain(node.Host.ListRoutes(false), route => route.Destination.BaseAddress.ToString().StartsWith("10.", StringComparison.Ordinal));
        Assert.Empty(NetworkCleanup.RemoveAll(node.Namespace));
    }
}
