using System.Text.Json;
using System.Text.RegularExpressions;

namespace K3sFast.EndToEnd.Tests;

/// <summary>Debian's Prometheus scrapes the server as perf-dashboards tells, and every expression of the dashboards finds data.</summary>
public sealed partial class PrometheusTests(Cluster cluster) : ClusterTest(cluster)
{
    private const string Address = "127.0.0.1:19090";

    // At least two scrapes fall into it, and a rule of thumb of Grafana's $__rate_interval is four.
    private const string RateInterval = "10s";

    private static string Dashboards => Path.Combine(ServerNode.RepositoryRoot, "perf-dashboards");

    [Fact]
    public async Task EveryExpression_OfDashboardsAndRules_FindsData()
    {
        Assert.SkipUnless(HasPrometheus(), "prometheus is not installed; ./test.sh installs it");
        var folder = Directory.CreateTempSubdirectory("k3sfast-prometheus-").FullName;
        using var load = new CancellationTokenSource();
        var work = WorkAsync(load.Token);
        using var prometheus = await StartAsync(folder);
        try
        {
            var expressions = DashboardExpressions().Concat(await RuleExpressionsAsync()).Distinct().ToList();
            Assert.True(expressions.Count > 40, $"only {expressions.Count} expressions were found in {Dashboards}");
            // Each at some time: on a slow machine what is counted now may not have been counted in the same ten seconds as what is counted next.
            await Eventually.GetAsync(
                async () =>
                {
                    foreach (var expression in expressions.ToArray())
                    {
                        if (await FindsDataAsync(expression)) expressions.Remove(expression);
                    }
                    return string.Join('\n', expressions);
                },
                static without => without.Length == 0, "every expression finds data", TimeSpan.FromMinutes(4));
        }
        finally
        {
            await load.CancelAsync();
            await work;
            prometheus.Kill();
            await prometheus.WaitForExitAsync(TestContext.Current.CancellationToken);
            Cluster.DeleteFolder(folder);
        }
    }

    [Fact]
    public async Task ConfigurationAndRules_AsCommitted_PassPrometheusOwnCheck()
    {
        Assert.SkipUnless(HasPrometheus(), "prometheus is not installed; ./test.sh installs it");
        var folder = Directory.CreateTempSubdirectory("k3sfast-promtool-").FullName;
        await WriteConfigurationAsync(folder, File.ReadAllText(Path.Combine(Dashboards, "prometheus.yml")));
        (await Shell.RunAsync(["promtool", "check", "config", Path.Combine(folder, "prometheus.yml")])).Ok();
        Cluster.DeleteFolder(folder);
    }

