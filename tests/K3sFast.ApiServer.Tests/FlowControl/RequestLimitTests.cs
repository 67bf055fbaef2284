using System.Net;
using System.Text.Json.Nodes;

namespace K3sFast.ApiServer.Tests;

public sealed class RequestLimitTests(TestServer server)
{
    private const string Flow = "/apis/flowcontrol.apiserver.k8s.io/v1";

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
        await using var small = await SmallServer.StartAsync(static options => options with { EnablePriorityAndFairness = false, MaxRequestsInFlight = 1, MaxMutatingRequestsInFlight = 1 });
        await AllowAsync(small, "bob");
        var bob = small.ClientAs("bob");
        var (slow, refusal) = await TakeTheSeatAsync(bob);
        using var refused = refusal;
        Assert.Equal("1", refused.Headers.GetValues("Retry-After").Single());
        Assert.Equal("Too many requests, please try again later.\n", await refused.Content.ReadAsStringAsync(TestContext.Current.CancellationToken));
        Assert.Equal("text/plain; charset=utf-8", refused.Content.Headers.ContentType!.ToString());
        Assert.False(refused.Headers.Contains("X-Kubernetes-PF-FlowSchema-UID"));
        // Watches do not count, and the administrator always gets an answer.
        using var watch = await bob.GetAsync("/api/v1/namespaces?watch=1&timeoutSeconds=1", HttpCompletionOption.ResponseHeadersRead, TestContext.Current.CancellationToken);
        Assert.Equal(HttpStatusCode.OK, watch.StatusCode);
        using var master = await small.ClientAs("root", "system:masters").GetAsync("/api/v1/namespaces", TestContext.Current.CancellationToken);
        Assert.Equal(HttpStatusCode.OK, master.StatusCode);
        using var late = await slow;
        Assert.Equal(HttpStatusCode.GatewayTimeout, late.StatusCode);
        using var after = await UntilAsync(bob, "/api/v1/namespaces", HttpStatusCode.OK);
    }

    [Theory]
    [InlineData("""{"type":"Reject"}""", false)]
    [InlineData("""{"type":"Queue","queuing":{"queues":8,"handSize":2,"queueLengthLimit":2}}""", true)]
    public async Task Level_WhoseSeatsAreTaken_RefusesOrQueues(string response, bool queues)
    {
        await using var small = await SmallServer.StartAsync(static options => options with { MaxRequestsInFlight = 100, MaxMutatingRequestsInFlight = 100 });
        await AllowAsync(small, "bob");
        await small.CreateAsync($"{Flow}/prioritylevelconfigurations", $$$"""{"metadata":{"name":"tiny"},"spec":{"type":"Limited","limited":{"nominalConcurrencyShares":1,"borrowingLimitPercent":0,"limitResponse":{{{response}}} } } }""");
        var schema = await small.CreateAsync($"{Flow}/flowschemas", """{"metadata":{"name":"tiny"},"spec":{"priorityLevelConfiguration":{"name":"tiny"},"matchingPrecedence":50,"distinguisherMethod":{"type":"ByUser"},"rules":[{"subjects":[{"kind":"User","user":{"name":"bob"}}],"resourceRules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"],"clusterScope":true,"namespaces":["*"]}]}]}}""");
        var uid = (string)schema["metadata"]!["uid"]!;
        var bob = small.ClientAs("bob");
        await UntilFlowAsync(bob, uid);
        // An answer reaches its client before its seat is free again.
        await UntilDumpAsync(small, static row => row.StartsWith("tiny,", StringComparison.Ordinal) && row.Split(',')[5].Trim() == "0");
        var slow = bob.GetAsync(SlowRead, TestContext.Current.CancellationToken);
        await UntilDumpAsync(small, static row => row.StartsWith("tiny,", StringComparison.Ordinal) && row.Split(',')[5].Trim() == "1");
        var second = bob.GetAsync("/api/v1/namespaces", TestContext.Current.CancellationToken);
        if (queues)
        {
            await UntilDumpAsync(small, static row => row.StartsWith("tiny,", StringComparison.Ordinal) && row.Split(',')[4].Trim() == "1");
            Assert.False(second.IsCompleted);
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
        using var late = await slow;
        Assert.Equal(HttpStatusCode.GatewayTimeout, late.StatusCode);
        // A watch gives its seat back as soon as it has begun.
        using var watch = await bob.GetAsync("/api/v1/namespaces?watch=1&timeoutSeconds=20", HttpCompletionOption.ResponseHeadersRead, TestContext.Current.CancellationToken);
        await UntilDumpAsync(small, static row => row.StartsWith("tiny,", StringComparison.Ordinal) && row.Split(',')[5].Trim() == "0");
        using var beside = await bob.GetAsync("/api/v1/namespaces", TestContext.Current.CancellationToken);
        Assert.Equal(HttpStatusCode.OK, beside.StatusCode);
    }

    private static Task<string> MetricsAsync(SmallServer small) =>
        small.ClientAs("root", "system:masters").GetStringAsync("/metrics", TestContext.Current.CancellationToken);

    [Fact]
    public async Task Suggested_Level_IsKeptAsItsAnnotationSays()
    {
        await using var small = await SmallServer.StartAsync();
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

    private static async Task PatchLevelAsync(SmallServer small, string name, string annotation, int shares)
    {
        var answer = await small.SendAsync(
            "PATCH", $"{Flow}/prioritylevelconfigurations/{name}",
            $$$"""{"metadata":{"annotations":{"apf.kubernetes.io/autoupdate-spec":"{{{annotation}}}"} },"spec":{"limited":{"nominalConcurrencyShares":{{{shares}}} } } }""", "application/merge-patch+json");
        Assert.Equal(shares, (int)answer["spec"]!["limited"]!["nominalConcurrencyShares"]!);
    }

    private static async Task<int> SharesAsync(SmallServer small, string name) =>
        (int)(await small.GetAsync($"{Flow}/prioritylevelconfigurations/{name}"))["spec"]!["limited"]!["nominalConcurrencyShares"]!;

    private static async Task AllowAsync(SmallServer small, string user)
    {
        await small.CreateAsync("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", $$$"""{"metadata":{"name":"{{{user}}}"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"cluster-admin"},"subjects":[{"kind":"User","name":"{{{user}}}","apiGroup":"rbac.authorization.k8s.io"}]}""");
        await UntilAsync(small.ClientAs(user), "/api/v1/namespaces", HttpStatusCode.OK);
    }

    private static async Task UntilFlowAsync(HttpClient client, string uid)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(TimeSpan.FromSeconds(20));
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
        limit.CancelAfter(TimeSpan.FromSeconds(20));
        while (true)
        {
            var response = await client.GetAsync(path, limit.Token);
            if (response.StatusCode == code)
                return response;
            response.Dispose();
            await Task.Delay(10, limit.Token);
        }
    }

    // A read that holds the only seat, and the refusal that shows it. An answer reaches its client before its seat is free again, so the
    // read may itself be refused by the one before it, and begins anew; it holds the seat when others are refused while it goes on.
    private static async Task<(Task<HttpResponseMessage> Seated, HttpResponseMessage Refused)> TakeTheSeatAsync(HttpClient client)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(TimeSpan.FromSeconds(60));
        while (true)
        {
            var seated = client.GetAsync(SlowRead, TestContext.Current.CancellationToken);
            for (var refusals = 0; ; await Task.Delay(10, limit.Token))
            {
                var answer = await client.GetAsync("/api/v1/namespaces", limit.Token);
                if (seated.IsCompleted)
                    break;
                if (answer.StatusCode == HttpStatusCode.TooManyRequests && ++refusals == 3)
                    return (seated, answer);
                answer.Dispose();
            }
            (await seated).Dispose();
        }
    }

    private static async Task UntilDumpAsync(SmallServer small, Func<string, bool> isReached)
    {
        var admin = small.ClientAs("root", "system:masters");
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(TimeSpan.FromSeconds(20));
        while (!(await admin.GetStringAsync("/debug/api_priority_and_fairness/dump_priority_levels", limit.Token)).Split('\n').Any(isReached))
            await Task.Delay(10, limit.Token);
    }

    private async Task<JsonNode> ConditionAsync(string name, string status)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(TimeSpan.FromSeconds(20));
        while (true)
        {
            var condition = (await server.GetAsync($"{Flow}/flowschemas/{name}")).Json["status"]?["conditions"]?[0];
            if ((string?)condition?["status"] == status)
                return condition;
            await Task.Delay(20, limit.Token);
        }
    }
}
