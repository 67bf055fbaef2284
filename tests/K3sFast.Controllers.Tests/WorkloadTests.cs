using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers.Tests;

public sealed class WorkloadTests
{
    [Fact]
    public async Task Deployment_Created_BecomesAvailable()
    {
        await using var cluster = new TestCluster().Start();
        await CreateAsync(cluster, 3);
        await cluster.UntilAsync(async () => await IsCompleteAsync(cluster, 3), "complete");

        var deployment = (await cluster.FindAsync(Resources.Deployments, "web"))!;
        Assert.Equal("1", deployment.Metadata.Annotations["deployment.kubernetes.io/revision"]);
        var available = deployment.Status.Conditions.Single(static condition => condition.Type == "Available");
        Assert.Equal(("True", "MinimumReplicasAvailable"), (available.Status, available.Reason));
        var set = Assert.Single(await cluster.ListAsync(Resources.ReplicaSets));
        await cluster.UntilAsync(async () => Progressing(await cluster.FindAsync(Resources.Deployments, "web"))?.Reason == "NewReplicaSetAvailable", "progressed");
        Assert.Equal($"ReplicaSet \"{set.Metadata.Name}\" has successfully progressed.", Progressing(await cluster.FindAsync(Resources.Deployments, "web"))!.Message);
        Assert.Equal("web-" + set.Metadata.Labels["pod-template-hash"], set.Metadata.Name);
    }

    [Fact]
    public async Task Deployment_NewTemplate_RollsAndBackAgain()
    {
        await using var cluster = new TestCluster().Start();
        await CreateAsync(cluster, 4);
        await cluster.UntilAsync(async () => await IsCompleteAsync(cluster, 4), "complete");

        await cluster.PatchAsync(Resources.Deployments, "web", """{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"image:2"}]}}}}""");
        await cluster.UntilAsync(async () => await RunsOnlyAsync(cluster, "image:2", 4), "all pods new");
        await cluster.UntilAsync(async () => Revision(await cluster.FindAsync(Resources.Deployments, "web")) == "2", "revision 2");

        await cluster.PatchAsync(Resources.Deployments, "web", """{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"image:1"}]}}}}""");
        await cluster.UntilAsync(async () => await RunsOnlyAsync(cluster, "image:1", 4), "all pods old again");
        await cluster.UntilAsync(async () => Revision(await cluster.FindAsync(Resources.Deployments, "web")) == "3", "revision 3");
        var sets = await cluster.ListAsync(Resources.ReplicaSets);
        Assert.Equal(2, sets.Count);
        Assert.Contains(sets, static set => set.Metadata.Annotations.TryGetValue("deployment.kubernetes.io/revision-history", out var history) && history == "1");
    }

    [Fact]
    public async Task Deployment_PodsThatNeverGetReady_StopTheRollout()
    {
        await using var cluster = new TestCluster { Runs = static pod => pod.Spec.Containers[0].Image == "image:1" }.Start();
        await CreateAsync(cluster, 4);
        await cluster.UntilAsync(async () => await IsCompleteAsync(cluster, 4), "complete");
        await cluster.PatchAsync(Resources.Deployments, "web", """{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"bad"}]}}}}""");
        // 25 % of 4: one more and one less.
        await cluster.UntilAsync(async () => (await cluster.ListAsync(Resources.Pods)).Count(static pod => pod.Spec.Containers[0].Image == "bad") == 2, "two new pods");
        await cluster.UntilAsync(async () => (await cluster.ListAsync(Resources.Pods)).Count(static pod => pod.Spec.Containers[0].Image == "image:1") == 3, "three old pods");
    }

    [Fact]
    public async Task Deployment_Recreate_NeverRunsBoth()
    {
        await using var cluster = new TestCluster().Start();
        await CreateAsync(cluster, 2, new V1DeploymentStrategy { Type = "Recreate" });
        await cluster.UntilAsync(async () => await IsCompleteAsync(cluster, 2), "complete");
        await cluster.PatchAsync(Resources.Deployments, "web", """{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"image:2"}]}}}}""");
        await cluster.UntilAsync(async () =>
        {
            var images = (await cluster.ListAsync(Resources.Pods)).Select(static pod => pod.Spec.Containers[0].Image).Distinct().ToList();
            Assert.True(images.Count <= 1, "old and new pods at the same time");
            return await RunsOnlyAsync(cluster, "image:2", 2);
        }, "all pods new");
    }

    [Fact]
    public async Task Deployment_Scaled_FollowsAndPausedScalesToo()
    {
        await using var cluster = new TestCluster().Start();
        await CreateAsync(cluster, 1);
        await cluster.UntilAsync(async () => await IsCompleteAsync(cluster, 1), "complete");
        await cluster.PatchAsync(Resources.Deployments, "web", """{"spec":{"replicas":5}}""");
        await cluster.UntilAsync(async () => await IsCompleteAsync(cluster, 5), "scaled up");
        await cluster.PatchAsync(Resources.Deployments, "web", """{"spec":{"replicas":2,"paused":true}}""");
        await cluster.UntilAsync(async () => (await cluster.ListAsync(Resources.Pods)).Count == 2, "scaled down");
        await cluster.UntilAsync(async () => Progressing(await cluster.FindAsync(Resources.Deployments, "web"))?.Reason == "DeploymentPaused", "says paused");
    }

