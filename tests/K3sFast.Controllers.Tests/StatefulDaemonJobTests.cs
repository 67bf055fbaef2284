using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers.Tests;

public sealed class StatefulDaemonJobTests
{
    [Fact]
    public async Task StatefulSet_Ordered_WaitsForEachAndMakesClaims()
    {
        await using var cluster = new TestCluster { Runs = static pod => pod.Metadata.Name != "db-1" }.Start();
        await cluster.CreateAsync(Resources.StatefulSets, Set(3));
        await cluster.UntilAsync(async () => await cluster.FindAsync(Resources.Pods, "db-1") is not null, "second pod");
        Assert.Null(await cluster.FindAsync(Resources.Pods, "db-2"));
        Assert.Equal("data-db-1", (await cluster.FindAsync(Resources.Pods, "db-1"))!.Spec.Volumes[0].PersistentVolumeClaim.ClaimName);
        Assert.NotNull(await cluster.FindAsync(Resources.PersistentVolumeClaims, "data-db-0"));
        cluster.Runs = static _ => true;
        await cluster.PatchAsync(Resources.Pods, "db-1", """{"metadata":{"annotations":{"now":"run"}}}""");
        await cluster.UntilAsync(async () => (await cluster.FindAsync(Resources.StatefulSets, "db"))!.Status?.ReadyReplicas == 3, "all ready");
    }

    [Fact]
    public async Task StatefulSet_NewTemplate_UpdatesFromLastToFirstAndStopsAtThePartition()
    {
        await using var cluster = new TestCluster().Start();
        await cluster.CreateAsync(Resources.StatefulSets, Set(3));
        await cluster.UntilAsync(async () => (await cluster.FindAsync(Resources.StatefulSets, "db"))!.Status?.ReadyReplicas == 3, "all ready");
        await cluster.PatchAsync(
            Resources.StatefulSets, "db",
            """{"spec":{"updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"partition":1}},"template":{"spec":{"containers":[{"name":"c","image":"image:2"}]}}}}""");
        await cluster.UntilAsync(async () => await ImagesAsync(cluster) == "image:1,image:2,image:2", "updated above the partition");
        await cluster.PatchAsync(Resources.StatefulSets, "db", """{"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}""");
        await cluster.UntilAsync(async () => await ImagesAsync(cluster) == "image:2,image:2,image:2", "updated");
        await cluster.UntilAsync(async () => (await cluster.FindAsync(Resources.StatefulSets, "db"))!.Status is { } status && status.CurrentRevision == status.UpdateRevision, "revision current");
    }

    [Fact]
    public async Task StatefulSet_ScaledDown_LosesTheLastFirst()
    {
        await using var cluster = new TestCluster().Start();
        await cluster.CreateAsync(Resources.StatefulSets, Set(3));
        await cluster.UntilAsync(async () => (await cluster.FindAsync(Resources.StatefulSets, "db"))!.Status?.ReadyReplicas == 3, "all ready");
        await cluster.PatchAsync(Resources.StatefulSets, "db", """{"spec":{"replicas":1}}""");
        await cluster.UntilAsync(async () => (await cluster.ListAsync(Resources.Pods)).Count == 1, "one left");
        Assert.NotNull(await cluster.FindAsync(Resources.Pods, "db-0"));
    }

