using System.Text.Json;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers.Tests;

public sealed class GarbageTests
{
    private static readonly DiscoveredResource s_sets = new("apps", "v1", "replicasets", "ReplicaSet", true, new HashSet<string>());
    private static readonly DiscoveredResource s_pods = new("", "v1", "pods", "Pod", true, new HashSet<string>());

    [Fact]
    public void Graph_OwnerGoes_DependentsAreLookedAt()
    {
        var listener = new Listener();
        var graph = new OwnerGraph(listener);
        graph.Set(s_sets, Object("set"));
        graph.Set(s_pods, Object("pod", owner: "set"));
        Assert.Empty(listener.MayDelete);
        graph.Remove("set");
        Assert.Equal(["pod"], listener.MayDelete);
    }

    [Fact]
    public void Graph_UnknownOwner_IsVirtualAndAskedFor()
    {
        var listener = new Listener();
        var graph = new OwnerGraph(listener);
        graph.Set(s_pods, Object("pod", owner: "set"));
        Assert.Equal(["set"], listener.MayDelete);
        Assert.True(graph.Find("set")!.IsVirtual);
        graph.Set(s_sets, Object("set"));
        Assert.False(graph.Find("set")!.IsVirtual);
        Assert.Single(graph.Find("set")!.Dependents);
    }

    [Fact]
    public void Graph_DependentsThatLetGo_LeaveNoVirtualOwnerBehind()
    {
        var graph = new OwnerGraph(new Listener());
        graph.Set(s_pods, Object("pod", owner: "set"));
        graph.Remove("pod");
        Assert.Equal(0, graph.Count);
    }

    [Fact]
    public void Graph_ForegroundDeletion_GoesFromDependentsToOwner()
    {
        var listener = new Listener();
        var graph = new OwnerGraph(listener);
        graph.Set(s_sets, Object("set"));
        graph.Set(s_pods, Object("pod", owner: "set", isBlocking: true));
        var deleting = Object("set");
        (deleting.DeletionTimestamp, deleting.Finalizers) = ("now", [GraphMetadata.ForegroundFinalizer]);
        graph.Set(s_sets, deleting);
        Assert.Equal(["pod", "set"], listener.MayDelete);
        Assert.True(graph.Find("set")!.Dependents[0].BlocksOwner);
        listener.MayDelete.Clear();
        graph.Remove("pod");
        Assert.Equal(["set"], listener.MayDelete);
    }

    [Fact]
    public void Graph_OrphanFinalizer_AsksToOrphan()
    {
        var listener = new Listener();
        var graph = new OwnerGraph(listener);
        var deleting = Object("set");
        (deleting.DeletionTimestamp, deleting.Finalizers) = ("now", [GraphMetadata.OrphanFinalizer]);
        graph.Set(s_sets, deleting);
        Assert.Equal(["set"], listener.MustOrphan);
    }

    [Fact]
    public async Task Object_WhoseOwnerNeverWas_IsDeleted()
    {
        await using var cluster = new TestCluster().Start();
        await cluster.CreateAsync(Resources.ConfigMaps, Map("orphan", ("Gone", "no-such-uid")));
        await cluster.UntilAsync(async () => await cluster.FindAsync(Resources.ConfigMaps, "orphan") is null, "collected");
    }

    [Fact]
    public async Task Object_WithOneOwnerLeft_StaysAndForgetsTheOther()
    {
        await using var cluster = new TestCluster().Start();
        var one = await cluster.CreateAsync(Resources.ConfigMaps, Map("one"));
        var two = await cluster.CreateAsync(Resources.ConfigMaps, Map("two"));
        await cluster.CreateAsync(Resources.ConfigMaps, Map("child", ("one", one.Metadata.Uid), ("two", two.Metadata.Uid)));
        await cluster.Client.DeleteAsync(Resources.ConfigMaps, "default", "one", cluster.Stop);
        await cluster.UntilAsync(async () => (await cluster.FindAsync(Resources.ConfigMaps, "child"))!.Metadata.OwnerReferences.Count == 1, "forgot the owner");
    }

    [Fact]
    public async Task Owner_DeletedInTheForeground_WaitsForItsDependents()
    {
        await using var cluster = new TestCluster().Start();
        var owner = Map("owner");
        owner.Metadata.Finalizers = [GraphMetadata.ForegroundFinalizer];
        owner = await cluster.CreateAsync(Resources.ConfigMaps, owner);
        var child = Map("child", ("owner", owner.Metadata.Uid));
        child.Metadata.Finalizers = ["test/slow"];
        await cluster.CreateAsync(Resources.ConfigMaps, child);
        await cluster.Client.DeleteAsync(Resources.ConfigMaps, "default", "owner", cluster.Stop);
        await cluster.UntilAsync(async () => (await cluster.FindAsync(Resources.ConfigMaps, "child"))!.Metadata.DeletionTimestamp is not null, "child is being deleted");
        Assert.NotNull(await cluster.FindAsync(Resources.ConfigMaps, "owner"));
        await cluster.PatchAsync(Resources.ConfigMaps, "child", """{"metadata":{"finalizers":[]}}""");
        await cluster.UntilAsync(async () => await cluster.FindAsync(Resources.ConfigMaps, "owner") is null, "owner gone");
    }

