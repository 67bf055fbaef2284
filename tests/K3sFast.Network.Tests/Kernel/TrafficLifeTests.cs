using System.Net;
using System.Net.Sockets;
using K3sFast.Interop.Bpf;
using K3sFast.Network.Proxy;
using K3sFast.Network.Proxy.Ebpf;
using K3sFast.Network.Tests.Proxy;
using static K3sFast.Network.Tests.Kernel.TrafficNode;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>The programs for packets as they come, are exchanged, go, and run out of room.</summary>
public sealed class TrafficLifeTests
{
    [Fact]
    public async Task Restart_WithOpenConnections_KeepsThemAndNeverStopsAnswering()
    {
        using var node = new TrafficNode();
        var (a, b) = (node.AddServer("a"), node.AddServer("b"));
        var slice = TestServices.Slice("web", 8080, (a.Address, "node"), (b.Address, "node"));
        node.Set(Service(), slice);
        using var open = await OpenAsync(node);

        using var stop = new CancellationTokenSource();
        var failures = 0;
        var asking = Task.Run(async () =>
        {
            while (!stop.IsCancellationRequested)
            {
                try
                {
                    await Traffic.AskTcpAsync(node.Node.Outside, TestNode.NodeIP, 30080);
                }
                catch (SocketException)
                {
                    failures++;
                }
            }
        }, TestContext.Current.CancellationToken);
        for (var i = 0; i < 3; i++)
        {
            node.Tables.Dispose();
            await EchoAsync(open, "nobody runs");
            // The third time with room for more: all is another map then, and all that was in it is there.
            var settings = new Dictionary<string, string> { ["net/netfilter/nf_conntrack_max"] = i < 2 ? "32768" : "40000" };
            node.Start(options => options with { ConntrackSettings = settings });
            await EchoAsync(open, "not told yet");
            node.Set(Service(), slice);
            await EchoAsync(open, "told");
        }
        await stop.CancelAsync();
        await asking;
        Assert.Equal(0, failures);
        // The endpoint leaves the Service: who is connected stays.
        node.Set(Service(), TestServices.Slice("web", 8080, (IPAddress.Parse("10.42.0.250"), "node")));
        await EchoAsync(open, "still there");
    }

    [Fact]
    public async Task Connection_ThatWasForgotten_MeetsItsEndpointAgain()
    {
        using var node = new TrafficNode();
        var pods = Enumerable.Range(0, 5).Select(_ => node.AddPod()).ToArray();
        var servers = pods.Select((pod, i) => Traffic.ServeTcp(pod.Namespace, 8080, "pod" + i)).ToList();
        node.Set(Service(), TestServices.Slice("web", 8080, [.. pods.Select(pod => (pod.Address, "node"))]));
        using var open = await Traffic.ConnectAsync(node.Node.Outside, LoadBalancerIP, 80);
        await Traffic.ReadLineAsync(open);
        using (var maps = new ProgramMaps(SocketPrograms.DirectoryOf(Interop.Namespaces.NamespacePaths.NameOf(node.Node.Namespace.Path)), null))
        {
            maps.Open(ProgramMaps.ReadObject("traffic.bpf.o"));
            var keys = maps["connections"].ReadAll<TrafficFlow, TrafficTranslation>().ConvertAll(static pair => pair.Key);
            Assert.NotEmpty(keys);
            maps["connections"].Delete<TrafficFlow>([.. keys]);
        }
        await EchoAsync(open, "who are you");
        foreach (var server in servers) server.Dispose();
    }

    [Fact]
    public async Task Verify_ClassifierTakenAwayByAnother_PutsItBack()
    {
        using var node = new TrafficNode();
        var pod = node.AddServer("web");
        node.Set(Service(), TestServices.Slice("web", 8080, (pod.Address, "node")));
        Assert.False(node.Tables.Verify());
        node.Tc("qdisc", "delete", "dev", "uplink", "clsact");
        Assert.True(node.Tables.Verify());
        Assert.False(node.Tables.Verify());
        Assert.Equal("web", (await Traffic.AskTcpAsync(node.Node.Outside, TestNode.NodeIP, 30080)).Name);
    }

