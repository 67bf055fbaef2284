using System.Net;
using K3sFast.Client;
using K3sFast.Client.Testing;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;
using K3sFast.Network.Proxy.Ebpf;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>Several nodes on one network: 192.0.2.N and 2001:db8::N on a bridge in a namespace of its own, each running the agent against one API.</summary>
internal sealed class TestLan : IDisposable
{
    private readonly NetworkNamespace _bridge = NetworkNamespace.Create();

    internal TestLan() => Ip(_bridge, "link add br0 type bridge", "link set br0 up", "link set lo up");

    internal InMemoryApi Api { get; } = new();

    internal NetworkNamespace Bridge => _bridge;

    public void Dispose() => _bridge.Dispose();

    /// <summary>A machine without an agent.</summary>
    internal LanNode AddNode(int number, bool hasIPv6 = true) => new(this, number, hasIPv6);

    /// <summary>Runs <c>ip</c> inside a namespace; each must succeed.</summary>
    internal static string Ip(NetworkNamespace inside, params string[] commands)
    {
        var all = "";
        foreach (var command in commands)
        {
            var (code, output) = TestNode.Execute(inside, "ip", "", null, command.Split(' '));
            Assert.True(code == 0, $"ip {command}: {output}");
            all += output;
        }
        return all;
    }
}

/// <summary>A node of a <see cref="TestLan"/>.</summary>
internal sealed class LanNode : IAsyncDisposable
{
    private readonly TestLan _lan;
    private readonly bool _hasIPv6;
    private readonly List<NetworkNamespace> _pods = [];
    private readonly string _directory = Directory.CreateTempSubdirectory("overlay-test-").FullName;
    private CancellationTokenSource? _stop;
    private Task _running = Task.CompletedTask;

    internal LanNode(TestLan lan, int number, bool hasIPv6)
    {
        (_lan, Number, _hasIPv6) = (lan, number, hasIPv6);
        Namespace = NetworkNamespace.Create();
        TestLan.Ip(Namespace, "link set lo up", $"link add eth0 type veth peer name n{number} netns {lan.Bridge.Path}", "link set eth0 up");
        TestLan.Ip(lan.Bridge, $"link set n{number} master br0 up");
        TestLan.Ip(Namespace, $"address add 192.0.2.{number}/24 dev eth0");
        if (hasIPv6) TestLan.Ip(Namespace, $"address add 2001:db8::{number}/64 dev eth0 nodad");
    }

    internal int Number { get; }

    internal string Name => $"node{Number}";

    internal NetworkNamespace Namespace { get; }

    internal ListLogger Log { get; } = new();

    internal string SubnetFile => Path.Combine(_directory, "flannel", "subnet.env");

    internal NetworkOptions Options(string backend) => new()
    {
        NodeName = Name,
        NodeIPs = [IPAddress.Parse($"192.0.2.{Number}"), .. _hasIPv6 ? [IPAddress.Parse($"2001:db8::{Number}")] : Array.Empty<IPAddress>()],
        HostNamespace = Namespace,
        StateDir = _directory,
        ClusterCidrs = [IPNetwork.Parse("10.42.0.0/16"), .. _hasIPv6 ? [IPNetwork.Parse("fd00:42::/56")] : Array.Empty<IPNetwork>()],
        ServiceCidrs = [IPNetwork.Parse("10.43.0.0/16"), .. _hasIPv6 ? [IPNetwork.Parse("fd00:43::/112")] : Array.Empty<IPNetwork>()],
        CniConfDir = Path.Combine(_directory, "net.d"),
        CniBinDir = Path.Combine(_directory, "bin"),
        CniSocketPath = Path.Combine(_directory, "cni.sock"),
        Overlay = new OverlayOptions { Backend = backend, SubnetFile = SubnetFile, KeyDir = _directory },
    };

    internal V1Node Object => new()
    {
        Metadata = new V1ObjectMeta { Name = Name },
        Spec = new V1NodeSpec { PodCIDR = $"10.42.{Number}.0/24", PodCIDRs = [$"10.42.{Number}.0/24", .. _hasIPv6 ? [$"fd00:42:0:{Number}::/64"] : Array.Empty<string>()] },
    };

