using System.Text.Json.Nodes;

namespace K3sFast.ApiServer.Tests;

/// <summary>Quota at admission. Nobody runs the quota controller here: the tests write a quota's first status themselves.</summary>
public sealed class ResourceQuotaTests(TestServer server)
{
    [Fact]
    public async Task Writes_InParallel_NeverUseMoreThanTheQuota()
    {
        var ns = await QuotaAsync("""{"count/configmaps":"10"}""", """{"count/configmaps":"0"}""");
        var answers = await Task.WhenAll(Enumerable.Range(0, 40).Select(i => server.SendAsync(
            HttpMethod.Post, $"/api/v1/namespaces/{ns}/configmaps", $$$"""{"metadata":{"name":"c{{{i}}}"}}""")));
        Assert.Equal(10, answers.Count(static answer => answer.Code == 201));
        Assert.Equal("10", (string?)(await UsedAsync(ns))["count/configmaps"]);
        Assert.All(answers.Where(static answer => answer.Code != 201), static answer => Assert.Equal(403, answer.Code));
        Assert.Contains(
            "is forbidden: exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=10, limited: count/configmaps=10",
            answers.First(static answer => answer.Code == 403).Message);
    }

    [Fact]
    public async Task Pod_WithoutRequests_MustSpecifyThem()
    {
        var ns = await QuotaAsync("""{"requests.cpu":"1","limits.memory":"1Gi"}""", """{"requests.cpu":"0","limits.memory":"0"}""");
        var answer = await PodAsync(ns, "p", """{"containers":[{"name":"a","image":"i"},{"name":"b","image":"i","resources":{"limits":{"memory":"1Mi","cpu":"1m"}}}]}""");
        Assert.Equal("pods \"p\" is forbidden: failed quota: q: must specify limits.memory for: a; requests.cpu for: a", answer.Message);
    }

    [Fact]
    public async Task Pod_BeyondTheQuota_IsToldAllThatItExceeds()
    {
        var ns = await QuotaAsync("""{"cpu":"1","memory":"500Mi","pods":"5"}""", """{"cpu":"500m","memory":"252Mi","pods":"1"}""");
        var answer = await PodAsync(ns, "p", """{"containers":[{"name":"a","image":"i","resources":{"requests":{"cpu":"600m","memory":"100Mi"}}}]}""");
        Assert.Equal("pods \"p\" is forbidden: exceeded quota: q, requested: cpu=600m, used: cpu=500m, limited: cpu=1", answer.Message);
        Assert.Equal(201, (await PodAsync(ns, "p", """{"containers":[{"name":"a","image":"i","resources":{"requests":{"cpu":"400m","memory":"100Mi"}}}]}""")).Code);
        Assert.Equal("""{"cpu":"900m","memory":"352Mi","pods":"2"}""", (await UsedAsync(ns)).ToJsonString());
    }

    [Fact]
    public async Task DryRun_ChargesNothing()
    {
        var ns = await QuotaAsync("""{"count/secrets":"1"}""", """{"count/secrets":"0"}""");
        var path = $"/api/v1/namespaces/{ns}/secrets";
        Assert.Equal(201, (await server.SendAsync(HttpMethod.Post, $"{path}?dryRun=All", """{"metadata":{"name":"s"}}""")).Code);
        Assert.Equal("0", (string?)(await UsedAsync(ns))["count/secrets"]);
    }

