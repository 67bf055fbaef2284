using System.Diagnostics;

namespace K3sFast.EndToEnd.Tests;

/// <summary>What outlives a restart or a crash of the server. On a cluster of its own, for it is stopped under way.</summary>
public sealed class RestartTests(RestartCluster cluster) : IClassFixture<RestartCluster>
{
    private ServerNode Node => cluster.Node;

    [Fact]
    public async Task Restart_WhileAPodServes_NoRequestFailsAndTheContainerStays()
    {
        await cluster.Apply(Manifests.Web("web", isProbed: false));
        (await Node.KubectlAsync(["rollout", "status", "deployment/web", "--timeout=240s"])).Ok();
        var before = await ContainerIdAsync();
        var address = (await Node.KubectlAsync(["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"])).Ok();
        await Eventually.GetAsync(() => Node.RunAsync("curl", "-s", "-m", "2", $"http://{address}/"), result => result.ExitCode == 0, "the service answers");

        using var requests = await RequestLoop.StartAsync(Node, address);
        await requests.UntilMadeAsync(10);
        await Node.StopAsync();
        // With no server at all the service goes on.
        await requests.UntilMadeAsync(20);
        Node.Start();
        await Node.WaitReadyAsync();
        await requests.UntilMadeAsync(20);
        Assert.Equal(0, await requests.EndAsync());
        Assert.Equal(before, await ContainerIdAsync());
    }

    [Fact]
    public async Task Kill9_UnderWriteLoad_LosesNothingAcknowledgedAndRestartsNothing()
    {
        await cluster.Apply(Manifests.Web("web", isProbed: false));
        (await Node.KubectlAsync(["rollout", "status", "deployment/web", "--timeout=240s"])).Ok();
        var before = await ContainerIdAsync();

        var acknowledged = new List<string>();
        using var client = cluster.CreateClient();
        var kill = Task.CompletedTask;
        for (var i = 0; i < 4000; i++)
        {
            if (i == 500) kill = Node.KillAsync();
            var name = $"k9-{i}";
            using var body = new StringContent($$$"""{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"{{{name}}}"}}""", null, "application/json");
            try
            {
                using var answer = await client.Http.PostAsync("/api/v1/namespaces/default/configmaps", body);
                if (answer.IsSuccessStatusCode) acknowledged.Add(name);
            }
            catch (HttpRequestException)
            {
                break;
            }
        }
        await kill;
        Node.Start();
        await Node.WaitReadyAsync();
        var stored = (await Node.KubectlAsync(["get", "configmaps", "-o", "name"])).Ok().Split('\n').ToHashSet();
        Assert.True(acknowledged.Count >= 500);
        Assert.DoesNotContain(acknowledged, name => !stored.Contains("configmap/" + name));
        Assert.Equal(before, await ContainerIdAsync());
        (await Node.KubectlAsync(["delete", "configmaps", "--all"])).Ok();
    }

    [Fact]
    public async Task Watch_AcrossARestart_MissesNothing()
    {
        using var watch = Node.StartCommand(
            "sh", "-c", $"while :; do kubectl --kubeconfig {Node.Kubeconfig} get configmaps -l part=watched --watch -o name; sleep 0.2; done");
        try
        {
            var seen = new List<string>();
            var reading = Task.Run(async () =>
            {
                while (await watch.StandardOutput.ReadLineAsync() is { } line)
                {
                    lock (seen) seen.Add(line);
                }
            });
            await CreateWatchedAsync("w-before");
            await UntilSeenAsync(seen, "configmap/w-before");
            await Node.StopAsync();
            Node.Start();
            await Node.WaitReadyAsync();
            await CreateWatchedAsync("w-after");
            await UntilSeenAsync(seen, "configmap/w-after");
        }
        finally
        {
            watch.Kill(entireProcessTree: true);
        }
    }

    [Fact]
    public async Task Watch_FromARevisionBeforeTheRestart_GoesOnThere()
    {
        await CreateWatchedAsync("r-1");
        var revision = (await Node.KubectlAsync(["get", "configmap", "r-1", "-o", "jsonpath={.metadata.resourceVersion}"])).Ok();
        await CreateWatchedAsync("r-2");
        await Node.StopAsync();
        Node.Start();
        await Node.WaitReadyAsync();
        var path = $"/api/v1/namespaces/default/configmaps?watch=true&timeoutSeconds=2&labelSelector=part%3Dwatched&resourceVersion={revision}";
        // Either the event that followed, or 410 to list again; two seconds may be over before anything is said, but silence does not last.
        await Eventually.GetAsync(
            () => Node.KubectlAsync(["get", "--raw", path]), events => events.Ok().Contains("\"r-2\"", StringComparison.Ordinal) || events.Output.Contains("410", StringComparison.Ordinal), "what followed");
    }

    [Fact]
    public async Task PodsLife_ExecutesOnlyContainerdAndItsShims()
    {
        if (!File.Exists("/usr/bin/strace")) Assert.Skip("strace is not installed");
        var trace = Path.Combine(Node.Folder, "execve.log");
        using var strace = Shell.Start(["strace", "-f", "-qq", "-e", "trace=execve", "-o", trace, "-p", $"{Node.ProcessId}"], redirect: true);
        try
        {
            await Eventually.GetAsync(() => Task.FromResult(File.Exists(trace)), exists => exists, "strace is attached");
            (await Node.KubectlAsync(["run", "traced", "--image=busybox:1.35", "--restart=Never", "--", "true"])).Ok();
            (await Node.KubectlAsync(["expose", "pod", "traced", "--port=80"])).Ok();
            await Eventually.GetAsync(
                () => Node.KubectlAsync(["get", "pod", "traced", "-o", "jsonpath={.status.phase}"]), result => result.Output == "Succeeded", "the pod ran");
            (await Node.KubectlAsync(["delete", "pod,service", "traced"])).Ok();
        }
        finally
        {
            strace.Kill();
        }
        var executed = File.ReadLines(trace).Where(line => line.Contains("execve(", StringComparison.Ordinal)).ToList();
        Assert.DoesNotContain(executed, line => !line.Contains("/containerd", StringComparison.Ordinal));
    }

    private async Task CreateWatchedAsync(string name)
    {
        var map = $$$$"""{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"{{{{name}}}}","labels":{"part":"watched"}}}""";
        (await Node.KubectlAsync(["apply", "-f", "-"], map)).Ok();
    }

    private static Task UntilSeenAsync(List<string> seen, string line) => Eventually.GetAsync(
        () =>
        {
            lock (seen) return Task.FromResult(seen.Contains(line));
        }, found => found, $"the watch shows {line}");

    private async Task<string> ContainerIdAsync() =>
        (await Node.KubectlAsync(["get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].status.containerStatuses[0].containerID} {.items[*].status.containerStatuses[0].restartCount}"])).Ok();
}