    [Fact]
    public async Task DaemonSet_RunsOnEveryNodeThatFitsAndFollowsThem()
    {
        await using var cluster = new TestCluster().Start();
        await cluster.CreateAsync(Resources.Nodes, Node("a"));
        var tainted = Node("tainted");
        tainted.Spec.Taints = [new V1Taint { Key = "mine", Effect = "NoSchedule" }];
        await cluster.CreateAsync(Resources.Nodes, tainted);
        await cluster.CreateAsync(Resources.DaemonSets, new V1DaemonSet
        {
            Metadata = TestCluster.Meta("agent"),
            Spec = new V1DaemonSetSpec { Selector = TestCluster.Selector("agent"), Template = TestCluster.Template("agent"), UpdateStrategy = new V1DaemonSetUpdateStrategy { Type = "RollingUpdate" } },
        });
        await cluster.UntilAsync(async () => (await cluster.FindAsync(Resources.DaemonSets, "agent"))!.Status is { DesiredNumberScheduled: 1, NumberReady: 1 }, "one ready");
        await cluster.CreateAsync(Resources.Nodes, Node("b"));
        await cluster.UntilAsync(async () => (await cluster.FindAsync(Resources.DaemonSets, "agent"))!.Status is { DesiredNumberScheduled: 2, NumberReady: 2 }, "two ready");
        Assert.Equal(["a", "b"], (await cluster.ListAsync(Resources.Pods)).Select(DaemonPods.NodeOf).Order());

        await cluster.PatchAsync(Resources.DaemonSets, "agent", """{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"image:2"}]}}}}""");
        await cluster.UntilAsync(async () => (await cluster.FindAsync(Resources.DaemonSets, "agent"))!.Status is { UpdatedNumberScheduled: 2, NumberAvailable: 2 }, "updated");
    }

    [Fact]
    public async Task Job_RunsToCompletionAndLetsItsPodsGo()
    {
        await using var cluster = new TestCluster { Phase = static _ => "Succeeded" }.Start();
        await cluster.CreateAsync(Resources.Jobs, Job(completions: 5, parallelism: 2));
        await cluster.UntilAsync(async () => Condition(await cluster.FindAsync(Resources.Jobs, "work"), "Complete") is not null, "complete");
        var job = (await cluster.FindAsync(Resources.Jobs, "work"))!;
        Assert.Equal((5, null), (job.Status.Succeeded, job.Status.Active));
        Assert.NotNull(job.Status.CompletionTime);
        await cluster.UntilAsync(async () => (await cluster.ListAsync(Resources.Pods)).All(static pod => !JobPods.IsTracked(pod)), "finalizers gone");
        Assert.Equal(5, (await cluster.ListAsync(Resources.Pods)).Count);
    }

    [Fact]
    public async Task Job_Indexed_CompletesEachIndexOnce()
    {
        await using var cluster = new TestCluster { Phase = static _ => "Succeeded" }.Start();
        var job = Job(completions: 4, parallelism: 3);
        job.Spec.CompletionMode = "Indexed";
        await cluster.CreateAsync(Resources.Jobs, job);
        await cluster.UntilAsync(async () => Condition(await cluster.FindAsync(Resources.Jobs, "work"), "Complete") is not null, "complete");
        Assert.Equal("0-3", (await cluster.FindAsync(Resources.Jobs, "work"))!.Status.CompletedIndexes);
        Assert.Equal([0, 1, 2, 3], (await cluster.ListAsync(Resources.Pods)).Select(static pod => JobPods.Index(pod)!.Value).Order());
    }

    [Fact]
    public async Task Job_BeyondItsBackoffLimit_Fails()
    {
        await using var cluster = new TestCluster { Phase = static _ => "Failed" }.Start();
        var job = Job(completions: 1, parallelism: 1);
        job.Spec.BackoffLimit = 0;
        await cluster.CreateAsync(Resources.Jobs, job);
        await cluster.UntilAsync(async () => Condition(await cluster.FindAsync(Resources.Jobs, "work"), "Failed") is not null, "failed");
        var failed = Condition(await cluster.FindAsync(Resources.Jobs, "work"), "Failed")!;
        Assert.Equal(("BackoffLimitExceeded", "Job has reached the specified backoff limit"), (failed.Reason, failed.Message));
    }

