using k8s.Models;

namespace K3sFast.Scheduler.Tests;

/// <summary>What the scheduler keeps of a pod that has its node: of a cluster's pods that is nearly all.</summary>
[Collection(nameof(AloneCollection))]
public sealed class PodSizeTests
{
    private const int Pods = 20_000;

    [Fact]
    public void PlacedPod_OfAWorkload_TakesFewWords()
    {
        var state = Fill(64);
        var shared = new SharedTraits();
        var before = GC.GetTotalMemory(forceFullCollection: true);
        Fill(state, shared, Pods);
        var each = (GC.GetTotalMemory(forceFullCollection: true) - before) / Pods;
        Assert.Equal(Pods + 64, state.PlacedPods);
        GC.KeepAlive(state);
        GC.KeepAlive(shared);
        TestContext.Current.TestOutputHelper?.WriteLine($"{each} B each");
        // The pod 96, its name 40, its place by uid 28 and on its node 8, both in tables that may be half empty.
        // What other tests left behind may go meanwhile, which makes it less.
        Assert.InRange(each, long.MinValue, 240);
    }

    private static ClusterState Fill(int pods)
    {
        var state = Make.State([Make.Node("a-node-with-a-longer-name-that-each-pod-brings-anew")]);
        Fill(state, new SharedTraits(), pods, "warm");
        return state;
    }

    private static void Fill(ClusterState state, SharedTraits shared, int pods, string prefix = "pod")
    {
        for (var i = 0; i < pods; i++)
        {
            // All strings of its own, as decoding gives them.
            var pod = Make.Pod($"{prefix}-{i}", "100m", "64Mi", node: new string("a-node-with-a-longer-name-that-each-pod-brings-anew".AsSpan()));
            pod.Metadata.Uid = Guid.NewGuid().ToString();
            pod.Metadata.Labels = new Dictionary<string, string> { [new string("app".AsSpan())] = new string("web".AsSpan()) };
            state.Place(PodInfo.Placed(pod, shared), pod.Spec.NodeName);
        }
    }
}

/// <summary>Nothing else runs beside these: the whole heap is measured.</summary>
[CollectionDefinition(nameof(AloneCollection), DisableParallelization = true)]
public sealed class AloneCollection;
