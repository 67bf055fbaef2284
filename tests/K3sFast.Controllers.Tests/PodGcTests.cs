using K3sFast.Client;
using k8s.Models;
using Microsoft.Extensions.Time.Testing;

namespace K3sFast.Controllers.Tests;

/// <summary>Pods that nobody else takes away. A finalizer keeps them to be looked at, where that matters.</summary>
public sealed class PodGcTests
{
    private const string Finalizer = "example.com/look";
    private static readonly TimeSpan s_quarantine = TimeSpan.FromSeconds(40);

    private readonly FakeTimeProvider _time = new(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));

    [Fact]
    public async Task Pods_OfANodeThatIsGone_AreFailedForThatReasonAndDeletedAfterTheQuarantine()
    {
        await using var cluster = Start();
        await cluster.CreateAsync(Resources.Nodes, Node("n"));
        await cluster.CreateAsync(Resources.Pods, Pod("runs", "n", "Running", isKept: true));
        await cluster.CreateAsync(Resources.Pods, Pod("ended", "n", "Succeeded", isKept: true));
        await cluster.Client.DeleteAsync(Resources.Nodes, null, "n", cluster.Stop);
        var since = _time.GetTimestamp();
        await TickUntilAsync(cluster, async () => (await cluster.ListAsync(Resources.Pods)).All(static pod => pod.Metadata.DeletionTimestamp is not null), "both deleted");

        Assert.True(_time.GetElapsedTime(since) >= s_quarantine, $"deleted after {_time.GetElapsedTime(since)}");
        var runs = (await cluster.FindAsync(Resources.Pods, "runs"))!;
        Assert.Equal("Failed", runs.Status.Phase);
        var target = Assert.Single(runs.Status.Conditions);
        Assert.Equal(("DisruptionTarget", "True", "DeletionByPodGC", "PodGC: node no longer exists"), (target.Type, target.Status, target.Reason, target.Message));
        Assert.Equal(runs.Metadata.Generation, target.ObservedGeneration);
        // What has an end keeps it.
        var ended = (await cluster.FindAsync(Resources.Pods, "ended"))!;
        Assert.Equal(("Succeeded", 0), (ended.Status.Phase, ended.Status.Conditions?.Count ?? 0));
    }

    [Fact]
    public async Task Pods_OfANodeThatComesBackInTime_Stay()
    {
        await using var cluster = Start();
        await cluster.CreateAsync(Resources.Nodes, Node("n"));
        await cluster.CreateAsync(Resources.Pods, Pod("stays", "n", "Running"));
        await cluster.Client.DeleteAsync(Resources.Nodes, null, "n", cluster.Stop);
        await cluster.CreateAsync(Resources.Nodes, Node("n"));
        // Found later, taken away later: the other node's turn has been before.
        await cluster.CreateAsync(Resources.Pods, Pod("goes", "never-was", "Running"));
        await TickUntilAsync(cluster, async () => await cluster.FindAsync(Resources.Pods, "goes") is null, "the other's pod deleted");
        Assert.Equal("Running", (await cluster.FindAsync(Resources.Pods, "stays"))!.Status.Phase);
    }

    [Fact]
    public async Task Pod_DeletedBeforeItHadANode_IsFailedAndGoes()
    {
        await using var cluster = Start();
        await cluster.CreateAsync(Resources.Pods, Pod("waits", null, "Pending", isKept: true));
        await cluster.CreateAsync(Resources.Pods, Pod("waits-on", null, "Pending"));
        await cluster.Client.DeleteAsync(Resources.Pods, "default", "waits", cluster.Stop);
        await cluster.UntilAsync(async () => (await cluster.FindAsync(Resources.Pods, "waits"))!.Status.Phase == "Failed", "failed");
        Assert.Empty((await cluster.FindAsync(Resources.Pods, "waits"))!.Status.Conditions ?? []);
        await cluster.PatchAsync(Resources.Pods, "waits", """{"metadata":{"finalizers":null}}""");
        await cluster.UntilAsync(async () => await cluster.FindAsync(Resources.Pods, "waits") is null, "gone");
        Assert.Equal("Pending", (await cluster.FindAsync(Resources.Pods, "waits-on"))!.Status.Phase);
    }

    [Fact]
    public async Task Pods_ThatEndOnANodeOutOfService_AreFailed_OthersAreNot()
    {
        await using var cluster = Start();
        foreach (var (name, ready) in ((string, string)[])[("dead", "False"), ("alive", "True")])
        {
            var node = Node(name, ready);
            node.Spec.Taints = [new V1Taint { Key = "node.kubernetes.io/out-of-service", Value = "nodeshutdown", Effect = "NoExecute" }];
            await cluster.CreateAsync(Resources.Nodes, node);
            await cluster.CreateAsync(Resources.Pods, Pod("ends-" + name, name, "Running", isKept: true));
            await cluster.CreateAsync(Resources.Pods, Pod("runs-" + name, name, "Running"));
            await cluster.Client.DeleteAsync(Resources.Pods, "default", "ends-" + name, cluster.Stop);
        }
        await cluster.UntilAsync(async () => (await cluster.FindAsync(Resources.Pods, "ends-dead"))!.Status.Phase == "Failed", "failed");
        Assert.Empty((await cluster.FindAsync(Resources.Pods, "ends-dead"))!.Status.Conditions ?? []);
        // The node answers: its kubelet ends the pod. And the same turns against that one once it does not.
        Assert.Equal("Running", (await cluster.FindAsync(Resources.Pods, "ends-alive"))!.Status.Phase);
        await cluster.PatchAsync(Resources.Nodes, "alive", """{"status":{"conditions":[{"type":"Ready","status":"Unknown"}]}}""", "status");
        await cluster.UntilAsync(async () => (await cluster.FindAsync(Resources.Pods, "ends-alive"))!.Status.Phase == "Failed", "failed as well");
        foreach (var name in (string[])["runs-dead", "runs-alive"]) Assert.Equal("Running", (await cluster.FindAsync(Resources.Pods, name))!.Status.Phase);
    }

    [Fact]
    public async Task FinishedPods_BeyondTheThreshold_GoEvictedFirstThenOldest()
    {
        await using var cluster = Start(static options => options with { TerminatedPodThreshold = 2 });
        await cluster.CreateAsync(Resources.Nodes, Node("n"));
        await cluster.CreateAsync(Resources.Pods, Pod("runs", "n", "Running", ageHours: 9));
        await cluster.CreateAsync(Resources.Pods, Pod("evicted", "n", "Failed", reason: "Evicted", ageHours: 0));
        await cluster.CreateAsync(Resources.Pods, Pod("old-a", "n", "Succeeded", ageHours: 3));
        await cluster.CreateAsync(Resources.Pods, Pod("old-b", "n", "Failed", ageHours: 3));
        await cluster.CreateAsync(Resources.Pods, Pod("young", "n", "Succeeded", ageHours: 1));
        await TickUntilAsync(cluster, async () => (await cluster.ListAsync(Resources.Pods)).Count == 3, "two gone");
        Assert.Equal(["old-b", "runs", "young"], (await cluster.ListAsync(Resources.Pods)).Select(static pod => pod.Metadata.Name).Order());
    }

    private TestCluster Start(Func<ControllerManagerOptions, ControllerManagerOptions>? change = null) =>
        new TestCluster(_time, change) { Runs = static _ => false }.Start();

    private Task TickUntilAsync(TestCluster cluster, Func<Task<bool>> condition, string what) => cluster.UntilAsync(
        async () =>
        {
            if (await condition()) return true;
            _time.Advance(TimeSpan.FromSeconds(1));
            return false;
        }, what);

    private static V1Pod Pod(string name, string? node, string phase, bool isKept = false, string? reason = null, int ageHours = 1) => new()
    {
        Metadata = new V1ObjectMeta
        {
            Name = name, NamespaceProperty = "default", Finalizers = isKept ? [Finalizer] : null, CreationTimestamp = new DateTime(2025, 12, 31, 20, 0, 0, DateTimeKind.Utc).AddHours(-ageHours),
        },
        // Taints are not what takes them away here.
        Spec = TestCluster.Template("x").Spec with { NodeName = node, Tolerations = [new V1Toleration { OperatorProperty = "Exists" }] },
        Status = new V1PodStatus { Phase = phase, Reason = reason },
    };

    private static V1Node Node(string name, string ready = "True") => new()
    {
        Metadata = new V1ObjectMeta { Name = name },
        Spec = new V1NodeSpec(),
        Status = new V1NodeStatus { Conditions = [new V1NodeCondition { Type = "Ready", Status = ready }] },
    };
}