    /// <summary>Runs the agent, once its Node is there.</summary>
    internal async Task StartAsync(string backend, Func<NetworkOptions, NetworkOptions>? change = null)
    {
        var cancellation = TestContext.Current.CancellationToken;
        if (await _lan.Api.Client.FindAsync(Resources.Nodes, null, Name, cancellation) is null) await _lan.Api.Client.CreateAsync(Resources.Nodes, Object, cancellation);
        var options = Options(backend);
        _stop = new CancellationTokenSource();
        _running = new NetworkAgent(change?.Invoke(options) ?? options, _lan.Api.Client, _lan.Api.Client, Log).RunAsync(_stop.Token);
    }

    /// <summary>Ends the agent; what it made stays.</summary>
    internal async Task StopAsync()
    {
        if (_stop is null) return;
        await _stop.CancelAsync();
        await _running;
        _stop.Dispose();
        _stop = null;
    }

    /// <summary>A pod, made by the plugin itself; named when policies shall know it.</summary>
    /// <param name="id">The container's.</param>
    /// <param name="ns">The pod's namespace.</param>
    /// <param name="name">The pod's name.</param>
    /// <param name="runtime">runtimeConfig of the call: host ports, bandwidth.</param>
    internal async Task<TestPod> AddPodAsync(string id, string ns = "", string name = "", string runtime = "{}")
    {
        var pod = NetworkNamespace.Create();
        _pods.Add(pod);
        TestLan.Ip(pod, "link set lo up");
        var configuration = Path.Combine(_directory, "net.d", "10-k3sfast.conflist");
        await Until(() => Task.FromResult(File.Exists(configuration)), "the pod network of " + Name + "\n" + Log);
        var socket = Path.Combine(_directory, "cni.sock");
        var (code, output) = TestNode.Execute(
            Namespace, Path.Combine(_directory, "bin", "k3sfast"), $$"""{"cniVersion":"1.0.0","name":"k3sfast","type":"k3sfast","socketPath":"{{socket}}","runtimeConfig":{{runtime}}}""",
            new Dictionary<string, string> { ["CNI_COMMAND"] = "ADD", ["CNI_CONTAINERID"] = id, ["CNI_NETNS"] = pod.Path, ["CNI_IFNAME"] = "eth0", ["CNI_ARGS"] = ns.Length > 0 ? $"IgnoreUnknown=1;K8S_POD_NAMESPACE={ns};K8S_POD_NAME={name}" : "" });
        Assert.True(code == 0, output);
        using var result = System.Text.Json.JsonDocument.Parse(output);
        return new TestPod(id, pod, [.. result.RootElement.GetProperty("ips").EnumerateArray().Select(ip => IPAddress.Parse(ip.GetProperty("address").GetString()!.Split('/')[0]))]);
    }

    internal static Task Until(Func<Task<bool>> condition, string what) => Until(condition, () => what);

    internal static async Task Until(Func<Task<bool>> condition, Func<string> what)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(180));
        while (!await condition())
        {
            if (deadline.IsCancellationRequested) Assert.Fail(what());
            await Task.Delay(20);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        SocketServices.Remove(Namespace);
        foreach (var pod in _pods) pod.Dispose();
        Namespace.Dispose();
        Directory.Delete(_directory, recursive: true);
    }
}

/// <summary>Keeps what was logged.</summary>
internal sealed class ListLogger : ILoggerFactory, ILogger
{
    private readonly List<string> _lines = [];

    public void AddProvider(ILoggerProvider provider)
    {
    }

    public ILogger CreateLogger(string categoryName) => this;

    public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    /// <summary>Gets each line as it comes.</summary>
    internal Action<string>? Heard { get; init; }

    /// <summary>The rules of Services have been written: the agent says so, and nothing else tells from outside.</summary>
    internal volatile bool HasSyncedServices;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (eventId.Id == 9030) HasSyncedServices = true;
        if (logLevel < LogLevel.Information) return;
        var line = $"{logLevel}: {formatter(state, exception)} {exception}";
        lock (_lines) _lines.Add(line);
        Heard?.Invoke(line);
    }

    internal bool Has(string words)
    {
        lock (_lines) return _lines.Exists(line => line.Contains(words, StringComparison.Ordinal));
    }

    public void Dispose()
    {
    }

    public override string ToString()
    {
        lock (_lines) return string.Join('\n', _lines);
    }
}
