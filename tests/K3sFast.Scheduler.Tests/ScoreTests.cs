using k8s.Models;

namespace K3sFast.Scheduler.Tests;

public sealed class ScoreTests
{
    [Fact]
    public void LeastAllocated_EmptierNode_Wins() =>
        Assert.Equal("b", Make.Place(Make.Pod("p", "100m", "100Mi"), [Make.Node("a"), Make.Node("b")], Make.Pod("x", "2", "4Gi", node: "a")));

    [Fact]
    public void LeastAllocated_PodsWithoutRequests_SpreadToo() =>
        Assert.Equal("b", Make.Place(Make.Pod("p"), [Make.Node("a"), Make.Node("b")], Make.Pod("x", node: "a")));

    [Fact]
    public void PreferNoSchedule_IsAvoided()
    {
        var tainted = Make.Node("a");
        tainted.Spec.Taints = [new V1Taint { Key = "k", Effect = "PreferNoSchedule" }];
        Assert.Equal("b", Make.Place(Make.Pod("p", "100m"), [tainted, Make.Node("b")], Make.Pod("x", "1", node: "b")));
    }

    [Fact]
    public void NodeAffinity_Preferred_Attracts()
    {
        var pod = Make.Pod("p", "100m");
        var preference = new V1NodeSelectorTerm { MatchExpressions = [new V1NodeSelectorRequirement { Key = "disk", OperatorProperty = "In", Values = ["ssd"] }] };
        pod.Spec.Affinity = new V1Affinity
        {
            NodeAffinity = new V1NodeAffinity { PreferredDuringSchedulingIgnoredDuringExecution = [new V1PreferredSchedulingTerm { Weight = 10, Preference = preference }] },
        };
        Assert.Equal("a", Make.Place(pod, [Make.Node("a", labels: ("disk", "ssd")), Make.Node("b")], Make.Pod("x", "1", node: "a")));
    }

    [Fact]
    public void PodAffinity_Preferred_AttractsAndRepels()
    {
        var friend = Make.Pod("friend", "500m", node: "a");
        friend.Metadata.Labels["app"] = "db";
        var pod = Make.Pod("p", "100m");
        List<V1WeightedPodAffinityTerm> terms = [new V1WeightedPodAffinityTerm { Weight = 50, PodAffinityTerm = Make.Term("app", "db") }];
        pod.Spec.Affinity = new V1Affinity { PodAffinity = new V1PodAffinity { PreferredDuringSchedulingIgnoredDuringExecution = terms } };
        Assert.Equal("a", Make.Place(pod, [Make.Node("a"), Make.Node("b")], friend));
        pod.Spec.Affinity = new V1Affinity { PodAntiAffinity = new V1PodAntiAffinity { PreferredDuringSchedulingIgnoredDuringExecution = terms } };
        Assert.Equal("b", Make.Place(pod, [Make.Node("a"), Make.Node("b")], friend, Make.Pod("x", "1", "1Gi", node: "b")));
    }

    [Fact]
    public void TopologySpread_Soft_PrefersTheEmptierDomain()
    {
        var pod = Make.Pod("p", "100m");
        pod.Metadata.Labels["app"] = "web";
        pod.Spec.TopologySpreadConstraints =
        [
            new V1TopologySpreadConstraint
            {
                MaxSkew = 1, TopologyKey = "kubernetes.io/hostname", WhenUnsatisfiable = "ScheduleAnyway",
                LabelSelector = new V1LabelSelector { MatchLabels = new Dictionary<string, string> { ["app"] = "web" } },
            },
        ];
        var same = Make.Pod("same", "100m", node: "a");
        same.Metadata.Labels["app"] = "web";
        Assert.Equal("b", Make.Place(pod, [Make.Node("a"), Make.Node("b")], same, Make.Pod("x", "200m", node: "b")));
    }

    [Fact]
    public void ImageLocality_LargeImageThere_Attracts()
    {
        var node = Make.Node("a");
        node.Status.Images = [new V1ContainerImage { Names = ["image:latest"], SizeBytes = 2000L * 1024 * 1024 }];
        Assert.Equal("a", Make.Place(Make.Pod("p", "1m", "1Mi"), [node, Make.Node("b")]));
    }
}
