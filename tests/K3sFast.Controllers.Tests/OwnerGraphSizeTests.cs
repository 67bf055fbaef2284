using k8s.Models;

namespace K3sFast.Controllers.Tests;

/// <summary>What the garbage collector's graph keeps of each object of the cluster.</summary>
[Collection(nameof(AloneCollection))]
public sealed class OwnerGraphSizeTests
{
    private const int Pods = 20_000;
    private const int PodsOfASet = 10;

    private static readonly DiscoveredResource s_sets = new("apps", "v1", "replicasets", "ReplicaSet", true, new HashSet<string>());
    private static readonly DiscoveredResource s_pods = new("", "v1", "pods", "Pod", true, new HashSet<string>());

    [Theory]
    // The node 88, its name 40, its place by uid 20 in a table that may be half empty.
    [InlineData(false, 220)]
    // And its owner's uid 48, its place among that one's dependents 20 to 60, a tenth of that one.
    [InlineData(true, 380)]
    public void Object_InTheGraph_TakesFewWords(bool isOwned, int mostBytes)
    {
        var graph = new OwnerGraph(new Silence());
        Fill(graph, 64, isOwned);
        var before = GC.GetTotalMemory(forceFullCollection: true);
        Fill(graph, Pods, isOwned);
        var each = (GC.GetTotalMemory(forceFullCollection: true) - before) / Pods;
        Assert.InRange(graph.Count, Pods + 64, Pods + 64 + (2 * Pods / PodsOfASet));
        GC.KeepAlive(graph);
        TestContext.Current.TestOutputHelper?.WriteLine($"{each} B each");
        // What other tests left behind may go meanwhile, which makes it less.
        Assert.InRange(each, long.MinValue, mostBytes);
    }

    private static void Fill(OwnerGraph graph, int pods, bool isOwned)
    {
        var set = "";
        for (var i = 0; i < pods; i++)
        {
            if (isOwned && i % PodsOfASet == 0)
            {
                set = Guid.NewGuid().ToString();
                graph.Set(s_sets, new GraphMetadata { Name = $"set-{i}", Namespace = "default", Uid = set });
            }
            // All strings of its own, as decoding gives them.
            var pod = new GraphMetadata { Name = $"pod-{i}", Namespace = new string("default".AsSpan()), Uid = Guid.NewGuid().ToString() };
            if (isOwned) pod.OwnerReferences = [new V1OwnerReference { ApiVersion = "apps/v1", Kind = "ReplicaSet", Name = $"set-{i - (i % PodsOfASet)}", Uid = new string(set.AsSpan()), BlockOwnerDeletion = true }];
            graph.Set(s_pods, pod);
        }
    }

    private sealed class Silence : IGraphListener
    {
        public void MayDelete(string uid)
        {
        }

        public void MustOrphan(string uid)
        {
        }
    }
}

/// <summary>Nothing else runs beside these: the whole heap is measured.</summary>
[CollectionDefinition(nameof(AloneCollection), DisableParallelization = true)]
public sealed class AloneCollection;
