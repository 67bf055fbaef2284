using System.Net;
using System.Net.Sockets;
using System.Text;
using K3sFast.Client;
using K3sFast.Interop;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;
using K3sFast.Network.Proxy;
using K3sFast.Network.Proxy.Ebpf;
using K3sFast.Network.Tests.Proxy;
using k8s.Models;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>What a pod that has all rights in its own namespace still cannot do.</summary>
public sealed class PodIsolationTests
{
    private static readonly TimeSpan s_silence = TimeSpan.FromSeconds(2), s_briefly = TimeSpan.FromSeconds(0.3);

    public static TheoryData<ProxyMode, string, string> ForeignAddresses
    {
        get
        {
            var data = new TheoryData<ProxyMode, string, string>();
            foreach (var mode in (ProxyMode[])[ProxyMode.Nftables, ProxyMode.Ebpf])
            {
                data.Add(mode, "10.42.0.77", "10.42.0.0/24");
                data.Add(mode, "198.51.100.7", "10.42.0.0/24");
                data.Add(mode, "fd00:42::77", "fd00:42::/64");
                data.Add(mode, "2001:db8:9::7", "fd00:42::/64");
            }
            return data;
        }
    }

    [Theory]
    [MemberData(nameof(ForeignAddresses))]
    public async Task Pod_SendsFromAnotherAddress_IsNotHeard(ProxyMode mode, string foreign, string pods)
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode(pods);
        using var tables = CreateTables(node, mode);
        tables.Apply([]);
        var (liar, victim) = (AddPod(node, tables), AddPod(node, tables));
        // A machine whose own setting for all links is loose: rp_filter would let it pass.
        Sysctl.TryWrite("net/ipv4/conf/all/rp_filter", "2", node.Namespace);
        using (var inside = RouteSocket.Open(liar.Namespace))
        {
            using var batch = new NetlinkBatch();
            batch.AddAddress(inside.FindLink("eth0")!.Index, IPAddress.Parse(foreign), foreign.Contains(':') ? 128 : 32);
            inside.Execute(batch);
        }
        using var listening = Bind(victim.Namespace, new IPEndPoint(victim.Address, 5000));

