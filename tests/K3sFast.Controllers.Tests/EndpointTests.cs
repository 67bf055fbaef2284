using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers.Tests;

public sealed class EndpointTests
{
    private const string Manager = "endpointslice-controller.k8s.io";

    [Fact]
    public async Task Service_WithPods_GetsSliceAndEndpointsThatFollowReadiness()
    {
        await using var cluster = new TestCluster().Start();
        await cluster.CreateAsync(Resources.Nodes, new V1Node
        {
            Metadata = new V1ObjectMeta { Name = "n", Labels = new Dictionary<string, string> { ["topology.kubernetes.io/zone"] = "z" } }, Spec = new V1NodeSpec(),
        });
        await cluster.CreateAsync(Resources.Services, Service());
        await cluster.UntilAsync(async () => (await cluster.ListAsync(Resources.EndpointSlices)).Count == 1, "placeholder slice");
        var pod = new V1Pod { Metadata = TestCluster.Meta("p"), Spec = TestCluster.Template("web").Spec with { NodeName = "n" } };
        pod.Metadata.Labels = new Dictionary<string, string> { ["app"] = "web" };
        pod.Spec.Containers[0].Ports = [new V1ContainerPort { Name = "http", ContainerPort = 8080 }];
        await cluster.CreateAsync(Resources.Pods, pod);

        await cluster.UntilAsync(async () => (await SliceAsync(cluster)).Endpoints is [{ Conditions.Ready: true }], "ready endpoint");
        var slice = await SliceAsync(cluster);
        Assert.Equal(("web", Manager), (slice.Metadata.Labels["kubernetes.io/service-name"], slice.Metadata.Labels["endpointslice.kubernetes.io/managed-by"]));
        Assert.Equal(("IPv4", 8080, "n", "z", "p"), (
            slice.AddressType, slice.Ports[0].Port, slice.Endpoints[0].NodeName, slice.Endpoints[0].Zone, slice.Endpoints[0].TargetRef.Name));
        await cluster.UntilAsync(async () => (await cluster.FindAsync(Resources.Endpoints, "web"))?.Subsets is [{ Addresses: [{ NodeName: "n" }] }], "endpoints");

        await cluster.PatchAsync(Resources.Pods, "p", """{"status":{"conditions":[{"type":"Ready","status":"False"}]}}""", "status");
        await cluster.UntilAsync(async () => (await SliceAsync(cluster)).Endpoints is [{ Conditions.Ready: false }], "not ready endpoint");
        await cluster.UntilAsync(
            async () => (await cluster.FindAsync(Resources.Endpoints, "web"))?.Subsets is [{ Addresses: null, NotReadyAddresses: [{ NodeName: "n" }] }], "not ready address");

        await cluster.Client.DeleteAsync(Resources.Pods, "default", "p", cluster.Stop);
        await cluster.UntilAsync(async () => (await SliceAsync(cluster)).Endpoints is not { Count: > 0 }, "empty slice");

        await cluster.Client.DeleteAsync(Resources.Services, "default", "web", cluster.Stop);
        await cluster.UntilAsync(async () => (await cluster.ListAsync(Resources.EndpointSlices)).Count == 0, "slices gone");
        await cluster.UntilAsync(async () => await cluster.FindAsync(Resources.Endpoints, "web") is null, "endpoints gone");
    }

