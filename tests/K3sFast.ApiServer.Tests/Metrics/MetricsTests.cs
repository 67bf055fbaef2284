using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using K3sFast.Client;

namespace K3sFast.ApiServer.Tests;

/// <summary>/metrics by upstream's names, and what counting costs. On a server of its own: what is counted is what is asked here.</summary>
public sealed partial class MetricsTests(TestServer server) : IClassFixture<TestServer>
{
    [Fact]
    public async Task Metrics_EveryLine_IsWellFormedAndNoSeriesComesTwice()
    {
        await server.GetAsync("/api/v1/pods");
        var answer = await server.GetAsync("/metrics");
        var lines = answer.Text.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        var samples = lines.Where(static line => line[0] != '#').ToList();

        Assert.Equal("text/plain; version=0.0.4; charset=utf-8; escaping=underscores", answer.ContentType);
        Assert.All(samples, static line => Assert.Matches(Sample(), line));
        Assert.Equal(samples.Count, samples.Select(static line => line[..line.LastIndexOf(' ')]).Distinct().Count());
        Assert.Equal(lines.Count(static line => line.StartsWith("# HELP ", StringComparison.Ordinal)), lines.Count(static line => line.StartsWith("# TYPE ", StringComparison.Ordinal)));
        // Bounded by kinds, verbs and codes.
        Assert.InRange(answer.Text.Length, 1, 16 * 1024 * 1024);
    }

    [Fact]
    public async Task Requests_OfEachVerb_AreCountedByVerbScopeAndCode()
    {
        var ns = await server.NamespaceAsync();
        var path = $"/apis/apps/v1/namespaces/{ns}/controllerrevisions";
        const string Labels = "component=\"apiserver\",dry_run=\"{0}\",group=\"apps\",resource=\"controllerrevisions\",scope=\"{1}\",subresource=\"\",verb=\"{2}\",version=\"v1\"";
        (string Code, string DryRun, string Scope, string Verb)[] wanted =
        [
            ("200", "", "namespace", "LIST"), ("200", "", "cluster", "LIST"), ("404", "", "resource", "GET"), ("201", "", "resource", "POST"), ("201", "All", "resource", "POST"),
            ("200", "", "resource", "PUT"), ("200", "", "resource", "PATCH"), ("200", "", "resource", "DELETE"), ("200", "", "namespace", "DELETE"),
        ];
        var before = await TotalsAsync();
        await server.GetAsync(path);
        await server.GetAsync("/apis/apps/v1/controllerrevisions");
        await server.GetAsync(path + "/nope");
        await server.SendAsync(HttpMethod.Post, path + "?dryRun=All", """{"metadata":{"name":"a"},"data":{},"revision":1}""");
        await server.CreateAsync(path, """{"metadata":{"name":"a"},"data":{},"revision":1}""");
        await server.SendAsync(HttpMethod.Put, path + "/a", """{"metadata":{"name":"a","labels":{"x":"y"}},"data":{},"revision":1}""");
        await server.SendAsync(HttpMethod.Patch, path + "/a", """{"metadata":{"labels":{"x":"z"}}}""", "application/merge-patch+json");
        await server.SendAsync(HttpMethod.Delete, path + "/a");
        await server.SendAsync(HttpMethod.Delete, path);
        // An answer is counted after it was sent, and not always before the next one is.
        var after = before;
        await UntilAsync(async () =>
        {
            after = await TotalsAsync();
            return wanted.All(one => after.GetValueOrDefault(Key(one)) > before.GetValueOrDefault(Key(one)));
        });

        Assert.All(wanted, one => Assert.Equal(1, after.GetValueOrDefault(Key(one)) - before.GetValueOrDefault(Key(one))));

        static string Key((string Code, string DryRun, string Scope, string Verb) one) =>
            $"apiserver_request_total{{code=\"{one.Code}\",{string.Format(CultureInfo.InvariantCulture, Labels, one.DryRun, one.Scope, one.Verb)}}}";
    }

