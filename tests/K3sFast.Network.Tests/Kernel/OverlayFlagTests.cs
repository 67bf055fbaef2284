using System.Net;
using K3sFast.Client;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>What flannel's flags change, by what the kernel and the other nodes see.</summary>
public sealed class OverlayFlagTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary><c>--flannel-iface</c></summary>
    [Theory]
    [InlineData("vxlan")]
    [InlineData("host-gw")]
    public async Task Interface_Named_CarriesTheTraffic(string backend)
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        await using var one = lan.AddNode(1, hasIPv6: false);
        await using var two = lan.AddNode(2, hasIPv6: false);
        LanNode[] nodes = [one, two];
        // A second network, which the nodes' addresses know nothing of.
        TestLan.Ip(lan.Bridge, "link add br1 type bridge", "link set br1 up");
        foreach (var node in nodes)
        {
            TestLan.Ip(node.Namespace, $"link add eth1 type veth peer name m{node.Number} netns {lan.Bridge.Path}", "link set eth1 up", $"address add 198.51.100.{node.Number}/24 dev eth1");
            TestLan.Ip(lan.Bridge, $"link set m{node.Number} master br1 up");
            await node.StartAsync(backend, static options => options with { Overlay = options.Overlay! with { Interface = "eth1" } });
        }
        var (from, to) = (await one.AddPodAsync("a"), await two.AddPodAsync("b"));
        using var server = Traffic.ServeTcp(to.Namespace, 8080, "b");
        await LanNode.Until(() => Traffic.AnswersAsync(from.Namespace, to.Address, 8080), $"{one.Log}\n--\n{two.Log}");
        Assert.Equal("198.51.100.2", (await lan.Api.Client.GetAsync(Resources.Nodes, null, two.Name, Cancellation)).Metadata.Annotations["flannel.alpha.coreos.com/public-ip"]);
        if (backend == "host-gw") Assert.Contains("10.42.2.0/24 via 198.51.100.2 dev eth1", TestLan.Ip(one.Namespace, "route show"), StringComparison.Ordinal);
        else Assert.Contains("local 198.51.100.1 dev eth1 ", TestLan.Ip(one.Namespace, "-d link show flannel.1"), StringComparison.Ordinal);

        // Nothing of it goes by the other link.
        TestLan.Ip(one.Namespace, "link set eth0 down");
        await Traffic.AssertAnswersAsync(from.Namespace, to.Address, 8080);
    }

    [Fact]
    public async Task Interface_ThatIsNotThere_IsAWordAndUsedWhenItComes()
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        await using var one = lan.AddNode(1, hasIPv6: false);
        await one.StartAsync("vxlan", static options => options with { Overlay = options.Overlay! with { Interface = "late0" } });
        await LanNode.Until(() => Task.FromResult(one.Log.Has("link late0 of --flannel-iface is not there, or has no IPv4 address")), one.Log.ToString());
        TestLan.Ip(one.Namespace, "link add late0 type bridge", "link set late0 up", "address add 198.51.100.1/24 dev late0");
        await LanNode.Until(() => Task.FromResult(one.Log.Has("Traffic to other nodes goes by vxlan over late0, 198.51.100.1")), one.Log.ToString());
    }

    /// <summary><c>--flannel-external-ip</c>: the address that a translator in between gives the node is what others send to.</summary>
    [Fact]
    public async Task ExternalIP_OfANode_IsWhatTheOthersSendTo()
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        await using var one = lan.AddNode(1, hasIPv6: false);
        await using var two = lan.AddNode(2, hasIPv6: false);
        // What is sent to 192.0.2.202 arrives at node two, as a translator would have it.
        TestLan.Ip(two.Namespace, "address add 192.0.2.202/32 dev eth0");
        await one.StartAsync("vxlan");
        await two.StartAsync("vxlan", static options => options with { Overlay = options.Overlay! with { ExternalIPs = [IPAddress.Parse("192.0.2.202")] } });
        var (from, to) = (await one.AddPodAsync("a"), await two.AddPodAsync("b"));
        using var server = Traffic.ServeTcp(to.Namespace, 8080, "b");
        await LanNode.Until(
            () => Task.FromResult(TestNode.Execute(one.Namespace, "bridge", "", null, "fdb", "show", "dev", "flannel.1").Output.Contains("dst 192.0.2.202 ", StringComparison.Ordinal)), one.Log.ToString());
        Assert.Equal("192.0.2.202", (await lan.Api.Client.GetAsync(Resources.Nodes, null, two.Name, Cancellation)).Metadata.Annotations["flannel.alpha.coreos.com/public-ip"]);
    }

    /// <summary><c>--flannel-ipv6-masq</c>: IPv4 always is masqueraded on its way out of the cluster, IPv6 when asked for.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task IPv6_LeavesTheCluster_AsThePodOrAsTheNode(bool isMasqueraded)
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        await using var one = lan.AddNode(1);
        await one.StartAsync("vxlan", options => options with { IsIPv6Masqueraded = isMasqueraded });
        var pod = await one.AddPodAsync("a");
        TestLan.Ip(lan.Bridge, "address add 192.0.2.254/24 dev br0", "-6 address add 2001:db8::fe/64 dev br0 nodad", $"-6 route add {pod.Addresses[1]}/128 via 2001:db8::1");
        using var outside = Traffic.ServeTcp(lan.Bridge, 80, "outside");
        await LanNode.Until(() => Traffic.AnswersAsync(pod.Namespace, IPAddress.Parse("192.0.2.254"), 80), one.Log.ToString());
        Assert.Equal(("outside", IPAddress.Parse("192.0.2.1")), await Traffic.AskTcpAsync(pod.Namespace, IPAddress.Parse("192.0.2.254"), 80));
        await LanNode.Until(() => Traffic.AnswersAsync(pod.Namespace, IPAddress.Parse("2001:db8::fe"), 80), one.Log.ToString());
        Assert.Equal(("outside", isMasqueraded ? IPAddress.Parse("2001:db8::1") : pod.Addresses[1]), await Traffic.AskTcpAsync(pod.Namespace, IPAddress.Parse("2001:db8::fe"), 80));
    }
}