    [Fact]
    public async Task Service_ThatPrefersWhatIsNear_GetsHintsThatFollowIt()
    {
        await using var cluster = new TestCluster().Start();
        await cluster.CreateAsync(Resources.Nodes, new V1Node
        {
            Metadata = new V1ObjectMeta { Name = "n", Labels = new Dictionary<string, string> { ["topology.kubernetes.io/zone"] = "z" } }, Spec = new V1NodeSpec(),
        });
        var service = Service();
        service.Spec.TrafficDistribution = "PreferSameNode";
        await cluster.CreateAsync(Resources.Services, service);
        var pod = new V1Pod { Metadata = TestCluster.Meta("p"), Spec = TestCluster.Template("web").Spec with { NodeName = "n" } };
        pod.Metadata.Labels = new Dictionary<string, string> { ["app"] = "web" };
        pod.Spec.Containers[0].Ports = [new V1ContainerPort { Name = "http", ContainerPort = 8080 }];
        await cluster.CreateAsync(Resources.Pods, pod);

        await cluster.UntilAsync(
            async () => await cluster.ListAsync(Resources.EndpointSlices) is [{ Endpoints: [{ Hints: { ForZones: [{ Name: "z" }], ForNodes: [{ Name: "n" }] } }] }],
            "hints for zone and node");
        Assert.Contains("endpoints.kubernetes.io/last-change-trigger-time", (await SliceAsync(cluster)).Metadata.Annotations.Keys);
        await cluster.PatchAsync(Resources.Services, "web", """{"spec":{"trafficDistribution":"PreferClose"}}""");
        await cluster.UntilAsync(async () => (await SliceAsync(cluster)).Endpoints is [{ Hints: { ForZones: [{ Name: "z" }], ForNodes: null } }], "hints for the zone alone");
        await cluster.PatchAsync(Resources.Nodes, "n", """{"metadata":{"labels":{"topology.kubernetes.io/zone":"y"}}}""");
        await cluster.UntilAsync(async () => (await SliceAsync(cluster)).Endpoints is [{ Hints.ForZones: [{ Name: "y" }] }], "hints for the node's new zone");
        await cluster.PatchAsync(Resources.Services, "web", """{"spec":{"trafficDistribution":null}}""");
        await cluster.UntilAsync(async () => (await SliceAsync(cluster)).Endpoints is [{ Hints: null }], "no hints");
    }

    /// <summary>A node that the controller hears of late, at whatever moment: its pod's endpoint comes, with the time of the change that it waited for.</summary>
    [Fact]
    public async Task Node_ComesAfterItsPod_EndpointFollowsAndTellsWhatItFollows()
    {
        await using var cluster = new TestCluster { Runs = static _ => false };
        cluster.Start();
        await cluster.CreateAsync(Resources.Services, Service());
        await cluster.CreateAsync(Resources.Nodes, new V1Node { Metadata = new V1ObjectMeta { Name = "n" }, Spec = new V1NodeSpec() });
        // The more pods there are, the longer the controller looks: the node comes in the middle of it, now here and now there.
        const int Others = 150, Rounds = 25;
        for (var i = 0; i < Others; i++) await cluster.CreateAsync(Resources.Pods, ReadyPod($"o{i}", "n", $"10.42.1.{i}"));
        await UntilAllAsync(Others);
        for (var round = 1; round <= Rounds; round++)
        {
            await cluster.CreateAsync(Resources.Pods, ReadyPod($"p{round}", $"late{round}", $"10.42.2.{round}"));
            for (var spins = 0; spins < round * 40; spins++) await Task.Yield();
            await cluster.CreateAsync(Resources.Nodes, new V1Node { Metadata = new V1ObjectMeta { Name = $"late{round}" }, Spec = new V1NodeSpec() });
            await UntilAllAsync(Others + round);
            Assert.Contains(await cluster.ListAsync(Resources.EndpointSlices), slice =>
                slice.Endpoints.Any(endpoint => endpoint.NodeName == $"late{round}") && slice.Metadata.Annotations?.ContainsKey(TriggerTimes.Annotation) == true);
        }

        Task UntilAllAsync(int count) => cluster.UntilAsync(
            async () => (await cluster.ListAsync(Resources.EndpointSlices)).Sum(static slice => slice.Endpoints?.Count ?? 0) == count, $"{count} endpoints");
    }

