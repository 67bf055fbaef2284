using System.Net;
using System.Net.Sockets;
using System.Text;
using K3sFast.Interop;
using K3sFast.Interop.Netlink;
using K3sFast.Network.Proxy;
using K3sFast.Network.Proxy.Ebpf;
using static K3sFast.Network.Tests.Kernel.SocketNode;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>The socket programs on the real kernel: each test is a node of its own, whose programs mind its own namespaces only.</summary>
public sealed class SocketServiceTests
{
    private static readonly IPAddress s_clusterIP = IPAddress.Parse("10.43.0.80"), s_clusterIP6 = IPAddress.Parse("fd00:43::80");

    [Fact]
    public async Task ClusterIP_FromPodAndNode_ReachesEveryEndpointByItsOwnAddress()
    {
        using var node = new SocketNode();
        var (a, b, client) = (node.AddPod(), node.AddPod(), node.AddPod());
        using var serverA = Traffic.ServeTcp(a.Namespace, 8080, "a");
        using var serverB = Traffic.ServeTcp(b.Namespace, 8080, "b");
        node.Set(Port(s_clusterIP, 6, a.Address, b.Address));

        var seen = new HashSet<string>();
        for (var i = 0; i < 60; i++) seen.Add(string.Join(' ', await Traffic.AskTcpAsync(client.Namespace, s_clusterIP, 80)));
        Assert.Equal([$"(a, {client.Address})", $"(b, {client.Address})"], seen.Order());
        Assert.Equal(TestNode.NodeIP, (await Traffic.AskTcpAsync(node.Node.Namespace, s_clusterIP, 80)).Peer);
    }

    [Fact]
    public async Task ClusterIP_OfIPv6AndOverDualSockets_ReachesEndpoint()
    {
        using var node = new SocketNode("10.42.0.0/24", "fd00:42::/64");
        var (server, client) = (node.AddPod(), node.AddPod());
        using var listener = Traffic.ServeTcp(server.Namespace, 8080, "web");
        node.Set(Port(s_clusterIP, 6, server.Addresses[0]));
        node.Set(Port(s_clusterIP6, 6, server.Addresses[1]) with { Name = "web6" });

        using var six = await Traffic.ConnectAsync(client.Namespace, s_clusterIP6, 80);
        Assert.Equal($"web {client.Addresses[1]}", await Traffic.ReadLineAsync(six));
        Assert.Equal(new IPEndPoint(s_clusterIP6, 80), PeerOf(six));
        using var mapped = client.Namespace.Run(() => new Socket(SocketType.Stream, ProtocolType.Tcp));
        await mapped.ConnectAsync(new IPEndPoint(s_clusterIP.MapToIPv6(), 80));
        Assert.Equal($"web {client.Addresses[0]}", await Traffic.ReadLineAsync(mapped));
        Assert.Equal(new IPEndPoint(s_clusterIP.MapToIPv6(), 80), PeerOf(mapped));
    }

    [Fact]
    public async Task ClusterIP_PodIsItsOwnEndpoint_ReachesItself()
    {
        using var node = new SocketNode();
        var pod = node.AddPod();
        using var server = Traffic.ServeTcp(pod.Namespace, 8080, "self");
        node.Set(Port(s_clusterIP, 6, pod.Address));
        Assert.Equal(("self", pod.Address), await Traffic.AskTcpAsync(pod.Namespace, s_clusterIP, 80));
    }

    [Fact]
    public async Task PeerName_OfTranslatedConnection_IsTheServiceOnTheClientSideOnly()
    {
        using var node = new SocketNode();
        var (server, client) = (node.AddPod(), node.AddPod());
        using var listener = Traffic.ServeTcp(server.Namespace, 8080, "web");
        node.Set(Port(s_clusterIP, 6, server.Address));

        using var translated = await Traffic.ConnectAsync(client.Namespace, s_clusterIP, 80);
        Assert.Equal(new IPEndPoint(s_clusterIP, 80), PeerOf(translated));
        Assert.Equal($"web {client.Address}", await Traffic.ReadLineAsync(translated));
        using var direct = await Traffic.ConnectAsync(client.Namespace, server.Address, 8080);
        Assert.Equal(new IPEndPoint(server.Address, 8080), PeerOf(direct));
    }