    [Fact]
    public async Task Owner_DeletedAsOrphaning_LeavesItsDependents()
    {
        await using var cluster = new TestCluster().Start();
        var owner = Map("owner");
        owner.Metadata.Finalizers = [GraphMetadata.OrphanFinalizer];
        owner = await cluster.CreateAsync(Resources.ConfigMaps, owner);
        await cluster.CreateAsync(Resources.ConfigMaps, Map("child", ("owner", owner.Metadata.Uid)));
        await cluster.Client.DeleteAsync(Resources.ConfigMaps, "default", "owner", cluster.Stop);
        await cluster.UntilAsync(async () => await cluster.FindAsync(Resources.ConfigMaps, "owner") is null, "owner gone");
        Assert.Empty((await cluster.FindAsync(Resources.ConfigMaps, "child"))!.Metadata.OwnerReferences);
    }

    [Fact]
    public void Reader_WholeObject_TakesWhatOwnershipRestsOn()
    {
        const string Json = """
            {"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a\u0041","namespace":"n","uid":"u","resourceVersion":"7","generation":1,"labels":{"name":"no"},
            "deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["orphan","x/y"],"ownerReferences":[{"apiVersion":"v1","kind":"K","name":"o","uid":"ou","controller":true,
            "blockOwnerDeletion":false,"other":[{"uid":"no"}]},{"apiVersion":"v1","kind":"K","name":"p","uid":"pu"}],"managedFields":[{"fieldsV1":{"f:metadata":{"f:uid":{}}}}]},
            "data":{"metadata":"{\"uid\":\"no\"}"},"spec":{"metadata":{"uid":"no"}}}
            """;
        var value = JsonSerializer.Deserialize(Json, GraphJsonContext.Default.GraphObject)!.Metadata;
        Assert.Equal(("aA", "n", "u", "7", true), (value.Name, value.Namespace, value.Uid, value.ResourceVersion, value.OrphansDependents));
        Assert.Equal(["orphan", "x/y"], value.Finalizers!);
        Assert.Equal([("o", "ou", (bool?)true, (bool?)false), ("p", "pu", null, null)], value.OwnerReferences!.Select(static owner => (owner.Name, owner.Uid, owner.Controller, owner.BlockOwnerDeletion)));
    }

    [Theory]
    [InlineData("""{"metadata":null}""", "")]
    [InlineData("""{"metadata":{"uid":"u","finalizers":null,"ownerReferences":null,"namespace":null}}""", "u")]
    public void Reader_AbsentParts_AreEmpty(string json, string uid)
    {
        var value = JsonSerializer.Deserialize(json, GraphJsonContext.Default.GraphObject)!.Metadata;
        Assert.Equal((uid, "", false), (value.Uid, value.Namespace, value.IsBeingDeleted));
        Assert.Null(value.OwnerReferences);
    }

    [Theory]
    [InlineData("""{"metadata":[]}""")]
    [InlineData("""{"metadata":{"uid":7}}""")]
    [InlineData("""{"metadata":{"ownerReferences":[7]}}""")]
    [InlineData("""{"metadata":{"uid":"u"}""")]
    public void Reader_AnotherShape_IsRefused(string json) =>
        Assert.ThrowsAny<JsonException>(() => JsonSerializer.Deserialize(json, GraphJsonContext.Default.GraphObject));

    private static V1ConfigMap Map(string name, params (string Name, string Uid)[] owners) => new()
    {
        Metadata = new V1ObjectMeta
        {
            Name = name,
            NamespaceProperty = "default",
            OwnerReferences = owners.Length == 0 ? null : [.. owners.Select(static owner => new V1OwnerReference
            {
                ApiVersion = "v1", Kind = "ConfigMap", Name = owner.Name, Uid = owner.Uid, BlockOwnerDeletion = true,
            })],
        },
    };

    private static GraphMetadata Object(string uid, string? owner = null, bool isBlocking = false) => new()
    {
        Uid = uid,
        Name = uid,
        Namespace = "default",
        OwnerReferences = owner is null ? null : [new V1OwnerReference { ApiVersion = "apps/v1", Kind = "ReplicaSet", Name = owner, Uid = owner, BlockOwnerDeletion = isBlocking }],
    };

    private sealed class Listener : IGraphListener
    {
        internal List<string> MayDelete { get; } = [];

        internal List<string> MustOrphan { get; } = [];

        void IGraphListener.MayDelete(string uid) => MayDelete.Add(uid);

        void IGraphListener.MustOrphan(string uid) => MustOrphan.Add(uid);
    }
}
