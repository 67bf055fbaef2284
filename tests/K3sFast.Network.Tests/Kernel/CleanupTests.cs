using K3sFast.Client;
using K3sFast.Interop;
using K3sFast.Interop.Namespaces;
using K3sFast.Network.Proxy;
using K3sFast.Network.Proxy.Ebpf;
using K3sFast.Network.Tests.Proxy;
using k8s.Models;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>What the kernel has after a clean-up is what it had before the first start: nothing of ours, all of others'.</summary>
public sealed class CleanupTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(ProxyMode.Nftables, "vxlan")]
    [InlineData(ProxyMode.Ebpf, "host-gw")]
    [InlineData(ProxyMode.Userspace, "vxlan")]
    public async Task RemoveAll_AfterALifeWithEverything_LeavesTheKernelAsItWas(ProxyMode mode, string backend)
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        await using var one = lan.AddNode(1);
        await using var two = lan.AddNode(2);
        // Others' things of every kind; and no addresses that the kernel makes up in its own time.
        TestLan.Ip(one.Namespace, "link set eth0 addrgenmode none", "-6 address flush dev eth0 scope link", "link add theirs type bridge", "route add 10.42.9.0/24 via 192.0.2.9 proto static",
            "neighbour add 192.0.2.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent", "-6 route add fd00:42:0:9::/64 via 2001:db8::9");
        TestNode.Execute(one.Namespace, "ip", "", null, "rule", "add", "fwmark", "7", "table", "100");
        TestNode.Execute(one.Namespace, "tc", "", null, "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", "100mbit", "burst", "64k", "latency", "50ms");
        TestNode.Execute(one.Namespace, "nft", "add table inet theirs\nadd chain inet theirs forward { type filter hook forward priority 10 ; policy accept ; }\nadd rule inet theirs forward tcp dport 1 drop\nadd table ip nat\n", null, "-f", "-");
        // Settings stay as the agent leaves them, and with them what the kernel makes of them: a router has anycast addresses.
        Sysctl.TryWrite("net/ipv6/conf/all/forwarding", "1", one.Namespace);
        var before = Look(one.Namespace);

        foreach (var node in (LanNode[])[one, two]) await node.StartAsync(backend, options => options with { Proxy = new() { Mode = mode } });
        await lan.Api.Client.CreateAsync(Resources.Namespaces, new V1Namespace { Metadata = new V1ObjectMeta { Name = "x" } }, Cancellation);
        await lan.Api.Client.CreateAsync(
            Resources.NetworkPolicies, new V1NetworkPolicy { Metadata = new V1ObjectMeta { Name = "deny", NamespaceProperty = "x" }, Spec = new V1NetworkPolicySpec { PodSelector = new V1LabelSelector() } }, Cancellation);
        var pod = await one.AddPodAsync(
            "a", "x", "a", """{"portMappings":[{"hostPort":8000,"containerPort":80,"protocol":"tcp"}],"bandwidth":{"ingressRate":8000000,"ingressBurst":8000000,"egressRate":8000000,"egressBurst":8000000}}""");
        using var server = Traffic.ServeTcp(pod.Namespace, 8080, "a");
        await lan.Api.Client.CreateAsync(
            Resources.Services, TestServices.Service("web", "10.43.0.80", 80, change: static spec => (spec.SessionAffinity, spec.Type, spec.Ports[0].NodePort) = ("ClientIP", "NodePort", 30080)), Cancellation);
        await lan.Api.Client.CreateAsync(Resources.EndpointSlices, TestServices.Slice("web", 8080, (pod.Address, one.Name)), Cancellation);
        await LanNode.Until(() => Traffic.AnswersAsync(one.Namespace, System.Net.IPAddress.Parse("10.43.0.80"), 80), one.Log.ToString());
        await LanNode.Until(() => Task.FromResult(TestLan.Ip(one.Namespace, "route show").Contains("10.42.2.0/24", StringComparison.Ordinal)), one.Log.ToString());
        var life = Look(one.Namespace);
        foreach (var trace in (string[])["table ip k3sfast ", "table ip6 k3sfast ", "table ip k3sfast-policy", "table ip k3sfast-hostports", "k3sf", "proto 107", "tbf", "ifb"]) Assert.Contains(trace, life, StringComparison.Ordinal);
        var pins = SocketPrograms.DirectoryOf(NamespacePaths.NameOf(one.Namespace.Path));
        Assert.Equal(mode == ProxyMode.Ebpf, Directory.Exists(pins));

        await one.StopAsync();
        Assert.NotEmpty(NetworkCleanup.RemoveAll(one.Namespace));
        Assert.Equal(before, Look(one.Namespace));
        Assert.False(Directory.Exists(pins));
        Assert.Empty(NetworkCleanup.RemoveAll(one.Namespace));
    }

    private static string Look(NetworkNamespace inside)
    {
        var all = TestNode.Execute(inside, "nft", "", null, "list", "ruleset").Output;
        foreach (var command in (string[])["-d -o link show", "-o address show", "route show table all", "-6 route show table all", "rule show", "-6 rule show", "neighbour show nud permanent", "-6 neighbour show nud permanent"])
            all += $"-- {command}\n" + TestLan.Ip(inside, command);
        foreach (var kind in (string[])["qdisc", "class"]) all += $"-- {kind}\n" + TestNode.Execute(inside, "tc", "", null, kind, "show").Output;
        return all;
    }
}
