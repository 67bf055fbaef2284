using k8s.Models;

namespace K3sFast.Scheduler.Tests;

public sealed class PreemptorTests
{
    [Fact]
    public void Preemption_RemovesNoMoreThanNeededAndTheLeastImportant()
    {
        var victims = Find(
            Make.Pod("p", "2", priority: 100), [], out _,
            [Make.Node("n")], Make.Pod("low", "2", node: "n", priority: 1), Make.Pod("mid", "2", node: "n", priority: 50));
        Assert.Equal(["low"], victims!.Pods.Select(static pod => pod.Pod.Metadata.Name));
    }

    [Fact]
    public void Preemption_AmongNodes_TakesTheLowestVictims()
    {
        var victims = Find(
            Make.Pod("p", "4", priority: 100), [], out _,
            [Make.Node("a"), Make.Node("b")], Make.Pod("x", "4", node: "a", priority: 50), Make.Pod("y", "4", node: "b", priority: 10));
        Assert.Equal("b", victims!.Node);
    }

    [Fact]
    public void Preemption_BrokenBudget_IsAvoided()
    {
        var guarded = Make.Pod("guarded", "4", node: "a", priority: 1);
        guarded.Metadata.Labels["app"] = "db";
        var budget = new V1PodDisruptionBudget
        {
            Metadata = new V1ObjectMeta { Name = "b", NamespaceProperty = "default" },
            Spec = new V1PodDisruptionBudgetSpec { Selector = new V1LabelSelector { MatchLabels = new Dictionary<string, string> { ["app"] = "db" } } },
            Status = new V1PodDisruptionBudgetStatus { DisruptionsAllowed = 0 },
        };
        var victims = Find(
            Make.Pod("p", "4", priority: 100), [budget], out _,
            [Make.Node("a"), Make.Node("b")], guarded, Make.Pod("free", "4", node: "b", priority: 50));
        Assert.Equal("b", victims!.Node);
    }

    [Fact]
    public void Preemption_NobodyIsLess_SaysSo()
    {
        Assert.Null(Find(Make.Pod("p", "4"), [], out var message, [Make.Node("n")], Make.Pod("x", "4", node: "n")));
        Assert.Equal("preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.", message);
    }

    [Fact]
    public void Preemption_NodeTooSmall_IsNotHelpful()
    {
        Assert.Null(Find(Make.Pod("p", "5", priority: 9), [], out var message, [Make.Node("n")], Make.Pod("x", "4", node: "n")));
        Assert.Equal("preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.", message);
    }

    [Fact]
    public void Preemption_PolicyNever_IsNotEligible()
    {
        var pod = Make.Pod("p", "4", priority: 9);
        pod.Spec.PreemptionPolicy = "Never";
        Assert.Null(Find(pod, [], out var message, [Make.Node("n")], Make.Pod("x", "4", node: "n")));
        Assert.Equal("preemption: not eligible due to preemptionPolicy=Never.", message);
    }

    [Fact]
    public void Preemption_Thinking_LeavesTheStateAsItWas()
    {
        var state = Make.State([Make.Node("n")], Make.Pod("x", "3", node: "n", priority: 1), Make.Pod("y", "1", node: "n", priority: 2));
        var placement = new Placement(state, new SchedulerOptions(), static _ => null);
        var pod = new PodInfo(Make.Pod("p", "2", priority: 9));
        placement.Find(pod, out var refusal);
        new Preemptor(state, placement, static () => []).Find(pod, refusal, out _);
        Assert.Equal(4000, state.Find("n")!.Requested.MilliCpu);
        Assert.Equal(2, state.Find("n")!.Pods.Count);
    }

    private static Victims? Find(V1Pod pod, V1PodDisruptionBudget[] budgets, out string message, V1Node[] nodes, params V1Pod[] placed)
    {
        var state = Make.State(nodes, placed);
        var placement = new Placement(state, new SchedulerOptions(), static _ => null);
        var info = new PodInfo(pod);
        Assert.Null(placement.Find(info, out var refusal));
        return new Preemptor(state, placement, () => budgets).Find(info, refusal, out message);
    }
}
