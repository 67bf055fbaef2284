using System.Text.Json.Nodes;

namespace K3sFast.Tests;

/// <summary>A quota's life with admission and controller together, as Kubernetes' own tests walk through it.</summary>
public sealed class ResourceQuotaTests(TestCluster cluster)
{
    [Fact]
    public async Task Quota_New_HasItsStatusPromptly()
    {
        var ns = await QuotaAsync("""{"pods":"5","count/replicasets.apps":"5","configmaps":"10","requests.storage":"1Gi"}""");
        var status = (await UsedAsync(ns, static used => used["pods"]?.ToString() == "0"))["status"]!;
        Assert.Equal("""{"configmaps":"10","count/replicasets.apps":"5","pods":"5","requests.storage":"1Gi"}""", status["hard"]!.ToJsonString());
        // The root CA's publisher has written one.
        await UsedAsync(ns, static used => used["configmaps"]?.ToString() == "1" && used["requests.storage"]?.ToString() == "0");
    }

    [Fact]
    public async Task Pod_FromFirstToLast_IsCountedAndGivenBack()
    {
        var ns = await QuotaAsync("""{"pods":"5","cpu":"1","memory":"500Mi","ephemeral-storage":"50Gi","requests.example.com/dongle":"3"}""");
        await UsedAsync(ns, static used => used["pods"]?.ToString() == "0");
        await cluster.CreateAsync($"/api/v1/namespaces/{ns}/pods", Pod("p", """{"requests":{"cpu":"500m","memory":"252Mi","ephemeral-storage":"30Gi","example.com/dongle":"2"},"limits":{"example.com/dongle":"2"}}"""));
        var used = (await UsedAsync(ns, static used => used["pods"]?.ToString() == "1"))["status"]!["used"]!;
        Assert.Equal("""{"cpu":"500m","ephemeral-storage":"30Gi","memory":"252Mi","pods":"1","requests.example.com/dongle":"2"}""", used.ToJsonString());
        var (code, refused) = await cluster.SendAsync("POST", $"/api/v1/namespaces/{ns}/pods", Pod("q", """{"requests":{"cpu":"600m","memory":"1Mi"}}"""));
        Assert.Equal(403, code);
        Assert.Equal("pods \"q\" is forbidden: exceeded quota: q, requested: cpu=600m, used: cpu=500m, limited: cpu=1", (string?)refused["message"]);
        await cluster.DeleteAsync($"/api/v1/namespaces/{ns}/pods/p");
        used = (await UsedAsync(ns, static used => used["pods"]?.ToString() == "0"))["status"]!["used"]!;
        Assert.Equal("""{"cpu":"0","ephemeral-storage":"0","memory":"0","pods":"0","requests.example.com/dongle":"0"}""", used.ToJsonString());
    }

    [Fact]
    public async Task Pod_ThatEnded_UsesNothingButItsPlaceInTheCount()
    {
        var ns = await QuotaAsync("""{"pods":"5","count/pods":"5"}""");
        await UsedAsync(ns, static used => used["pods"]?.ToString() == "0");
        await cluster.CreateAsync($"/api/v1/namespaces/{ns}/pods", Pod("p", "{}"));
        await UsedAsync(ns, static used => used["pods"]?.ToString() == "1");
        await cluster.MergeAsync($"/api/v1/namespaces/{ns}/pods/p/status", """{"status":{"phase":"Succeeded"}}""");
        await UsedAsync(ns, static used => used["pods"]?.ToString() == "0" && used["count/pods"]?.ToString() == "1");
    }

