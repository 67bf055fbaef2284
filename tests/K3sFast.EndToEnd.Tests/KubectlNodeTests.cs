namespace K3sFast.EndToEnd.Tests;

/// <summary>taint, cordon, uncordon and drain: on a node of its own, for they concern everything on it.</summary>
public sealed class KubectlNodeTests(RestartCluster cluster) : IClassFixture<RestartCluster>
{
    [Fact]
    public async Task TaintCordonDrain_MoveAndKeepPods()
    {
        await cluster.K("create", "deployment", "web", "--image=busybox:1.35", "--replicas=2", "--", "sh", "-c", "trap exit TERM; while :; do sleep 1; done");
        await cluster.K("rollout", "status", "deployment/web", "--timeout=240s");

        Assert.Equal("node/restart1 tainted", await cluster.K("taint", "node", "restart1", "only=mine:NoSchedule"));
        Assert.Contains("already has only taint(s) with same effect(s) and --overwrite is false", (await cluster.Try("taint", "node", "restart1", "only=other:NoSchedule")).Error);
        await cluster.K("run", "shy", "--image=busybox:1.35", "--", "sleep", "1000");
        await Eventually.GetAsync(() => cluster.K("describe", "pod", "shy"), text => text.Contains("untolerated taint(s)") || text.Contains("had untolerated taint"), "the pod waits because of the taint");
        Assert.Equal("node/restart1 untainted", await cluster.K("taint", "node", "restart1", "only-"));
        await cluster.K("wait", "pod/shy", "--for=condition=Ready", "--timeout=240s");
        await cluster.K("taint", "node", "restart1", "out=now:NoExecute");
        await Eventually.GetAsync(() => cluster.Try("get", "pod", "shy"), answer => answer.Error.Contains("NotFound"), "NoExecute drives the pod out");
        await cluster.K("taint", "node", "restart1", "out-");
        await cluster.K("rollout", "status", "deployment/web", "--timeout=240s");

        Assert.Equal("node/restart1 cordoned", await cluster.K("cordon", "restart1"));
        Assert.Equal("node/restart1 already cordoned", await cluster.K("cordon", "restart1"));
        Assert.Contains("Ready,SchedulingDisabled", await cluster.K("get", "node", "restart1"));
        Assert.Equal("node/restart1 uncordoned", await cluster.K("uncordon", "restart1"));

        await cluster.K("create", "poddisruptionbudget", "web", "--selector=app=web", "--min-available=2");
        await cluster.K("run", "bare", "--image=busybox:1.35", "--", "sleep", "1000");
        var careful = await cluster.Try("drain", "restart1", "--ignore-daemonsets", "--timeout=5s");
        Assert.Contains("cannot delete", careful.Error);
        var guarded = await Eventually.GetAsync(
            () => cluster.Try("drain", "restart1", "--ignore-daemonsets", "--force", "--delete-emptydir-data", "--grace-period=1", "--timeout=12s"),
            answer => (answer.Error + answer.Output).Contains("Cannot evict pod as it would violate the pod's disruption budget.", StringComparison.Ordinal), "the budget forbids it");
        Assert.NotEqual(0, guarded.ExitCode);
        Assert.Equal(2, (await cluster.K("get", "pods", "-l", "app=web", "--field-selector=status.phase=Running", "-o", "name")).Split('\n').Length);
        await cluster.K("delete", "poddisruptionbudget", "web");
        var drained = await cluster.K("drain", "restart1", "--ignore-daemonsets", "--force", "--delete-emptydir-data", "--grace-period=1", "--timeout=240s");
        Assert.Contains("node/restart1 drained", drained);
        await Eventually.GetAsync(() => cluster.K("get", "pods", "-o", "jsonpath={.items[*].status.phase}"), phases => phases == "Pending Pending", "new pods wait for a node");
        await cluster.K("uncordon", "restart1");
        await cluster.K("rollout", "status", "deployment/web", "--timeout=240s");
        await cluster.K("delete", "deployment", "web");
    }
}
