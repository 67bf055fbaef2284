using System.Text.Json.Nodes;

namespace K3sFast.Tests;

/// <summary>Ranges of Services that come and go.</summary>
public sealed class ServiceCidrTests(TestCluster cluster)
{
    [Fact]
    public async Task Range_ThatIsDeleted_StaysUntilNoServiceNeedsIt()
    {
        const string Range = "/apis/networking.k8s.io/v1/servicecidrs/extra";
        await cluster.CreateAsync("/apis/networking.k8s.io/v1/servicecidrs", """{"metadata":{"name":"extra"},"spec":{"cidrs":["10.77.0.0/24"]}}""");
        var ready = await cluster.UntilAsync(Range, static range => Ready(range, "status") == "True");
        Assert.Equal("networking.k8s.io/service-cidr-finalizer", (string?)ready["metadata"]!["finalizers"]![0]);
        var ns = await cluster.NamespaceAsync();
        await cluster.CreateAsync($"/api/v1/namespaces/{ns}/services", """{"metadata":{"name":"s"},"spec":{"clusterIP":"10.77.0.7","ports":[{"port":80}]}}""");
        await cluster.DeleteAsync(Range);
        var kept = await cluster.UntilAsync(Range, static range => Ready(range, "status") == "False");
        Assert.Equal("Terminating", Ready(kept, "reason"));
        // Nobody gets an address of a range that is going.
        var (code, refused) = await cluster.SendAsync("POST", $"/api/v1/namespaces/{ns}/services", """{"metadata":{"name":"t"},"spec":{"clusterIP":"10.77.0.8","ports":[{"port":80}]}}""");
        Assert.True(code == 422, refused.ToJsonString());
        await cluster.DeleteAsync($"/api/v1/namespaces/{ns}/services/s");
        await cluster.UntilAsync(Range, static range => (int?)range["code"] == 404);
    }

    private static string? Ready(JsonNode range, string field) => (string?)range["status"]?["conditions"]?[0]?[field];
}
