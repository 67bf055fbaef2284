namespace K3sFast.EndToEnd.Tests;

/// <summary>rollout in all its verbs, and the ways to delete.</summary>
public sealed class KubectlRolloutTests(Cluster cluster) : ClusterTest(cluster)
{
    [Fact]
    public async Task Rollout_PauseResumeRestartUndo_AreFollowed()
    {
        await Apply(WebDeployment("web"));
        Assert.Contains("deployment \"web\" successfully rolled out", await K("rollout", "status", "deployment/web", "--timeout=240s"));
        Assert.Equal("deployment.apps/web paused", await K("rollout", "pause", "deployment/web"));
        Assert.Contains("already paused", (await Try("rollout", "pause", "deployment/web")).Error);
        await K("set", "env", "deployment/web", "A=1");
        await K("annotate", "deployment/web", "kubernetes.io/change-cause=set A");
        Assert.Contains("can't restart paused deployment", (await Try("rollout", "restart", "deployment/web")).Error);
        Assert.Single((await K("get", "replicasets", "-l", "app=web", "-o", "name")).Split('\n'));
        Assert.Equal("deployment.apps/web resumed", await K("rollout", "resume", "deployment/web"));
        await K("rollout", "status", "deployment/web", "--timeout=240s");
        Assert.Equal("deployment.apps/web restarted", await K("rollout", "restart", "deployment/web"));
        await K("rollout", "status", "deployment/web", "--timeout=240s");
        var history = await K("rollout", "history", "deployment/web");
        Assert.Matches(@"(?m)^2\s+set A$", history);
        Assert.Matches(@"(?m)^3\s", history);
        Assert.Matches(@"A:\s+1", await K("rollout", "history", "deployment/web", "--revision=2"));
        Assert.Equal("deployment.apps/web rolled back", await K("rollout", "undo", "deployment/web", "--to-revision=1"));
        await K("rollout", "status", "deployment/web", "--timeout=240s");
        Assert.Equal("", await K("get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[0].env}"));
        Assert.Contains("unable to find specified revision 9", (await Try("rollout", "undo", "deployment/web", "--to-revision=9")).Error);
    }

    [Theory]
    [InlineData("DaemonSet", "daemon set \"x\" successfully rolled out")]
    [InlineData("StatefulSet", "partitioned roll out complete|statefulset rolling update complete")]
    public async Task Rollout_OtherKinds_HaveStatusAndHistory(string kind, string says)
    {
        await Apply($$$"""
            apiVersion: apps/v1
            kind: {{{kind}}}
            metadata: {name: x}
            spec:
              selector: {matchLabels: {app: x}}
              template:
                metadata: {labels: {app: x}}
                spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: busybox:1.35, command: [sh, -c, "trap exit TERM; while :; do sleep 1; done"]}]}
            """);
        Assert.Matches(says, await K("rollout", "status", $"{kind}/x", "--timeout=240s"));
        await K("rollout", "restart", $"{kind}/x");
        Assert.Matches(says, await K("rollout", "status", $"{kind}/x", "--timeout=240s"));
        Assert.Matches(@"(?m)^2\s", await K("rollout", "history", $"{kind}/x"));
        await K("rollout", "undo", $"{kind}/x", "--to-revision=1");
        Assert.Matches(says, await K("rollout", "status", $"{kind}/x", "--timeout=240s"));
    }

    [Fact]
    public async Task Delete_EachWay_TakesWhatItNames()
    {
        foreach (var name in (string[])["a", "b", "c", "d"])
            await K("create", "configmap", name);
        await K("label", "configmap", "a", "b", "x=1");
        Assert.Equal("configmap \"a\" deleted\nconfigmap \"b\" deleted", (await K("delete", "configmap", "-l", "x=1")).Replace($" from {Namespace} namespace", "", StringComparison.Ordinal));
        Assert.Contains("(dry run)", await K("delete", "configmap", "c", "--dry-run=client"));
        Assert.Contains("(server dry run)", await K("delete", "configmap", "c", "--dry-run=server"));
        Assert.Equal("configmap/c", await K("get", "configmap", "c", "-o", "name"));
        Assert.Equal("configmap/c", await K("delete", "configmap", "c", "-o", "name"));
        Assert.Contains("\"d\" deleted", await K("delete", "configmap", "--all"));
        Assert.Contains("(NotFound)", (await Try("delete", "configmap", "d")).Error);
        Assert.Equal("", await K("delete", "configmap", "d", "--ignore-not-found"));
        var none = await Try("delete", "configmap", "-l", "x=1");
        Assert.Contains("No resources found", none.Output + none.Error);
    }

    [Fact]
    public async Task Delete_GraceAndForce_AreHeeded()
    {
        // It ignores SIGTERM: only grace or force ends it early.
        const string Stubborn = "apiVersion: v1\nkind: Pod\nmetadata: {name: NAME}\nspec: {terminationGracePeriodSeconds: 600, containers: [{name: c, image: 'busybox:1.35', command: [sh, -c, \"trap '' TERM; while :; do sleep 1; done\"]}]}\n";
        await Apply(Stubborn.Replace("NAME", "one", StringComparison.Ordinal) + "---\n" + Stubborn.Replace("NAME", "two", StringComparison.Ordinal));
        await K("wait", "pod", "--all", "--for=condition=Ready", "--timeout=240s");
        await K("delete", "pod", "one", "--grace-period=1", "--timeout=240s");
        var forced = await Try("delete", "pod", "two", "--grace-period=0", "--force");
        Assert.Contains("Immediate deletion does not wait for confirmation", forced.Error);
        Assert.Contains("force deleted", forced.Ok());
        Assert.Contains("(NotFound)", (await Try("get", "pod", "two")).Error);
    }

    [Theory]
    [InlineData("background", false)]
    [InlineData("foreground", false)]
    [InlineData("orphan", true)]
    public async Task Delete_Cascade_TakesOrLeavesTheDependents(string cascade, bool isLeft)
    {
        await Apply(WebDeployment("web"));
        await K("rollout", "status", "deployment/web", "--timeout=240s");
        await K("delete", "deployment", "web", $"--cascade={cascade}", "--timeout=240s");
        if (isLeft)
            Assert.Contains("replicaset.apps/web", await K("get", "replicasets", "-o", "name"));
        else if (cascade == "foreground")
            Assert.Equal("", await K("get", "replicasets", "-o", "name"));
        else
            await Eventually.GetAsync(() => K("get", "replicasets,pods", "-o", "name"), left => left.Length == 0, "nothing left");
    }
}
