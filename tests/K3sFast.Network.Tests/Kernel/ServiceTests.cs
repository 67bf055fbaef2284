using System.Net;
using System.Net.Sockets;
using k8s.Models;
using K3sFast.Network.Proxy;
using K3sFast.Network.Tests.Proxy;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Network.Tests.Kernel;

public sealed class ServiceTests
{
    private static readonly IPAddress s_clusterIP = IPAddress.Parse("10.43.0.80");
    private static readonly IPAddress s_loadBalancerIP = IPAddress.Parse("203.0.113.10");

    [Fact]
    public async Task ClusterIP_FromPodNodeAndOutside_ReachesEveryEndpoint()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        using var services = new Services(node);
        var (a, b, client) = (node.AddPod(), node.AddPod(), node.AddPod());
        using var serverA = Traffic.ServeTcp(a.Namespace, 8080, "a");
        using var serverB = Traffic.ServeTcp(b.Namespace, 8080, "b");
        services.Set(TestServices.Service("web", "10.43.0.80", 80), TestServices.Slice("web", 8080, (a.Address, "node"), (b.Address, "node")));

        var seen = new HashSet<(string, IPAddress)>();
        for (var i = 0; i < 40; i++) seen.Add(await Traffic.AskTcpAsync(client.Namespace, s_clusterIP, 80));
        Assert.Equal([("a", client.Address), ("b", client.Address)], seen.Order(Comparer<(string Name, IPAddress)>.Create((x, y) => string.CompareOrdinal(x.Name, y.Name))));

