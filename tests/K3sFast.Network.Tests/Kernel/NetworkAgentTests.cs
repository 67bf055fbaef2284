using System.Net;
using System.Net.Sockets;
using k8s.Models;
using K3sFast.Client;
using K3sFast.Interop.Namespaces;
using K3sFast.Network.Proxy;
using K3sFast.Network.Proxy.Ebpf;
using K3sFast.Network.Tests.Proxy;

namespace K3sFast.Network.Tests.Kernel;

public sealed class NetworkAgentTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(ProxyMode.Nftables)]
    [InlineData(ProxyMode.Ebpf)]
    public async Task Agent_WholeLife_ServesPodsAndServicesFromTheApi(ProxyMode mode)
    {
        using var node = new AgentNode("10.42.7.0/24");
        await using var agent = node.Run(mode);
        var configuration = Path.Combine(node.Options.CniConfDir, "10-k3sfast.conflist");

        // No pod CIDR yet: the runtime must not think that its network is ready, and a call that comes anyway is told to come again.
        await agent.UntilAsync(() => File.Exists(node.Options.CniSocketPath), "there is no socket");
        var pod = node.Node.NewPodNamespace();
        Assert.Contains("\"code\":11", Call(node, "ADD", pod.Path).Output);
        Assert.False(File.Exists(configuration));

        await CreateNodeAsync(node, new V1NodeSpec { PodCIDR = "10.42.7.0/24", PodCIDRs = ["10.42.7.0/24"] });
        await agent.UntilAsync(() => File.Exists(configuration), "there is no configuration");
        var (exitCode, output) = Call(node, "ADD", pod.Path);
        Assert.True(exitCode == 0, output);

        using var server = Traffic.ServeTcp(pod, 8080, "web");
        await node.CreateServiceAsync("web", "10.43.0.80", IPAddress.Parse("10.42.7.2"));
        await node.UntilAnswersAsync(agent: agent);

        await node.Api.Client.DeleteAsync(Resources.EndpointSlices, "default", "web-abc", Cancellation);
        await node.UntilAnswersAsync(isAnswered: false, agent: agent);
        Assert.Equal((0, ""), Call(node, "DEL", pod.Path));
    }

    [Theory]
    [InlineData(ProxyMode.Nftables)]
    [InlineData(ProxyMode.Ebpf)]
    public async Task Agent_StoppedAndStarted_ServiceAnswersThroughout(ProxyMode mode)
    {
        using var node = await AgentNode.WithServiceAsync();
        await using (var first = node.Run(mode)) await node.UntilAnswersAsync(agent: first);

        var failures = 0;
        using var stop = new CancellationTokenSource();
        var asking = Task.Run(async () =>
        {
            while (!stop.IsCancellationRequested) failures += (await Traffic.AskTcpAsync(node.Node.Namespace, IPAddress.Parse("10.43.0.80"), 80)).Name == "web" ? 0 : 1;
        }, Cancellation);
        for (var i = 0; i < 3; i++)
        {
            await using var agent = node.Run(mode);
            await agent.UntilServicesSyncedAsync();
        }
        await stop.CancelAsync();
        await asking;

        Assert.Equal(0, failures);
    }

    [Fact]
    public async Task Agent_AskedHowItIs_AnswersAsKubeProxyDoes()
    {
        using var node = new AgentNode();
        await using var agent = node.Run(node.Options with { Proxy = new() { HealthAddress = new IPEndPoint(IPAddress.Any, 10256), MetricsAddress = new IPEndPoint(IPAddress.Any, 10249) } });

        // Without its node it is alive, and is to get no traffic.
        await UntilAsync(node, 10256, "/livez", static answer => answer.StartsWith("HTTP/1.1 200", StringComparison.Ordinal));
        Assert.StartsWith("HTTP/1.1 503", await GetAsync(node, 10256, "/healthz"), StringComparison.Ordinal);
        await CreateNodeAsync(node, new V1NodeSpec());
        await UntilAsync(node, 10256, "/healthz", static answer => answer.StartsWith("HTTP/1.1 200", StringComparison.Ordinal));

        var service = TestServices.Service("web", "10.43.0.80", 80, change: static spec =>
            (spec.Type, spec.ExternalTrafficPolicy, spec.HealthCheckNodePort, spec.Ports[0].NodePort) = ("LoadBalancer", "Local", 31000, 30080));
        await node.Api.Client.CreateAsync(Resources.Services, service, Cancellation);
        await UntilAsync(node, 31000, "/", static answer => answer.Contains("X-Load-Balancing-Endpoint-Weight: 0\r\n", StringComparison.Ordinal));
        var slice = TestServices.Slice("web", 8080, (IPAddress.Parse("10.42.0.9"), "node"), (IPAddress.Parse("10.42.1.9"), "other"));
        slice.Metadata.Annotations = new Dictionary<string, string> { ["endpoints.kubernetes.io/last-change-trigger-time"] = DateTime.UtcNow.ToString("O") };
        await node.Api.Client.CreateAsync(Resources.EndpointSlices, slice, Cancellation);
        await UntilAsync(node, 31000, "/", static answer => answer.Contains("X-Load-Balancing-Endpoint-Weight: 1\r\n", StringComparison.Ordinal));

        Assert.EndsWith("nftables", await GetAsync(node, 10249, "/proxyMode"), StringComparison.Ordinal);
        var metrics = await GetAsync(node, 10249, "/metrics");
        Assert.Contains("kubeproxy_network_programming_duration_seconds_count{ip_family=\"IPv4\"} 1\n", metrics, StringComparison.Ordinal);
        Assert.Contains("kubeproxy_sync_proxy_rules_service_changes_total 1\n", metrics, StringComparison.Ordinal);
        Assert.Contains("kubeproxy_sync_proxy_rules_endpoint_changes_total 1\n", metrics, StringComparison.Ordinal);
        Assert.Matches("kubeproxy_proxy_healthz_total\\{code=\"503\"\\} [1-9]", metrics);
        foreach (var name in (string[])["sync_proxy_rules_duration_seconds_bucket", "sync_proxy_rules_last_timestamp_seconds", "sync_proxy_rules_no_local_endpoints_total"])
        {
            Assert.Contains($"kubeproxy_{name}{{ip_family=\"IPv6\"", metrics, StringComparison.Ordinal);
        }

        await node.Api.Client.DeleteAsync(Resources.Services, "default", "web", Cancellation);
        await UntilAsync(node, 31000, "/", static answer => answer == "");
    }

    [Fact]
    public async Task Agent_ProxyModeChanged_OnlyTheNewOneIsLeftInTheKernel()
    {
        using var node = await AgentNode.WithServiceAsync();
        var pins = SocketPrograms.DirectoryOf(NamespacePaths.NameOf(node.Node.Namespace.Path));

        await using (var agent = node.Run(ProxyMode.Ebpf)) await node.UntilAnswersAsync(agent: agent);
        // A Service with nothing but a cluster IP needs no rule, and its programs carry it while nobody runs.
        Assert.DoesNotContain("10.43.0.80", node.Nft("list", "ruleset"));
        Assert.NotEmpty(Directory.EnumerateFiles(pins));
        await node.AssertAnswersAsync();

        await using (var agent = node.Run()) await agent.UntilAsync(() => !Directory.Exists(pins), "the programs are still there");
        Assert.Contains("10.43.0.80", node.Nft("list", "ruleset"));
        await node.AssertAnswersAsync();

        await using (var agent = node.Run(ProxyMode.Ebpf)) await agent.UntilAsync(() => Directory.Exists(pins), "there are no programs");
        NetworkCleanup.RemoveAll(node.Node.Namespace);
        Assert.False(Directory.Exists(pins));
        Assert.False(await node.AnswersAsync());
    }

    [Theory]
    [InlineData(ProxyMode.Userspace, "userspace")]
    [InlineData(ProxyMode.Ipvs, "ipvs")]
    public async Task Agent_InAnotherModeAndBack_CarriesTheServiceAndLeavesNothingOfTheOther(ProxyMode mode, string name)
    {
        using var node = await AgentNode.WithServiceAsync();
        var nftables = node.Options with { Proxy = new() { MetricsAddress = new IPEndPoint(IPAddress.Any, 10249) } };
        await using (var agent = node.Run(nftables)) await node.UntilAnswersAsync(agent: agent);

        await using (var agent = node.Run(nftables with { Proxy = nftables.Proxy with { Mode = mode } }))
        {
            await agent.UntilServicesSyncedAsync();
            await node.UntilAnswersAsync(agent: agent);
            var told = await GetAsync(node, 10249, "/proxyMode");
            // A kernel without IPVS is told so, and Services work all the same.
            if (mode == ProxyMode.Ipvs && told.EndsWith("nftables", StringComparison.Ordinal)) Assert.True(agent.Log.Has("Missing: IPVS"));
            else Assert.EndsWith(name, told, StringComparison.Ordinal);
            if (mode == ProxyMode.Userspace) Assert.NotNull(node.Node.Host.FindLink("k3sf-services"));
        }

        await using (var agent = node.Run(nftables))
        {
            await agent.UntilServicesSyncedAsync();
            await agent.UntilAsync(() => node.Node.Host.FindLink("k3sf-services") is null, "the link of addresses is still there");
            await node.UntilAnswersAsync(agent: agent);
        }
    }

    private static Task CreateNodeAsync(AgentNode node, V1NodeSpec spec) =>
        node.Api.Client.CreateAsync(Resources.Nodes, new V1Node { Metadata = new V1ObjectMeta { Name = "node" }, Spec = spec }, Cancellation).AsTask();

    private static Task UntilAsync(AgentNode node, int port, string path, Func<string, bool> isWanted) =>
        LanNode.Until(async () => isWanted(await GetAsync(node, port, path)), $"port {port} {path} does not answer what is wanted");

    // A whole HTTP answer; "" = nobody is there.
    private static async Task<string> GetAsync(AgentNode node, int port, string path)
    {
        try
        {
            using var socket = await Traffic.ConnectAsync(node.Node.Outside, TestNode.NodeIP, port);
            await socket.SendAsync(System.Text.Encoding.ASCII.GetBytes($"GET {path} HTTP/1.1\r\nHost: node\r\n\r\n"));
            using var stream = new NetworkStream(socket);
            return await new StreamReader(stream).ReadToEndAsync();
        }
        catch (Exception gone) when (gone is SocketException or IOException)
        {
            // Nobody listens, or the port closed before it accepted.
            return "";
        }
    }

    private static (int ExitCode, string Output) Call(AgentNode node, string command, string netns) => TestNode.Execute(
        node.Node.Namespace, Path.Combine(node.Options.CniBinDir, "k3sfast"), $$"""{"cniVersion":"1.0.0","name":"k3sfast","type":"k3sfast","socketPath":"{{node.Options.CniSocketPath}}"}""",
        new Dictionary<string, string> { ["CNI_COMMAND"] = command, ["CNI_CONTAINERID"] = "c0", ["CNI_NETNS"] = netns, ["CNI_IFNAME"] = "eth0" });
}
