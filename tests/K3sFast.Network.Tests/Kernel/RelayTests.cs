using System.Net;
using System.Net.Sockets;
using k8s.Models;
using K3sFast.Interop.Netlink;
using K3sFast.Network.Proxy.Addresses;
using K3sFast.Network.Proxy.Userspace;
using K3sFast.Network.Tests.Proxy;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>Services carried by this process.</summary>
public sealed class RelayTests
{
    private static readonly IPAddress s_clusterIP = IPAddress.Parse("10.43.0.80");

    [Fact]
    public async Task Service_FromEverywhere_ReachesItsEndpoints()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode("10.42.0.0/24", "fd00:42::/64");
        using var relays = new Relays(node);
        var (a, b, client) = (node.AddPod(), node.AddPod(), node.AddPod());
        using var serverA = Traffic.ServeTcp(a.Namespace, 8080, "a");
        using var serverB = Traffic.ServeTcp(b.Namespace, 8080, "b");
        var service = TestServices.Service("web", "10.43.0.80", 80, change: spec =>
            (spec.ClusterIPs, spec.Type, spec.Ports[0].NodePort) = (["10.43.0.80", "fd00:43::80"], "NodePort", 30080));
        relays.Set(service, TestServices.Slice("web", 8080, (a.Address, "node"), (b.Address, "node")), TestServices.Slice("web", 8080, (a.Addresses[1], "node")));

        foreach (var from in (Interop.Namespaces.NetworkNamespace[])[client.Namespace, node.Namespace, node.Outside, a.Namespace])
        {
            Assert.Equal(["a", "b"], await NamesAsync(from, s_clusterIP, 80));
        }
        Assert.Equal(["a", "b"], await NamesAsync(node.Outside, TestNode.NodeIP, 30080));
        Assert.Equal(["a", "b"], await NamesAsync(node.Namespace, IPAddress.Loopback, 30080));
        Assert.Equal("a", (await Traffic.AskTcpAsync(client.Namespace, IPAddress.Parse("fd00:43::80"), 80)).Name);

        // What is carried goes on when its Service goes; nothing new comes in.
        using var open = await Traffic.ConnectAsync(client.Namespace, s_clusterIP, 80);
        await Traffic.ReadLineAsync(open);
        relays.Set(service, null);
        await open.SendAsync("still\n"u8.ToArray());
        Assert.Equal("still", await Traffic.ReadLineAsync(open));
        await AssertRefusedAsync(node.Outside, TestNode.NodeIP, 30080);
        await AssertRefusedAsync(node.Namespace, s_clusterIP, 80);
        Assert.Equal(0, relays.Backend.RelayCount);

