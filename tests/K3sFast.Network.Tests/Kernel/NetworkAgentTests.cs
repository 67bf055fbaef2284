using System.Net;
using k8s.Models;
using K3sFast.Client;
using K3sFast.Client.Testing;
using K3sFast.Interop.Namespaces;
using K3sFast.Network.Proxy.Ebpf;
using K3sFast.Network.Proxy;
using K3sFast.Network.Tests.Proxy;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Network.Tests.Kernel;

public sealed class NetworkAgentTests
{
    [Theory]
    [InlineData(ProxyMode.Nftables)]
    [InlineData(ProxyMode.Ebpf)]
    public async Task Agent_WholeLife_ServesPodsAndServicesFromTheApi(ProxyMode mode)
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode("10.42.7.0/24");
        var cancellation = TestContext.Current.CancellationToken;
        var api = new InMemoryApi();
        var options = node.Options with { StateDir = Path.Combine(node.Directory, "agent"), Proxy = node.Options.Proxy with { Mode = mode } };
        var configuration = Path.Combine(options.CniConfDir, "10-k3sfast.conflist");
        await using var agent = new RunningAgent(options, api);

        // No pod CIDR yet: the runtime must not think that its network is ready, and a call that comes anyway is told to come again.
        await WaitUntilAsync(() => File.Exists(options.CniSocketPath));
        var pod = node.NewPodNamespace();
        Assert.Contains("\"code\":11", Call(node, options, "ADD", pod.Path).Output);
        Assert.False(File.Exists(configuration));

        var spec = new V1NodeSpec { PodCIDR = "10.42.7.0/24", PodCIDRs = ["10.42.7.0/24"] };
        await api.Client.CreateAsync(Resources.Nodes, new V1Node { Metadata = new V1ObjectMeta { Name = "node" }, Spec = spec }, cancellation);
        await WaitUntilAsync(() => File.Exists(configuration));
        var (exitCode, output) = Call(node, options, "ADD", pod.Path);
        Assert.True(exitCode == 0, output);

        using var server = Traffic.ServeTcp(pod, 8080, "web");
        await api.Client.CreateAsync(Resources.Services, TestServices.Service("web", "10.43.0.80", 80), cancellation);
        await api.Client.CreateAsync(Resources.EndpointSlices, TestServices.Slice("web", 8080, (IPAddress.Parse("10.42.7.2"), "node")), cancellation);
        await WaitUntilAsync(async () => await AnswersAsync(node, "10.43.0.80"));

