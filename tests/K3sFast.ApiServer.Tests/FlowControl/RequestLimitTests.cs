using System.Net;
using System.Text;
using System.Text.Json.Nodes;

namespace K3sFast.ApiServer.Tests;

public sealed class RequestLimitTests(TestServer server)
{
    private const string Flow = "/apis/flowcontrol.apiserver.k8s.io/v1";

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(90);

    // Longer than anything here takes, on any machine.
    private static readonly TimeSpan s_ages = TimeSpan.FromMinutes(30);

    // A read that takes three seconds: it waits for a revision that does not come.
    private const string SlowRead = "/api/v1/namespaces/default/configmaps?resourceVersion=99999999";

    [Theory]
    [InlineData("abc", "invalid timeout specified in the request URL - time: invalid duration \"abc\"")]
    [InlineData("5", "invalid timeout specified in the request URL - time: missing unit in duration \"5\"")]
    [InlineData("5x", "invalid timeout specified in the request URL - time: unknown unit \"x\" in duration \"5x\"")]
    public async Task Timeout_ThatIsNone_IsRefused(string timeout, string message)
    {
        var answer = await server.GetAsync($"/api/v1/namespaces?timeout={timeout}");
        Assert.Equal((400, message), (answer.Code, answer.Message));
    }

    [Fact]
    public async Task Timeout_ThatPasses_IsAGatewayTimeout()
    {
        var answer = await server.GetAsync($"{SlowRead}&timeout=100ms");
        Assert.Equal((504, "text/plain; charset=utf-8"), (answer.Code, answer.ContentType));
        Assert.Equal("""{"metadata":{},"status":"Failure","message":"Timeout: request did not complete within the allotted timeout","reason":"Timeout","details":{},"code":504}""" + "\n", answer.Text);
        Assert.Equal(200, (await server.GetAsync("/api/v1/namespaces?timeout=0s")).Code);
        Assert.Equal(200, (await server.GetAsync("/api/v1/namespaces?timeout=34m")).Code);
    }

    [Fact]
    public async Task Answer_ToAFlow_NamesItsSchemaAndLevel()
    {
        using var response = await server.Admin.GetAsync("/api/v1/namespaces", TestContext.Current.CancellationToken);
        var schema = await server.GetAsync($"{Flow}/flowschemas/exempt");
        var level = await server.GetAsync($"{Flow}/prioritylevelconfigurations/exempt");
        Assert.Equal((string?)schema.Json["metadata"]!["uid"], response.Headers.GetValues("X-Kubernetes-PF-FlowSchema-UID").Single());
        Assert.Equal((string?)level.Json["metadata"]!["uid"], response.Headers.GetValues("X-Kubernetes-PF-PriorityLevel-UID").Single());
    }

    [Fact]
    public async Task Cluster_AtItsBirth_HasUpstreamsSchemasAndLevels()
    {
        var schemas = await server.GetAsync($"{Flow}/flowschemas");
        foreach (var name in (string[])["catch-all", "exempt", "global-default", "kube-controller-manager", "kube-scheduler", "kube-system-service-accounts", "probes", "service-accounts", "system-leader-election", "system-node-high", "system-nodes"])
        {
            var schema = schemas.Json["items"]!.AsArray().Single(item => (string?)item!["metadata"]!["name"] == name)!;
            Assert.Equal("true", (string?)schema["metadata"]!["annotations"]!["apf.kubernetes.io/autoupdate-spec"]);
            var condition = schema["status"]!["conditions"]![0]!;
            Assert.Equal(("Dangling", "False", "Found"), ((string?)condition["type"], (string?)condition["status"], (string?)condition["reason"]));
            var level = (string)schema["spec"]!["priorityLevelConfiguration"]!["name"]!;
            Assert.Equal($"This FlowSchema references the PriorityLevelConfiguration object named \"{level}\" and it exists", (string?)condition["message"]);
            Assert.Equal(200, (await server.GetAsync($"{Flow}/prioritylevelconfigurations/{level}")).Code);
        }
    }

