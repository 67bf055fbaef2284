using System.Text.Json.Nodes;

namespace K3sFast.Tests;

/// <summary>Endpoints kept by hand show up as slices.</summary>
public sealed class MirroringTests(TestCluster cluster)
{
    [Fact]
    public async Task Endpoints_KeptByHand_AreMirroredAsLongAsTheyAreThere()
    {
        var ns = await cluster.NamespaceAsync();
        await cluster.CreateAsync($"/api/v1/namespaces/{ns}/services", """{"metadata":{"name":"s"},"spec":{"ports":[{"name":"p","port":80}]}}""");
        var endpoints = $"/api/v1/namespaces/{ns}/endpoints";
        await cluster.CreateAsync(endpoints, """{"metadata":{"name":"s"},"subsets":[{"addresses":[{"ip":"10.1.2.3"}],"ports":[{"name":"p","port":80}]}]}""");
        var slice = await UntilAsync(ns, static items => items.Count == 1);
        Assert.Equal("10.1.2.3", (string?)slice["endpoints"]![0]!["addresses"]![0]);
        Assert.Equal("endpointslicemirroring-controller.k8s.io", (string?)slice["metadata"]!["labels"]!["endpointslice.kubernetes.io/managed-by"]);
        await cluster.MergeAsync($"{endpoints}/s", """{"subsets":[{"addresses":[{"ip":"10.2.3.4"}],"ports":[{"name":"p","port":80}]}]}""");
        await UntilAsync(ns, static items => items.Count == 1 && (string?)items[0]!["endpoints"]![0]!["addresses"]![0] == "10.2.3.4");
        await cluster.DeleteAsync($"{endpoints}/s");
        await UntilAsync(ns, static items => items.Count == 0);
    }

    private async Task<JsonNode> UntilAsync(string ns, Func<JsonArray, bool> condition)
    {
        var list = await cluster.UntilAsync(
            $"/apis/discovery.k8s.io/v1/namespaces/{ns}/endpointslices?labelSelector=kubernetes.io/service-name%3Ds", found => condition((JsonArray)found["items"]!));
        return ((JsonArray)list["items"]!).FirstOrDefault() ?? list;
    }
}
