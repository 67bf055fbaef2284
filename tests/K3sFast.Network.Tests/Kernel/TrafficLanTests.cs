using System.Net;
using System.Net.Sockets;
using K3sFast.Client;
using K3sFast.Network.Proxy;
using K3sFast.Network.Tests.Proxy;
using k8s.Models;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>Services by programs on two nodes, seen from outside: endpoints behind the other node's tunnel, and policies that judge what arrives.</summary>
public sealed class TrafficLanTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("vxlan")]
    [InlineData("host-gw")]
    public async Task NodePort_OnANodeWithoutEndpoints_ReachesTheOtherNodesPod(string backend)
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        TestLan.Ip(lan.Bridge, "address add 192.0.2.100/24 dev br0");
        await using var one = lan.AddNode(1, hasIPv6: false);
        await using var two = lan.AddNode(2, hasIPv6: false);
        foreach (var node in (LanNode[])[one, two]) await node.StartAsync(backend, Ebpf);
        var pod = await two.AddPodAsync("pod", "x", "a");
        using var server = Traffic.ServeTcp(pod.Namespace, 8080, "two");
        using var udp = TrafficNode.Serve(pod, "udp");
        await CreateAsync(lan, pod, "Cluster");
        await RequireProgramsAsync(one);

        // Each node is a way in, and on its behalf the pod answers: it sees the node, or who speaks for it behind a tunnel.
        foreach (var node in (LanNode[])[one, two])
        {
            await LanNode.Until(async () => await AskAsync(lan, node) is not null, one.Log.ToString());
            Assert.Equal("two", (await AskAsync(lan, node))!.Value.Name);
            Assert.NotEqual(IPAddress.Parse("192.0.2.100"), (await AskAsync(lan, node))!.Value.Peer);
        }
        // Big datagrams go into the tunnel in parts.
        using var client = TrafficNode.Udp(lan.Bridge);
        var big = Enumerable.Repeat((byte)'x', 4000).ToArray();
        Assert.EndsWith(new string('x', 4000), await TrafficNode.AskAsync(client, IPAddress.Parse("192.0.2.1"), 30053, big));
        // One that fits the link and not the tunnel: the node tells, and the client's next is smaller.
        string? answer = null;
        for (var tries = 0; answer is null && tries < 20; tries++) answer = await TrafficNode.AskAsync(client, IPAddress.Parse("192.0.2.1"), 30053, [.. big[..1440]], TimeSpan.FromSeconds(3));
        Assert.EndsWith(new string('x', 1440), answer);

        // To stay on the node, and to keep the source.
        var service = await lan.Api.Client.GetAsync(Resources.Services, "default", "web", Cancellation);
        service.Spec.ExternalTrafficPolicy = "Local";
        await lan.Api.Client.UpdateAsync(Resources.Services, service, Cancellation);
        await LanNode.Until(async () => await AskAsync(lan, two) is { } kept && kept.Peer.Equals(IPAddress.Parse("192.0.2.100")), two.Log.ToString());
        await LanNode.Until(async () => await AskAsync(lan, one, TimeSpan.FromSeconds(1)) is null, one.Log.ToString());

        // Policies judge the packet as the pod gets it: its own port, the client's own address.
        await CreatePolicyAsync(lan, """{"podSelector":{},"ingress":[{"from":[{"ipBlock":{"cidr":"192.0.2.100/32"}}],"ports":[{"port":8080}]}]}""");
        await LanNode.Until(async () => await AskAsync(lan, two) is not null && Judged().Contains("192.0.2.100", StringComparison.Ordinal), two.Log.ToString());
        await lan.Api.Client.DeleteAsync(Resources.NetworkPolicies, "x", "p", Cancellation);
        await CreatePolicyAsync(lan, """{"podSelector":{},"ingress":[{"from":[{"ipBlock":{"cidr":"192.0.2.99/32"}}],"ports":[{"port":8080}]}]}""");
        await LanNode.Until(async () => await AskAsync(lan, two, TimeSpan.FromSeconds(1)) is null, two.Log.ToString());

        string Judged() => TestNode.Execute(two.Namespace, "nft", "", null, "list", "ruleset").Output;
    }

    [Fact]
    public async Task Sctp_FromOutsideAndFromPods_IsCarriedByRules()
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        TestLan.Ip(lan.Bridge, "address add 192.0.2.100/24 dev br0");
        await using var one = lan.AddNode(1, hasIPv6: false);
        await one.StartAsync("vxlan", Ebpf);
        var (server, client) = (await one.AddPodAsync("server", "x", "a"), await one.AddPodAsync("client", "x", "b"));
        using var heard = new PacketProbe(server.Namespace);
        using var outside = new PacketProbe(lan.Bridge);
        using var inside = new PacketProbe(client.Namespace);
        await lan.Api.Client.CreateAsync(Resources.Services, TestServices.Service("sctp", "10.43.0.90", 90, "SCTP", static spec => (spec.Type, spec.Ports[0].NodePort) = ("NodePort", 30090)), Cancellation);
        await lan.Api.Client.CreateAsync(Resources.EndpointSlices, TestServices.Slice("sctp", 9090, "SCTP", (server.Address, one.Name)), Cancellation);
        // No module of SCTP is needed: first packets are made by hand, and looked for where they should come out.
        var seen = new HashSet<IPAddress>();
        ushort source = 40000;
        await LanNode.Until(() =>
        {
            outside.Send(IPAddress.Parse("192.0.2.100"), IPAddress.Parse("192.0.2.1"), PacketProbe.Sctp, source, 30090);
            inside.Send(client.Address, IPAddress.Parse("10.43.0.90"), PacketProbe.Sctp, source++, 90);
            foreach (var packet in heard.Drain().Where(static packet => packet is { Protocol: PacketProbe.Sctp, Port: 9090 })) seen.Add(packet.From);
            return Task.FromResult(seen.Count == 2);
        }, one.Log.ToString());
        Assert.Contains(client.Address, seen);
        Assert.Contains("sctp . 30090", TestNode.Execute(one.Namespace, "nft", "", null, "list", "ruleset").Output);
    }

    private static NetworkOptions Ebpf(NetworkOptions options) => options with { Proxy = options.Proxy with { Mode = ProxyMode.Ebpf } };

    private static async Task CreateAsync(TestLan lan, TestPod pod, string policy)
    {
        foreach (var (name, ip, protocol, nodePort) in ((string, string, string, int)[])[("web", "10.43.0.80", "TCP", 30080), ("udp", "10.43.0.81", "UDP", 30053)])
        {
            var service = TestServices.Service(name, ip, 80, protocol, spec => (spec.Type, spec.ExternalTrafficPolicy, spec.Ports[0].NodePort) = ("NodePort", policy, nodePort));
            await lan.Api.Client.CreateAsync(Resources.Services, service, Cancellation);
            await lan.Api.Client.CreateAsync(Resources.EndpointSlices, TestServices.Slice(name, 8080, protocol, (pod.Address, "node2")), Cancellation);
        }
        var info = new V1Pod
        {
            Metadata = new V1ObjectMeta { Name = "a", NamespaceProperty = "x", Labels = new Dictionary<string, string>() },
            Spec = new V1PodSpec { NodeName = "node2", Containers = [new V1Container { Name = "c", Ports = [] }] },
            Status = new V1PodStatus { Phase = "Running", PodIP = pod.Address.ToString(), PodIPs = [new V1PodIP { Ip = pod.Address.ToString() }] },
        };
        await lan.Api.Client.CreateAsync(Resources.Namespaces, new V1Namespace { Metadata = new V1ObjectMeta { Name = "x" } }, Cancellation);
        await lan.Api.Client.CreateAsync(Resources.Pods, info, Cancellation);
    }

    private static async Task CreatePolicyAsync(TestLan lan, string spec)
    {
        var policy = new V1NetworkPolicy { Metadata = new V1ObjectMeta { Name = "p", NamespaceProperty = "x" }, Spec = k8s.KubernetesJson.Deserialize<V1NetworkPolicySpec>(spec) };
        await lan.Api.Client.CreateAsync(Resources.NetworkPolicies, policy, Cancellation);
    }

    private static async Task<(string Name, IPAddress Peer)?> AskAsync(TestLan lan, LanNode node, TimeSpan? deadline = null)
    {
        try
        {
            using var socket = await Traffic.ConnectAsync(lan.Bridge, IPAddress.Parse($"192.0.2.{node.Number}"), 30080, deadline ?? TimeSpan.FromSeconds(20));
            var words = (await Traffic.ReadLineAsync(socket)).Split(' ');
            return (words[0], IPAddress.Parse(words[1]));
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            return null;
        }
    }

    // Told when the mode is there; skips where it is not.
    private static async Task RequireProgramsAsync(LanNode node)
    {
        await LanNode.Until(() => Task.FromResult(node.Log.Has("proxy-mode=ebpf")), node.Log.ToString());
        if (!node.Log.Has("those from outside on the node's links")) Assert.Skip(node.Log.ToString());
    }
}