    [Fact]
    public async Task AlertsOfTheDatastore_AsItFillsFailsAndRecovers_FireAndEnd()
    {
        Assert.SkipUnless(HasPrometheus(), "prometheus is not installed; ./test.sh installs it");
        var folder = Directory.CreateTempSubdirectory("k3sfast-promtool-").FullName;
        File.Copy(Path.Combine(Dashboards, "rules.yml"), Path.Combine(folder, "rules.yml"));
        // By 6 MiB a minute, 6 GiB last seventeen hours.
        await File.WriteAllTextAsync(Path.Combine(folder, "alerts.yml"), """
            rule_files: [rules.yml]
            evaluation_interval: 1m
            tests:
            - interval: 1m
              input_series:
              - {series: 'k3sfast_datastore_full{job="apiserver", instance="a"}', values: '0x9 1x9 0x9'}
              alert_rule_test:
              - {eval_time: 9m, alertname: DatastoreFull}
              - {eval_time: 12m, alertname: DatastoreFull, exp_alerts: [{exp_labels: {job: apiserver, instance: a}, exp_annotations: {summary: "a refuses creates and updates: no space is left for the datastore"}}]}
              - {eval_time: 22m, alertname: DatastoreFull}
            - interval: 1m
              input_series:
              - {series: 'k3sfast_datastore_disk_free_bytes{job="apiserver", instance="sinks"}', values: '6442450944-6291456x120'}
              - {series: 'k3sfast_datastore_disk_free_bytes{job="apiserver", instance="stays"}', values: '6442450944x120'}
              alert_rule_test:
              - {eval_time: 10m, alertname: DatastoreSpaceRunsOut}
              - {eval_time: 60m, alertname: DatastoreSpaceRunsOut, exp_alerts: [{exp_labels: {job: apiserver, instance: sinks}, exp_annotations: {summary: "the file system of sinks's datastore is full within a day"}}]}
            - interval: 1m
              input_series:
              - {series: 'k3sfast_datastore_damaged{job="apiserver", instance="file"}', values: '0x4 1x30'}
              - {series: 'k3sfast_datastore_damaged{job="apiserver", instance="row"}', values: '0x34'}
              - {series: 'k3sfast_datastore_damaged_reads_total{job="apiserver", instance="file"}', values: '0x34'}
              - {series: 'k3sfast_datastore_damaged_reads_total{job="apiserver", instance="row"}', values: '0x14 1x20'}
              alert_rule_test:
              - {eval_time: 3m, alertname: DatastoreDamaged}
              - eval_time: 20m
                alertname: DatastoreDamaged
                exp_alerts:
                - {exp_labels: {job: apiserver, instance: file}, exp_annotations: {summary: "the datastore of file is not as it was written: restore it from a backup"}}
                - {exp_labels: {job: apiserver, instance: row}, exp_annotations: {summary: "the datastore of row is not as it was written: restore it from a backup"}}
            - interval: 1m
              input_series:
              - {series: 'k3sfast_datastore_commit_duration_seconds_bucket{job="apiserver", instance="slow", le="0.25"}', values: '0+90x60'}
              - {series: 'k3sfast_datastore_commit_duration_seconds_bucket{job="apiserver", instance="slow", le="1"}', values: '0+100x60'}
              - {series: 'k3sfast_datastore_commit_duration_seconds_bucket{job="apiserver", instance="slow", le="+Inf"}', values: '0+100x60'}
              - {series: 'k3sfast_datastore_commit_duration_seconds_bucket{job="apiserver", instance="fast", le="0.25"}', values: '0+100x60'}
              - {series: 'k3sfast_datastore_commit_duration_seconds_bucket{job="apiserver", instance="fast", le="+Inf"}', values: '0+100x60'}
              alert_rule_test:
              - {eval_time: 5m, alertname: DatastoreSlowFlushes}
              - {eval_time: 30m, alertname: DatastoreSlowFlushes, exp_alerts: [{exp_labels: {instance: slow}, exp_annotations: {summary: "one flush of a hundred takes slow's disk longer than 0.25 s"}}]}
            """, TestContext.Current.CancellationToken);
        (await Shell.RunAsync(["promtool", "test", "rules", Path.Combine(folder, "alerts.yml")])).Ok();
        Cluster.DeleteFolder(folder);
    }

    private static bool HasPrometheus() => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Any(static folder => File.Exists(Path.Combine(folder, "prometheus")));

    private async Task<System.Diagnostics.Process> StartAsync(string folder)
    {
        // The configuration as it is committed, scraped more often.
        var configuration = File.ReadAllText(Path.Combine(Dashboards, "prometheus.yml"));
        await WriteConfigurationAsync(folder, configuration.Replace("scrape_interval: 15s", "scrape_interval: 1s", StringComparison.Ordinal));
        var process = Node.StartCommand(
            "prometheus", $"--config.file={folder}/prometheus.yml", $"--storage.tsdb.path={folder}/data", $"--web.listen-address={Address}", "--log.level=warn");
        await Eventually.GetAsync(() => Node.RunAsync("curl", "-s", $"http://{Address}/-/ready"), static answer => answer.Output.Contains("Ready", StringComparison.OrdinalIgnoreCase), "Prometheus is ready");
        return process;
    }

