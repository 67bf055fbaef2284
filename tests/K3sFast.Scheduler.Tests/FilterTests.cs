using k8s.Models;

namespace K3sFast.Scheduler.Tests;

public sealed class FilterTests
{
    [Theory]
    [InlineData("5", null, "0/1 nodes are available: 1 Insufficient cpu.")]
    [InlineData("5", "9Gi", "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory.")]
    [InlineData("4", "8Gi", "n")]
    [InlineData("4001m", null, "0/1 nodes are available: 1 Insufficient cpu.")]
    public void Resources_AgainstAnEmptyNode_FitExactly(string cpu, string? memory, string expected) =>
        Assert.Equal(expected, Make.Place(Make.Pod("p", cpu, memory), [Make.Node("n")]));

    [Fact]
    public void Resources_OfPlacedPods_AreTaken() =>
        Assert.Equal("0/1 nodes are available: 1 Insufficient cpu.", Make.Place(Make.Pod("p", "2"), [Make.Node("n")], Make.Pod("a", "3", node: "n")));

    [Fact]
    public void Resources_NodeIsFull_SaysTooManyPods() =>
        Assert.Equal("0/1 nodes are available: 1 Too many pods.", Make.Place(Make.Pod("p"), [Make.Node("n", pods: 1)], Make.Pod("a", node: "n")));

    [Fact]
    public void Resources_InitContainers_CountTheirPeakAndSidecarsAddUp()
    {
        var pod = Make.Pod("p", "1");
        pod.Spec.InitContainers =
        [
            new V1Container { Name = "side", RestartPolicy = "Always", Resources = Make.Requests("500m", null) },
            new V1Container { Name = "big", Resources = Make.Requests("2", null) },
        ];
        pod.Spec.Overhead = new Dictionary<string, ResourceQuantity> { ["cpu"] = new("100m") };
        // max(1 + 0.5, 2 + 0.5) + 0.1
        Assert.Equal(2600, new PodInfo(pod).Requests.MilliCpu);
    }

    [Fact]
    public void Resources_Extended_AreCounted()
    {
        var node = Make.Node("n");
        node.Status.Allocatable["example.com/foo"] = new ResourceQuantity("5");
        var taken = Make.Pod("a", node: "n");
        taken.Spec.Containers[0].Resources = Make.Requests(null, null, ("example.com/foo", "3"));
        var pod = Make.Pod("p");
        pod.Spec.Containers[0].Resources = Make.Requests(null, null, ("example.com/foo", "2"));
        Assert.Equal("n", Make.Place(pod, [node], taken));
        pod.Spec.Containers[0].Resources = Make.Requests(null, null, ("example.com/foo", "3"));
        Assert.Equal("0/1 nodes are available: 1 Insufficient example.com/foo.", Make.Place(pod, [node], taken));
    }

    [Fact]
    public void Taints_NotTolerated_KeepAway()
    {
        var node = Make.Node("n");
        node.Spec.Taints = [new V1Taint { Key = "k", Value = "v", Effect = "NoSchedule" }];
        var pod = Make.Pod("p");
        Assert.Equal("0/1 nodes are available: 1 node(s) had untolerated taint(s).", Make.Place(pod, [node]));
        pod.Spec.Tolerations = [new V1Toleration { Key = "k", OperatorProperty = "Equal", Value = "v", Effect = "NoSchedule" }];
        Assert.Equal("n", Make.Place(pod, [node]));
        pod.Spec.Tolerations = [new V1Toleration { OperatorProperty = "Exists" }];
        Assert.Equal("n", Make.Place(pod, [node]));
    }

    [Fact]
    public void Cordon_KeepsAway()
    {
        var node = Make.Node("n");
        node.Spec.Unschedulable = true;
        Assert.Equal("0/1 nodes are available: 1 node(s) were unschedulable.", Make.Place(Make.Pod("p"), [node]));
    }

    [Theory]
    [InlineData("In", "a,b", true)]
    [InlineData("NotIn", "a", false)]
    [InlineData("Exists", "", true)]
    [InlineData("DoesNotExist", "", false)]
    [InlineData("Gt", "1", false)]
    public void NodeAffinity_Operators_AreUpstreams(string op, string values, bool fits)
    {
        var pod = Make.Pod("p");
        var requirement = new V1NodeSelectorRequirement { Key = "zone", OperatorProperty = op, Values = values.Length == 0 ? null : values.Split(',') };
        Require(pod, new V1NodeSelectorTerm { MatchExpressions = [requirement] });
        Assert.Equal(
            fits ? "n" : "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
            Make.Place(pod, [Make.Node("n", labels: ("zone", "a"))]));
    }