        using (var lying = Bind(liar.Namespace, new IPEndPoint(IPAddress.Parse(foreign), 0))) await lying.SendToAsync("lie"u8.ToArray(), new IPEndPoint(victim.Address, 5000));
        using (var honest = Bind(liar.Namespace, new IPEndPoint(liar.Address, 0)))
        {
            // Sent after it on the same way: when it is there, the lie would have been.
            string? heard = null;
            while (heard is null)
            {
                await honest.SendToAsync("truth"u8.ToArray(), new IPEndPoint(victim.Address, 5000));
                heard = await HearAsync(listening, s_silence);
            }
            Assert.Equal("truth", heard);
        }
    }

    [Theory]
    [InlineData(ProxyMode.Nftables)]
    [InlineData(ProxyMode.Ebpf)]
    public async Task Pod_AsksForTheNodesLoopback_IsNotHeard(ProxyMode mode)
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        using var tables = CreateTables(node, mode);
        var service = TestServices.Service("web", "10.43.0.80", 80, change: spec => (spec.Type, spec.Ports[0].NodePort) = ("NodePort", 30080));
        var pod = AddPod(node, tables);
        using var web = Traffic.ServeTcp(pod.Namespace, 8080, "web");
        tables.Apply([("default/web", service, [TestServices.Slice("web", 8080, (pod.Address, "node"))])]);
        Assert.Equal("web", (await Traffic.AskTcpAsync(node.Namespace, IPAddress.Loopback, 30080)).Name);
        using var secret = Traffic.ServeTcp(node.Namespace, 10248, "secret", IPAddress.Loopback);

        // The pod takes 127.0.0.0/8 off its own loopback and sends it to the node.
        var prober = AddPod(node, tables);
        Sysctl.TryWrite("net/ipv4/conf/all/route_localnet", "1", prober.Namespace);
        foreach (var command in (string[])["route del local 127.0.0.0/8 dev lo table local", "route del local 127.0.0.1 dev lo table local", "addr del 127.0.0.1/8 dev lo", "route add 127.0.0.1 via 169.254.1.1 dev eth0 onlink src " + prober.Address])
        {
            TestNode.Execute(prober.Namespace, "ip", "", null, command.Split(' '));
        }
        await Assert.ThrowsAnyAsync<Exception>(() => Traffic.ConnectAsync(prober.Namespace, IPAddress.Loopback, 10248, s_silence));
        // Nor does the node's own address lead there.
        await Assert.ThrowsAnyAsync<Exception>(() => Traffic.ConnectAsync(prober.Namespace, TestNode.NodeIP, 10248, s_silence));
        Assert.Equal("secret", (await Traffic.AskTcpAsync(node.Namespace, IPAddress.Loopback, 10248)).Name);
        Assert.Equal("web", (await Traffic.AskTcpAsync(prober.Namespace, TestNode.NodeIP, 30080)).Name);
    }

    [Theory]
    [InlineData(ProxyMode.Nftables)]
    [InlineData(ProxyMode.Ebpf)]
    public async Task Pod_WithEveryTrick_StaysIsolated(ProxyMode mode)
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        await using var node = lan.AddNode(1);
        await node.StartAsync("vxlan", options => options with { Proxy = new() { Mode = mode } });
        foreach (var ns in (string[])["x", "y"]) await lan.Api.Client.CreateAsync(Resources.Namespaces, new V1Namespace { Metadata = new V1ObjectMeta { Name = ns } }, default);
        var (closed, free) = (await AddNamedAsync("x", "closed"), await AddNamedAsync("y", "free"));
        using var atFree = Traffic.ServeUdp(free.Namespace, 80, "free");
        using var atClosed = Traffic.ServeUdp(closed.Namespace, 80, "closed");
        await CreateServiceAsync("free", "10.43.0.80", 30080, free.Address);
        await CreateServiceAsync("closed", "10.43.0.81", 30081, closed.Address);
        IPEndPoint[] waysToFree = [new(free.Address, 80), new(IPAddress.Parse("10.43.0.80"), 80), new(IPAddress.Parse("192.0.2.1"), 30080)];
        IPEndPoint[] waysToClosed = [new(closed.Address, 80), new(IPAddress.Parse("10.43.0.81"), 80), new(IPAddress.Parse("192.0.2.1"), 30081)];
        foreach (var way in waysToFree) await UntilAsync(closed, way, isAnswered: true);
        foreach (var way in waysToClosed) await UntilAsync(free, way, isAnswered: true);

        await lan.Api.Client.CreateAsync(Resources.NetworkPolicies, new V1NetworkPolicy
        {
            Metadata = new V1ObjectMeta { Name = "deny", NamespaceProperty = "x" },
            Spec = new V1NetworkPolicySpec { PodSelector = new V1LabelSelector(), PolicyTypes = ["Ingress", "Egress"] },
        }, default);
        foreach (var way in waysToFree) await UntilAsync(closed, way, isAnswered: false);
        foreach (var way in waysToClosed) await UntilAsync(free, way, isAnswered: false);

        // Another address, another name and MAC, another gateway, tags, a tunnel, and the neighbour's own address.
        foreach (var trick in (string[][])
        [
            ["address add 10.42.1.200/32 dev eth0", "route replace default via 169.254.1.1 dev eth0 onlink src 10.42.1.200"],
            [$"address add {free.Address}/32 dev lo", $"route replace default via 169.254.1.1 dev eth0 onlink src {closed.Address}"],
            ["link set eth0 down", "link set eth0 name other", "link set other address 02:00:00:00:00:77", "link set other up", "route replace 169.254.1.1 dev other", "neighbour replace 169.254.1.1 lladdr ee:ee:ee:ee:ee:ee dev other", "route replace default via 169.254.1.1 dev other onlink"],
            [$"neighbour replace {free.Address} lladdr ee:ee:ee:ee:ee:ee dev other", $"route replace {free.Address} dev other"],
            ["link add link other name tagged type vlan id 5", "link set tagged up", $"neighbour replace {free.Address} lladdr ee:ee:ee:ee:ee:ee dev tagged", $"route replace {free.Address} dev tagged"],
        ])
        {
            // A kernel that lacks a kind of device takes a trick away from the pod.
            foreach (var command in trick) TestNode.Execute(closed.Namespace, "ip", "", null, command.Split(' '));
            // Who takes another's address talks to himself at most.
            foreach (var way in waysToFree) Assert.DoesNotContain("free", await AskAsync(closed, way, s_briefly) ?? "", StringComparison.Ordinal);
        }
        Assert.Contains("goto isolate-", TestNode.Execute(node.Namespace, "nft", "", null, "list", "map", "ip", "k3sfast-policy", "isolated-out").Output, StringComparison.Ordinal);

        // It was the policy, and nothing else.
        TestNode.Execute(closed.Namespace, "ip", "", null, "route", "del", free.Address.ToString());
        await lan.Api.Client.DeleteAsync(Resources.NetworkPolicies, "x", "deny", default);
        await UntilAsync(closed, waysToFree[0], isAnswered: true);

        async Task<TestPod> AddNamedAsync(string ns, string name)
        {
            var pod = await node.AddPodAsync(ns + name, ns, name);
            await lan.Api.Client.CreateAsync(Resources.Pods, new V1Pod
            {
                Metadata = new V1ObjectMeta { Name = name, NamespaceProperty = ns },
                Spec = new V1PodSpec { NodeName = node.Name, Containers = [new V1Container { Name = "c" }] },
                Status = new V1PodStatus { Phase = "Running", PodIPs = [.. pod.Addresses.Select(static address => new V1PodIP { Ip = address.ToString() })] },
            }, default);
            return pod;
        }

        async Task CreateServiceAsync(string name, string clusterIP, int nodePort, IPAddress endpoint)
        {
            await lan.Api.Client.CreateAsync(Resources.Services, TestServices.Service(name, clusterIP, 80, "UDP", spec => (spec.Type, spec.Ports[0].NodePort) = ("NodePort", nodePort)), default);
            await lan.Api.Client.CreateAsync(Resources.EndpointSlices, TestServices.Slice(name, 80, "UDP", (endpoint, node.Name)), default);
        }

        Task UntilAsync(TestPod from, IPEndPoint to, bool isAnswered) => LanNode.Until(
            async () => await AskAsync(from, to, isAnswered ? s_silence : s_briefly) is not null == isAnswered, $"{to} {(isAnswered ? "does not answer" : "answers")} to {from.ContainerId}\n{node.Log}");
    }

    private static async Task<string?> AskAsync(TestPod from, IPEndPoint to, TimeSpan patience)
    {
        using var client = Traffic.UdpClient(from.Namespace, 0);
        return await Traffic.AskUdpAsync(client, to.Address, to.Port, patience);
    }

    private static ProxyTables CreateTables(TestNode node, ProxyMode mode)
    {
        if (mode != ProxyMode.Ebpf) return new ProxyTables(node.Options, NullLogger.Instance);
        try
        {
            return new EbpfTables(node.Options, NullLogger.Instance);
        }
        catch (EbpfUnavailableException e)
        {
            Assert.Skip("needs " + e.Message);
            throw;
        }
    }

    private static TestPod AddPod(TestNode node, ProxyTables tables)
    {
        var pod = node.AddPod();
        (tables as EbpfTables)?.AddPod(pod.Namespace);
        return pod;
    }

    private static Socket Bind(NetworkNamespace inside, IPEndPoint address)
    {
        var socket = inside.Run(() => new Socket(address.AddressFamily, SocketType.Dgram, ProtocolType.Udp));
        socket.Bind(address);
        return socket;
    }

    private static async Task<string?> HearAsync(Socket socket, TimeSpan patience)
    {
        using var deadline = new CancellationTokenSource(patience);
        var buffer = new byte[64];
        try
        {
            var length = await socket.ReceiveAsync(buffer, deadline.Token);
            return Encoding.ASCII.GetString(buffer, 0, length);
        }
        catch (OperationCanceledException)
        {
            return null;
        }
    }
}
