namespace K3sFast.ApiServer.Tests;

/// <summary>The Lease by which API servers know of each other, and the old component statuses.</summary>
public sealed class IdentityLeaseTests(TestServer server)
{
    private const string Leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";

    [Fact]
    public async Task Lease_OfThisServer_IsThereWithUpstreamsFields()
    {
        var list = (await server.GetAsync(Leases + "?labelSelector=apiserver.kubernetes.io/identity%3Dkube-apiserver")).Json["items"]!.AsArray();
        var lease = list.Single(static item => (string)item!["metadata"]!["name"]! == IdentityLease.NameOf(Environment.MachineName))!;

        Assert.Equal(Environment.MachineName, (string)lease["metadata"]!["labels"]!["kubernetes.io/hostname"]!);
        Assert.StartsWith(IdentityLease.NameOf(Environment.MachineName) + "_", (string)lease["spec"]!["holderIdentity"]!, StringComparison.Ordinal);
        Assert.Equal(3600, (int)lease["spec"]!["leaseDurationSeconds"]!);
        Assert.InRange(DateTimeOffset.Parse((string)lease["spec"]!["renewTime"]!, System.Globalization.CultureInfo.InvariantCulture), DateTimeOffset.UtcNow.AddMinutes(-5), DateTimeOffset.UtcNow.AddMinutes(1));
    }

    [Fact]
    public void NameOf_AHost_IsTheHashOfUpstream()
    {
        // sha256(00 04 "host" 00 0e "kube-apiserver"), 16 bytes in base32.
        Assert.Equal("apiserver-dd6egxogzxmivwqge6rcnj6rwi", IdentityLease.NameOf("host"));
    }

    [Fact]
    public async Task Collect_LeaseThatRanOut_IsTakenAwayAndOthersStay()
    {
        await server.CreateAsync(Leases, """{"metadata":{"name":"apiserver-gone","labels":{"apiserver.kubernetes.io/identity":"kube-apiserver"}},"spec":{"holderIdentity":"x","leaseDurationSeconds":3600,"renewTime":"2020-01-01T00:00:00.000000Z"}}""");
        await server.CreateAsync(Leases, """{"metadata":{"name":"not-an-apiserver"},"spec":{"holderIdentity":"x","leaseDurationSeconds":1,"renewTime":"2020-01-01T00:00:00.000000Z"}}""");
        await server.Server.Identity.CollectAsync(TestContext.Current.CancellationToken);

        Assert.Equal(404, (await server.GetAsync(Leases + "/apiserver-gone")).Code);
        Assert.Equal(200, (await server.GetAsync(Leases + "/not-an-apiserver")).Code);
        Assert.Equal(200, (await server.GetAsync($"{Leases}/{IdentityLease.NameOf(Environment.MachineName)}")).Code);
    }

    [Fact]
    public async Task ComponentStatuses_AskTheParts()
    {
        server.Server.Components.Report("scheduler", static () => null);
        server.Server.Components.Report("controller-manager", static () => "it fell");
        var answer = await server.GetAsync("/api/v1/componentstatuses");
        var conditions = answer.Json["items"]!.AsArray().ToDictionary(static item => (string)item!["metadata"]!["name"]!, static item => item!["conditions"]![0]!.ToJsonString());

        Assert.Equal(["controller-manager", "etcd-0", "scheduler"], conditions.Keys.Order(StringComparer.Ordinal));
        Assert.Equal("""{"type":"Healthy","status":"True","message":"ok"}""", conditions["etcd-0"]);
        Assert.Equal("""{"type":"Healthy","status":"True","message":"ok"}""", conditions["scheduler"]);
        Assert.Equal("""{"type":"Healthy","status":"False","error":"it fell"}""", conditions["controller-manager"]);
        Assert.Contains("299 - \"v1 ComponentStatus is deprecated in v1.19+\"", answer.Warnings);
        Assert.Equal(404, (await server.GetAsync("/api/v1/componentstatuses/nope")).Code);
        Assert.Equal("application/vnd.kubernetes.protobuf", (await server.GetAsync("/api/v1/componentstatuses/etcd-0", accept: "application/vnd.kubernetes.protobuf")).ContentType);
    }
}