    [Fact]
    public async Task Schema_WhoseLevelIsMissing_Dangles()
    {
        var name = $"dangling-{Guid.NewGuid():N}";
        await server.CreateAsync($"{Flow}/flowschemas", $$$"""{"metadata":{"name":"{{{name}}}"},"spec":{"priorityLevelConfiguration":{"name":"{{{name}}}"},"matchingPrecedence":9999,"rules":[{"subjects":[{"kind":"User","user":{"name":"nobody-{{{name}}}" } }],"nonResourceRules":[{"verbs":["*"],"nonResourceURLs":["*"]}]}]} }""");
        var condition = await ConditionAsync(name, "True");
        Assert.Equal($"This FlowSchema references the PriorityLevelConfiguration object named \"{name}\" but there is no such object", (string?)condition["message"]);
        await server.CreateAsync($"{Flow}/prioritylevelconfigurations", $$$"""{"metadata":{"name":"{{{name}}}"},"spec":{"type":"Limited","limited":{"nominalConcurrencyShares":1,"limitResponse":{"type":"Reject"} } } }""");
        await ConditionAsync(name, "False");
        await server.SendAsync(HttpMethod.Delete, $"{Flow}/flowschemas/{name}");
        await server.SendAsync(HttpMethod.Delete, $"{Flow}/prioritylevelconfigurations/{name}");
    }

    [Fact]
    public async Task Limits_WithoutFairness_RefuseWhatIsTooMuch()
    {
        var gate = new AdmissionGate();
        await using var small = await OwnServer.StartAsync(
            options => options with { EnablePriorityAndFairness = false, MaxRequestsInFlight = 1, MaxMutatingRequestsInFlight = 1, MoreAdmission = [gate], RequestTimeout = s_ages });
        await AllowAsync(small, "bob");
        var bob = small.ClientAs("bob");
        var slow = await TakeTheSeatAsync(bob, gate);
        using var refused = await WriteAsync(bob, "beside");
        Assert.Equal(HttpStatusCode.TooManyRequests, refused.StatusCode);
        Assert.Equal("1", refused.Headers.GetValues("Retry-After").Single());
        Assert.Equal("Too many requests, please try again later.\n", await refused.Content.ReadAsStringAsync(TestContext.Current.CancellationToken));
        Assert.Equal("text/plain; charset=utf-8", refused.Content.Headers.ContentType!.ToString());
        Assert.False(refused.Headers.Contains("X-Kubernetes-PF-FlowSchema-UID"));
        // Reads are counted apart, watches not at all, and the administrator always gets an answer.
        using var read = await UntilAsync(bob, "/api/v1/namespaces", HttpStatusCode.OK);
        using var watch = await bob.GetAsync("/api/v1/namespaces?watch=1&timeoutSeconds=1", HttpCompletionOption.ResponseHeadersRead, TestContext.Current.CancellationToken);
        Assert.Equal(HttpStatusCode.OK, watch.StatusCode);
        using var master = await WriteAsync(small.ClientAs("root", "system:masters"), "masters");
        Assert.Equal(HttpStatusCode.Created, master.StatusCode);
        gate.Open();
        using var late = await slow;
        Assert.Equal(HttpStatusCode.Created, late.StatusCode);
        using var limit = new CancellationTokenSource(s_patience);
        for (var tries = 0; ; tries++)
        {
            using var after = await WriteAsync(bob, $"after-{tries}");
            if (after.StatusCode == HttpStatusCode.Created)
                break;
            await Task.Delay(10, limit.Token);
        }
    }

