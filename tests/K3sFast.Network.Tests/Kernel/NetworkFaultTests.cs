using System.Net;
using k8s.Models;
using K3sFast.Interop;
using K3sFast.Interop.Netlink;
using K3sFast.Network.Cni;
using K3sFast.Network.Proxy;
using K3sFast.Network.Tests.Proxy;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>What others do to the machine, and what an end at the wrong moment leaves: rules and links become right again, and open connections do not notice.</summary>
public sealed class NetworkFaultTests
{
    private static readonly IPAddress s_clusterIP = IPAddress.Parse("10.43.0.80");

    [Fact]
    public async Task Rules_RemovedOrReplacedByOthers_ComeBackUnderOpenConnections()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        using var tables = new ProxyTables(node.Options, NullLogger.Instance);
        var (pod, client) = (node.AddPod(), node.AddPod());
        using var server = Traffic.ServeTcp(pod.Namespace, 8080, "web");
        // Somebody else has a table under our name, and rules of his own.
        Nft(node, "add table ip k3sfast", "add chain ip k3sfast services { type filter hook forward priority 0 ; policy drop ; }", "add table inet theirs",
            "add chain inet theirs forward { type filter hook forward priority 10 ; }", "add rule inet theirs forward counter accept");
        var theirs = Nft(node, "list table inet theirs");

        tables.Apply([("default/web", TestServices.Service("web", "10.43.0.80", 80), [TestServices.Slice("web", 8080, (pod.Address, "node"))])]);
        using var open = await Traffic.ConnectAsync(client.Namespace, s_clusterIP, 80);
        Assert.StartsWith("web", await Traffic.ReadLineAsync(open), StringComparison.Ordinal);

        foreach (var harm in (string[])["flush chain ip k3sfast services", "flush map ip k3sfast service-ips", "delete table ip k3sfast", "flush ruleset"])
        {
            Nft(node, harm);
            Assert.True(tables.Verify());
            await Traffic.EchoAsync(open);
            Assert.Equal("web", (await Traffic.AskTcpAsync(client.Namespace, s_clusterIP, 80)).Name);
        }
        Assert.Contains("counter", theirs, StringComparison.Ordinal);
        Assert.False(tables.Verify());
    }

    [Fact]
    public async Task Restart_AfterAKillInTheMiddle_ReplacesAllAtOnceUnderOpenConnections()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        var (pod, client) = (node.AddPod(), node.AddPod());
        using var server = Traffic.ServeTcp(pod.Namespace, 8080, "web");
        var web = ("default/web", (V1Service?)TestServices.Service("web", "10.43.0.80", 80), (IReadOnlyList<V1EndpointSlice>)[TestServices.Slice("web", 8080, (pod.Address, "node"))]);
        var gone = ("default/gone", (V1Service?)TestServices.Service("gone", "10.43.0.81", 80), (IReadOnlyList<V1EndpointSlice>)[TestServices.Slice("gone", 8080, (pod.Address, "node"))]);
        using (var killed = new ProxyTables(node.Options, NullLogger.Instance)) killed.Apply([web, gone]);
        using var open = await Traffic.ConnectAsync(client.Namespace, s_clusterIP, 80);
        using var openToGone = await Traffic.ConnectAsync(client.Namespace, IPAddress.Parse("10.43.0.81"), 80);
        await Traffic.ReadLineAsync(open);
        await Traffic.ReadLineAsync(openToGone);

        // Nothing that the one before knew is known; one of the Services went meanwhile. The node came back with another address as well.
        using (var batch = new NetlinkBatch())
        {
            var uplink = node.Host.FindLink("uplink")!.Index;
            batch.DeleteAddress(uplink, TestNode.NodeIP, 24);
            batch.AddAddress(uplink, IPAddress.Parse("192.0.2.9"), 24);
            node.Host.Execute(batch);
        }
        node.Handler.Restore([IPAddress.Parse("192.0.2.9")]);
        using var next = new ProxyTables(node.Options with { NodeIPs = [IPAddress.Parse("192.0.2.9")], Proxy = new() { IsNodePortPrimaryOnly = true } }, NullLogger.Instance);
        Assert.True(next.ExistsInKernel());
        web.Item2 = TestServices.Service("web", "10.43.0.80", 80, change: spec => (spec.Type, spec.Ports[0].NodePort) = ("NodePort", 30080));
        next.Apply([web]);

        await Traffic.EchoAsync(open);
        await Traffic.EchoAsync(openToGone);
        Assert.Equal("web", (await Traffic.AskTcpAsync(client.Namespace, s_clusterIP, 80)).Name);
        Assert.Equal("web", (await Traffic.AskTcpAsync(node.Outside, IPAddress.Parse("192.0.2.9"), 30080)).Name);
        await Assert.ThrowsAnyAsync<Exception>(() => Traffic.ConnectAsync(client.Namespace, IPAddress.Parse("10.43.0.81"), 80, TimeSpan.FromSeconds(1)));
    }

    [Fact]
    public async Task Restart_ClientsWithAffinity_StayWhereTheyWere()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        var (a, b) = (node.AddPod(), node.AddPod());
        var clients = Enumerable.Range(0, 6).Select(_ => node.AddPod()).ToList();
        using var serverA = Traffic.ServeTcp(a.Namespace, 8080, "a");
        using var serverB = Traffic.ServeTcp(b.Namespace, 8080, "b");
        (string, V1Service?, IReadOnlyList<V1EndpointSlice>) web = ("default/web", TestServices.Service("web", "10.43.0.80", 80, change: spec => spec.SessionAffinity = "ClientIP"),
            [TestServices.Slice("web", 8080, (a.Address, "node"), (b.Address, "node"))]);
        async Task<string> AskAllAsync() => string.Concat(await Task.WhenAll(clients.Select(async client => (await Traffic.AskTcpAsync(client.Namespace, s_clusterIP, 80)).Name)));
        string before;
        using (var killed = new ProxyTables(node.Options, NullLogger.Instance))
        {
            killed.Apply([web]);
            before = await AskAllAsync();
        }

        using var next = new ProxyTables(node.Options, NullLogger.Instance);
        next.Apply([web]);

        // Chance would choose the same for all of them once in 64 times, and so it would three times once in 262,144.
        for (var i = 0; i < 3; i++) Assert.Equal(before, await AskAllAsync());
    }

    [Fact]
    public void ADD_ForeignLinkUnderOurName_IsReplaced()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        var name = PodAttachment.LinkNameOf("container0", "eth0");
        Assert.Equal("", Ip(node, "link", "add", name, "type", "veth", "peer", "name", "foreign"));
        var pod = node.AddPod();
        Assert.Equal("veth", node.Host.FindLink(name)?.Kind);
        Assert.Null(node.Host.FindLink("foreign"));
        using var inside = RouteSocket.Open(pod.Namespace);
        Assert.NotNull(inside.FindLink("eth0"));
    }

    private static string Nft(TestNode node, params string[] commands) => TestNode.Execute(node.Namespace, "nft", string.Join('\n', commands) + "\n", null, "-f", "-").Output;

    private static string Ip(TestNode node, params string[] arguments) => TestNode.Execute(node.Namespace, "ip", "", null, arguments).Output;
}