        await api.Client.DeleteAsync(Resources.EndpointSlices, "default", "web-abc", cancellation);
        await WaitUntilAsync(async () => !await AnswersAsync(node, "10.43.0.80"));
        Assert.Equal((0, ""), Call(node, options, "DEL", pod.Path));
    }

    [Theory]
    [InlineData(ProxyMode.Nftables)]
    [InlineData(ProxyMode.Ebpf)]
    public async Task Agent_StoppedAndStarted_ServiceAnswersThroughout(ProxyMode mode)
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        var cancellation = TestContext.Current.CancellationToken;
        var api = new InMemoryApi();
        var pod = node.AddPod();
        using var server = Traffic.ServeTcp(pod.Namespace, 8080, "web");
        await api.Client.CreateAsync(Resources.Services, TestServices.Service("web", "10.43.0.80", 80), cancellation);
        await api.Client.CreateAsync(Resources.EndpointSlices, TestServices.Slice("web", 8080, (pod.Address, "node")), cancellation);
        var options = node.Options with { StateDir = Path.Combine(node.Directory, "agent"), Proxy = node.Options.Proxy with { Mode = mode } };
        await using (new RunningAgent(options, api)) await WaitUntilAsync(async () => await AnswersAsync(node, "10.43.0.80"));

        var failures = 0;
        using var stop = new CancellationTokenSource();
        var asking = Task.Run(async () =>
        {
            while (!stop.IsCancellationRequested) failures += await AnswersAsync(node, "10.43.0.80") ? 0 : 1;
        }, cancellation);
        for (var i = 0; i < 3; i++)
        {
            await using var agent = new RunningAgent(options, api);
            await WaitUntilAsync(() => agent.HasSyncedServices);
        }
        await stop.CancelAsync();
        await asking;

        Assert.Equal(0, failures);
    }

    [Fact]
    public async Task Agent_AskedHowItIs_AnswersAsKubeProxyDoes()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        var cancellation = TestContext.Current.CancellationToken;
        var api = new InMemoryApi();
        var options = node.Options with
        {
            StateDir = Path.Combine(node.Directory, "agent"),
            Proxy = new() { HealthAddress = new IPEndPoint(IPAddress.Any, 10256), MetricsAddress = new IPEndPoint(IPAddress.Any, 10249) },
        };
        await using var agent = new RunningAgent(options, api);

        // Without its node it is alive, and is to get no traffic.
        await WaitUntilAsync(async () => (await GetAsync(node, 10256, "/livez")).StartsWith("HTTP/1.1 200", StringComparison.Ordinal));
        Assert.StartsWith("HTTP/1.1 503", await GetAsync(node, 10256, "/healthz"), StringComparison.Ordinal);
        await api.Client.CreateAsync(Resources.Nodes, new V1Node { Metadata = new V1ObjectMeta { Name = "node" }, Spec = new V1NodeSpec() }, cancellation);
        await WaitUntilAsync(async () => (await GetAsync(node, 10256, "/healthz")).StartsWith("HTTP/1.1 200", StringComparison.Ordinal));

        var service = TestServices.Service("web", "10.43.0.80", 80, change: spec =>
            (spec.Type, spec.ExternalTrafficPolicy, spec.HealthCheckNodePort, spec.Ports[0].NodePort) = ("LoadBalancer", "Local", 31000, 30080));
        await api.Client.CreateAsync(Resources.Services, service, cancellation);
        await WaitUntilAsync(async () => (await GetAsync(node, 31000, "/")).Contains("X-Load-Balancing-Endpoint-Weight: 0\r\n", StringComparison.Ordinal));
        var slice = TestServices.Slice("web", 8080, (IPAddress.Parse("10.42.0.9"), "node"), (IPAddress.Parse("10.42.1.9"), "other"));
        slice.Metadata.Annotations = new Dictionary<string, string> { ["endpoints.kubernetes.io/last-change-trigger-time"] = DateTime.UtcNow.ToString("O") };
        await api.Client.CreateAsync(Resources.EndpointSlices, slice, cancellation);
        await WaitUntilAsync(async () => (await GetAsync(node, 31000, "/")).Contains("X-Load-Balancing-Endpoint-Weight: 1\r\n", StringComparison.Ordinal));

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

        await api.Client.DeleteAsync(Resources.Services, "default", "web", cancellation);
        await WaitUntilAsync(async () => await GetAsync(node, 31000, "/") == "");
    }

    // A whole HTTP answer; "" = nobody is there.
    private static async Task<string> GetAsync(TestNode node, int port, string path)
    {
        try
        {
            using var socket = await Traffic.ConnectAsync(node.Outside, TestNode.NodeIP, port);
            await socket.SendAsync(System.Text.Encoding.ASCII.GetBytes($"GET {path} HTTP/1.1\r\nHost: node\r\n\r\n"));
            using var stream = new System.Net.Sockets.NetworkStream(socket);
            return await new StreamReader(stream).ReadToEndAsync();
        }
        catch (Exception gone) when (gone is System.Net.Sockets.SocketException or IOException)
        {
            // Nobody listens, or the port closed before it accepted.
            return "";
        }
    }

    [Fact]
    public async Task Agent_ProxyModeChanged_OnlyTheNewOneIsLeftInTheKernel()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        var cancellation = TestContext.Current.CancellationToken;
        var api = new InMemoryApi();
        var pod = node.AddPod();
        using var server = Traffic.ServeTcp(pod.Namespace, 8080, "web");
        await api.Client.CreateAsync(Resources.Services, TestServices.Service("web", "10.43.0.80", 80), cancellation);
        await api.Client.CreateAsync(Resources.EndpointSlices, TestServices.Slice("web", 8080, (pod.Address, "node")), cancellation);
        var options = node.Options with { StateDir = Path.Combine(node.Directory, "agent") };
        var pins = SocketPrograms.DirectoryOf(NamespacePaths.NameOf(node.Namespace.Path));

        await using (new RunningAgent(options with { Proxy = options.Proxy with { Mode = ProxyMode.Ebpf } }, api)) await WaitUntilAsync(async () => await AnswersAsync(node, "10.43.0.80"));
        // A Service with nothing but a cluster IP needs no rule, and its programs carry it while nobody runs.
        var (_, rules) = TestNode.Execute(node.Namespace, "nft", "", null, "list", "ruleset");
        Assert.DoesNotContain("10.43.0.80", rules);
        Assert.NotEmpty(Directory.EnumerateFiles(pins));
        Assert.True(await AnswersAsync(node, "10.43.0.80"));

        await using (new RunningAgent(options, api)) await WaitUntilAsync(() => !Directory.Exists(pins));
        (_, rules) = TestNode.Execute(node.Namespace, "nft", "", null, "list", "ruleset");
        Assert.Contains("10.43.0.80", rules);
        Assert.True(await AnswersAsync(node, "10.43.0.80"));

        await using (new RunningAgent(options with { Proxy = options.Proxy with { Mode = ProxyMode.Ebpf } }, api)) await WaitUntilAsync(() => Directory.Exists(pins));
        NetworkCleanup.RemoveAll(node.Namespace);
        Assert.False(Directory.Exists(pins));
        Assert.False(await AnswersAsync(node, "10.43.0.80"));
    }

    [Theory]
    [InlineData(ProxyMode.Userspace, "userspace")]
    [InlineData(ProxyMode.Ipvs, "ipvs")]
    public async Task Agent_InAnotherModeAndBack_CarriesTheServiceAndLeavesNothingOfTheOther(ProxyMode mode, string name)
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        var cancellation = TestContext.Current.CancellationToken;
        var api = new InMemoryApi();
        var pod = node.AddPod();
        using var server = Traffic.ServeTcp(pod.Namespace, 8080, "web");
        await api.Client.CreateAsync(Resources.Services, TestServices.Service("web", "10.43.0.80", 80), cancellation);
        await api.Client.CreateAsync(Resources.EndpointSlices, TestServices.Slice("web", 8080, (pod.Address, "node")), cancellation);
        var nftables = node.Options with { StateDir = Path.Combine(node.Directory, "agent"), Proxy = new() { MetricsAddress = new IPEndPoint(IPAddress.Any, 10249) } };
        var other = nftables with { Proxy = nftables.Proxy with { Mode = mode } };
        await using (new RunningAgent(nftables, api)) await WaitUntilAsync(async () => await AnswersAsync(node, "10.43.0.80"));

        await using (var agent = new RunningAgent(other, api))
        {
            await WaitUntilAsync(() => agent.HasSyncedServices);
            await WaitUntilAsync(async () => await AnswersAsync(node, "10.43.0.80"));
            var told = await GetAsync(node, 10249, "/proxyMode");
            // A kernel without IPVS is told so, and Services work all the same.
            if (mode == ProxyMode.Ipvs && told.EndsWith("nftables", StringComparison.Ordinal)) Assert.Contains("Missing: IPVS", agent.Text, StringComparison.Ordinal);
            else Assert.EndsWith(name, told, StringComparison.Ordinal);
            if (mode == ProxyMode.Userspace) Assert.NotNull(node.Host.FindLink("k3sf-services"));
        }

        await using (var agent = new RunningAgent(nftables, api))
        {
            await WaitUntilAsync(() => agent.HasSyncedServices && node.Host.FindLink("k3sf-services") is null);
            await WaitUntilAsync(async () => await AnswersAsync(node, "10.43.0.80"));
        }
    }

    private static async Task<bool> AnswersAsync(TestNode node, string address)
    {
        try
        {
            return (await Traffic.AskTcpAsync(node.Namespace, IPAddress.Parse(address), 80)).Name == "web";
        }
        catch (Exception e) when (e is System.Net.Sockets.SocketException or OperationCanceledException)
        {
            return false;
        }
    }

    private static (int ExitCode, string Output) Call(TestNode node, NetworkOptions options, string command, string netns) => TestNode.Execute(
        node.Namespace, Path.Combine(options.CniBinDir, "k3sfast"), $$"""{"cniVersion":"1.0.0","name":"k3sfast","type":"k3sfast","socketPath":"{{options.CniSocketPath}}"}""",
        new Dictionary<string, string> { ["CNI_COMMAND"] = command, ["CNI_CONTAINERID"] = "c0", ["CNI_NETNS"] = netns, ["CNI_IFNAME"] = "eth0" });

    private static Task WaitUntilAsync(Func<bool> condition) => WaitUntilAsync(() => Task.FromResult(condition()));

    private static async Task WaitUntilAsync(Func<Task<bool>> condition)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(90));
        while (!await condition()) await Task.Delay(5, deadline.Token);
    }

    private sealed class RunningAgent : IAsyncDisposable
    {
        private readonly CancellationTokenSource _stop = new();
        private readonly Task _running;
        private readonly SyncLogger _logger = new();

        internal RunningAgent(NetworkOptions options, InMemoryApi api) => _running = new NetworkAgent(options, api.Client, api.Client, _logger).RunAsync(_stop.Token);

        internal bool HasSyncedServices => _logger.HasSynced;

        internal string Text => string.Join('\n', _logger.Lines);

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            await _running;
            _stop.Dispose();
        }
    }

    // The agent says when it has written the rules of services; nothing else tells from outside.
    private sealed class SyncLogger : Microsoft.Extensions.Logging.ILoggerFactory, Microsoft.Extensions.Logging.ILogger
    {
        internal volatile bool HasSynced;

        internal System.Collections.Concurrent.ConcurrentQueue<string> Lines { get; } = new();

        public void AddProvider(Microsoft.Extensions.Logging.ILoggerProvider provider)
        {
        }

        public Microsoft.Extensions.Logging.ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(Microsoft.Extensions.Logging.LogLevel logLevel) => true;

        public void Log<TState>(Microsoft.Extensions.Logging.LogLevel logLevel, Microsoft.Extensions.Logging.EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            Lines.Enqueue(formatter(state, exception));
            if (eventId.Id == 9030) HasSynced = true;
        }

        public void Dispose()
        {
        }
    }
}
