[assembly: AssemblyFixture(typeof(K3sFast.EndToEnd.Tests.Cluster))]
[assembly: CollectionBehavior(MaxParallelThreads = 3)]

namespace K3sFast.EndToEnd.Tests;

/// <summary>The cluster that most tests share: one node, ready before the first test, gone after the last. Each test has a namespace of its own.</summary>
public sealed class Cluster : IAsyncLifetime
{
    private readonly CancellationTokenSource _stop = new();
    private readonly bool _isOthers;
    private Lan? _lan;
    private ServerNode? _node;
    private int _namespaces;

    public Cluster()
    {
    }

    /// <summary>A cluster that others started and will stop; tests of the API alone can run on it.</summary>
    internal Cluster(ServerNode front) => (_node, _isOthers) = (front, true);

    internal ServerNode Node => _node ?? throw new InvalidOperationException(SkipReason ?? "the cluster did not start");

    internal string Outside => _lan!.Outside;

    /// <summary>Why the tests cannot run here, or null.</summary>
    internal string? SkipReason { get; private set; }

    public async ValueTask InitializeAsync()
    {
        if (!Environment.IsPrivilegedProcess)
        {
            SkipReason = "needs root: network namespaces, containerd";
            return;
        }
        Assert.True(File.Exists(ServerNode.Binary), $"{ServerNode.Binary} is missing: run ./install.sh --build-only");
        _lan = await Lan.CreateAsync();
        _lan.ServeNames(_stop.Token);
        _node = await StartNodeAsync(_lan, "node1", 11);
        await _node.WaitReadyAsync();
    }

    /// <summary>A node with the test image in its import folder, started.</summary>
    internal static async Task<ServerNode> StartNodeAsync(Lan lan, string name, int number, ServerNode? server = null, params string[] settings)
    {
        var node = await PrepareNodeAsync(lan, name, number, server, settings);
        node.Start();
        return node;
    }

    /// <summary>A node with the test image in its import folder.</summary>
    internal static async Task<ServerNode> PrepareNodeAsync(Lan lan, string name, int number, ServerNode? server, params string[] settings)
    {
        var folder = Directory.CreateTempSubdirectory($"k3sfast-{name}-").FullName;
        var (networkNamespace, address) = await lan.AddNodeAsync(number);
        var node = new ServerNode(name, networkNamespace, address, folder, server, settings);
        await TestImage.WriteAsync(Path.Combine(node.DataDir, "agent", "images", "busybox.tar"), folder);
        return node;
    }

    internal int NextNamespace() => Interlocked.Increment(ref _namespaces);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        if (_node is not null && !_isOthers)
        {
            await _node.DisposeAsync();
            // Kept where somebody wants to read it after a failed run.
            if (Environment.GetEnvironmentVariable("K3SFAST_KEEP") is not { Length: > 0 }) DeleteFolder(_node.Folder);
        }
        if (_lan is not null) await _lan.DisposeAsync();
        _stop.Dispose();
    }

    internal static void DeleteFolder(string folder)
    {
        try
        {
            Directory.Delete(folder, recursive: true);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            Console.Error.WriteLine($"{folder} could not be removed: {failure.Message}");
        }
    }
}

/// <summary>A test class on the shared cluster, with a namespace of its own; prints the server's last words when a test fails.</summary>
public abstract class ClusterTest(Cluster cluster) : IAsyncLifetime
{
    private protected Cluster Cluster { get; } = cluster;

    private protected ServerNode Node => Cluster.Node;

    /// <summary>This test's namespace.</summary>
    internal string Namespace { get; private set; } = "";

    public async ValueTask InitializeAsync()
    {
        if (Cluster.SkipReason is { } reason) Assert.Skip(reason);
        Namespace = $"e2e-{Cluster.NextNamespace()}";
        (await Node.KubectlAsync(["create", "namespace", Namespace])).Ok();
        // Without its account there is no pod in it.
        await Eventually.GetAsync(
            () => Node.KubectlAsync(["get", "-n", Namespace, "serviceaccount/default", "configmap/kube-root-ca.crt"]), result => result.ExitCode == 0, "the controllers fill the namespace");
    }

    public async ValueTask DisposeAsync()
    {
        if (Cluster.SkipReason is not null) return;
        if (TestContext.Current.TestState?.Result == TestResult.Failed)
        {
            var output = TestContext.Current.TestOutputHelper;
            output?.WriteLine("--- server log\n" + Node.LogTail());
            output?.WriteLine("--- pods\n" + await Node.KubectlAsync(["get", "pods", "-n", Namespace, "-o", "wide"]));
            output?.WriteLine("--- events\n" + await Node.KubectlAsync(["get", "events", "-n", Namespace]));
        }
        await Node.KubectlAsync(["delete", "namespace", Namespace, "--wait=false"]);
        GC.SuppressFinalize(this);
    }

    /// <summary>kubectl in this test's namespace; must succeed.</summary>
    private protected async Task<string> K(params string[] arguments) => (await Try(arguments)).Ok();

    /// <summary>kubectl in this test's namespace; may fail.</summary>
    private protected Task<CommandResult> Try(params string[] arguments) => Node.KubectlAsync(["-n", Namespace, .. arguments]);

    /// <summary>kubectl apply of a manifest.</summary>
    private protected async Task Apply(string yaml) => (await Node.KubectlAsync(["-n", Namespace, "apply", "-f", "-"], yaml)).Ok();

    /// <summary>kubectl exec of a shell line in a pod (or deploy/x); must succeed.</summary>
    private protected Task<string> Exec(string pod, string line) => K("exec", pod, "--", "sh", "-c", line);

    private protected static string WebDeployment(string name, int replicas = 1) => Manifests.Web(name, replicas);

    private protected static string ShellPod(string name, string extra = "") => Manifests.Shell(name, extra);
}