    // The certificates as perf-dashboards/README.md cuts them out of the kubeconfig.
    private async Task WriteConfigurationAsync(string folder, string configuration)
    {
        var kubeconfig = await File.ReadAllTextAsync(Node.Kubeconfig);
        foreach (var (key, file) in new[] { ("certificate-authority-data", "ca.crt"), ("client-certificate-data", "client.crt"), ("client-key-data", "client.key") })
        {
            var line = kubeconfig.Split('\n').First(line => line.Contains(key + ": ", StringComparison.Ordinal));
            await File.WriteAllBytesAsync(Path.Combine(folder, file), Convert.FromBase64String(line[(line.IndexOf(": ", StringComparison.Ordinal) + 2)..].Trim()));
        }
        await File.WriteAllTextAsync(Path.Combine(folder, "prometheus.yml"), configuration);
        File.Copy(Path.Combine(Dashboards, "rules.yml"), Path.Combine(folder, "rules.yml"));
    }

    private static IEnumerable<string> DashboardExpressions()
    {
        foreach (var file in Directory.EnumerateFiles(Dashboards, "*.json"))
        {
            using var dashboard = JsonDocument.Parse(File.ReadAllText(file));
            foreach (var panel in dashboard.RootElement.GetProperty("panels").EnumerateArray())
            {
                if (!panel.TryGetProperty("targets", out var targets))
                    continue;
                foreach (var target in targets.EnumerateArray())
                    yield return Fill(target.GetProperty("expr").GetString()!);
            }
        }
    }

    // What a rule compares is what must find data: the left side of its comparison.
    private static async Task<IReadOnlyList<string>> RuleExpressionsAsync()
    {
        var text = await File.ReadAllTextAsync(Path.Combine(Dashboards, "rules.yml"));
        return [.. RuleExpression().Matches(text).Select(static match => Fill(Comparison().Replace(match.Groups[1].Value, "")))];
    }

    private static string Fill(string expression) => expression
        .Replace("$__rate_interval", RateInterval, StringComparison.Ordinal).Replace("[5m]", $"[{RateInterval}]", StringComparison.Ordinal)
        .Replace("$instance", ".*", StringComparison.Ordinal);

    private async Task<bool> FindsDataAsync(string expression)
    {
        var answer = await Node.RunAsync("curl", "-sG", $"http://{Address}/api/v1/query", "--data-urlencode", "query=" + expression);
        using var document = JsonDocument.Parse(answer.Ok());
        Assert.True(document.RootElement.GetProperty("status").GetString() == "success", $"{expression}\n{answer.Output}");
        return document.RootElement.GetProperty("data").GetProperty("result").EnumerateArray()
            .Any(static series => series.GetProperty("value")[1].GetString() is not ("NaN" or "+Inf" or "-Inf"));
    }

    // Something of everything that the dashboards show, again and again: reads, writes, refusals, a watch with events.
    private async Task WorkAsync(CancellationToken cancel)
    {
        using var watch = Node.StartCommand("kubectl", "--kubeconfig", Node.Kubeconfig, "-n", Namespace, "get", "configmaps", "--watch");
        var round = 0;
        while (!cancel.IsCancellationRequested)
        {
            round++;
            await Try("create", "configmap", $"work-{round}", "--from-literal=round=" + round);
            await Try("label", "configmap", $"work-{round}", "a=b");
            await Try("get", "configmaps,pods");
            await Try("get", "configmap", "not-there");
            await Try("get", "--raw", "/readyz");
            await Try("delete", "configmap", $"work-{round}");
            // Refused by admission: the namespace is not there.
            await Node.KubectlAsync(["create", "configmap", "x", "-n", "not-there"]);
            // Works in the queues of the controllers.
            await Try("create", "deployment", $"work-{round}", "--image=busybox:1.35", "--replicas=0");
            await Try("delete", "deployment", $"work-{round}");
        }
        watch.Kill();
    }

    [GeneratedRegex("""^\s+expr: (.+)$""", RegexOptions.Multiline)]
    private static partial Regex RuleExpression();

    [GeneratedRegex("""\s(>|<|==)\s[0-9.]+$""")]
    private static partial Regex Comparison();
}
