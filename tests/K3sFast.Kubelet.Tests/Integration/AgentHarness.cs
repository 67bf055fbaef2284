using System.Net;
using System.Text.Json.Nodes;
using K3sFast.Client;
using K3sFast.Client.Testing;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.Kubelet.Tests.Integration;

/// <summary>A node agent over a real containerd and an API in memory, with waits on conditions.</summary>
internal sealed class AgentHarness : IAsyncDisposable
{
    public const string Node = "node1";

    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(180);

    private readonly CancellationTokenSource _stop = new();
    private readonly ILoggerFactory _loggers = LoggerFactory.Create(builder => builder.SetMinimumLevel(LogLevel.Information).AddProvider(new TestLogs()));
    private Task _run = Task.CompletedTask;

    public AgentHarness(ContainerdFixture containerd, string name, InMemoryApi? api = null)
    {
        if (containerd.Missing is { } missing) Assert.Skip(missing);
        Api = api ?? new InMemoryApi();
        Root = Path.Combine(containerd.Root, name);
        Options = new KubeletOptions
        {
            NodeName = Node,
            NodeIPs = [IPAddress.Loopback],
            ContainerdSocket = containerd.Socket,
            RootDir = Path.Combine(Root, "kubelet"),
            PodLogsDir = Path.Combine(Root, "logs"),
            ManifestDir = Path.Combine(Root, "manifests"),
            CgroupRoot = containerd.CgroupRoot + "-" + name,
            Port = -1,
            HealthzPort = -1,
        };
        Directory.CreateDirectory(Options.ManifestDir);
    }

    public InMemoryApi Api { get; }

    public ApiClient Client => Api.Client;

    public string Root { get; }

    /// <summary>Client certificate of a cluster administrator, where the test made one.</summary>
    public System.Security.Cryptography.X509Certificates.X509Certificate2? Identity { get; set; }

    public KubeletOptions Options { get; set; }

    public void Start() => _run = new KubeletAgent(Options, Client, _loggers).RunAsync(_stop.Token);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _run;
        _stop.Dispose();
        _loggers.Dispose();
        var tree = new K3sFast.Interop.Cgroups.CgroupTree();
        var deadline = DateTime.UtcNow + TimeSpan.FromSeconds(2);
        while (!tree.TryRemove(Options.CgroupRoot) && DateTime.UtcNow < deadline) await Task.Delay(20);
    }

    public async Task<V1Pod> CreateAsync(V1Pod pod)
    {
        pod.Metadata.NamespaceProperty ??= "default";
        pod.Spec.NodeName = Node;
        pod.Spec.HostNetwork = true;
        pod.Spec.TerminationGracePeriodSeconds ??= 2;
        return await Client.CreateAsync(Resources.Pods, pod, default);
    }

    /// <summary>The pod, as soon as it is as wanted.</summary>
    public async Task<V1Pod> WaitAsync(string name, Func<V1Pod, bool> isSo)
    {
        var deadline = DateTime.UtcNow + s_deadline;
        V1Pod? pod = null;
        while (DateTime.UtcNow < deadline)
        {
            pod = await Client.FindAsync(Resources.Pods, "default", name, default);
            if (pod is not null && isSo(pod)) return pod;
            await Task.Delay(20);
        }
        throw new TimeoutException($"pod {name} did not get there; it is {(pod is null ? "not in the API" : System.Text.Encoding.UTF8.GetString(ModelJson.Serialize(pod.Status)))}\n{string.Join('\n', TestLogs.Last())}");
    }

    public async Task WaitGoneAsync(string name)
    {
        var deadline = DateTime.UtcNow + s_deadline;
        while (await Client.FindAsync(Resources.Pods, "default", name, default) is not null)
        {
            if (DateTime.UtcNow > deadline) throw new TimeoutException($"pod {name} is still there\n{string.Join('\n', TestLogs.Last())}");
            await Task.Delay(20);
        }
    }

    public string Log(V1Pod pod, string container, int attempt = 0)
    {
        var uid = pod.Metadata.Annotations is { } annotations && annotations.TryGetValue("kubernetes.io/config.mirror", out var mirrored) ? mirrored : pod.Metadata.Uid;
        var path = Path.Combine(Options.PodLogDir("default", pod.Metadata.Name, uid), container, $"{attempt}.log");
        return string.Join('\n', File.ReadAllLines(path).Select(line => line.Split(' ', 4)[3]));
    }

    public static V1Pod Pod(string name, string script, Action<V1Pod>? change = null)
    {
        var pod = new V1Pod
        {
            Metadata = new V1ObjectMeta { Name = name },
            Spec = new V1PodSpec { RestartPolicy = "Never", Containers = [Container("main", script)] },
        };
        change?.Invoke(pod);
        return pod;
    }

    public static V1Container Container(string name, string script) => new()
    {
        Name = name,
        Image = ContainerdFixture.Image,
        ImagePullPolicy = "Never",
        Command = ["/bin/sh", "-c", script],
        TerminationMessagePath = "/dev/termination-log",
    };

    /// <summary>Deletes as the API server does: with a mark and a grace period; the node finishes it.</summary>
    public async Task DeleteAsync(string name, int graceSeconds = 2)
    {
        var mark = new JsonObject
        {
            ["metadata"] = new JsonObject { ["deletionTimestamp"] = DateTime.UtcNow.ToString("yyyy-MM-ddTHH:mm:ssZ"), ["deletionGracePeriodSeconds"] = graceSeconds, ["finalizers"] = new JsonArray("test/hold") },
        };
        await Client.PatchAsync(Resources.Pods, "default", name, PatchBody.Merge(System.Text.Encoding.UTF8.GetBytes(mark.ToJsonString())), default);
    }
}

/// <summary>Keeps the last log lines for failure messages.</summary>
internal sealed class TestLogs : ILoggerProvider, ILogger
{
    private static readonly System.Collections.Concurrent.ConcurrentQueue<string> s_lines = new();

    public static IEnumerable<string> Last() => s_lines.TakeLast(40);

    public ILogger CreateLogger(string categoryName) => this;

    public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
        s_lines.Enqueue($"{DateTime.UtcNow:HH:mm:ss.fff} {logLevel} {formatter(state, exception)} {exception}");

    public void Dispose()
    {
    }
}