    [Theory]
    [InlineData("services", "/api/v1/namespaces/NS/services", """{"metadata":{"name":"x"},"spec":{"type":"NodePort","ports":[{"port":80}]}}""", "services.nodeports")]
    [InlineData("secrets", "/api/v1/namespaces/NS/secrets", """{"metadata":{"name":"x"}}""", "count/secrets")]
    [InlineData("replicationcontrollers", "/api/v1/namespaces/NS/replicationcontrollers",
        """{"metadata":{"name":"x"},"spec":{"replicas":0,"selector":{"a":"b"},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"a","image":"i"}]}}}}""", "replicationcontrollers")]
    [InlineData("count/replicasets.apps", "/apis/apps/v1/namespaces/NS/replicasets",
        """{"metadata":{"name":"x"},"spec":{"replicas":0,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"a","image":"i"}]}}}}""", "count/replicasets.apps")]
    [InlineData("gold.storageclass.storage.k8s.io/requests.storage", "/api/v1/namespaces/NS/persistentvolumeclaims",
        """{"metadata":{"name":"x"},"spec":{"storageClassName":"gold","accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1"}}}}""", "persistentvolumeclaims")]
    public async Task Object_OfAnyCountedKind_IsCountedAndGivenBack(string name, string path, string body, string other)
    {
        var hard = new JsonObject { [name] = "5" };
        hard[other] = "5";
        var ns = await QuotaAsync(hard.ToJsonString());
        await UsedAsync(ns, used => used[name]?.ToString() == "0" && used[other]?.ToString() == "0");
        path = path.Replace("NS", ns, StringComparison.Ordinal);
        await cluster.CreateAsync(path, body);
        await UsedAsync(ns, used => used[name]?.ToString() == "1" && used[other]?.ToString() == "1");
        await cluster.DeleteAsync($"{path}/x");
        await UsedAsync(ns, used => used[name]?.ToString() == "0" && used[other]?.ToString() == "0");
    }

    [Fact]
    public async Task Scopes_SplitPodsBetweenQuotas()
    {
        var ns = await cluster.NamespaceAsync();
        await cluster.CreateAsync($"/api/v1/namespaces/{ns}/resourcequotas", """{"metadata":{"name":"best"},"spec":{"hard":{"pods":"5"},"scopes":["BestEffort"]}}""");
        await cluster.CreateAsync($"/api/v1/namespaces/{ns}/resourcequotas", """{"metadata":{"name":"not"},"spec":{"hard":{"pods":"5"},"scopes":["NotBestEffort"]}}""");
        var paths = (Best: $"/api/v1/namespaces/{ns}/resourcequotas/best", Not: $"/api/v1/namespaces/{ns}/resourcequotas/not");
        await cluster.UntilAsync(paths.Best, static quota => Used(quota, "pods") == "0");
        await cluster.UntilAsync(paths.Not, static quota => Used(quota, "pods") == "0");
        await cluster.CreateAsync($"/api/v1/namespaces/{ns}/pods", Pod("p", "{}"));
        await cluster.UntilAsync(paths.Best, static quota => Used(quota, "pods") == "1");
        Assert.Equal("0", Used(await cluster.GetAsync(paths.Not), "pods"));
        await cluster.DeleteAsync($"/api/v1/namespaces/{ns}/pods/p");
        await cluster.UntilAsync(paths.Best, static quota => Used(quota, "pods") == "0");
    }

    [Fact]
    public async Task Quota_Changed_IsCountedAnew()
    {
        var ns = await QuotaAsync("""{"configmaps":"10"}""");
        await UsedAsync(ns, static used => used["configmaps"]?.ToString() == "1");
        await cluster.MergeAsync($"/api/v1/namespaces/{ns}/resourcequotas/q", """{"spec":{"hard":{"configmaps":"2","secrets":"3"}}}""");
        var quota = await UsedAsync(ns, static used => used["secrets"]?.ToString() == "0");
        Assert.Equal("""{"configmaps":"2","secrets":"3"}""", quota["status"]!["hard"]!.ToJsonString());
    }

    private static string? Used(JsonNode quota, string name) => quota["status"]?["used"]?[name]?.ToString();

    private static string Pod(string name, string resources) =>
        $$$"""{"metadata":{"name":"{{{name}}}"},"spec":{"containers":[{"name":"a","image":"i","resources":{{{resources}}} }]}}""";

    private Task<JsonNode> UsedAsync(string ns, Func<JsonNode, bool> condition) => cluster.UntilAsync(
        $"/api/v1/namespaces/{ns}/resourcequotas/q", quota => quota["status"]?["used"] is { } used && condition(used));

    private async Task<string> QuotaAsync(string hard)
    {
        var ns = await cluster.NamespaceAsync();
        await cluster.UntilAsync($"/api/v1/namespaces/{ns}/configmaps/kube-root-ca.crt", static map => map["data"] is not null);
        await cluster.CreateAsync($"/api/v1/namespaces/{ns}/resourcequotas", $$$"""{"metadata":{"name":"q"},"spec":{"hard":{{{hard}}} }}""");
        return ns;
    }
}