    [Fact]
    public async Task Links_ThatComeAndGo_AreFollowed()
    {
        using var node = new TrafficNode();
        var pod = node.AddServer("web");
        node.Set(Service(), TestServices.Slice("web", 8080, (pod.Address, "node")));
        using var stop = new CancellationTokenSource();
        var following = node.Tables.FollowAsync(stop.Token);
        for (var i = 0; i < 2; i++)
        {
            TestLan.Ip(node.Node.Namespace, $"link add second type veth peer name second netns {node.Node.Outside.Path}", "link set second up", "address add 198.51.100.1/24 dev second");
            TestLan.Ip(node.Node.Outside, "link set second up", "address add 198.51.100.2/24 dev second");
            await LanNode.Until(() => Task.FromResult(node.Tc("filter", "show", "dev", "second", "egress").Contains(TrafficLinks.EgressName, StringComparison.Ordinal)), "a program on the new link");
            await LanNode.Until(async () => await AnswersAsync(node, IPAddress.Parse("198.51.100.1")), "an answer on the new link");
            // Without an address it leads nowhere.
            TestLan.Ip(node.Node.Namespace, "address delete 198.51.100.1/24 dev second");
            await LanNode.Until(() => Task.FromResult(!node.Tc("qdisc", "show", "dev", "second").Contains("clsact", StringComparison.Ordinal)), "no program on a link without addresses");
            TestLan.Ip(node.Node.Namespace, "link delete second");
        }
        await stop.CancelAsync();
        await following;
        // Pods' links are none of these.
        var link = node.Node.Host.ListLinks().First(static link => link.Name.StartsWith("k3sf", StringComparison.Ordinal)).Name;
        Assert.DoesNotContain("clsact", node.Tc("qdisc", "show", "dev", link));
    }

    [Fact]
    public void Cleanup_RemoveAll_LeavesTheLinksAndRulesAsTheyWere()
    {
        using var node = new TrafficNode();
        node.Tables.Dispose();
        NetworkCleanup.RemoveAll(node.Node.Namespace);
        // Somebody else's filter on the same classifier stays, and so does the classifier then.
        TestLan.Ip(node.Node.Namespace, $"link add other type veth peer name other netns {node.Node.Outside.Path}", "address add 198.51.100.9/32 dev other", "link set other up");
        node.Tc("qdisc", "add", "dev", "other", "clsact");
        Assert.Equal("", node.Tc("filter", "add", "dev", "other", "ingress", "prio", "50", "bpf", "bytecode", "1,6 0 0 4294967295,", "flowid", "1:1"));
        var before = State();
        node.Start();
        node.Set(Service(change: static spec => spec.LoadBalancerSourceRanges = ["198.51.100.0/24"]), TestServices.Slice("web", 8080, (IPAddress.Parse("10.42.0.9"), "node")));
        Assert.Contains(TrafficLinks.IngressName, node.Tc("filter", "show", "dev", "uplink", "ingress"));
        Assert.Contains(TrafficLinks.IngressName, node.Tc("filter", "show", "dev", "other", "ingress"));
        Assert.NotEqual(before, State());
        node.Tables.Dispose();
        NetworkCleanup.RemoveAll(node.Node.Namespace);
        Assert.Equal(before, State());
        node.Start();

        string State() => string.Join("--\n", node.Rules(), node.Tc("qdisc", "show"), node.Tc("filter", "show", "dev", "other", "ingress"),
            Directory.Exists(SocketPrograms.DirectoryOf(Interop.Namespaces.NamespacePaths.NameOf(node.Node.Namespace.Path))).ToString());
    }