    [Theory]
    [InlineData("""{"type":"Reject"}""", false)]
    [InlineData("""{"type":"Queue","queuing":{"queues":8,"handSize":2,"queueLengthLimit":2}}""", true)]
    public async Task Level_WhoseSeatsAreTaken_RefusesOrQueues(string response, bool queues)
    {
        var gate = new AdmissionGate();
        await using var small = await OwnServer.StartAsync(
            options => options with { MaxRequestsInFlight = 100, MaxMutatingRequestsInFlight = 100, MoreAdmission = [gate], RequestTimeout = s_ages });
        await AllowAsync(small, "bob");
        await small.CreateAsync($"{Flow}/prioritylevelconfigurations", $$$"""{"metadata":{"name":"tiny"},"spec":{"type":"Limited","limited":{"nominalConcurrencyShares":1,"borrowingLimitPercent":0,"limitResponse":{{{response}}} } } }""");
        var schema = await small.CreateAsync($"{Flow}/flowschemas", """{"metadata":{"name":"tiny"},"spec":{"priorityLevelConfiguration":{"name":"tiny"},"matchingPrecedence":50,"distinguisherMethod":{"type":"ByUser"},"rules":[{"subjects":[{"kind":"User","user":{"name":"bob"}}],"resourceRules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"],"clusterScope":true,"namespaces":["*"]}]}]}}""");
        var uid = (string)schema["metadata"]!["uid"]!;
        var bob = small.ClientAs("bob");
        await UntilFlowAsync(bob, uid);
        var slow = await TakeTheSeatAsync(bob, gate);
        var second = bob.GetAsync("/api/v1/namespaces", TestContext.Current.CancellationToken);
        if (queues)
        {
            await UntilDumpAsync(small, static row => row.StartsWith("tiny,", StringComparison.Ordinal) && row.Split(',')[4].Trim() == "1");
            Assert.False(second.IsCompleted);
            gate.Open();
        }
        using var answer = await second;
        Assert.Equal(queues ? HttpStatusCode.OK : HttpStatusCode.TooManyRequests, answer.StatusCode);
        Assert.Equal(uid, answer.Headers.GetValues("X-Kubernetes-PF-FlowSchema-UID").Single());
        if (!queues)
            Assert.Equal("1", answer.Headers.GetValues("Retry-After").Single());
        var metrics = await MetricsAsync(small);
        Assert.Contains("apiserver_flowcontrol_current_inqueue_requests{flow_schema=\"tiny\",priority_level=\"tiny\"} 0\n", metrics, StringComparison.Ordinal);
        Assert.Equal(!queues, metrics.Contains("apiserver_flowcontrol_rejected_requests_total{flow_schema=\"tiny\",priority_level=\"tiny\",reason=\"concurrency-limit\"} ", StringComparison.Ordinal));
        Assert.Matches($"apiserver_flowcontrol_request_wait_duration_seconds_count{{execute=\"{(queues ? "true" : "false")}\",flow_schema=\"tiny\",priority_level=\"tiny\"}} [1-9]", metrics);
        gate.Open();
        using var late = await slow;
        Assert.Equal(HttpStatusCode.Created, late.StatusCode);
        await UntilDumpAsync(small, static row => row.StartsWith("tiny,", StringComparison.Ordinal) && row.Split(',')[5].Trim() == "0");
        // A watch gives its seat back as soon as it has begun.
        using var watch = await bob.GetAsync("/api/v1/namespaces?watch=1&timeoutSeconds=300", HttpCompletionOption.ResponseHeadersRead, TestContext.Current.CancellationToken);
        await UntilDumpAsync(small, static row => row.StartsWith("tiny,", StringComparison.Ordinal) && row.Split(',')[5].Trim() == "0");
        using var beside = await bob.GetAsync("/api/v1/namespaces", TestContext.Current.CancellationToken);
        Assert.Equal(HttpStatusCode.OK, beside.StatusCode);
    }

    private static Task<string> MetricsAsync(OwnServer small) =>
        small.ClientAs("root", "system:masters").GetStringAsync("/metrics", TestContext.Current.CancellationToken);

    [Fact]
    public async Task Suggested_Level_IsKeptAsItsAnnotationSays()
    {
        await using var small = await OwnServer.StartAsync();
        await PatchLevelAsync(small, "global-default", "false", 21);
        await PatchLevelAsync(small, "workload-low", "true", 101);
        await small.CreateAsync($"{Flow}/prioritylevelconfigurations", """{"metadata":{"name":"once-suggested","annotations":{"apf.kubernetes.io/autoupdate-spec":"true"}},"spec":{"type":"Limited","limited":{"nominalConcurrencyShares":1,"limitResponse":{"type":"Reject"}}}}""");
        await small.CreateAsync($"{Flow}/prioritylevelconfigurations", """{"metadata":{"name":"mine"},"spec":{"type":"Limited","limited":{"nominalConcurrencyShares":1,"limitResponse":{"type":"Reject"}}}}""");
        await small.RestartCompactedAsync();
        Assert.Equal(21, await SharesAsync(small, "global-default"));
        Assert.Equal(100, await SharesAsync(small, "workload-low"));
        Assert.Equal(1, await SharesAsync(small, "mine"));
        Assert.Equal(404, (int)(await small.GetAsync($"{Flow}/prioritylevelconfigurations/once-suggested"))["code"]!);
    }