    [Fact]
    public async Task Connect_ToServiceWithoutEndpoints_IsRefusedAtOnce()
    {
        using var node = new SocketNode();
        var client = node.AddPod();
        node.Set(Port(s_clusterIP, 6), Port(s_clusterIP, 17));

        var refused = await Assert.ThrowsAsync<SocketException>(() => Traffic.ConnectAsync(client.Namespace, s_clusterIP, 80));
        Assert.Equal(SocketError.ConnectionRefused, refused.SocketErrorCode);
        using var udp = Traffic.UdpClient(client.Namespace, 0);
        refused = await Assert.ThrowsAsync<SocketException>(async () => await udp.SendToAsync("?"u8.ToArray(), new IPEndPoint(s_clusterIP, 80)));
        Assert.Equal(SocketError.ConnectionRefused, refused.SocketErrorCode);
    }

    [Fact]
    public async Task Udp_UnconnectedSocket_StaysWithOneEndpointUntilItIsGone()
    {
        using var node = new SocketNode();
        var (a, b, client) = (node.AddPod(), node.AddPod(), node.AddPod());
        using var serverA = Traffic.ServeUdp(a.Namespace, 8080, "a");
        using var serverB = Traffic.ServeUdp(b.Namespace, 8080, "b");
        node.Set(Port(s_clusterIP, 17, a.Address, b.Address));

        using var socket = Traffic.UdpClient(client.Namespace, 0);
        var first = await AskAsync(socket);
        for (var i = 0; i < 20; i++) Assert.Equal(first, await AskAsync(socket));

        var (other, name) = first.StartsWith('a') ? (b, "b") : (a, "a");
        node.Set(Port(s_clusterIP, 17, other.Address));
        Assert.Equal($"{name} {client.Address}", await AskAsync(socket));
    }

    [Fact]
    public async Task Udp_ConnectedSocket_SeesTheServiceAndIsEndedWithItsEndpoint()
    {
        using var node = new SocketNode();
        var (a, b, client) = (node.AddPod(), node.AddPod(), node.AddPod());
        using var serverA = Traffic.ServeUdp(a.Namespace, 8080, "a");
        using var serverB = Traffic.ServeUdp(b.Namespace, 8080, "b");
        node.Set(Port(s_clusterIP, 17, a.Address));
        // The sockets of a namespace are looked for where a process lives.
        using var resident = TestNode.Occupy(client.Namespace);

        using var socket = Traffic.UdpClient(client.Namespace, 0);
        await socket.ConnectAsync(new IPEndPoint(s_clusterIP, 80));
        Assert.Equal(new IPEndPoint(s_clusterIP, 80), PeerOf(socket));
        await socket.SendAsync("?"u8.ToArray());
        Assert.Equal($"a {client.Address}", await ReceiveAsync(socket, s_clusterIP));
        using var direct = Traffic.UdpClient(client.Namespace, 0);
        await direct.ConnectAsync(new IPEndPoint(a.Address, 8080));

        node.Set(Port(s_clusterIP, 17, b.Address));
        Assert.Equal(SocketError.ConnectionAborted, (await Assert.ThrowsAsync<SocketException>(async () => await ReceiveAsync(socket, s_clusterIP))).SocketErrorCode);
        // Who asked for the pod itself keeps it.
        await direct.SendAsync("?"u8.ToArray());
        Assert.Equal($"a {client.Address}", await ReceiveAsync(direct, a.Address));
    }

    [Fact]
    public async Task Udp_EndpointStopsTakingConnectionsButServes_KeepsItsFlowsOnly()
    {
        using var node = new SocketNode();
        var (a, b, client) = (node.AddPod(), node.AddPod(), node.AddPod());
        using var serverA = Traffic.ServeUdp(a.Namespace, 8080, "a");
        using var serverB = Traffic.ServeUdp(b.Namespace, 8080, "b");
        node.Set(Port(s_clusterIP, 17, a.Address));
        using var old = Traffic.UdpClient(client.Namespace, 0);
        Assert.Equal($"a {client.Address}", await AskAsync(old));

        var draining = Port(s_clusterIP, 17, b.Address);
        node.Set(draining with { ServingEndpoints = [.. draining.Endpoints, new Endpoint(a.Address, 8080, IsLocal: true, IsReady: false, IsTerminating: true)] });
        Assert.Equal($"a {client.Address}", await AskAsync(old));
        using var fresh = Traffic.UdpClient(client.Namespace, 0);
        Assert.Equal($"b {client.Address}", await AskAsync(fresh));

        node.Set(draining with { ServingEndpoints = draining.Endpoints });
        Assert.Equal($"b {client.Address}", await AskAsync(old));
    }

