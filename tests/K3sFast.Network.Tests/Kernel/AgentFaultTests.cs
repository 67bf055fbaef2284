using System.Net;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using K3sFast.Client;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;
using K3sFast.Network.Cni;
using K3sFast.Network.Proxy;
using K3sFast.Network.Tests.Proxy;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>Others at work in what is the agent's, and ends at the wrong moment: it says what it found, all becomes right, and open connections do not notice.</summary>
public sealed partial class AgentFaultTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Services_ForeignRuleHoldsOnToAChainThatGoes_IsSaidAndPutRight()
    {
        using var node = await AgentNode.WithServiceAsync();
        var pod = node.Node.AddPod();
        node.Serve(pod);
        await node.CreateServiceAsync("gone", "10.43.0.81", pod.Address);
        await using var agent = node.Run();
        await node.UntilAnswersAsync(address: "10.43.0.81", agent: agent);
        using var open = await OpenAsync(node.Node.Namespace, "10.43.0.80", 80);
        var chain = GoneChain().Match(node.Nft("list", "map", "ip", "k3sfast", "service-ips")).Groups[1].Value;
        Assert.Equal("", node.Nft("add", "rule", "ip", "k3sfast", "services", "ip", "saddr", "198.51.100.1", "jump", chain));

        await node.Api.Client.DeleteAsync(Resources.Services, "default", "gone", Cancellation);
        await agent.UntilLoggedAsync("The kernel refused the rules of services");
        await agent.UntilLoggedAsync("they are back");
        await node.UntilAnswersAsync(isAnswered: false, address: "10.43.0.81", agent: agent);
        Assert.True(agent.Log.Has("EBUSY"), agent.Log.ToString());
        Assert.DoesNotContain("198.51.100.1", node.Nft("list", "ruleset"), StringComparison.Ordinal);
        await Traffic.EchoAsync(open);
    }

    [Fact]
    public async Task Services_ForeignElementWhereOneIsToCome_IsSaidAndPutRight()
    {
        using var node = await AgentNode.WithServiceAsync();
        var pod = node.Node.AddPod();
        node.Serve(pod);
        await using var agent = node.Run();
        await node.UntilAnswersAsync(agent: agent);
        using var open = await OpenAsync(node.Node.Namespace, "10.43.0.80", 80);
        Assert.Equal("", node.Nft("add", "element", "ip", "k3sfast", "service-ips", "{ 10.43.0.81 . tcp . 80 : drop }"));

        await node.CreateServiceAsync("new", "10.43.0.81", pod.Address);
        await node.UntilAnswersAsync(address: "10.43.0.81", agent: agent);
        Assert.True(agent.Log.Has("EEXIST"), agent.Log.ToString());
        await Traffic.EchoAsync(open);
    }

    [Fact]
    public async Task Links_OthersWithOurNames_AreReplacedAndSaid()
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        await using var one = lan.AddNode(1, hasIPv6: false);
        var podLink = PodAttachment.LinkNameOf("pod", "eth0");
        TestLan.Ip(one.Namespace, "link add flannel.1 type bridge", $"link add {podLink} type bridge", "link add k3sf-nowhere type bridge");
        await one.StartAsync("vxlan", static options => options with { Proxy = new() { Mode = ProxyMode.Userspace } });
        var pod = await one.AddPodAsync("pod");
        using var server = Traffic.ServeTcp(pod.Namespace, 8080, "web");
        await lan.Api.Client.CreateAsync(Resources.Services, TestServices.Service("web", "10.43.0.80", 80), Cancellation);
        await lan.Api.Client.CreateAsync(Resources.EndpointSlices, TestServices.Slice("web", 8080, (pod.Address, one.Name)), Cancellation);
        await LanNode.Until(() => Traffic.AnswersAsync(one.Namespace, IPAddress.Parse("10.43.0.80"), 80), one.Log.ToString());
        Assert.True(one.Log.Has("Link flannel.1 was there already and is not what is needed (bridge): it was made anew"), one.Log.ToString());
        Assert.True(one.Log.Has($"Link {podLink} (bridge) has the name of a pod's link and was not made for one: it was removed"), one.Log.ToString());
        Assert.Contains("vxlan id 1 ", TestLan.Ip(one.Namespace, "-d link show flannel.1"), StringComparison.Ordinal);
    }

    /// <summary>A flood of foreign changes that the kernel cannot tell one by one, and what is ours is deleted in the middle of it.</summary>
    [Fact]
    public async Task Overlay_MoreEventsThanFit_IsLookedAtWhole()
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        await using var one = lan.AddNode(1, hasIPv6: false);
        await using var two = lan.AddNode(2, hasIPv6: false);
        // Room for some ten events: what a megabyte is for a machine with a thousand pods.
        await one.StartAsync("vxlan", static options => options with { RouteEventQueueBytes = 4096 });
        await two.StartAsync("vxlan");
        var (from, to) = (await one.AddPodAsync("a"), await two.AddPodAsync("b"));
        using var server = Traffic.ServeTcp(to.Namespace, 8080, "b");
        await LanNode.Until(() => Traffic.AnswersAsync(from.Namespace, to.Address, 8080), one.Log.ToString());
        using var open = await OpenAsync(from.Namespace, to.Address.ToString(), 8080);

        using var foreign = RouteSocket.Open(one.Namespace);
        var (eth0, device) = (foreign.FindLink("eth0")!.Index, foreign.FindLink("flannel.1")!.Index);
        await LanNode.Until(async () =>
        {
            using var batch = new NetlinkBatch();
            // The first makes the agent look, and wait for the end of the burst before it reads on.
            batch.AddAddress(eth0, IPAddress.Parse("192.0.2.201"), 32);
            for (var i = 0; i < 1000; i++) batch.ReplaceRoute(Foreign(i));
            batch.DeleteRoute(new RouteSpec(IPNetwork.Parse("10.42.2.0/24"), device, IPAddress.Parse("10.42.2.0")) { IsOnLink = true });
            for (var i = 0; i < 1000; i++) batch.DeleteRoute(Foreign(i));
            batch.DeleteAddress(eth0, IPAddress.Parse("192.0.2.201"), 32);
            foreign.Execute(batch);
            await LanNode.Until(() => Task.FromResult(foreign.ListRoutes(isIPv6: false).Any(static route => route.Destination.Equals(IPNetwork.Parse("10.42.2.0/24")))), "the route stays away\n" + one.Log);
            return one.Log.Has("More happened to links, neighbours and routes than the kernel could tell");
        }, "the flood was never too much\n" + one.Log);
        await Traffic.EchoAsync(open);
        await Traffic.AssertAnswersAsync(from.Namespace, to.Address, 8080);

        RouteSpec Foreign(int i) => new(new IPNetwork(new IPAddress([172, 20, (byte)(i >> 8), (byte)i]), 32), eth0, null, RouteScope.Link) { Protocol = 4 };
    }

    [Theory]
    [InlineData("vxlan")]
    [InlineData("host-gw")]
    public async Task Node_ComesBackWithAnotherAddress_ConnectionsOfItsPodsGoOn(string backend)
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        await using var one = lan.AddNode(1, hasIPv6: false);
        await using var two = lan.AddNode(2, hasIPv6: false);
        LanNode[] nodes = [one, two];
        foreach (var node in nodes) await node.StartAsync(backend);
        var (from, to) = (await one.AddPodAsync("a"), await two.AddPodAsync("b"));
        using var server = Traffic.ServeTcp(to.Namespace, 8080, "b");
        await lan.Api.Client.CreateAsync(Resources.Services, TestServices.Service("web", "10.43.0.80", 80), Cancellation);
        await lan.Api.Client.CreateAsync(Resources.EndpointSlices, TestServices.Slice("web", 8080, (to.Address, two.Name)), Cancellation);
        await LanNode.Until(() => Traffic.AnswersAsync(from.Namespace, to.Address, 8080), one.Log.ToString());
        using var direct = await OpenAsync(from.Namespace, to.Address.ToString(), 8080);
        await LanNode.Until(() => Traffic.AnswersAsync(from.Namespace, IPAddress.Parse("10.43.0.80"), 80), one.Log.ToString());
        using var translated = await OpenAsync(from.Namespace, "10.43.0.80", 80);

        // The agent ends, the machine gets another address by DHCP, and the old one is nobody's any more.
        await two.StopAsync();
        TestLan.Ip(two.Namespace, "address del 192.0.2.2/24 dev eth0", "address add 192.0.2.77/24 dev eth0");
        await two.StartAsync(backend, static options => options with { NodeIPs = [IPAddress.Parse("192.0.2.77")] });
        await LanNode.Until(() => Traffic.AnswersAsync(from.Namespace, to.Address, 8080), $"{one.Log}\n--\n{two.Log}");
        await Traffic.EchoAsync(direct);
        await Traffic.EchoAsync(translated);
        Assert.True(two.Log.Has("192.0.2.77"), two.Log.ToString());
        if (backend == "vxlan") Assert.True(two.Log.Has("Link flannel.1 was there already and is not what is needed (VXLAN network 1 from 192.0.2.2 on link"), two.Log.ToString());
        foreach (var words in (string[])["via 192.0.2.2 ", "dst 192.0.2.2 "])
            Assert.DoesNotContain(words, TestLan.Ip(one.Namespace, "route show") + TestNode.Execute(one.Namespace, "bridge", "", null, "fdb", "show").Output, StringComparison.Ordinal);
    }

    [GeneratedRegex("10\\.43\\.0\\.81 \\. tcp \\. 80 : goto ([^ ,}\n]+)")]
    private static partial Regex GoneChain();

    private static async Task<Socket> OpenAsync(NetworkNamespace from, string address, int port)
    {
        var socket = await Traffic.ConnectAsync(from, IPAddress.Parse(address), port);
        await Traffic.ReadLineAsync(socket);
        return socket;
    }
}