    [Fact]
    public async Task Maps_WithoutRoom_SayWhatToDoAndCarryTheRest()
    {
        using var node = new TrafficNode();
        node.Tables.Dispose();
        SocketServices.Remove(node.Node.Namespace);
        var pod = node.Node.AddPod();
        using var server = Traffic.ServeTcp(pod.Namespace, 8080, "web");
        using var services = new SocketServices(
            node.Node.Namespace, hasLocalhostPorts: true, _ => true, node.Log, [], new TrafficSetup(TrafficSettings.Of(new ProxyOptions()), static _ => false), Shrink, () => node.Metrics);
        services.AddNamespace(pod.Namespace);
        ServicePort Port(int number) => SocketNode.Port(IPAddress.Parse($"10.43.1.{number}"), 6, pod.Address) with { Name = $"s{number}", NodePort = (ushort)(31000 + number), IsExternalLocal = true, LocalEndpoints = [new Endpoint(pod.Address, 8080, IsLocal: true)] };
        for (var number = 1; number <= 12; number++) services.Set($"default/s{number}", [Port(number)]);
        services.Flush();

        // Eight of each find room; the first of them answer, and the rest is told, once.
        Assert.Contains("Map frontends of the eBPF programs has room for 16 entries, and 8 more are wanted", node.Log.ToString());
        Assert.Contains("Map outside_frontends of the eBPF programs has room for 8 entries, and 4 more are wanted", node.Log.ToString());
        Assert.Contains("proxy-mode=nftables", node.Log.ToString());
        Assert.Equal(4, node.Metrics.MapRefused.With("outside_frontends").Value);
        var answering = new List<int>();
        for (var number = 1; number <= 12; number++)
        {
            if (await AnswersAsync(node, TestNode.NodeIP, 31000 + number)) answering.Add(number);
        }
        Assert.Equal(8, answering.Count);

        // Fewer Services: all of them fit again.
        for (var number = 1; number <= 6; number++) services.Set($"default/s{number}", []);
        services.Flush();
        Assert.Contains("Map outside_frontends of the eBPF programs has room for all Services again", node.Log.ToString());
        for (var number = 7; number <= 12; number++) await Traffic.AssertAnswersAsync(node.Node.Outside, TestNode.NodeIP, 31000 + number);
        Assert.Equal(0, node.Metrics.MapRefused.With("outside_frontends").Value);

        // Sockets find no room for what they asked for: they work, and it is told.
        services.Watch.Look();
        var open = new List<Socket>();
        for (var i = 0; i < 8; i++) open.Add(await Traffic.ConnectAsync(node.Node.Namespace, IPAddress.Parse("10.43.1.9"), 80));
        services.Watch.Look();
        Assert.Contains("Map peers of the eBPF programs was full 4 times", node.Log.ToString());
        Assert.Equal(4, node.Metrics.MapFull.With("peers").Value);
        foreach (var socket in open)
        {
            Assert.StartsWith("web ", await Traffic.ReadLineAsync(socket));
            socket.Dispose();
        }

        // More connections than there is room for: the last work, and somebody is told that the oldest are at stake.
        var many = node.Node.Outside.Run(static () => Enumerable.Range(0, 600).Select(static _ => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)).ToArray());
        foreach (var socket in many) await socket.ConnectAsync(new IPEndPoint(TestNode.NodeIP, 31009));
        services.Watch.Look();
        Assert.Contains("connections from outside are open and there is room for 512", node.Log.ToString());
        Assert.True(node.Metrics.ConnectionsBegun.Value >= 600);
        await Traffic.AssertAnswersAsync(node.Node.Outside, TestNode.NodeIP, 31010);
        foreach (var socket in many) socket.Dispose();

        static BpfMapSpec Shrink(BpfMapSpec spec) => spec.Name switch
        {
            "outside_frontends" => spec with { MaxEntries = 8 },
            "frontends" => spec with { MaxEntries = 16 },
            "peers" => spec with { MaxEntries = 4 },
            "connections" => spec with { MaxEntries = 1024 },
            _ => spec,
        };
    }

    private static async Task<Socket> OpenAsync(TrafficNode node)
    {
        var open = await Traffic.ConnectAsync(node.Node.Outside, TestNode.NodeIP, 30080);
        await Traffic.ReadLineAsync(open);
        return open;
    }

    private static async Task EchoAsync(Socket open, string words)
    {
        await open.SendAsync(System.Text.Encoding.ASCII.GetBytes(words + "\n"));
        Assert.Equal(words, await Traffic.ReadLineAsync(open));
    }

    private static async Task<bool> AnswersAsync(TrafficNode node, IPAddress address, int port = 30080)
    {
        try
        {
            using var socket = await Traffic.ConnectAsync(node.Node.Outside, address, port, TimeSpan.FromSeconds(3));
            return (await Traffic.ReadLineAsync(socket)).StartsWith("web ", StringComparison.Ordinal);
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            return false;
        }
    }
}