    [Fact]
    public async Task Affinity_Client_StaysForTheTimeoutAndWhileTheEndpointIsThere()
    {
        using var node = new SocketNode();
        var (a, b, client) = (node.AddPod(), node.AddPod(), node.AddPod());
        using var serverA = Traffic.ServeTcp(a.Namespace, 8080, "a");
        using var serverB = Traffic.ServeTcp(b.Namespace, 8080, "b");
        async Task<string> AskAsync() => (await Traffic.AskTcpAsync(client.Namespace, s_clusterIP, 80)).Name;
        var port = Port(s_clusterIP, 6, a.Address, b.Address) with { Affinity = TimeSpan.FromHours(3) };
        node.Set(port);
        var first = await AskAsync();
        for (var i = 0; i < 30; i++) Assert.Equal(first, await AskAsync());

        // Its endpoint gone, it stays with the other; that it comes back changes nothing.
        node.Set(port with { Endpoints = [.. port.Endpoints.Where(endpoint => !endpoint.Address.Equals((first == "a" ? a : b).Address))] });
        var second = await AskAsync();
        Assert.NotEqual(first, second);
        node.Set(port);
        for (var i = 0; i < 30; i++) Assert.Equal(second, await AskAsync());

        // Whoever waits longer than the timeout is anybody: sooner or later he gets another endpoint.
        node.Set(port with { Affinity = TimeSpan.FromSeconds(1) });
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(90));
        while (await AskAsync() == second) await Task.Delay(1100, deadline.Token);
    }

    [Fact]
    public async Task InternalPolicyLocal_EndpointsHereAndElsewhere_ReachesHereOnly()
    {
        using var node = new SocketNode();
        var (a, client) = (node.AddPod(), node.AddPod());
        using var server = Traffic.ServeTcp(a.Namespace, 8080, "here");
        var port = Port(s_clusterIP, 6, a.Address, IPAddress.Parse("10.42.9.9"));
        node.Set(port with { IsInternalLocal = true, LocalEndpoints = [port.Endpoints[0]] });
        for (var i = 0; i < 20; i++) Assert.Equal("here", (await Traffic.AskTcpAsync(client.Namespace, s_clusterIP, 80)).Name);
    }

    [Fact]
    public async Task NodePort_FromNodeAndPod_AnswersOnTheNodesAddressesAndNotOnAPodsLoopback()
    {
        using var node = new SocketNode();
        var (server, client) = (node.AddPod(), node.AddPod());
        using var listener = Traffic.ServeTcp(server.Namespace, 8080, "web");
        node.Set(Port(s_clusterIP, 6, server.Address) with { NodePort = 30080, ExternalIPs = [IPAddress.Parse("203.0.113.9")] });

        Assert.Equal("web", (await Traffic.AskTcpAsync(node.Node.Namespace, IPAddress.Loopback, 30080)).Name);
        Assert.Equal("web", (await Traffic.AskTcpAsync(node.Node.Namespace, TestNode.NodeIP, 30080)).Name);
        Assert.Equal(("web", client.Address), await Traffic.AskTcpAsync(client.Namespace, TestNode.NodeIP, 30080));
        Assert.Equal("web", (await Traffic.AskTcpAsync(client.Namespace, IPAddress.Parse("203.0.113.9"), 80)).Name);
        // A pod's 127.0.0.1 is the pod's: nobody listens there.
        var refused = await Assert.ThrowsAsync<SocketException>(() => Traffic.ConnectAsync(client.Namespace, IPAddress.Loopback, 30080));
        Assert.Equal(SocketError.ConnectionRefused, refused.SocketErrorCode);
    }

    [Fact]
    public async Task NodePort_OnAnAddressThatComesLater_AnswersThereToo()
    {
        using var node = new SocketNode();
        var (server, client) = (node.AddPod(), node.AddPod());
        using var listener = Traffic.ServeTcp(server.Namespace, 8080, "web");
        node.Set(Port(s_clusterIP, 6, server.Address) with { NodePort = 30080 });
        using var stop = new CancellationTokenSource();
        var following = node.Services.FollowAddressesAsync(stop.Token);
        var later = IPAddress.Parse("192.0.2.99");
        await Assert.ThrowsAnyAsync<SocketException>(() => Traffic.ConnectAsync(node.Node.Namespace, later, 30080));
        using (var batch = new NetlinkBatch())
        {
            batch.AddAddress(node.Node.Host.FindLink("uplink")!.Index, later, 32);
            node.Node.Host.Execute(batch);
        }
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        while (true)
        {
            try
            {
                Assert.Equal("web", (await Traffic.AskTcpAsync(client.Namespace, later, 30080)).Name);
                break;
            }
            catch (SocketException)
            {
                await Task.Delay(10, deadline.Token);
            }
        }
        await stop.CancelAsync();
        await following;
    }

    [Theory]
    [InlineData(0, 1)]
    [InlineData(1, 0)]
    [InlineData(1, 1)]
    [InlineData(0, 0)]
    public void Programs_WhateverTheSettings_AreAcceptedByTheKernel(uint isScoped, uint hasLocalhostPorts)
    {
        TestNode.RequirePrivilege();
        try
        {
            // Loaded only, attached nowhere: the first pair is a node that has the machine to itself.
            using var programs = SocketPrograms.Load(SocketPrograms.DirectoryOf("never-pinned"), new SocketSettings(1, isScoped, 1, hasLocalhostPorts));
        }
        catch (EbpfUnavailableException e) when (e.InnerException is not KernelException { ExtendedAck.Length: > 0 })
        {
            Assert.Skip("needs " + e.Message);
        }
    }

    [Fact]
    public void Explain_WhatTheKernelRefuses_NamesWhatIsMissing()
    {
        Assert.Contains("CAP_BPF", SocketPrograms.Explain(new KernelException("bpf map create frontends", Errno.EPERM)));
        Assert.Contains("CONFIG_BPF_SYSCALL", SocketPrograms.Explain(new KernelException("bpf map create frontends", Errno.ENOSYS)));
        Assert.Equal(
            "a kernel of 5.9 or later with CONFIG_CGROUP_BPF (bpf load cgroup/connect4: EINVAL (unknown func bpf_get_netns_cookie#122))",
            SocketPrograms.Explain(new KernelException("bpf load cgroup/connect4", Errno.EINVAL, "unknown func bpf_get_netns_cookie#122")));
    }

    [Fact]
    public async Task Restart_WithOpenConnections_KeepsThemAndTheirNamesAndNeverStopsAnswering()
    {
        using var node = new SocketNode();
        var (server, client) = (node.AddPod(), node.AddPod());
        using var listener = Traffic.ServeTcp(server.Namespace, 8080, "web");
        node.Set(Port(s_clusterIP, 6, server.Address));
        using var open = await Traffic.ConnectAsync(client.Namespace, s_clusterIP, 80);
        await Traffic.ReadLineAsync(open);

        using var stop = new CancellationTokenSource();
        var failures = 0;
        var asking = Task.Run(async () =>
        {
            while (!stop.IsCancellationRequested)
            {
                try
                {
                    await Traffic.AskTcpAsync(client.Namespace, s_clusterIP, 80);
                }
                catch (SocketException)
                {
                    failures++;
                }
            }
        }, TestContext.Current.CancellationToken);
        for (var i = 0; i < 3; i++)
        {
            node.Stop();
            Assert.Equal("web", (await Traffic.AskTcpAsync(client.Namespace, s_clusterIP, 80)).Name);
            node.Start();
            Assert.True(node.Services.ExistsInKernel());
            node.Set(Port(s_clusterIP, 6, server.Address));
            // All that is wanted was there.
            Assert.Equal(0, node.Services.LastEntries);
        }
        await stop.CancelAsync();
        await asking;

        Assert.Equal(0, failures);
        await open.SendAsync("still\n"u8.ToArray());
        Assert.Equal("still", await Traffic.ReadLineAsync(open));
        Assert.Equal(new IPEndPoint(s_clusterIP, 80), PeerOf(open));
    }

    [Fact]
    public async Task Restart_ServicesThatWentMeanwhile_AreGoneAfterIt()
    {
        using var node = new SocketNode();
        var (server, client) = (node.AddPod(), node.AddPod());
        using var listener = Traffic.ServeTcp(server.Namespace, 8080, "web");
        node.Set(Port(s_clusterIP, 6, server.Address));
        node.Stop();
        node.Start();
        node.Set(Port(IPAddress.Parse("10.43.0.81"), 6, server.Address) with { Name = "other" });
        Assert.Equal("web", (await Traffic.AskTcpAsync(client.Namespace, IPAddress.Parse("10.43.0.81"), 80)).Name);
        await Assert.ThrowsAnyAsync<Exception>(() => Traffic.ConnectAsync(client.Namespace, s_clusterIP, 80, TimeSpan.FromSeconds(2)));
    }

    [Fact]
    public async Task Verify_ProgramsDetachedByAnother_PutsThemBack()
    {
        using var node = new SocketNode();
        var (server, client) = (node.AddPod(), node.AddPod());
        using var listener = Traffic.ServeTcp(server.Namespace, 8080, "web");
        node.Set(Port(s_clusterIP, 6, server.Address));
        Assert.False(node.Services.Verify());
        foreach (var path in Directory.EnumerateFiles(node.Pins, "link_*")) File.Delete(path);
        Assert.True(node.Services.Verify());
        Assert.False(node.Services.Verify());
        Assert.Equal("web", (await Traffic.AskTcpAsync(client.Namespace, s_clusterIP, 80)).Name);
    }

    [Fact]
    public async Task Namespace_OfNobody_IsLeftAlone()
    {
        using var node = new SocketNode();
        var (server, stranger) = (node.AddPod(), node.AddPod());
        using var listener = Traffic.ServeTcp(server.Namespace, 8080, "web");
        node.Set(Port(s_clusterIP, 6));
        node.Services.RemoveNamespace(stranger.Namespace);
        // Not refused at once: the packet goes its way, where nothing answers.
        await Assert.ThrowsAsync<OperationCanceledException>(() => Traffic.ConnectAsync(stranger.Namespace, s_clusterIP, 80, TimeSpan.FromSeconds(1)));
    }

    [Fact]
    public async Task ThirtyThousandServices_OneEndpointChanges_AFewEntriesAreWritten()
    {
        using var node = new SocketNode();
        var (a, b, client) = (node.AddPod(), node.AddPod(), node.AddPod());
        using var serverA = Traffic.ServeTcp(a.Namespace, 8080, "a");
        using var serverB = Traffic.ServeTcp(b.Namespace, 8080, "b");
        ServicePort Numbered(int number) => Port(new IPAddress([10, 43, (byte)(number >> 8), (byte)number]), 6, a.Address, IPAddress.Parse("10.42.9.9")) with { Name = $"service-{number}" };
        for (var i = 1; i <= 30_000; i++) node.Services.Set($"default/service-{i}", [Numbered(i)]);
        node.Services.Flush();
        Assert.Equal(90_000, node.Services.LastEntries);

        node.Services.Set("default/service-29999", [Port(new IPAddress([10, 43, 29999 >> 8, 29999 & 255]), 6, b.Address) with { Name = "service-29999" }]);
        node.Services.Flush();
        Assert.InRange(node.Services.LastEntries, 1, 3);
        Assert.Equal("b", (await Traffic.AskTcpAsync(client.Namespace, new IPAddress([10, 43, 29999 >> 8, 29999 & 255]), 80)).Name);
    }

    // .NET remembers what it connected to; a second view on the descriptor has to ask the kernel.
    private static EndPoint PeerOf(Socket socket)
    {
        using var view = new Socket(new SafeSocketHandle(socket.Handle, ownsHandle: false));
        return view.RemoteEndPoint!;
    }

    private static async Task<string> AskAsync(Socket socket)
    {
        await socket.SendToAsync("?"u8.ToArray(), new IPEndPoint(s_clusterIP, 80));
        return await ReceiveAsync(socket, s_clusterIP);
    }

    private static async Task<string> ReceiveAsync(Socket socket, IPAddress from)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        var buffer = new byte[256];
        var received = await socket.ReceiveFromAsync(buffer, SocketFlags.None, new IPEndPoint(IPAddress.Any, 0), deadline.Token);
        Assert.Equal(from, ((IPEndPoint)received.RemoteEndPoint).Address);
        return Encoding.ASCII.GetString(buffer, 0, received.ReceivedBytes);
    }
}
