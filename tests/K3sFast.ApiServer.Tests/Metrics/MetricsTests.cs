using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using K3sFast.Client;

namespace K3sFast.ApiServer.Tests;

/// <summary>/metrics by upstream's names, and what counting costs.</summary>
public sealed partial class MetricsTests(TestServer server)
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
        // Bounded by kinds, verbs and codes: all other tests together, which ask everything of every kind, come to some five megabytes.
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
        // An answer is counted after it was sent.
        await UntilAsync(async () => (await TotalsAsync()).GetValueOrDefault(Key(wanted[^1])) > before.GetValueOrDefault(Key(wanted[^1])));
        var after = await TotalsAsync();

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
}