    [Theory]
    // Each node is zone, processors; each endpoint the zone it is in. Wanted: the zone that each is for.
    [InlineData("a1 b1", "a a b b", "a a b b")]
    [InlineData("a1 b1", "a a a a", "b b a a")]
    [InlineData("a1 b1 c1", "a a b b", "", "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold (4 endpoints, 3 zones)")]
    [InlineData("a1 b3", "a a b b", "b a b b")]
    [InlineData("a1 b1", "a", "", "Insufficient number of endpoints (1 endpoints, 2 zones)")]
    [InlineData("a1", "a a", "", "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes")]
    [InlineData("a1 b0", "a b", "", "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes")]
    [InlineData("a1 b1", "a ?", "", "One or more endpoints do not have a zone specified")]
    public void ZoneShares_OfNodes_GiveEndpointsToZones(string nodes, string endpoints, string wanted, string? failure = null)
    {
        var shares = ZoneShares.Of(nodes.Split(' ').Select(static text => Node(text[..1], text[1..])));
        var group = Group(endpoints.Split(' ').Length);
        foreach (var (endpoint, zone) in group.Endpoints.Zip(endpoints.Split(' '))) endpoint.Zone = zone == "?" ? null : zone;
        Assert.Equal(failure, shares.Assign([.. group.Endpoints], static _ => null));
        if (failure is null) Assert.Equal(wanted, string.Join(' ', group.Endpoints.Select(static endpoint => endpoint.Hints.ForZones[0].Name)));
        else Assert.All(group.Endpoints, static endpoint => Assert.Null(endpoint.Hints));
    }

    [Fact]
    public void ZoneShares_ThatStillFit_MoveNobody()
    {
        var shares = ZoneShares.Of([Node("a", "1"), Node("b", "1"), Node("c", "64", isControlPlane: true)]);
        var group = Group(7);
        foreach (var endpoint in group.Endpoints) endpoint.Zone = "a";
        group.Endpoints[6].Conditions.Ready = false;
        Assert.Null(shares.Assign([.. group.Endpoints], static endpoint => endpoint.Addresses[0] is "10.42.0.3" or "10.42.0.4" or "10.42.0.5" ? "b" : "a"));
        Assert.Equal("a a a b b b -", string.Join(' ', group.Endpoints.Select(static endpoint => endpoint.Hints?.ForZones[0].Name ?? "-")));
    }

    [Theory]
    [InlineData(1, "1")]
    [InlineData(100, "100")]
    [InlineData(250, "100,100,50")]
    public void Plan_NewEndpoints_FillSlicesOfAHundred(int endpoints, string sizes)
    {
        var plan = EndpointSlicePlan.Make(Service(), Manager, [Group(endpoints)], []);
        Assert.Equal(sizes, string.Join(',', plan.Create.Select(static slice => slice.Endpoints.Count)));
        Assert.Empty(plan.Update);
        Assert.Empty(plan.Delete);
    }

    [Fact]
    public void Plan_NothingChanged_WritesNothing()
    {
        var existing = Existing(EndpointSlicePlan.Make(Service(), Manager, [Group(150)], []));
        var plan = EndpointSlicePlan.Make(Service(), Manager, [Group(150)], existing);
        Assert.Empty(plan.Create.Concat(plan.Update).Concat(plan.Delete));
    }

    [Fact]
    public void Plan_OneEndpointMore_UpdatesTheSliceWithRoom()
    {
        var existing = Existing(EndpointSlicePlan.Make(Service(), Manager, [Group(150)], []));
        var plan = EndpointSlicePlan.Make(Service(), Manager, [Group(151)], existing);
        Assert.Equal(51, Assert.Single(plan.Update).Endpoints.Count);
        Assert.Empty(plan.Create);
    }

    [Fact]
    public void Plan_OneEndpointTurnsUnready_UpdatesItsSliceOnly()
    {
        var existing = Existing(EndpointSlicePlan.Make(Service(), Manager, [Group(150)], []));
        var group = Group(150);
        group.Endpoints[7].Conditions.Ready = false;
        var plan = EndpointSlicePlan.Make(Service(), Manager, [group], existing);
        Assert.Single(plan.Update);
        Assert.Empty(plan.Create.Concat(plan.Delete));
    }