    [Theory]
    [InlineData("\"scopes\":[\"BestEffort\"]", "{}", true)]
    [InlineData("\"scopes\":[\"NotBestEffort\"]", "{}", false)]
    [InlineData("\"scopes\":[\"Terminating\"]", "{\"activeDeadlineSeconds\":10}", true)]
    [InlineData("\"scopes\":[\"NotTerminating\"]", "{\"activeDeadlineSeconds\":10}", false)]
    [InlineData("\"scopeSelector\":{\"matchExpressions\":[{\"scopeName\":\"PriorityClass\",\"operator\":\"In\",\"values\":[\"system-node-critical\"]}]}",
        "{\"priorityClassName\":\"system-node-critical\"}", true)]
    [InlineData("\"scopeSelector\":{\"matchExpressions\":[{\"scopeName\":\"PriorityClass\",\"operator\":\"NotIn\",\"values\":[\"system-node-critical\"]}]}",
        "{\"priorityClassName\":\"system-node-critical\"}", false)]
    [InlineData("\"scopeSelector\":{\"matchExpressions\":[{\"scopeName\":\"CrossNamespacePodAffinity\",\"operator\":\"Exists\"}]}",
        "{\"affinity\":{\"podAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[{\"topologyKey\":\"kubernetes.io/hostname\",\"namespaces\":[\"x\"],\"labelSelector\":{}}]}}}", true)]
    public async Task Scope_DecidesWhetherAPodCounts(string scope, string extra, bool isCounted)
    {
        var ns = await QuotaAsync("""{"pods":"0"}""", """{"pods":"0"}""", scope);
        var spec = (JsonObject)JsonNode.Parse(extra)!;
        spec["containers"] = JsonNode.Parse("""[{"name":"a","image":"i"}]""");
        var answer = await PodAsync(ns, "p", spec.ToJsonString());
        Assert.True(answer.Code == (isCounted ? 403 : 201), answer.Text);
    }

    [Fact]
    public async Task Services_CountTheirNodePortsAlsoWhenTheyChange()
    {
        var ns = await QuotaAsync("""{"services":"2","services.nodeports":"1"}""", """{"services":"0","services.nodeports":"0"}""");
        var path = $"/api/v1/namespaces/{ns}/services";
        await server.CreateAsync(path, """{"metadata":{"name":"a"},"spec":{"ports":[{"port":80}]}}""");
        var change = await server.SendAsync(HttpMethod.Patch, $"{path}/a", """{"spec":{"type":"NodePort"}}""", "application/merge-patch+json");
        Assert.True(change.Code == 200, change.Text);
        var second = await server.SendAsync(HttpMethod.Post, path, """{"metadata":{"name":"b"},"spec":{"type":"NodePort","ports":[{"port":80}]}}""");
        Assert.Equal("services \"b\" is forbidden: exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=1, limited: services.nodeports=1", second.Message);
    }

    [Fact]
    public async Task Quota_WithoutStatus_CannotBeJudged()
    {
        var ns = await QuotaAsync("""{"count/configmaps":"1"}""", null);
        var answer = await server.SendAsync(HttpMethod.Post, $"/api/v1/namespaces/{ns}/configmaps", """{"metadata":{"name":"c"}}""");
        Assert.Equal("configmaps \"c\" is forbidden: status unknown for quota: q, resources: count/configmaps", answer.Message);
    }

    private Task<Answer> PodAsync(string ns, string name, string spec) => server.SendAsync(
        HttpMethod.Post, $"/api/v1/namespaces/{ns}/pods", $$$"""{"metadata":{"name":"{{{name}}}"},"spec":{{{spec}}}}""");

    private async Task<JsonNode> UsedAsync(string ns) => (await server.GetAsync($"/api/v1/namespaces/{ns}/resourcequotas/q")).Json["status"]!["used"]!;

    private async Task<string> QuotaAsync(string hard, string? used, string? scope = null)
    {
        var ns = await server.NamespaceAsync();
        var rest = scope is null ? "" : "," + scope;
        await server.CreateAsync($"/api/v1/namespaces/{ns}/resourcequotas", $$$"""{"metadata":{"name":"q"},"spec":{"hard":{{{hard}}}{{{rest}}}}}""");
        var status = used is null ? $$$"""{"hard":{{{hard}}}}""" : $$$"""{"hard":{{{hard}}},"used":{{{used}}}}""";
        var answer = await server.SendAsync(
            HttpMethod.Patch, $"/api/v1/namespaces/{ns}/resourcequotas/q/status", $$$"""{"status":{{{status}}}}""", "application/merge-patch+json");
        Assert.True(answer.Code == 200, answer.Text);
        return ns;
    }
}