    [Fact]
    public async Task Watch_WhileItStands_IsLongRunningAndItsEventsAreCounted()
    {
        var ns = await server.NamespaceAsync();
        const string Running = "apiserver_longrunning_requests{component=\"apiserver\",group=\"coordination.k8s.io\",resource=\"leases\",scope=\"namespace\",subresource=\"\",verb=\"WATCH\",version=\"v1\"}";
        const string Events = "apiserver_watch_events_total{group=\"coordination.k8s.io\",resource=\"leases\",version=\"v1\"}";
        var before = (await TotalsAsync()).GetValueOrDefault(Events);
        using (var watch = await server.Admin.GetStreamAsync($"/apis/coordination.k8s.io/v1/namespaces/{ns}/leases?watch=1", TestContext.Current.CancellationToken))
        {
            await server.CreateAsync($"/apis/coordination.k8s.io/v1/namespaces/{ns}/leases", """{"metadata":{"name":"a"}}""");
            await UntilAsync(async () => (await TotalsAsync()).GetValueOrDefault(Running) >= 1);
            await UntilAsync(async () => (await TotalsAsync()).GetValueOrDefault(Events) > before);
        }
        await UntilAsync(async () => (await TotalsAsync()).GetValueOrDefault(Running) == 0);
    }

    [Fact]
    public async Task Slis_AfterACheck_TellItsStateAndCount()
    {
        await server.GetAsync("/livez");
        var text = (await server.GetAsync("/metrics/slis")).Text;

        Assert.Contains("kubernetes_healthcheck{name=\"etcd\",type=\"livez\"} 1\n", text, StringComparison.Ordinal);
        Assert.Matches("kubernetes_healthchecks_total\\{name=\"ping\",status=\"success\",type=\"livez\"\\} [1-9]", text);
    }