    [Fact]
    public async Task Deployment_OldSets_AreKeptUpToTheLimit()
    {
        await using var cluster = new TestCluster().Start();
        await CreateAsync(cluster, 1, historyLimit: 1);
        for (var image = 2; image <= 4; image++)
        {
            await cluster.PatchAsync(Resources.Deployments, "web", """{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"image:N"}]}}}}""".Replace("N", image.ToString()));
            var name = $"image:{image}";
            await cluster.UntilAsync(async () => await RunsOnlyAsync(cluster, name, 1), name);
        }
        await cluster.UntilAsync(async () => (await cluster.ListAsync(Resources.ReplicaSets)).Count == 2, "one old set kept");
    }

    [Fact]
    public async Task Deployment_Deleted_TakesSetsAndPodsWithIt()
    {
        await using var cluster = new TestCluster().Start();
        await CreateAsync(cluster, 2);
        await cluster.UntilAsync(async () => await IsCompleteAsync(cluster, 2), "complete");
        await cluster.Client.DeleteAsync(Resources.Deployments, "default", "web", cluster.Stop);
        await cluster.UntilAsync(async () => (await cluster.ListAsync(Resources.ReplicaSets)).Count == 0, "sets gone");
        await cluster.UntilAsync(async () => (await cluster.ListAsync(Resources.Pods)).Count == 0, "pods gone");
    }

    [Fact]
    public async Task ReplicaSet_OrphanThatMatches_IsAdoptedAndOneThatNoLongerDoesReleased()
    {
        await using var cluster = new TestCluster().Start();
        var orphan = new V1Pod
        {
            Metadata = TestCluster.Meta("orphan"), Spec = TestCluster.Template("web").Spec, Status = new V1PodStatus { Phase = "Pending" },
        };
        orphan.Metadata.Labels = new Dictionary<string, string> { ["app"] = "web" };
        await cluster.CreateAsync(Resources.Pods, orphan);
        await cluster.CreateAsync(Resources.ReplicaSets, new V1ReplicaSet
        {
            Metadata = TestCluster.Meta("web"),
            Spec = new V1ReplicaSetSpec { Replicas = 1, Selector = TestCluster.Selector("web"), Template = TestCluster.Template("web") },
        });
        await cluster.UntilAsync(async () => (await cluster.FindAsync(Resources.Pods, "orphan"))!.Metadata.OwnerReferences is [{ Controller: true, Kind: "ReplicaSet" }], "adopted");
        Assert.Single(await cluster.ListAsync(Resources.Pods));

        await cluster.PatchAsync(Resources.Pods, "orphan", """{"metadata":{"labels":{"app":"other"}}}""");
        await cluster.UntilAsync(async () => (await cluster.FindAsync(Resources.Pods, "orphan"))!.Metadata.OwnerReferences is not { Count: > 0 }, "released");
        await cluster.UntilAsync(async () => (await cluster.ListAsync(Resources.Pods)).Count == 2, "replaced");
    }

    [Fact]
    public async Task ReplicationController_KeepsItsPods()
    {
        await using var cluster = new TestCluster().Start();
        await cluster.CreateAsync(Resources.ReplicationControllers, new V1ReplicationController
        {
            Metadata = TestCluster.Meta("rc"),
            Spec = new V1ReplicationControllerSpec { Replicas = 2, Selector = new Dictionary<string, string> { ["app"] = "rc" }, Template = TestCluster.Template("rc") },
        });
        await cluster.UntilAsync(async () => (await cluster.FindAsync(Resources.ReplicationControllers, "rc"))!.Status?.ReadyReplicas == 2, "ready");
        var pod = (await cluster.ListAsync(Resources.Pods))[0];
        await cluster.Client.DeleteAsync(Resources.Pods, "default", pod.Metadata.Name, cluster.Stop);
        await cluster.UntilAsync(async () => (await cluster.ListAsync(Resources.Pods)).Count(other => other.Metadata.Uid != pod.Metadata.Uid) == 2, "replaced");
    }

    private static Task CreateAsync(TestCluster cluster, int replicas, V1DeploymentStrategy? strategy = null, int historyLimit = 10) =>
        cluster.CreateAsync(Resources.Deployments, new V1Deployment
        {
            Metadata = TestCluster.Meta("web"),
            Spec = new V1DeploymentSpec
            {
                Replicas = replicas,
                Selector = TestCluster.Selector("web"),
                Template = TestCluster.Template("web"),
                ProgressDeadlineSeconds = 600,
                RevisionHistoryLimit = historyLimit,
                Strategy = strategy ?? new V1DeploymentStrategy
                {
                    Type = "RollingUpdate", RollingUpdate = new V1RollingUpdateDeployment { MaxSurge = "25%", MaxUnavailable = "25%" },
                },
            },
        });

    private static async Task<bool> IsCompleteAsync(TestCluster cluster, int replicas)
    {
        var status = (await cluster.FindAsync(Resources.Deployments, "web"))!.Status;
        return status?.AvailableReplicas == replicas && status.UpdatedReplicas == replicas && status.Replicas == replicas;
    }

    private static async Task<bool> RunsOnlyAsync(TestCluster cluster, string image, int count)
    {
        var pods = await cluster.ListAsync(Resources.Pods);
        return pods.Count == count && pods.All(pod => pod.Spec.Containers[0].Image == image) && await IsCompleteAsync(cluster, count);
    }

    private static V1DeploymentCondition? Progressing(V1Deployment? deployment) =>
        deployment?.Status?.Conditions?.SingleOrDefault(static condition => condition.Type == "Progressing");

    private static string? Revision(V1Deployment? deployment) => deployment?.Metadata.Annotations?["deployment.kubernetes.io/revision"];
}
