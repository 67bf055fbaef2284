using System.Net;
using System.Text.Json;
using K3sFast.Interop;
using K3sFast.Interop.Netlink;
using K3sFast.Network.Cni;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Network.Tests.Kernel;

public sealed class CniTests
{
    [Fact]
    public async Task ADD_TwoPods_ReachEachOtherTheNodeAndAreReached()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode("10.42.0.0/24", "fd00:42::/64");
        var (a, b) = (node.AddPod(), node.AddPod());

        using var serverA = Traffic.ServeTcp(a.Namespace, 80, "a");
        using var serverB = Traffic.ServeTcp(b.Namespace, 80, "b");
        using var serverNode = Traffic.ServeTcp(node.Namespace, 81, "node");

        Assert.Equal(("b", a.Address), await Traffic.AskTcpAsync(a.Namespace, b.Address, 80));
        Assert.Equal(("a", b.Addresses[1]), await Traffic.AskTcpAsync(b.Namespace, a.Addresses[1], 80));
        Assert.Equal(("node", a.Address), await Traffic.AskTcpAsync(a.Namespace, TestNode.NodeIP, 81));
        Assert.Equal(("node", a.Addresses[1]), await Traffic.AskTcpAsync(a.Namespace, TestNode.NodeIP6, 81));
        Assert.Equal(("a", TestNode.NodeIP), await Traffic.AskTcpAsync(node.Namespace, a.Address, 80));
        Assert.Equal(("a", TestNode.NodeIP6), await Traffic.AskTcpAsync(node.Namespace, a.Addresses[1], 80));
    }

    [Fact]
    public void ADD_LinksAndRoutes_AreOnePerPodWithoutBridge()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        var pod = node.AddPod();

        var link = node.Host.FindLink(PodAttachment.LinkNameOf(pod.ContainerId, "eth0"));
        Assert.NotNull(link);
        Assert.Equal(("veth", 1400, true), (link.Kind, link.Mtu, link.IsUp));
        Assert.Contains(node.Host.ListRoutes(false), route => route.LinkIndex == link.Index && route.Destination == new IPNetwork(pod.Address, 32));
        Assert.Equal("1", Sysctl.TryRead($"net/ipv4/conf/{link.Name}/rp_filter", node.Namespace));
        Assert.DoesNotContain(node.Host.ListLinks(), other => other.Kind == "bridge");
    }

    [Fact]
    public async Task Restore_WhilePodsComeAndGo_TakesNothingForStolen()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode("10.42.0.0/24", "fd00:42::/64");
        var stays = node.AddPod();
        var isOver = 0;
        var restoring = Task.Run(() =>
        {
            var restored = 0;
            while (Volatile.Read(ref isOver) == 0) restored += node.Handler.Restore(node.Setup.FindPreferredSources());
            return restored;
        }, TestContext.Current.CancellationToken);
        for (var i = 0; i < 40; i++) node.DeletePod(node.AddPod());
        Volatile.Write(ref isOver, 1);
        Assert.Equal(0, await restoring);

        var link = node.Host.FindLink(PodAttachment.LinkNameOf(stays.ContainerId, "eth0"))!;
        using var batch = new NetlinkBatch();
        batch.DeleteRoute(new RouteSpec(new IPNetwork(stays.Address, 32), link.Index, null, RouteScope.Link));
        node.Host.Execute(batch);
        Assert.Equal(1, node.Handler.Restore(node.Setup.FindPreferredSources()));
    }

    [Fact]
    public void DEL_Pod_LeavesNothingAndIsRepeatable()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        var before = (Links: node.Host.ListLinks().Count, Routes: node.Host.ListRoutes(false).Count);
        var pod = node.AddPod();

        node.DeletePod(pod);
        node.DeletePod(pod);

        Assert.Equal(before, (node.Host.ListLinks().Count, node.Host.ListRoutes(false).Count));
        Assert.Empty(Directory.GetFiles(Path.Combine(node.Directory, "state")));
    }

    [Fact]
    public void ADD_MorePodsThanABridgeHasPorts_AllGetLinks()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode("10.42.0.0/20");
        // One namespace plays all pods: what is counted is links, routes and neighbours of the node.
        var pods = node.NewPodNamespace();
        var started = System.Diagnostics.Stopwatch.GetTimestamp();
        for (var i = 0; i < 1100; i++)
        {
            node.Handler.Handle(new CniRequest("ADD", $"many{i}", pods.Path, $"p{i}", ""), new System.Buffers.ArrayBufferWriter<byte>());
        }
        TestContext.Current.TestOutputHelper?.WriteLine($"{System.Diagnostics.Stopwatch.GetElapsedTime(started).TotalMilliseconds / 1100:F2} ms per ADD");

        Assert.Equal(1100, node.Host.ListLinks().Count(link => link.Name.StartsWith(PodAttachment.LinkPrefix, StringComparison.Ordinal)));
        Assert.Equal(1100, node.Host.ListRoutes(false).Count(route => route.Destination.PrefixLength == 32 && route.Table == 254));
    }

    [Fact]
    public async Task Restart_PodsKeepLinksAndAddresses_GoneOnesAreForgotten()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode("10.42.0.0/29");
        var (kept, gone) = (node.AddPod(), node.AddPod());
        using var server = Traffic.ServeTcp(kept.Namespace, 80, "kept");
        using var open = await Traffic.ConnectAsync(node.Namespace, kept.Address, 80);
        using (var batch = new NetlinkBatch())
        {
            batch.DeleteLink(PodAttachment.LinkNameOf(gone.ContainerId, "eth0"));
            node.Host.Execute(batch);
        }

        node.StartCni();

        // Addresses .2 to .6: one is kept, so four are free, and none of them is the kept one.
        var more = Enumerable.Range(0, 4).Select(_ => node.AddPod().Address).ToHashSet();
        Assert.Equal(4, more.Count);
        Assert.DoesNotContain(kept.Address, more);
        Assert.Equal("no address is left in 10.42.0.0/29", Assert.Throws<CniException>(() => node.AddPod()).Message);
        Assert.Equal("kept 192.0.2.1", await Traffic.ReadLineAsync(open));
    }

    [Fact]
    public async Task Plugin_CallsThroughSocket_AnswerAsTheSpecificationSays()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        CniInstaller.InstallPlugin(Path.Combine(node.Directory, "bin"));
        var socket = Path.Combine(node.Directory, "cni.sock");
        using var stop = new CancellationTokenSource();
        var server = new CniServer(socket, node.Handler, NullLogger.Instance);
        using var listener = server.Listen();
        var serving = server.ServeAsync(listener, stop.Token);
        var pod = node.NewPodNamespace();
        var plugin = new Plugin(node, Path.Combine(node.Directory, "bin", "k3sfast"), pod.Path, socket);

        var (exitCode, output) = plugin.Call("ADD", "0.4.0");
        Assert.True(exitCode == 0, output);
        using var result = JsonDocument.Parse(output);
        Assert.Equal("0.4.0", result.RootElement.GetProperty("cniVersion").GetString());
        Assert.Equal("10.42.0.2/32", result.RootElement.GetProperty("ips")[0].GetProperty("address").GetString());
        Assert.Equal("4", result.RootElement.GetProperty("ips")[0].GetProperty("version").GetString());
        Assert.Equal(pod.Path, result.RootElement.GetProperty("interfaces")[1].GetProperty("sandbox").GetString());

        Assert.Equal((0, ""), plugin.Call("CHECK", "0.4.0"));
        Assert.Equal((0, ""), plugin.Call("DEL", "0.4.0"));
        Assert.Equal((0, ""), plugin.Call("DEL", "0.4.0"));
        Assert.Contains("\"code\":3", plugin.Call("CHECK", "0.4.0").Output);
        Assert.Contains("\"code\":4", plugin.Call("ADD", "0.4.0", interfaceName: "../x").Output);
        Assert.Contains("\"1.1.0\"", plugin.Call("VERSION", "1.0.0").Output);
        Assert.Equal((0, ""), plugin.Call("STATUS", "1.1.0"));
        Assert.Contains("\"code\":7", plugin.Call("GC", "1.1.0").Output);

        await stop.CancelAsync();
        await serving;
    }

    [Fact]
    public void GC_AttachmentsThatNobodyKnows_AreGivenBackAndOthersStay()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode("10.42.0.0/29");
        var (kept, lost) = (node.AddPod(), node.AddPod());
        var output = new System.Buffers.ArrayBufferWriter<byte>();

        node.Handler.Handle(new CniRequest("GC", "", "", "", "") { NetworkName = "other", ValidAttachments = new HashSet<(string, string)>() }, output);
        Assert.NotNull(node.Host.FindLink(PodAttachment.LinkNameOf(lost.ContainerId, "eth0")));
        Assert.Equal(7, Assert.Throws<CniException>(() => node.Handler.Handle(new CniRequest("GC", "", "", "", ""), output)).Code);

        var body = $"GC\0\0\0\0\0{{\"cniVersion\":\"1.1.0\",\"name\":\"k3sfast\",\"cni.dev/valid-attachments\":[{{\"containerID\":\"{kept.ContainerId}\",\"ifname\":\"eth0\"}}]}}";
        node.Handler.Handle(CniRequest.Parse(System.Text.Encoding.UTF8.GetBytes(body)), output);

        Assert.NotNull(node.Host.FindLink(PodAttachment.LinkNameOf(kept.ContainerId, "eth0")));
        Assert.Null(node.Host.FindLink(PodAttachment.LinkNameOf(lost.ContainerId, "eth0")));
        Assert.Equal(0, output.WrittenCount);
        Assert.Equal(4, Enumerable.Range(0, 4).Select(_ => node.AddPod().Address).Distinct().Count(address => !address.Equals(kept.Address)));
    }

    [Fact]
    public void STATUS_ByWhatIsThere_SaysWhetherPodsCanBeAdded()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode("10.42.0.0/29");
        var request = new CniRequest("STATUS", "", "", "", "") { CniVersion = "1.1.0" };
        var output = new System.Buffers.ArrayBufferWriter<byte>();
        node.Handler.Handle(request, output);
        for (var i = 0; i < 5; i++) node.AddPod();
        Assert.Equal(50, Assert.Throws<CniException>(() => node.Handler.Handle(request, output)).Code);
        var unconfigured = new CniHandler(new AttachmentStore(Path.Combine(node.Directory, "other"), []), new PodLinks(node.Host, node.Namespace), node.HostPorts, NullLogger.Instance);
        Assert.Equal(50, Assert.Throws<CniException>(() => unconfigured.Handle(request, output)).Code);
    }

    [Fact]
    public void Restart_FilesLost_GivesNobodyTheAddressOfALinkThatIsThere()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode("10.42.0.0/29");
        var pod = node.AddPod();
        Directory.Delete(Path.Combine(node.Directory, "state"), recursive: true);

        node.StartCni();

        var others = Enumerable.Range(0, 4).Select(_ => node.AddPod().Address).ToList();
        Assert.DoesNotContain(pod.Address, others);
        Assert.Throws<CniException>(() => node.AddPod());
        node.DeletePod(pod);
        node.Handler.Handle(new CniRequest("ADD", "again", node.NewPodNamespace().Path, "eth0", ""), new System.Buffers.ArrayBufferWriter<byte>());
    }

    [Fact]
    public async Task Plugins_ChainedBehindOurs_GetOurResultAndUndoTheirWork()
    {
        TestNode.RequirePrivilege();
        const string folder = "/usr/lib/cni";
        if (!File.Exists(Path.Combine(folder, "tuning"))) Assert.Skip("needs the plugins of the CNI project (containernetworking-plugins)");
        using var node = new TestNode();
        var bin = Path.Combine(node.Directory, "bin");
        CniInstaller.InstallPlugin(bin);
        var list = Path.Combine(node.Directory, "user.conflist");
        File.WriteAllText(list, """
            {"cniVersion":"1.0.0","name":"cbr0","plugins":[
              {"type":"flannel","delegate":{"hairpinMode":true},"capabilities":{"bandwidth":true}},
              {"type":"tuning","mtu":1300,"sysctl":{"net.ipv4.conf.IFNAME.arp_filter":"1"}},
              {"type":"portmap","capabilities":{"portMappings":true}},
              {"type":"no-such-plugin"}]}
            """);
        Assert.Equal(["no-such-plugin"], CniInstaller.LinkPlugins(bin, list));
        Assert.Equal(["no-such-plugin"], CniInstaller.LinkPlugins(bin, list));
        var conf = Path.Combine(node.Directory, "net.d");
        var socket = Path.Combine(node.Directory, "cni.sock");
        CniInstaller.InstallConfiguration(conf, socket, list);
        using var installed = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(conf, CniInstaller.ConfigurationName)));
        Assert.Equal(socket, installed.RootElement.GetProperty("plugins")[0].GetProperty("socketPath").GetString());

        using var stop = new CancellationTokenSource();
        var server = new CniServer(socket, node.Handler, NullLogger.Instance);
        using var listener = server.Listen();
        var serving = server.ServeAsync(listener, stop.Token);
        var pod = node.NewPodNamespace();
        // What a runtime does with a list: each plugin gets the result of the one before.
        var previous = "";
        for (var i = 0; i < 2; i++)
        {
            var (exitCode, output) = Chained(node, bin, pod, installed.RootElement.GetProperty("plugins")[i], "ADD", previous);
            Assert.True(exitCode == 0, output);
            previous = output;
        }
        using var inside = RouteSocket.Open(pod);
        Assert.Equal(1300, inside.FindLink("eth0")!.Mtu);
        Assert.Equal("1", Sysctl.TryRead("net/ipv4/conf/eth0/arp_filter", pod));
        Assert.Contains("10.42.0.2/32", previous, StringComparison.Ordinal);
        for (var i = 1; i >= 0; i--) Assert.Equal(0, Chained(node, bin, pod, installed.RootElement.GetProperty("plugins")[i], "DEL", previous).ExitCode);
        Assert.Null(inside.FindLink("eth0"));
        await stop.CancelAsync();
        await serving;
    }

    private static (int ExitCode, string Output) Chained(TestNode node, string bin, Interop.Namespaces.NetworkNamespace pod, JsonElement plugin, string command, string previous)
    {
        var configuration = System.Text.Json.Nodes.JsonNode.Parse(plugin.GetRawText())!.AsObject();
        (configuration["cniVersion"], configuration["name"]) = ("1.0.0", "cbr0");
        if (previous.Length > 0) configuration["prevResult"] = System.Text.Json.Nodes.JsonNode.Parse(previous);
        return TestNode.Execute(node.Namespace, Path.Combine(bin, plugin.GetProperty("type").GetString()!), configuration.ToJsonString(), new Dictionary<string, string>
        {
            ["CNI_COMMAND"] = command, ["CNI_CONTAINERID"] = "chained", ["CNI_NETNS"] = pod.Path, ["CNI_IFNAME"] = "eth0", ["CNI_PATH"] = bin, ["CNI_ARGS"] = "",
        });
    }

    [Fact]
    public async Task Plugin_AgentAway_AddSaysTryAgainAndDelRemovesTheLinkAlone()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        CniInstaller.InstallPlugin(Path.Combine(node.Directory, "bin"));
        var pod = node.AddPod();
        var plugin = new Plugin(node, Path.Combine(node.Directory, "bin", "k3sfast"), pod.Namespace.Path, Path.Combine(node.Directory, "nobody.sock"));

        var (exitCode, output) = plugin.Call("ADD", "1.0.0");
        Assert.Equal(1, exitCode);
        Assert.Contains("\"code\":11", output);
        Assert.Contains("\"code\":50", plugin.Call("STATUS", "1.1.0").Output);
        Assert.Equal((0, ""), plugin.Call("DEL", "1.0.0"));
        await WaitUntilAsync(() => node.Host.FindLink(PodAttachment.LinkNameOf(pod.ContainerId, "eth0")) is null);
    }

    [Fact]
    public void Plugin_AsLoopback_BringsLoUp()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        CniInstaller.InstallPlugin(Path.Combine(node.Directory, "bin"));
        using var pod = Interop.Namespaces.NetworkNamespace.Create();
        using var inside = RouteSocket.Open(pod);
        Assert.False(inside.FindLink("lo")!.IsUp);

        var (exitCode, output) = new Plugin(node, Path.Combine(node.Directory, "bin", "loopback"), pod.Path, "").Call("ADD", "0.3.1", interfaceName: "lo");

        Assert.True(exitCode == 0, output);
        Assert.True(inside.FindLink("lo")!.IsUp);
    }

    private static async Task WaitUntilAsync(Func<bool> condition)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(90));
        while (!condition()) await Task.Delay(5, deadline.Token);
    }

    private sealed record Plugin(TestNode Node, string Path, string NamespacePath, string Socket)
    {
        internal (int ExitCode, string Output) Call(string command, string version, string interfaceName = "eth0") => TestNode.Execute(
            Node.Namespace, Path, $$"""{"cniVersion":"{{version}}","name":"k3sfast","type":"k3sfast","socketPath":"{{Socket}}"}""",
            new Dictionary<string, string>
            {
                ["CNI_COMMAND"] = command, ["CNI_CONTAINERID"] = "0123abc", ["CNI_NETNS"] = NamespacePath, ["CNI_IFNAME"] = interfaceName, ["CNI_ARGS"] = "",
            });
    }
}
