using System.Net;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers.Tests;

public sealed class NodeTests
{
    private static readonly DateTime s_now = new(2026, 1, 1, 0, 0, 0, DateTimeKind.Utc);

    [Theory]
    [InlineData("True", true, "")]
    [InlineData("False", true, "node.kubernetes.io/not-ready:NoExecute,node.kubernetes.io/not-ready:NoSchedule")]
    [InlineData("Unknown", true, "node.kubernetes.io/unreachable:NoExecute,node.kubernetes.io/unreachable:NoSchedule")]
    [InlineData("Unknown", false, "node.kubernetes.io/unreachable:NoSchedule")]
    public void Taints_FollowTheReadyCondition(string status, bool mayEvict, string expected)
    {
        var node = Node(("Ready", status));
        node.Spec.Taints = [new V1Taint { Key = NodeTaints.NotReady, Effect = "NoSchedule" }, new V1Taint { Key = "mine", Effect = "NoSchedule" }];
        var taints = NodeTaints.Wanted(node, mayEvict, s_now) ?? [.. node.Spec.Taints];
        Assert.Equal(expected, string.Join(',', taints.Where(static taint => taint.Key != "mine").Select(static taint => $"{taint.Key}:{taint.Effect}").Order()));
        Assert.Contains(taints, static taint => taint.Key == "mine");
    }

    [Fact]
    public void Taints_AsWanted_ChangeNothing() => Assert.Null(NodeTaints.Wanted(Node(("Ready", "True")), true, s_now));

    [Theory]
    [InlineData(null, "now")]
    [InlineData(300, "2026-01-01T00:05:00")]
    [InlineData(0, "2026-01-01T00:00:00")]
    [InlineData(-2, "never")]
    public void Eviction_IsWhenTheTolerationEnds(int? seconds, string expected)
    {
        // -2 stands for a toleration without end, null for none.
        var pod = new V1Pod { Spec = new V1PodSpec() };
        if (seconds is { } given)
        {
            pod.Spec.Tolerations = [new V1Toleration { Key = NodeTaints.Unreachable, OperatorProperty = "Exists", TolerationSeconds = given == -2 ? null : given }];
        }
        var due = TaintEviction.EvictAt(pod, [new V1Taint { Key = NodeTaints.Unreachable, Effect = "NoExecute", TimeAdded = s_now }], s_now.AddSeconds(1));
        Assert.Equal(expected, due is null ? "never" : due == DateTime.MinValue ? "now" : due.Value.ToString("s"));
    }

    [Fact]
    public void CidrSet_GivesEachPartOnceAndTakesBack()
    {
        var set = new CidrSet(IPNetwork.Parse("10.42.0.0/22"), 24);
        Assert.Equal("10.42.0.0/24", set.Take().ToString());
        set.Take(IPNetwork.Parse("10.42.1.0/24"));
        Assert.Equal("10.42.2.0/24", set.Take().ToString());
        Assert.Equal("10.42.3.0/24", set.Take().ToString());
        Assert.Null(set.Take());
        set.Free(IPNetwork.Parse("10.42.1.0/24"));
        Assert.Equal("10.42.1.0/24", set.Take().ToString());
    }

    [Fact]
    public void CidrSet_V6AndLargerNetworks_AreUnderstood()
    {
        var set = new CidrSet(IPNetwork.Parse("2001:cafe:42::/56"), 64);
        Assert.Equal("2001:cafe:42::/64", set.Take().ToString());
        set.Take(IPNetwork.Parse("2001:cafe:42:0::/57"));
        Assert.Equal("2001:cafe:42:80::/64", set.Take().ToString());
    }

    [Fact]
    public async Task Node_Registered_GetsItsPodCidrForGood()
    {
        await using var cluster = new TestCluster();
        await cluster.CreateAsync(Resources.Nodes, Node(("Ready", "True")) with { Metadata = new V1ObjectMeta { Name = "old" }, Spec = new V1NodeSpec { PodCIDR = "10.42.0.0/24", PodCIDRs = ["10.42.0.0/24"] } });
        cluster.Start();
        await cluster.CreateAsync(Resources.Nodes, Node(("Ready", "True")));
        await cluster.UntilAsync(async () => (await cluster.FindAsync(Resources.Nodes, "n"))!.Spec.PodCIDRs is ["10.42.1.0/24"], "range given");
    }

    [Fact]
    public async Task Node_Ready_LosesItsNotReadyTaint()
    {
        await using var cluster = new TestCluster().Start();
        var node = Node(("Ready", "False"));
        node.Spec.Taints = [new V1Taint { Key = NodeTaints.NotReady, Effect = "NoSchedule" }];
        await cluster.CreateAsync(Resources.Nodes, node);
        await cluster.PatchAsync(Resources.Nodes, "n", """{"status":{"conditions":[{"type":"Ready","status":"True"}]}}""", "status");
        await cluster.UntilAsync(async () => (await cluster.FindAsync(Resources.Nodes, "n"))!.Spec.Taints is not { Count: > 0 }, "taint gone");
    }

    [Fact]
    public async Task Pods_OfANodeThatTurnsNotReady_AreMarkedAndTaintsEvictWhereAnotherNodeIsLeft()
    {
        await using var cluster = new TestCluster().Start();
        await cluster.CreateAsync(Resources.Nodes, Node(("Ready", "True")));
        await cluster.CreateAsync(Resources.Nodes, Node(("Ready", "True")) with { Metadata = new V1ObjectMeta { Name = "other" } });
        await cluster.CreateAsync(Resources.Pods, Pod("stays", new V1Toleration { OperatorProperty = "Exists" }));
        await cluster.CreateAsync(Resources.Pods, Pod("goes", null));
        await cluster.UntilAsync(async () => (await cluster.ListAsync(Resources.Pods)).All(PodState.IsReady), "pods ready");
        await cluster.PatchAsync(Resources.Nodes, "n", """{"status":{"conditions":[{"type":"Ready","status":"False"}]}}""", "status");
        await cluster.UntilAsync(async () => await cluster.FindAsync(Resources.Pods, "goes") is null, "evicted");
        await cluster.UntilAsync(async () => !PodState.IsReady((await cluster.FindAsync(Resources.Pods, "stays"))!), "marked");
    }

    private static V1Pod Pod(string name, V1Toleration? toleration) => new()
    {
        Metadata = TestCluster.Meta(name),
        Spec = TestCluster.Template("x").Spec with { NodeName = "n", Tolerations = toleration is null ? null : [toleration] },
    };

    private static V1Node Node(params (string Type, string Status)[] conditions) => new()
    {
        Metadata = new V1ObjectMeta { Name = "n" },
        Spec = new V1NodeSpec(),
        Status = new V1NodeStatus { Conditions = [.. conditions.Select(static condition => new V1NodeCondition { Type = condition.Type, Status = condition.Status })] },
    };
}