    // Upstream's API server's metrics of the stages STABLE and BETA that have a meaning here, with their labels.
    [Theory]
    [InlineData("apiserver_admission_controller_admission_duration_seconds", "histogram", "STABLE", "name,operation,rejected,type")]
    [InlineData("apiserver_admission_step_admission_duration_seconds", "histogram", "STABLE", "operation,rejected,type")]
    [InlineData("apiserver_current_inflight_requests", "gauge", "STABLE", "request_kind")]
    [InlineData("apiserver_flowcontrol_current_executing_requests", "gauge", "BETA", "flow_schema,priority_level")]
    [InlineData("apiserver_flowcontrol_current_executing_seats", "gauge", "BETA", "flow_schema,priority_level")]
    [InlineData("apiserver_flowcontrol_current_inqueue_requests", "gauge", "BETA", "flow_schema,priority_level")]
    [InlineData("apiserver_flowcontrol_dispatched_requests_total", "counter", "BETA", "flow_schema,priority_level")]
    [InlineData("apiserver_flowcontrol_nominal_limit_seats", "gauge", "BETA", "priority_level")]
    [InlineData("apiserver_flowcontrol_request_wait_duration_seconds", "histogram", "BETA", "execute,flow_schema,priority_level")]
    [InlineData("apiserver_longrunning_requests", "gauge", "STABLE", "component,group,resource,scope,subresource,verb,version")]
    [InlineData("apiserver_request_duration_seconds", "histogram", "STABLE", "component,dry_run,group,resource,scope,subresource,verb,version")]
    [InlineData("apiserver_request_total", "counter", "STABLE", "code,component,dry_run,group,resource,scope,subresource,verb,version")]
    [InlineData("apiserver_requested_deprecated_apis", "gauge", "STABLE", "group,removed_release,resource,subresource,version")]
    [InlineData("apiserver_response_sizes", "histogram", "STABLE", "component,group,resource,scope,subresource,verb,version")]
    [InlineData("apiserver_storage_events_received_total", "counter", "BETA", "group,resource")]
    [InlineData("apiserver_storage_objects", "gauge", "STABLE", "resource")]
    [InlineData("apiserver_storage_size_bytes", "gauge", "STABLE", "storage_cluster_id")]
    [InlineData("apiserver_validating_admission_policy_check_duration_seconds", "histogram", "BETA", "enforcement_action,error_type,policy,policy_binding")]
    [InlineData("apiserver_validating_admission_policy_check_total", "counter", "BETA", "enforcement_action,error_type,policy,policy_binding")]
    [InlineData("apiserver_watch_list_duration_seconds", "histogram", "BETA", "group,resource,scope,version")]
    [InlineData("disabled_metrics_total", "counter", "BETA", "")]
    [InlineData("hidden_metrics_total", "counter", "BETA", "")]
    [InlineData("kubernetes_build_info", "gauge", "BETA", "build_date,compiler,git_commit,git_tree_state,git_version,go_version,major,minor,platform")]
    [InlineData("kubernetes_feature_enabled", "gauge", "BETA", "name,stage")]
    [InlineData("registered_metrics_total", "counter", "BETA", "deprecated_version,stability_level")]
    public async Task Metric_OfAKeptStage_HasUpstreamsTypeAndLabels(string name, string type, string stage, string labels)
    {
        await server.GetAsync("/api/v1/endpoints");
        await JudgeAConfigMapAsync();
        await WatchAListAsync(await server.NamespaceAsync());
        // Masters never wait in a queue.
        using (var somebody = server.ClientAs("somebody"))
            await server.SendAsync(HttpMethod.Get, "/version", client: somebody);
        var sample = new Regex($"^{name}(_count)?(\\{{(?<labels>.*)\\}})? ", RegexOptions.Multiline);
        Match? found = null;
        string text = "";
        await UntilAsync(async () => (found = sample.Match(text = (await server.GetAsync("/metrics")).Text)).Success);

        Assert.Contains($"# HELP {name} [{stage}] ", text, StringComparison.Ordinal);
        Assert.Contains($"# TYPE {name} {type}\n", text, StringComparison.Ordinal);
        Assert.Equal(labels, string.Join(',', LabelName().Matches(found!.Groups["labels"].Value).Select(static label => label.Groups[1].Value).Order(StringComparer.Ordinal)));
    }

    [Fact]
    public async Task Policies_ThatRefuse_AreCountedByBindingAndAction()
    {
        var (policy, refused) = await JudgeAConfigMapAsync();

        Assert.Equal(422, refused);
        Assert.Equal(1, (await TotalsAsync())[
            $"apiserver_validating_admission_policy_check_total{{enforcement_action=\"deny\",error_type=\"invalid_error\",policy=\"{policy}\",policy_binding=\"{policy}\"}}"]);
    }

    [Fact]
    public async Task Features_OfEveryStage_TellWhetherTheyAreOn()
    {
        var totals = await TotalsAsync();

        Assert.Equal(1, totals["kubernetes_feature_enabled{name=\"APIServerIdentity\",stage=\"BETA\"}"]);
        Assert.Equal(1, totals["kubernetes_feature_enabled{name=\"APIServerTracing\",stage=\"\"}"]);
        Assert.Equal(0, totals["kubernetes_feature_enabled{name=\"AllAlpha\",stage=\"ALPHA\"}"]);
    }

