namespace K3sFast.Tests;

/// <summary>Claims and volumes outlive their deletion as long as they are used.</summary>
public sealed class VolumeProtectionTests(TestCluster cluster)
{
    [Fact]
    public async Task Claim_OfAPodOnANode_StaysUntilThePodIsGone()
    {
        var ns = await cluster.NamespaceAsync();
        var claim = $"/api/v1/namespaces/{ns}/persistentvolumeclaims/c";
        await cluster.CreateAsync($"/api/v1/namespaces/{ns}/persistentvolumeclaims", """{"metadata":{"name":"c"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1"}}}}""");
        await cluster.CreateAsync($"/api/v1/namespaces/{ns}/pods", """
            {"metadata":{"name":"p"},"spec":{"nodeName":"nowhere","volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"c"}}],"containers":[{"name":"a","image":"i"}]}}
            """);
        await cluster.DeleteAsync(claim);
        var kept = await cluster.GetAsync(claim);
        Assert.NotNull(kept["metadata"]!["deletionTimestamp"]);
        Assert.Equal("kubernetes.io/pvc-protection", (string?)kept["metadata"]!["finalizers"]![0]);
        await cluster.SendAsync("DELETE", $"/api/v1/namespaces/{ns}/pods/p?gracePeriodSeconds=0");
        await cluster.UntilAsync(claim, static answer => (int?)answer["code"] == 404);
    }

    [Fact]
    public async Task Volume_ThatIsBound_StaysUntilItIsReleased()
    {
        const string Volume = "/api/v1/persistentvolumes/kept";
        await cluster.CreateAsync("/api/v1/persistentvolumes", """
            {"metadata":{"name":"kept"},"spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"],"hostPath":{"path":"/tmp/kept"}}}
            """);
        await cluster.MergeAsync(Volume + "/status", """{"status":{"phase":"Bound"}}""");
        await cluster.DeleteAsync(Volume);
        Assert.NotNull((await cluster.GetAsync(Volume))["metadata"]!["deletionTimestamp"]);
        await cluster.MergeAsync(Volume + "/status", """{"status":{"phase":"Released"}}""");
        await cluster.UntilAsync(Volume, static answer => (int?)answer["code"] == 404);
    }
}