    [Fact]
    public void NodeAffinity_MatchFields_NameTheNode()
    {
        var pod = Make.Pod("p");
        Require(pod, new V1NodeSelectorTerm
        {
            MatchFields = [new V1NodeSelectorRequirement { Key = "metadata.name", OperatorProperty = "In", Values = ["b"] }],
        });
        Assert.Equal("b", Make.Place(pod, [Make.Node("a"), Make.Node("b"), Make.Node("c")]));
    }

    [Theory]
    [InlineData("", "", "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.")]
    [InlineData("127.0.0.1", "", "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.")]
    [InlineData("127.0.0.1", "127.0.0.2", "n")]
    public void HostPorts_OnTheSameAddress_Conflict(string wanted, string used, string expected)
    {
        var other = Make.Pod("a", node: "n");
        other.Spec.Containers[0].Ports = [new V1ContainerPort { ContainerPort = 80, HostPort = 8080, HostIP = used }];
        var pod = Make.Pod("p");
        pod.Spec.Containers[0].Ports = [new V1ContainerPort { ContainerPort = 80, HostPort = 8080, HostIP = wanted }];
        Assert.Equal(expected, Make.Place(pod, [Make.Node("n")], other));
    }

    [Fact]
    public void PodAntiAffinity_InBothDirections_KeepsApart()
    {
        var apart = new V1Affinity { PodAntiAffinity = new V1PodAntiAffinity { RequiredDuringSchedulingIgnoredDuringExecution = [Make.Term("app", "web")] } };
        var lonely = Make.Pod("a", node: "n");
        lonely.Metadata.Labels["app"] = "web";
        var pod = Make.Pod("p");
        pod.Metadata.Labels["app"] = "web";
        pod.Spec.Affinity = apart;
        Assert.Equal("0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules.", Make.Place(pod, [Make.Node("n")], lonely));
        (lonely.Spec.Affinity, pod.Spec.Affinity) = (apart, null);
        Assert.Equal("0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules.", Make.Place(pod, [Make.Node("n")], lonely));
    }

    [Fact]
    public void PodAffinity_FirstOfItsKind_MayGoAnywhereAndOthersFollow()
    {
        var together = new V1Affinity { PodAffinity = new V1PodAffinity { RequiredDuringSchedulingIgnoredDuringExecution = [Make.Term("app", "web")] } };
        var first = Make.Pod("first");
        first.Metadata.Labels["app"] = "web";
        first.Spec.Affinity = together;
        Assert.Equal("a", Make.Place(first, [Make.Node("a")]));
        var second = Make.Pod("second");
        second.Metadata.Labels["app"] = "web";
        second.Spec.Affinity = together;
        first.Spec.NodeName = "b";
        Assert.Equal("b", Make.Place(second, [Make.Node("a"), Make.Node("b")], first));
        var stranger = Make.Pod("stranger");
        stranger.Spec.Affinity = together;
        Assert.Equal("0/1 nodes are available: 1 node(s) didn't match pod affinity rules.", Make.Place(stranger, [Make.Node("a")]));
    }

    [Fact]
    public void TopologySpread_Hard_KeepsTheSkew()
    {
        var pod = Make.Pod("p");
        pod.Metadata.Labels["app"] = "web";
        pod.Spec.TopologySpreadConstraints =
        [
            new V1TopologySpreadConstraint
            {
                MaxSkew = 1, TopologyKey = "zone", WhenUnsatisfiable = "DoNotSchedule",
                LabelSelector = new V1LabelSelector { MatchLabels = new Dictionary<string, string> { ["app"] = "web" } },
            },
        ];
        var one = Make.Pod("one", node: "a");
        one.Metadata.Labels["app"] = "web";
        Assert.Equal("b", Make.Place(pod, [Make.Node("a", labels: ("zone", "1")), Make.Node("b", labels: ("zone", "2"))], one));
        Assert.Equal(
            "0/2 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label), 1 node(s) were unschedulable.",
            Make.Place(pod, [Cordoned(Make.Node("a", labels: ("zone", "1"))), Make.Node("b")], one));
    }

    [Fact]
    public void Nodes_None_SaysSo() => Assert.Equal("no nodes available to schedule pods", Make.Place(Make.Pod("p"), []));

    private static V1Node Cordoned(V1Node node)
    {
        node.Spec.Unschedulable = true;
        return node;
    }

    private static void Require(V1Pod pod, V1NodeSelectorTerm term) => pod.Spec.Affinity = new V1Affinity
    {
        NodeAffinity = new V1NodeAffinity { RequiredDuringSchedulingIgnoredDuringExecution = new V1NodeSelector { NodeSelectorTerms = [term] } },
    };
}