        // With the last connection goes the address.
        open.Dispose();
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        while (node.Host.ListAddresses().Any(static entry => entry.Address.Equals(s_clusterIP)))
        {
            relays.Backend.Verify();
            await Task.Delay(20, deadline.Token);
        }
    }

    [Fact]
    public async Task Policies_AffinityAndSources_AreKept()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        using var relays = new Relays(node);
        var (a, b) = (node.AddPod(), node.AddPod());
        using var serverA = Traffic.ServeTcp(a.Namespace, 8080, "a");
        using var serverB = Traffic.ServeTcp(b.Namespace, 8080, "b");
        var slice = TestServices.Slice("web", 8080, (a.Address, "node"), (b.Address, "other"));

        relays.Set(TestServices.Service("web", "10.43.0.80", 80, change: spec => spec.SessionAffinity = "ClientIP"), slice);
        Assert.Single(await NamesAsync(node.Outside, s_clusterIP, 80));

        relays.Set(TestServices.Service("web", "10.43.0.80", 80, change: spec => spec.InternalTrafficPolicy = "Local"), slice);
        Assert.Equal(["a"], await NamesAsync(node.Namespace, s_clusterIP, 80));

        relays.Set(TestServices.Service("web", "10.43.0.80", 80, change: spec => (spec.Type, spec.ExternalTrafficPolicy, spec.Ports[0].NodePort) = ("NodePort", "Local", 30080)), slice);
        Assert.Equal(["a"], await NamesAsync(node.Outside, TestNode.NodeIP, 30080));
        Assert.Equal(["a", "b"], await NamesAsync(node.Namespace, TestNode.NodeIP, 30080));

        var balanced = TestServices.Service("web", "10.43.0.80", 80, change: spec => (spec.Type, spec.LoadBalancerSourceRanges) = ("LoadBalancer", ["198.51.100.0/24"]));
        balanced.Status = new V1ServiceStatus { LoadBalancer = new V1LoadBalancerStatus { Ingress = [new V1LoadBalancerIngress { Ip = "203.0.113.10" }] } };
        relays.Set(balanced, slice);
        await AssertTurnedAwayAsync(node.Outside, IPAddress.Parse("203.0.113.10"), 80);
        balanced.Spec.LoadBalancerSourceRanges = ["192.0.2.0/24"];
        relays.Set(balanced, slice);
        Assert.Equal(["a", "b"], await NamesAsync(node.Outside, IPAddress.Parse("203.0.113.10"), 80));
    }

    [Fact]
    public async Task Datagrams_EndpointGone_GoToAnother()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        using var relays = new Relays(node);
        var (a, b, client) = (node.AddPod(), node.AddPod(), node.AddPod());
        using var serverA = Traffic.ServeUdp(a.Namespace, 5353, "a");
        using var serverB = Traffic.ServeUdp(b.Namespace, 5353, "b");
        var service = TestServices.Service("dns", "10.43.0.80", 53, "UDP");
        relays.Set(service, TestServices.Slice("dns", 5353, "UDP", (a.Address, "node")));
        using var socket = Traffic.UdpClient(client.Namespace, 4000);
        Assert.StartsWith("a ", await Traffic.AskUdpAsync(socket, s_clusterIP, 53, TimeSpan.FromSeconds(30)), StringComparison.Ordinal);

        relays.Set(service, TestServices.Slice("dns", 5353, "UDP", (b.Address, "node")));
        Assert.StartsWith("b ", await Traffic.AskUdpAsync(socket, s_clusterIP, 53, TimeSpan.FromSeconds(30)), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Verify_AddressTakenAway_IsPutBackAndCleanupTakesAll()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        using var relays = new Relays(node);
        var pod = node.AddPod();
        using var server = Traffic.ServeTcp(pod.Namespace, 8080, "web");
        relays.Set(TestServices.Service("web", "10.43.0.80", 80), TestServices.Slice("web", 8080, (pod.Address, "node")));
        Assert.False(relays.Backend.Verify());
        using (var batch = new NetlinkBatch())
        {
            batch.DeleteLink(ServiceAddresses.LinkName);
            node.Host.Execute(batch);
        }

        Assert.True(relays.Backend.Verify());
        Assert.Equal("web", (await Traffic.AskTcpAsync(node.Namespace, s_clusterIP, 80)).Name);
        NetworkCleanup.RemoveAll(node.Namespace);
        Assert.Equal(["lo", "uplink"], node.Host.ListLinks().Select(static link => link.Name));
    }

    private static async Task<IEnumerable<string>> NamesAsync(Interop.Namespaces.NetworkNamespace from, IPAddress address, int port)
    {
        var names = new SortedSet<string>(StringComparer.Ordinal);
        for (var i = 0; i < 4; i++) names.Add((await Traffic.AskTcpAsync(from, address, port)).Name);
        return names;
    }

    private static async Task AssertRefusedAsync(Interop.Namespaces.NetworkNamespace from, IPAddress address, int port) =>
        Assert.Equal(SocketError.ConnectionRefused, (await Assert.ThrowsAsync<SocketException>(() => Traffic.ConnectAsync(from, address, port))).SocketErrorCode);

    // The kernel accepts, and the relay resets: before or after the client has heard of the first.
    private static async Task AssertTurnedAwayAsync(Interop.Namespaces.NetworkNamespace from, IPAddress address, int port)
    {
        try
        {
            using var socket = await Traffic.ConnectAsync(from, address, port);
            Assert.Equal("", await Traffic.ReadLineAsync(socket));
        }
        catch (SocketException e)
        {
            Assert.Equal(SocketError.ConnectionReset, e.SocketErrorCode);
        }
    }

    /// <summary>A clock whose timers never fire: an endpoint is waited for as long as it takes, however slow the machine is.</summary>
    private sealed class PatientTime : TimeProvider
    {
        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) => new NeverTimer();

        private sealed class NeverTimer : ITimer
        {
            public bool Change(TimeSpan dueTime, TimeSpan period) => true;

            public void Dispose()
            {
            }

            public ValueTask DisposeAsync() => ValueTask.CompletedTask;
        }
    }

    private sealed class Relays : IDisposable
    {
        internal Relays(TestNode node)
        {
            node.Setup.AddServiceRoutes(node.Options.ServiceCidrs, isUnreachable: true);
            Backend = new RelayBackend(node.Options with { Proxy = new() { AllowsExternalIPs = true } }, NullLogger.Instance, new PatientTime());
        }

        internal RelayBackend Backend { get; }

        internal void Set(V1Service service, params V1EndpointSlice[]? slices) =>
            Backend.Apply([($"default/{service.Metadata.Name}", slices is null ? null : service, slices ?? [])]);

        public void Dispose() => Backend.Dispose();
    }
}
