namespace K3sFast.ApiServer.Tests;

public sealed class LimitRangerTests(TestServer server)
{
    [Fact]
    public async Task Container_WithoutResources_GetsTheDefaultsAndTheNote()
    {
        var ns = await RangeAsync("""{"type":"Container","default":{"cpu":"500m"},"defaultRequest":{"cpu":"100m","memory":"64Mi"}}""");
        var pod = await server.CreateAsync($"/api/v1/namespaces/{ns}/pods", """{"metadata":{"name":"p"},"spec":{"containers":[{"name":"a","image":"i"}]}}""");
        Assert.Equal("""{"limits":{"cpu":"500m"},"requests":{"cpu":"100m","memory":"64Mi"}}""", pod["spec"]!["containers"]![0]!["resources"]!.ToJsonString());
        Assert.Equal(
            "LimitRanger plugin set: cpu, memory request for container a; cpu limit for container a",
            (string?)pod["metadata"]!["annotations"]!["kubernetes.io/limit-ranger"]);
    }

    [Theory]
    [InlineData("""{"type":"Container","max":{"cpu":"1"},"min":{"cpu":"100m"}}""", """{"limits":{"cpu":"2"},"requests":{"cpu":"50m"}}""",
        "[minimum cpu usage per Container is 100m, but request is 50m, maximum cpu usage per Container is 1, but limit is 2]")]
    [InlineData("""{"type":"Container","maxLimitRequestRatio":{"cpu":"2"}}""", """{"limits":{"cpu":"3"},"requests":{"cpu":"1"}}""",
        "cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000")]
    [InlineData("""{"type":"Pod","max":{"memory":"1Gi"}}""", """{"limits":{"memory":"2Gi"},"requests":{"memory":"1Gi"}}""",
        "maximum memory usage per Pod is 1Gi, but limit is 2Gi")]
    [InlineData("""{"type":"Pod","min":{"memory":"1Gi"}}""", "{}", "minimum memory usage per Pod is 1Gi.  No request is specified")]
    public async Task Pod_OutsideTheBounds_IsForbidden(string limit, string resources, string why)
    {
        var ns = await RangeAsync(limit);
        var answer = await server.SendAsync(
            HttpMethod.Post, $"/api/v1/namespaces/{ns}/pods", $$$"""{"metadata":{"name":"p"},"spec":{"containers":[{"name":"a","image":"i","resources":{{{resources}}}}]}}""");
        Assert.Equal(403, answer.Code);
        Assert.Equal($"pods \"p\" is forbidden: {why}", answer.Message);
    }

    [Fact]
    public async Task Claim_AboveTheMaximum_IsForbidden()
    {
        var ns = await RangeAsync("""{"type":"PersistentVolumeClaim","max":{"storage":"1Gi"}}""");
        var answer = await server.SendAsync(HttpMethod.Post, $"/api/v1/namespaces/{ns}/persistentvolumeclaims",
            """{"metadata":{"name":"c"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"2Gi"}}}}""");
        Assert.Equal("persistentvolumeclaims \"c\" is forbidden: maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi", answer.Message);
    }

    private async Task<string> RangeAsync(string limit)
    {
        var ns = await server.NamespaceAsync();
        await server.CreateAsync($"/api/v1/namespaces/{ns}/limitranges", $$$"""{"metadata":{"name":"r"},"spec":{"limits":[{{{limit}}}]}}""");
        return ns;
    }
}
