using System.Net;
using System.Net.Sockets;
using k8s.Models;
using K3sFast.Network.Tests.Proxy;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>Services by nf_tables, as those who use them see them.</summary>
public sealed class ServiceTests
{
    private static readonly IPAddress s_clusterIP = IPAddress.Parse("10.43.0.80");
    private static readonly IPAddress s_loadBalancerIP = IPAddress.Parse("203.0.113.10");

    [Fact]
    public async Task ClusterIP_FromPodNodeAndOutside_ReachesEveryEndpoint()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        using var services = new NodeServices(node);
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
        using var services = new NodeServices(node);
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
        using var services = new NodeServices(node);
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
        using var services = new NodeServices(node);
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
        using var services = new NodeServices(node);
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
        using var services = new NodeServices(node);
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
        using var services = new NodeServices(node);
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
        using var services = new NodeServices(node);
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
        using var services = new NodeServices(node);
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
        using var services = new NodeServices(node);
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
        using (var before = new NodeServices(node))
        {
            before.Set(service, slice);
            open = await Traffic.ConnectAsync(client.Namespace, s_clusterIP, 80);
            Assert.Equal($"web {client.Address}", await Traffic.ReadLineAsync(open));
        }

        // The agent is away: new connections are carried all the same.
        Assert.Equal("web", (await Traffic.AskTcpAsync(client.Namespace, s_clusterIP, 80)).Name);

        using var after = new NodeServices(node);
        Assert.True(after.Tables.ExistsInKernel());
        after.Set(service, slice);
        await open.SendAsync("still there\n"u8.ToArray());
        Assert.Equal("still there", await Traffic.ReadLineAsync(open));
        open.Dispose();
        Assert.Equal("web", (await Traffic.AskTcpAsync(client.Namespace, s_clusterIP, 80)).Name);
    }

    private static async Task AssertRefusedAsync(TestPod from, IPAddress address, int port)
    {
        var refusal = await Assert.ThrowsAsync<SocketException>(() => Traffic.ConnectAsync(from.Namespace, address, port));
        Assert.Equal(SocketError.ConnectionRefused, refusal.SocketErrorCode);
    }
}
