using System.Text.Json.Nodes;

namespace K3sFast.Tests;

/// <summary>Disruption budgets and evictions.</summary>
public sealed class DisruptionTests(TestCluster cluster)
{
    [Fact]
    public async Task Eviction_IsAllowedAsLongAsEnoughPodsAreHealthy()
    {
        var ns = await cluster.NamespaceAsync();
        for (var i = 0; i < 2; i++)
            await ReadyPodAsync(ns, $"p{i}");
        await cluster.CreateAsync($"/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets", """{"metadata":{"name":"b"},"spec":{"minAvailable":1,"selector":{"matchLabels":{"a":"b"}}}}""");
        var budget = await UntilAsync(ns, static status => (int?)status["disruptionsAllowed"] == 1);
        Assert.Equal((2, 2, 1), ((int)budget["expectedPods"]!, (int)budget["currentHealthy"]!, (int)budget["desiredHealthy"]!));
        Assert.Equal("SufficientPods", (string?)budget["conditions"]![0]!["reason"]);

        var first = await EvictAsync(ns, "p0");
        Assert.True(first.Code == 201, first.Body.ToJsonString());
        await UntilAsync(ns, static status => (int?)status["disruptionsAllowed"] == 0 && (string?)status["conditions"]![0]!["reason"] == "InsufficientPods" && (int)status["expectedPods"]! == 1);
        var second = await EvictAsync(ns, "p1");
        Assert.Equal(429, second.Code);
        Assert.Equal("Cannot evict pod as it would violate the pod's disruption budget.", (string?)second.Body["message"]);
        Assert.Equal("The disruption budget b needs 1 healthy pods and has 1 currently", (string?)second.Body["details"]!["causes"]![0]!["message"]);
    }

    [Fact]
    public async Task Budget_ByPercentage_CountsThePodsThatTheWorkloadWants()
    {
        var ns = await cluster.NamespaceAsync();
        await cluster.CreateAsync($"/apis/apps/v1/namespaces/{ns}/deployments", """
            {"metadata":{"name":"d"},"spec":{"replicas":4,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"a","image":"i"}]}}}}
            """);
        await cluster.CreateAsync($"/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets", """{"metadata":{"name":"b"},"spec":{"maxUnavailable":"25%","selector":{"matchLabels":{"a":"b"}}}}""");
        await UntilAsync(ns, static status => (int?)status["expectedPods"] == 4 && (int?)status["desiredHealthy"] == 3 && (int?)status["disruptionsAllowed"] == 0);
        await cluster.MergeAsync($"/apis/apps/v1/namespaces/{ns}/deployments/d/scale", """{"spec":{"replicas":8}}""");
        await UntilAsync(ns, static status => (int?)status["expectedPods"] == 8 && (int?)status["desiredHealthy"] == 6);
    }

    [Theory]
    [InlineData("", 429)]
    [InlineData("\"unhealthyPodEvictionPolicy\":\"AlwaysAllow\",", 201)]
    public async Task Eviction_OfAPodThatIsNotReady_IsTheBudgetsChoice(string policy, int code)
    {
        var ns = await cluster.NamespaceAsync();
        await cluster.CreateAsync($"/api/v1/namespaces/{ns}/pods", """{"metadata":{"name":"p","labels":{"a":"b"}},"spec":{"nodeName":"nowhere","containers":[{"name":"a","image":"i"}]}}""");
        await cluster.MergeAsync($"/api/v1/namespaces/{ns}/pods/p/status", """{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"False"}]}}""");
        await cluster.CreateAsync(
            $"/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets", "{\"metadata\":{\"name\":\"b\"},\"spec\":{" + policy + "\"minAvailable\":1,\"selector\":{\"matchLabels\":{\"a\":\"b\"}}}}");
        await UntilAsync(ns, static status => (int?)status["expectedPods"] == 1);
        var answer = await EvictAsync(ns, "p");
        Assert.True(answer.Code == code, answer.Body.ToJsonString());
        var pod = await cluster.GetAsync($"/api/v1/namespaces/{ns}/pods/p");
        Assert.Equal(code == 201, pod["metadata"]!["deletionTimestamp"] is not null);
        var target = ((JsonArray)pod["status"]!["conditions"]!).FirstOrDefault(static condition => (string?)condition!["type"] == "DisruptionTarget");
        Assert.Equal(code == 201 ? "EvictionByEvictionAPI" : null, (string?)target?["reason"]);
    }

    private async Task<JsonNode> UntilAsync(string ns, Func<JsonNode, bool> condition) => (await cluster.UntilAsync(
        $"/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets/b", budget => budget["status"]?["conditions"] is not null && condition(budget["status"]!)))["status"]!;

    private Task<(int Code, JsonNode Body)> EvictAsync(string ns, string name) => cluster.SendAsync(
        "POST", $"/api/v1/namespaces/{ns}/pods/{name}/eviction", $$$"""{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"{{{name}}}"}}""");

    private async Task ReadyPodAsync(string ns, string name)
    {
        await cluster.CreateAsync($"/api/v1/namespaces/{ns}/pods", $$$"""{"metadata":{"name":"{{{name}}}","labels":{"a":"b"}},"spec":{"containers":[{"name":"a","image":"i"}]}}""");
        await cluster.MergeAsync($"/api/v1/namespaces/{ns}/pods/{name}/status", """{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}""");
    }
}