    [Fact]
    public void Plan_NoEndpointsLeft_KeepsOneEmptySlice()
    {
        var existing = Existing(EndpointSlicePlan.Make(Service(), Manager, [Group(150)], []));
        var plan = EndpointSlicePlan.Make(Service(), Manager, [], existing);
        Assert.Empty(Assert.Single(plan.Update).Endpoints);
        Assert.Single(plan.Delete);
        var placeholder = Existing(EndpointSlicePlan.Make(Service(), Manager, [], []));
        plan = EndpointSlicePlan.Make(Service(), Manager, [], placeholder);
        Assert.Empty(plan.Create.Concat(plan.Update).Concat(plan.Delete));
    }

    [Fact]
    public void Plan_DualStack_MakesASlicePerFamily()
    {
        var service = Service();
        service.Spec.IpFamilies = ["IPv4", "IPv6"];
        var plan = EndpointSlicePlan.Make(service, Manager, [Group(1)], []);
        Assert.Equal(["IPv4", "IPv6"], plan.Create.Select(static slice => slice.AddressType).Order());
    }

    [Fact]
    public void Headless_Labels_SaySo()
    {
        var service = Service();
        service.Spec.ClusterIP = "None";
        var slice = Assert.Single(EndpointSlicePlan.Make(service, Manager, [Group(1)], []).Create);
        Assert.Equal("", slice.Metadata.Labels["service.kubernetes.io/headless"]);
    }

    private static async Task<V1EndpointSlice> SliceAsync(TestCluster cluster) => Assert.Single(await cluster.ListAsync(Resources.EndpointSlices));

    private static V1Pod ReadyPod(string name, string node, string address)
    {
        var pod = new V1Pod
        {
            Metadata = TestCluster.Meta(name), Spec = TestCluster.Template("web").Spec with { NodeName = node },
            Status = new V1PodStatus
            {
                Phase = "Running", PodIP = address, PodIPs = [new V1PodIP { Ip = address }],
                Conditions = [new V1PodCondition { Type = "Ready", Status = "True", LastTransitionTime = DateTime.UtcNow }],
            },
        };
        pod.Metadata.Labels = new Dictionary<string, string> { ["app"] = "web" };
        pod.Spec.Containers[0].Ports = [new V1ContainerPort { Name = "http", ContainerPort = 8080 }];
        return pod;
    }

    private static V1Service Service() => new()
    {
        Metadata = new V1ObjectMeta { Name = "web", NamespaceProperty = "default", Uid = "uid-web" },
        Spec = new V1ServiceSpec
        {
            ClusterIP = "10.43.0.5",
            IpFamilies = ["IPv4"],
            Selector = new Dictionary<string, string> { ["app"] = "web" },
            Ports = [new V1ServicePort { Name = "web", Port = 80, TargetPort = "http", Protocol = "TCP" }],
        },
    };

    private static V1Node Node(string zone, string processors, bool isControlPlane = false)
    {
        var labels = new Dictionary<string, string> { ["topology.kubernetes.io/zone"] = zone };
        if (isControlPlane) labels["node-role.kubernetes.io/control-plane"] = "true";
        return new V1Node
        {
            Metadata = new V1ObjectMeta { Name = zone, Labels = labels },
            Status = new V1NodeStatus
            {
                Conditions = [new V1NodeCondition { Type = "Ready", Status = "True" }],
                Allocatable = new Dictionary<string, ResourceQuantity> { ["cpu"] = new(processors) },
            },
        };
    }

    private static EndpointGroup Group(int count) => new(
        "IPv4",
        [new Discoveryv1EndpointPort { Name = "web", Port = 8080, Protocol = "TCP" }],
        [.. Enumerable.Range(0, count).Select(static i => new V1Endpoint
        {
            Addresses = [$"10.42.{i / 250}.{i % 250}"],
            Conditions = new V1EndpointConditions { Ready = true, Serving = true, Terminating = false },
            TargetRef = new V1ObjectReference { Kind = "Pod", Name = $"p{i}", Uid = $"uid{i}" },
        })]);

    private static List<V1EndpointSlice> Existing(EndpointSlicePlan plan)
    {
        var number = 0;
        foreach (var slice in plan.Create) slice.Metadata.Name = $"web-{number++}";
        return plan.Create;
    }
}