    [Fact]
    public async Task Target_OfAHundredKilobytes_IsRead()
    {
        var answer = await server.GetAsync($"/api/v1/namespaces?labelSelector=a+in+({string.Join(',', Enumerable.Range(0, 12_000).Select(static i => $"v{i:D6}"))})");
        Assert.True(answer.Code == 200, answer.Text[..Math.Min(200, answer.Text.Length)]);
    }

    private static async Task PatchLevelAsync(OwnServer small, string name, string annotation, int shares)
    {
        var answer = await small.SendAsync(
            "PATCH", $"{Flow}/prioritylevelconfigurations/{name}",
            $$$"""{"metadata":{"annotations":{"apf.kubernetes.io/autoupdate-spec":"{{{annotation}}}"} },"spec":{"limited":{"nominalConcurrencyShares":{{{shares}}} } } }""", "application/merge-patch+json");
        Assert.Equal(shares, (int)answer["spec"]!["limited"]!["nominalConcurrencyShares"]!);
    }

    private static async Task<int> SharesAsync(OwnServer small, string name) =>
        (int)(await small.GetAsync($"{Flow}/prioritylevelconfigurations/{name}"))["spec"]!["limited"]!["nominalConcurrencyShares"]!;

    private static async Task AllowAsync(OwnServer small, string user)
    {
        await small.CreateAsync("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", $$$"""{"metadata":{"name":"{{{user}}}"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"cluster-admin"},"subjects":[{"kind":"User","name":"{{{user}}}","apiGroup":"rbac.authorization.k8s.io"}]}""");
        await UntilAsync(small.ClientAs(user), "/api/v1/namespaces", HttpStatusCode.OK);
    }

    private static async Task UntilFlowAsync(HttpClient client, string uid)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(TimeSpan.FromSeconds(90));
        while (true)
        {
            using var response = await client.GetAsync("/api/v1/namespaces/default", limit.Token);
            if (response.Headers.GetValues("X-Kubernetes-PF-FlowSchema-UID").Single() == uid)
                return;
            await Task.Delay(20, limit.Token);
        }
    }

    private static async Task<HttpResponseMessage> UntilAsync(HttpClient client, string path, HttpStatusCode code)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(TimeSpan.FromSeconds(90));
        while (true)
        {
            var response = await client.GetAsync(path, limit.Token);
            if (response.StatusCode == code)
                return response;
            response.Dispose();
            await Task.Delay(10, limit.Token);
        }
    }

    // A write that holds the only seat until the gate opens. An answer reaches its client before its seat is free again, so the write may itself be
    // refused, or wait, because of the request before it; then it begins anew.
    private static async Task<Task<HttpResponseMessage>> TakeTheSeatAsync(HttpClient client, AdmissionGate gate)
    {
        using var limit = new CancellationTokenSource(s_patience);
        while (true)
        {
            var seated = WriteAsync(client, AdmissionGate.Held);
            if (await Task.WhenAny(seated, gate.Reached).WaitAsync(limit.Token) == gate.Reached)
                return seated;
            (await seated).Dispose();
            await Task.Delay(10, limit.Token);
        }
    }

    private static Task<HttpResponseMessage> WriteAsync(HttpClient client, string name) => client.PostAsync(
        new Uri("/api/v1/namespaces/default/configmaps", UriKind.Relative), new StringContent($$$"""{"metadata":{"name":"{{{name}}}"}}""", Encoding.UTF8, "application/json"),
        TestContext.Current.CancellationToken);

    private static async Task UntilDumpAsync(OwnServer small, Func<string, bool> isReached)
    {
        var admin = small.ClientAs("root", "system:masters");
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(TimeSpan.FromSeconds(90));
        while (!(await admin.GetStringAsync("/debug/api_priority_and_fairness/dump_priority_levels", limit.Token)).Split('\n').Any(isReached))
            await Task.Delay(10, limit.Token);
    }

    private async Task<JsonNode> ConditionAsync(string name, string status)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(TimeSpan.FromSeconds(90));
        while (true)
        {
            var condition = (await server.GetAsync($"{Flow}/flowschemas/{name}")).Json["status"]?["conditions"]?[0];
            if ((string?)condition?["status"] == status)
                return condition;
            await Task.Delay(20, limit.Token);
        }
    }
}
