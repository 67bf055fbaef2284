namespace K3sFast.ApiServer.Tests;

/// <summary>The beta versions of resource.k8s.io, which --runtime-config turns on, over what is stored as v1.</summary>
public sealed class DeviceVersionsTests
{
    [Fact]
    public async Task Claim_WrittenAsFirstBeta_IsReadAsEveryVersion()
    {
        var server = new TestServer { Adjust = static options => options with { RuntimeConfig = RuntimeConfig.Parse("resource.k8s.io/v1beta1=true,resource.k8s.io/v1beta2=true") } };
        await server.InitializeAsync();
        await using var _ = server;

        var made = await server.CreateAsync("/apis/resource.k8s.io/v1beta1/namespaces/default/resourceclaims",
            """{"metadata":{"name":"c"},"spec":{"devices":{"requests":[{"name":"a","deviceClassName":"gpu"}]}}}""");
        Assert.Equal("""[{"name":"a","deviceClassName":"gpu","allocationMode":"ExactCount","count":1}]""", made["spec"]!["devices"]!["requests"]!.ToJsonString());
        foreach (var version in (string[])["v1", "v1beta2"])
        {
            var read = await server.GetAsync($"/apis/resource.k8s.io/{version}/namespaces/default/resourceclaims/c");
            Assert.Equal("""[{"name":"a","exactly":{"deviceClassName":"gpu","allocationMode":"ExactCount","count":1}}]""", read.Json["spec"]!["devices"]!["requests"]!.ToJsonString());
        }
        var refused = await server.SendAsync(HttpMethod.Post, "/apis/resource.k8s.io/v1beta1/namespaces/default/resourceclaims",
            """{"metadata":{"name":"d"},"spec":{"devices":{"requests":[{"name":"a","deviceClassName":"A_"}]}}}""");
        Assert.Equal(422, refused.Code);
        Assert.Contains("spec.devices.requests[0].exactly.deviceClassName: Invalid value", refused.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Slice_WrittenAsFirst_IsReadAsFirstBeta()
    {
        var server = new TestServer { Adjust = static options => options with { RuntimeConfig = RuntimeConfig.Parse("resource.k8s.io/v1beta1=true") } };
        await server.InitializeAsync();
        await using var _ = server;

        await server.CreateAsync("/apis/resource.k8s.io/v1/resourceslices",
            """{"metadata":{"name":"s"},"spec":{"driver":"d.x","allNodes":true,"pool":{"name":"p","resourceSliceCount":1},"devices":[{"name":"a","attributes":{"model":{"string":"x"}}}]}}""");
        var read = await server.GetAsync("/apis/resource.k8s.io/v1beta1/resourceslices/s");
        Assert.Equal("""[{"name":"a","basic":{"attributes":{"model":{"string":"x"}}}}]""", read.Json["spec"]!["devices"]!.ToJsonString());
        var patched = await server.SendAsync(HttpMethod.Patch, "/apis/resource.k8s.io/v1beta1/resourceslices/s",
            """{"spec":{"pool":{"generation":2}}}""", "application/merge-patch+json");
        Assert.Equal(200, patched.Code);
        Assert.Equal("""{"name":"p","generation":2,"resourceSliceCount":1}""", (await server.GetAsync("/apis/resource.k8s.io/v1/resourceslices/s")).Json["spec"]!["pool"]!.ToJsonString());
    }
}