    [Fact]
    public async Task Services_ThatTakeAddressesAndPorts_AreCounted()
    {
        const string Taken = "kube_apiserver_clusterip_allocator_allocated_ips{cidr=\"10.43.0.0/16\"}", Free = "kube_apiserver_clusterip_allocator_available_ips{cidr=\"10.43.0.0/16\"}";
        const string Allocations = "kube_apiserver_clusterip_allocator_allocation_total{cidr=\"10.43.0.0/16\",scope=\"dynamic\"}";
        const string Ports = "kube_apiserver_nodeport_allocator_allocated_ports", FreePorts = "kube_apiserver_nodeport_allocator_available_ports";
        var ns = await server.NamespaceAsync();
        await server.CreateAsync($"/api/v1/namespaces/{ns}/services", """{"metadata":{"name":"a"},"spec":{"type":"NodePort","ports":[{"port":80}]}}""");
        var totals = await TotalsAsync();

        Assert.True(totals[Taken] >= 1);
        Assert.True(totals[Allocations] >= 1);
        Assert.Equal(65534, totals[Taken] + totals[Free]);
        Assert.True(totals[Ports] >= 1);
        Assert.Equal(2768, totals[Ports] + totals[FreePorts]);
    }

    private async Task<(string Policy, int Code)> JudgeAConfigMapAsync()
    {
        var ns = await server.NamespaceAsync();
        const string Root = "/apis/admissionregistration.k8s.io/v1/";
        await server.CreateAsync(
            Root + "validatingadmissionpolicies",
            $$$"""{"metadata":{"name":"{{{ns}}}"},"spec":{"matchConstraints":{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"{{{ns}}}"}},"resourceRules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE"],"resources":["configmaps"]}]},"validations":[{"expression":"object.metadata.name != 'bad'"}]}}""");
        await server.CreateAsync(Root + "validatingadmissionpolicybindings", $$$"""{"metadata":{"name":"{{{ns}}}"},"spec":{"policyName":"{{{ns}}}","validationActions":["Deny"]}}""");
        return (ns, (await server.SendAsync(HttpMethod.Post, $"/api/v1/namespaces/{ns}/configmaps", """{"metadata":{"name":"bad"}}""")).Code);
    }

    private async Task WatchAListAsync(string ns) => await server.GetAsync(
        $"/api/v1/namespaces/{ns}/configmaps?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1");

    [Theory]
    [InlineData("GET", "/api/v1/namespaces/default/pods/a")]
    [InlineData("POST", "/api/v1/namespaces/default/pods?dryRun=All")]
    [InlineData("GET", "/readyz")]
    public void Count_OfARequestSeenBefore_AllocatesNothing(string method, string target)
    {
        var metrics = new RequestMetrics(new MetricRegistry());
        var call = new LocalApiCall(new UserInfo("test", []), method, target, default, null, CancellationToken.None)
        {
            Served = target.StartsWith("/api/v1", StringComparison.Ordinal) ? ApiMachinery.Schema.BuiltIn.FindResource("", "v1", "pods") : null,
        };
        call.Start(200, "application/json", 0);
        var started = Stopwatch.GetTimestamp();
        Count();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
            Count();

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void Count()
        {
            metrics.Begin(call);
            metrics.End(call, started);
        }
    }

    private static async Task UntilAsync(Func<Task<bool>> condition)
    {
        var deadline = Stopwatch.StartNew();
        while (!await condition())
        {
            Assert.True(deadline.Elapsed < TimeSpan.FromSeconds(90), "the condition did not come true in time");
            await Task.Delay(20, TestContext.Current.CancellationToken);
        }
    }

    private async Task<Dictionary<string, double>> TotalsAsync() => (await server.GetAsync("/metrics")).Text.Split('\n', StringSplitOptions.RemoveEmptyEntries)
        .Where(static line => line[0] != '#')
        .ToDictionary(static line => line[..line.LastIndexOf(' ')], static line => double.Parse(line[(line.LastIndexOf(' ') + 1)..].Replace("Inf", "Infinity", StringComparison.Ordinal), CultureInfo.InvariantCulture));

    [GeneratedRegex("""^[a-z_][a-z0-9_]*(\{([a-z_]+="([^"\\]|\\.)*",?)*\})? (NaN|[+-]Inf|-?[0-9.]+(e[+-][0-9]+)?)$""")]
    private static partial Regex Sample();

    [GeneratedRegex("([a-z_]+)=\"")]
    private static partial Regex LabelName();
}