    [Fact]
    public async Task Job_Suspended_StopsItsPodsAndGoesOn()
    {
        await using var cluster = new TestCluster().Start();
        await cluster.CreateAsync(Resources.Jobs, Job(completions: 2, parallelism: 2));
        await cluster.UntilAsync(async () => (await cluster.FindAsync(Resources.Jobs, "work"))!.Status?.Ready == 2, "two ready");
        await cluster.PatchAsync(Resources.Jobs, "work", """{"spec":{"suspend":true}}""");
        await cluster.UntilAsync(async () => (await cluster.ListAsync(Resources.Pods)).Count == 0, "pods gone");
        await cluster.PatchAsync(Resources.Jobs, "work", """{"spec":{"suspend":false}}""");
        await cluster.UntilAsync(async () => (await cluster.FindAsync(Resources.Jobs, "work"))!.Status?.Ready == 2, "two again");
    }

    [Fact]
    public async Task CronJob_Due_StartsOneJobAndRemembersIt()
    {
        await using var cluster = new TestCluster();
        var cron = new V1CronJob
        {
            Metadata = TestCluster.Meta("tick"),
            Spec = new V1CronJobSpec
            {
                Schedule = "* * * * *", ConcurrencyPolicy = "Forbid", JobTemplate = new V1JobTemplateSpec { Spec = Job(completions: 1, parallelism: 1).Spec },
            },
        };
        // Created a moment before the last full minute: exactly one start is due.
        cron.Metadata.CreationTimestamp = DateTime.UtcNow.AddSeconds(-DateTime.UtcNow.Second - 5);
        await cluster.CreateAsync(Resources.CronJobs, cron);
        cluster.Start();
        await cluster.UntilAsync(async () => (await cluster.FindAsync(Resources.CronJobs, "tick"))!.Status is { Active.Count: > 0, LastScheduleTime: not null }, "started");
        var job = (await cluster.ListAsync(Resources.Jobs))[0];
        Assert.Equal("CronJob", job.Metadata.OwnerReferences[0].Kind);
        Assert.StartsWith("tick-", job.Metadata.Name, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(new[] { 1, 3, 4, 5, 7, 8 }, "1,3-5,7,8")]
    [InlineData(new[] { 0 }, "0")]
    [InlineData(new int[0], "")]
    public void Ranges_RoundTrip(int[] numbers, string expected)
    {
        Assert.Equal(expected, JobPods.Ranges(numbers));
        Assert.Equal(numbers, JobPods.Parse(expected).Order());
    }

    private static async Task<string> ImagesAsync(TestCluster cluster) => string.Join(',', (await cluster.ListAsync(Resources.Pods))
        .OrderBy(static pod => pod.Metadata.Name).Select(static pod => pod.Spec.Containers[0].Image));

    private static V1StatefulSet Set(int replicas) => new()
    {
        Metadata = TestCluster.Meta("db"),
        Spec = new V1StatefulSetSpec
        {
            Replicas = replicas,
            ServiceName = "db",
            Selector = TestCluster.Selector("db"),
            Template = TestCluster.Template("db"),
            UpdateStrategy = new V1StatefulSetUpdateStrategy { Type = "RollingUpdate", RollingUpdate = new V1RollingUpdateStatefulSetStrategy { Partition = 0 } },
            VolumeClaimTemplates = [new V1PersistentVolumeClaim { Metadata = new V1ObjectMeta { Name = "data" }, Spec = new V1PersistentVolumeClaimSpec() }],
        },
    };

    private static V1Node Node(string name) => new()
    {
        Metadata = new V1ObjectMeta { Name = name },
        Spec = new V1NodeSpec(),
        Status = new V1NodeStatus { Conditions = [new V1NodeCondition { Type = "Ready", Status = "True" }] },
    };

    private static V1Job Job(int completions, int parallelism) => new()
    {
        Metadata = TestCluster.Meta("work"),
        Spec = new V1JobSpec
        {
            Completions = completions,
            Parallelism = parallelism,
            BackoffLimit = 6,
            Selector = TestCluster.Selector("work"),
            Template = TestCluster.Template("work") with { Spec = TestCluster.Template("work").Spec with { RestartPolicy = "Never" } },
        },
    };

    private static V1JobCondition? Condition(V1Job? job, string type) =>
        job?.Status?.Conditions?.FirstOrDefault(condition => condition.Type == type && condition.Status == "True");
}