        Assert.Equal(TestNode.NodeIP, (await Traffic.AskTcpAsync(node.Namespace, s_clusterIP, 80)).Peer);
        // Who is no pod is spoken for by the node.
        Assert.Equal(TestNode.NodeIP, (await Traffic.AskTcpAsync(node.Outside, s_clusterIP, 80)).Peer);
    }

    [Fact]
    public async Task ClusterIP_PodIsItsOwnEndpoint_ReachesItself()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        using var services = new Services(node);
        var pod = node.AddPod();
        using var server = Traffic.ServeTcp(pod.Namespace, 8080, "self");
        services.Set(TestServices.Service("web", "10.43.0.80", 80), TestServices.Slice("web", 8080, (pod.Address, "node")));

        Assert.Equal(("self", TestNode.NodeIP), await Traffic.AskTcpAsync(pod.Namespace, s_clusterIP, 80));
    }

    [Fact]
    public async Task ClusterIP_EndpointIsTheNodeItself_AnswersPodAndNode()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        using var services = new Services(node);
        var client = node.AddPod();
        using var server = Traffic.ServeTcp(node.Namespace, 6443, "api");
        using var dns = Traffic.ServeUdp(node.Namespace, 10053, "dns");
        services.Set(TestServices.Service("kubernetes", "10.43.0.1", 443), TestServices.Slice("kubernetes", 6443, (TestNode.NodeIP, "node")));
        services.Set(TestServices.Service("kube-dns", "10.43.0.10", 53, "UDP"), TestServices.Slice("kube-dns", 10053, "UDP", (TestNode.NodeIP, "node")));

        Assert.Equal(("api", client.Address), await Traffic.AskTcpAsync(client.Namespace, IPAddress.Parse("10.43.0.1"), 443));
        Assert.Equal("api", (await Traffic.AskTcpAsync(node.Namespace, IPAddress.Parse("10.43.0.1"), 443)).Name);
        using var fromPod = Traffic.UdpClient(client.Namespace, 40000);
        using var fromNode = Traffic.UdpClient(node.Namespace, 40000);
        Assert.Equal($"dns {client.Address}", await Traffic.AskUdpAsync(fromPod, IPAddress.Parse("10.43.0.10"), 53, TimeSpan.FromSeconds(30)));
        Assert.StartsWith("dns ", await Traffic.AskUdpAsync(fromNode, IPAddress.Parse("10.43.0.10"), 53, TimeSpan.FromSeconds(30)));
    }

    [Fact]
    public async Task ClusterIP_IPv6_ReachesEndpoint()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode("10.42.0.0/24", "fd00:42::/64");
        using var services = new Services(node);
        var (pod, client) = (node.AddPod(), node.AddPod());
        using var server = Traffic.ServeTcp(pod.Namespace, 8080, "six");
        services.Set(TestServices.Service("web", "fd00:43::80", 80), TestServices.Slice("web", 8080, (pod.Addresses[1], "node")));

        Assert.Equal(("six", client.Addresses[1]), await Traffic.AskTcpAsync(client.Namespace, IPAddress.Parse("fd00:43::80"), 80));
        Assert.Equal("six", (await Traffic.AskTcpAsync(node.Namespace, IPAddress.Parse("fd00:43::80"), 80)).Name);
        Assert.Equal("six", (await Traffic.AskTcpAsync(pod.Namespace, IPAddress.Parse("fd00:43::80"), 80)).Name);
    }

    [Fact]
    public async Task Service_WithoutEndpoints_IsRefusedAtOnce()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        using var services = new Services(node);
        var client = node.AddPod();
        services.Set(TestServices.Service("web", "10.43.0.80", 80, change: spec => (spec.Type, spec.Ports[0].NodePort) = ("NodePort", 30080)));

        await AssertRefusedAsync(client, s_clusterIP, 80);
        await AssertRefusedAsync(client, s_clusterIP, 81);
        foreach (var (from, address, port) in ((Interop.Namespaces.NetworkNamespace, IPAddress, int)[])[
            (node.Namespace, s_clusterIP, 80), (node.Outside, TestNode.NodeIP, 30080), (node.Namespace, IPAddress.Loopback, 30080)])
        {
            var refusal = await Assert.ThrowsAsync<SocketException>(() => Traffic.ConnectAsync(from, address, port));
            Assert.Equal(SocketError.ConnectionRefused, refusal.SocketErrorCode);
        }
    }

    [Fact]
    public async Task NodePort_EveryWay_ReachesEndpoint()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        using var services = new Services(node);
        var (pod, client) = (node.AddPod(), node.AddPod());
        using var server = Traffic.ServeTcp(pod.Namespace, 8080, "web");
        services.Set(
            TestServices.Service("web", "10.43.0.80", 80, change: spec => (spec.Type, spec.Ports[0].NodePort) = ("NodePort", 30080)),
            TestServices.Slice("web", 8080, (pod.Address, "node")));

        Assert.Equal(("web", TestNode.NodeIP), await Traffic.AskTcpAsync(node.Outside, TestNode.NodeIP, 30080));
        Assert.Equal("web", (await Traffic.AskTcpAsync(node.Namespace, TestNode.NodeIP, 30080)).Name);
        Assert.Equal(("web", TestNode.NodeIP), await Traffic.AskTcpAsync(node.Namespace, IPAddress.Loopback, 30080));
        Assert.Equal("web", (await Traffic.AskTcpAsync(client.Namespace, TestNode.NodeIP, 30080)).Name);
        Assert.Equal("web", (await Traffic.AskTcpAsync(pod.Namespace, TestNode.NodeIP, 30080)).Name);
    }

    [Fact]
    public async Task ExternalPolicyLocal_KeepsClientAddressAndDropsWithoutLocalEndpoint()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        using var services = new Services(node);
        var (pod, client) = (node.AddPod(), node.AddPod());
        using var server = Traffic.ServeTcp(pod.Namespace, 8080, "web");
        var service = TestServices.Service("web", "10.43.0.80", 80, change: spec =>
            (spec.Type, spec.Ports[0].NodePort, spec.ExternalTrafficPolicy) = ("NodePort", 30080, "Local"));
        services.Set(service, TestServices.Slice("web", 8080, (pod.Address, "node")));
        Assert.Equal(("web", TestNode.OutsideIP), await Traffic.AskTcpAsync(node.Outside, TestNode.NodeIP, 30080));

        // As if the endpoint were on another node: who comes from outside hears nothing, who is inside still gets through.
        services.Set(service, TestServices.Slice("web", 8080, (pod.Address, "other")));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Traffic.ConnectAsync(node.Outside, TestNode.NodeIP, 30080, TimeSpan.FromMilliseconds(300)));
        Assert.Equal("web", (await Traffic.AskTcpAsync(client.Namespace, TestNode.NodeIP, 30080)).Name);
        Assert.Equal("web", (await Traffic.AskTcpAsync(node.Namespace, TestNode.NodeIP, 30080)).Name);
        Assert.Equal("web", (await Traffic.AskTcpAsync(client.Namespace, s_clusterIP, 80)).Name);
    }

    [Fact]
    public async Task LoadBalancer_SourceRanges_LetInWhoTheyName()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        using var services = new Services(node);
        var pod = node.AddPod();
        using var server = Traffic.ServeTcp(pod.Namespace, 8080, "web");
        var service = TestServices.Service("web", "10.43.0.80", 80, change: spec => spec.Type = "LoadBalancer");
        service.Status = new V1ServiceStatus { LoadBalancer = new V1LoadBalancerStatus { Ingress = [new V1LoadBalancerIngress { Ip = "203.0.113.10" }] } };
        var slice = TestServices.Slice("web", 8080, (pod.Address, "node"));

        services.Set(service, slice);
        Assert.Equal("web", (await Traffic.AskTcpAsync(node.Outside, s_loadBalancerIP, 80)).Name);

        service.Spec.LoadBalancerSourceRanges = ["192.0.2.0/24"];
        services.Set(service, slice);
        Assert.Equal("web", (await Traffic.AskTcpAsync(node.Outside, s_loadBalancerIP, 80)).Name);

        service.Spec.LoadBalancerSourceRanges = ["198.51.100.0/24"];
        services.Set(service, slice);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Traffic.ConnectAsync(node.Outside, s_loadBalancerIP, 80, TimeSpan.FromMilliseconds(300)));
    }

    [Fact]
    public async Task Affinity_ClientStaysWithEndpointUntilItGoes()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        using var services = new Services(node);
        var (a, b, client) = (node.AddPod(), node.AddPod(), node.AddPod());
        using var serverA = Traffic.ServeTcp(a.Namespace, 8080, "a");
        using var serverB = Traffic.ServeTcp(b.Namespace, 8080, "b");
        var service = TestServices.Service("web", "10.43.0.80", 80, change: spec => spec.SessionAffinity = "ClientIP");
        services.Set(service, TestServices.Slice("web", 8080, (a.Address, "node"), (b.Address, "node")));

        var first = await Traffic.AskTcpAsync(client.Namespace, s_clusterIP, 80);
        for (var i = 0; i < 20; i++) Assert.Equal(first, await Traffic.AskTcpAsync(client.Namespace, s_clusterIP, 80));

        var (left, leftName) = first.Name == "a" ? (b, "b") : (a, "a");
        services.Set(service, TestServices.Slice("web", 8080, (left.Address, "node")));
        Assert.Equal(leftName, (await Traffic.AskTcpAsync(client.Namespace, s_clusterIP, 80)).Name);
    }

    [Fact]
    public async Task Udp_EndpointRemovedOrFirstAppears_FlowMovesAtOnce()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        using var services = new Services(node);
        var (a, b, client) = (node.AddPod(), node.AddPod(), node.AddPod());
        using var serverA = Traffic.ServeUdp(a.Namespace, 5353, "a");
        using var serverB = Traffic.ServeUdp(b.Namespace, 5353, "b");
        using var socket = Traffic.UdpClient(client.Namespace, 40000);
        var service = TestServices.Service("dns", "10.43.0.53", 53, "UDP");
        var address = IPAddress.Parse("10.43.0.53");

        // Before the Service is known its packets leave by the uplink, and connection tracking remembers that.
        await Traffic.AskUdpAsync(socket, address, 53, TimeSpan.FromMilliseconds(100));
        services.Set(service, TestServices.Slice("dns", 5353, "UDP", (a.Address, "node")));
        Assert.Equal($"a {client.Address}", await Traffic.AskUdpAsync(socket, address, 53, TimeSpan.FromSeconds(30)));

        services.Set(service, TestServices.Slice("dns", 5353, "UDP", (b.Address, "node")));
        Assert.Equal($"b {client.Address}", await Traffic.AskUdpAsync(socket, address, 53, TimeSpan.FromSeconds(30)));
    }

    [Fact]
    public async Task Restart_RulesReplaced_OpenConnectionGoesOn()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        var (pod, client) = (node.AddPod(), node.AddPod());
        using var server = Traffic.ServeTcp(pod.Namespace, 8080, "web");
        var service = TestServices.Service("web", "10.43.0.80", 80);
        var slice = TestServices.Slice("web", 8080, (pod.Address, "node"));
        Socket open;
        using (var before = new Services(node))
        {
            before.Set(service, slice);
            open = await Traffic.ConnectAsync(client.Namespace, s_clusterIP, 80);
            Assert.Equal($"web {client.Address}", await Traffic.ReadLineAsync(open));
        }

        // The agent is away: new connections are carried all the same.
        Assert.Equal("web", (await Traffic.AskTcpAsync(client.Namespace, s_clusterIP, 80)).Name);

        using var after = new Services(node);
        Assert.True(after.Tables.ExistsInKernel());
        after.Set(service, slice);
        await open.SendAsync("still there\n"u8.ToArray());
        Assert.Equal("still there", await Traffic.ReadLineAsync(open));
        open.Dispose();
        Assert.Equal("web", (await Traffic.AskTcpAsync(client.Namespace, s_clusterIP, 80)).Name);
    }

    [Fact]
    public async Task Masquerade_PodLeavesCluster_OutsideSeesNode()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        using var services = new Services(node);
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
        using var services = new Services(node);
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
        using var services = new Services(node);
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
        using var services = new Services(node);
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
        using var services = new Services(node);
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
        using var services = new Services(node);
        services.Tables.Apply([]);
        node.AddPod(new Network.Cni.PortMapping(6, null, 8000, 80));

        var removed = NetworkCleanup.RemoveAll(node.Namespace);

        Assert.Equal(7, removed.Count);
        Assert.Equal("table inet foreign\n", TestNode.Execute(node.Namespace, "nft", "", null, "list", "tables").Output);
        Assert.Equal(["lo", "uplink"], node.Host.ListLinks().Select(link => link.Name));
        Assert.DoesNotContain(node.Host.ListRoutes(false), route => route.Destination.BaseAddress.ToString().StartsWith("10.", StringComparison.Ordinal));
        Assert.Empty(NetworkCleanup.RemoveAll(node.Namespace));
    }

    private static async Task AssertRefusedAsync(TestPod from, IPAddress address, int port)
    {
        var refusal = await Assert.ThrowsAsync<SocketException>(() => Traffic.ConnectAsync(from.Namespace, address, port));
        Assert.Equal(SocketError.ConnectionRefused, refusal.SocketErrorCode);
    }

    private sealed class Services(TestNode node) : IDisposable
    {
        internal ProxyTables Tables { get; } = new(node.Options, NullLogger.Instance);

        internal void Set(V1Service service, params V1EndpointSlice[] slices) => Tables.Apply([($"default/{service.Metadata.Name}", service, slices)]);

        public void Dispose() => Tables.Dispose();
    }
}
