using System.Net;
using System.Net.Sockets;
using K3sFast.Interop;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;
using K3sFast.Network.Proxy;
using K3sFast.Network.Tests.Proxy;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>What a pod that has all rights in its own namespace still cannot do.</summary>
public sealed class PodIsolationTests
{
    private static readonly TimeSpan s_silence = TimeSpan.FromSeconds(2);

    [Theory]
    [InlineData("10.42.0.77", "10.42.0.0/24")]
    [InlineData("198.51.100.7", "10.42.0.0/24")]
    [InlineData("fd00:42::77", "fd00:42::/64")]
    [InlineData("2001:db8:9::7", "fd00:42::/64")]
    public async Task Pod_SendsFromAnotherAddress_IsNotHeard(string foreign, string pods)
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode(pods);
        using var tables = new ProxyTables(node.Options, NullLogger.Instance);
        tables.Apply([]);
        var (liar, victim) = (node.AddPod(), node.AddPod());
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

    [Fact]
    public async Task Pod_AsksForTheNodesLoopback_IsNotHeard()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        using var tables = new ProxyTables(node.Options, NullLogger.Instance);
        var service = TestServices.Service("web", "10.43.0.80", 80, change: spec => (spec.Type, spec.Ports[0].NodePort) = ("NodePort", 30080));
        var pod = node.AddPod();
        using var web = Traffic.ServeTcp(pod.Namespace, 8080, "web");
        tables.Apply([("default/web", service, [TestServices.Slice("web", 8080, (pod.Address, "node"))])]);
        Assert.Equal("web", (await Traffic.AskTcpAsync(node.Namespace, IPAddress.Loopback, 30080)).Name);
        using var secret = Traffic.ServeTcp(node.Namespace, 10248, "secret", IPAddress.Loopback);

        // The pod takes 127.0.0.0/8 off its own loopback and sends it to the node.
        var prober = node.AddPod();
        Sysctl.TryWrite("net/ipv4/conf/all/route_localnet", "1", prober.Namespace);
        foreach (var command in (string[])["route del local 127.0.0.0/8 dev lo table local", "route del local 127.0.0.1 dev lo table local", "addr del 127.0.0.1/8 dev lo", "route add 127.0.0.1 via 169.254.1.1 dev eth0 onlink src " + prober.Address])
        {
            TestNode.Execute(prober.Namespace, "ip", "", null, command.Split(' '));
        }
        await Assert.ThrowsAnyAsync<Exception>(() => Traffic.ConnectAsync(prober.Namespace, IPAddress.Loopback, 10248, s_silence));
        Assert.Equal("secret", (await Traffic.AskTcpAsync(node.Namespace, IPAddress.Loopback, 10248)).Name);
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
            return System.Text.Encoding.ASCII.GetString(buffer, 0, length);
        }
        catch (OperationCanceledException)
        {
            return null;
        }
    }
}
