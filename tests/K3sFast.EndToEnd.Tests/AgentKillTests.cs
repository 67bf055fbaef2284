using System.Text.RegularExpressions;

namespace K3sFast.EndToEnd.Tests;

/// <summary>The process of a whole agent killed in the middle of anything: pods and Services do not notice, and nothing of pods that end meanwhile is left.</summary>
[Collection(nameof(AgentCluster))]
public sealed partial class AgentKillTests(AgentCluster cluster)
{
    private ServerNode Agent => cluster.Second;

    [Fact]
    public async Task Agent_KilledAtAnyInstantWhilePodsComeAndGo_RestartsNothingAndLeavesNothing()
    {
        await Apply(Pod("steady", "labels: {app: steady}, ", "hostname > /www/index.html; exec httpd -f -p 8080 -h /www"));
        await K("expose", "pod", "steady", "--port=80", "--target-port=8080");
        await K("wait", "pod/steady", "--for=condition=Ready", "--timeout=240s");
        var before = await ContainerOfSteadyAsync();
        var address = await K("get", "service", "steady", "-o", "jsonpath={.spec.clusterIP}");
        foreach (var node in (ServerNode[])[Agent, cluster.Server])
            await Eventually.GetAsync(() => node.RunAsync("curl", "-s", "-m", "2", $"http://{address}/"), static answer => answer.ExitCode == 0, $"{node.Name} reaches the Service");

        Func<string, Task>[] instants =
        [
            static _ => Task.CompletedTask,
            UntilOneMoreLinkAsync,
            pod => UntilAsync(pod, "{.status.containerStatuses[0].started}", "true"),
            pod => K("delete", "pod", pod, "--wait=false"),
            async pod =>
            {
                await UntilAsync(pod, "{.status.phase}", "Running");
                await K("delete", "pod", pod, "--wait=false");
            },
            _ => KillAsItStartsAsync(),
        ];
        using var here = await RequestLoop.StartAsync(Agent, address);
        using var there = await RequestLoop.StartAsync(cluster.Server, address);
        try
        {
            for (var i = 0; i < instants.Length; i++)
            {
                await Apply(Pod($"comes-{i}", "", "trap exit TERM; while :; do sleep 1; done"));
                await instants[i]($"comes-{i}");
                await Agent.KillAsync();
                // Without an agent the Service goes on, and a pod is to end that it does not hear of yet.
                await here.UntilMadeAsync(3);
                await there.UntilMadeAsync(3);
                if (i % 2 == 0) await K("delete", "pod", $"comes-{i}", "--wait=false");
                Agent.Start();
            }
            await Apply(Pod("last", "", "trap exit TERM; while :; do sleep 1; done"));
            await K("wait", "pod/last", "--for=condition=Ready", "--timeout=240s");
            await Eventually.GetAsync(LookAsync, static left => left.Wanted == left.Found, "all pods run, and of the others nothing is left");
            Assert.Equal(before, await ContainerOfSteadyAsync());
            Assert.Matches("^(0 ?)+$", await K("get", "pods", "--field-selector=spec.nodeName=a2", "-o", "jsonpath={.items[*].status.containerStatuses[*].restartCount}"));
            await here.UntilMadeAsync(3);
            Assert.Equal((0, 0), (await here.EndAsync(), await there.EndAsync()));
        }
        finally
        {
            if (Agent.HasExited) Agent.Start();
        }
        await K("delete", "pods", "--field-selector=spec.nodeName=a2", "--grace-period=1");
        await K("delete", "service", "steady");
        await Eventually.GetAsync(LookAsync, static left => left.Wanted == left.Found && left.Wanted.StartsWith("0 pods", StringComparison.Ordinal), "nothing is left");
    }

    /// <summary>What the node has, and what it should have by the pods that the API knows.</summary>
    private async Task<(string Wanted, string Found)> LookAsync()
    {
        try
        {
            return await LookOnceAsync();
        }
        catch (IOException gone)
        {
            // Of a pod that ends at this moment.
            return ("a node that nothing changes", gone.Message);
        }
    }

    private async Task<(string Wanted, string Found)> LookOnceAsync()
    {
        var pods = (await K("get", "pods", "-A", "--field-selector=spec.nodeName=a2", "-o", "jsonpath={range .items[*]}{.metadata.uid} {.status.phase}{\"\\n\"}{end}"))
            .Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        var uids = string.Join(' ', pods.Select(static pod => pod.Split(' ')[0]).Order(StringComparer.Ordinal));
        var run = Run();
        // Tasks: of a container whose making the kill cut short containerd may keep a name, which is no process.
        var containers = (await Agent.RunAsync("ctr", "-a", $"{run}/containerd/containerd.sock", "-n", "k8s.io", "tasks", "ls", "-q")).Ok();
        var files = Directory.GetFiles($"{run}/network/pods").Length;
        var folders = Directory.GetDirectories($"{Agent.Folder}/kubelet/pods").Select(static path => Path.GetFileName(path)!).Order(StringComparer.Ordinal);
        return (
            Tell(pods.Length, pods.Count(static pod => pod.EndsWith(" Running", StringComparison.Ordinal)), pods.Length, pods.Length, 2 * pods.Length, uids, uids),
            Tell(pods.Length, pods.Length, await CountLinksAsync(), files, Count(containers), string.Join(' ', folders), string.Join(' ', CgroupsOfPods())));

        static string Tell(int pods, int running, int links, int addresses, int containers, string folders, string cgroups) =>
            $"{pods} pods, {running} running, {links} links, {addresses} addresses, {containers} containers; folders {folders}; cgroups {cgroups}";
    }

    private IEnumerable<string> CgroupsOfPods()
    {
        var root = Path.GetFileName(Agent.Folder);
        return new[] { "/sys/fs/cgroup" }.Concat(Directory.GetDirectories("/sys/fs/cgroup")).Select(tree => Path.Combine(tree, root)).Where(Directory.Exists)
            .SelectMany(static tree => Directory.EnumerateDirectories(tree, "pod*", SearchOption.AllDirectories))
            .Select(static path => Path.GetFileName(path)["pod".Length..]).Distinct().Order(StringComparer.Ordinal);
    }

    // Where the agent keeps what does not outlive the machine: its network's configuration knows.
    private string Run() => SocketPath().Match(string.Concat(Directory.GetFiles($"{Agent.DataDir}/agent/etc/cni/net.d").Select(File.ReadAllText))).Groups[1].Value;

    private async Task<int> CountLinksAsync() => PodLink().Count((await Agent.RunAsync("ip", "-o", "link", "show")).Ok());

    private async Task UntilOneMoreLinkAsync(string pod)
    {
        var now = await CountLinksAsync();
        await Eventually.GetAsync(CountLinksAsync, count => count > now, $"{pod} has a link");
    }

    private Task UntilAsync(string pod, string field, string value) =>
        Eventually.GetAsync(() => K("get", "pod", pod, "-o", $"jsonpath={field}"), seen => seen == value, $"{field} of {pod} is {value}");

    private async Task KillAsItStartsAsync()
    {
        await Agent.KillAsync();
        var told = new FileInfo(Agent.LogFile).Length;
        Agent.Start();
        await Eventually.GetAsync(() => Task.FromResult(new FileInfo(Agent.LogFile).Length), length => length > told, "the agent begins to tell");
    }

    private Task<string> ContainerOfSteadyAsync() =>
        K("get", "pod", "steady", "-o", "jsonpath={.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount} {.status.podIP}");

    private static int Count(string lines) => lines.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length;

    private async Task Apply(string yaml) => (await cluster.Server.KubectlAsync(["apply", "-f", "-"], yaml)).Ok();

    private async Task<string> K(params string[] arguments) => (await cluster.Server.KubectlAsync(arguments)).Ok();

    private static string Pod(string name, string metadata, string command) => $$$"""
        apiVersion: v1
        kind: Pod
        metadata: { {{{metadata}}}name: {{{name}}}}
        spec:
          nodeName: a2
          terminationGracePeriodSeconds: 1
          containers: [{name: c, image: "busybox:1.35", command: ["sh", "-c", "{{{command}}}"]}]
        """;

    [GeneratedRegex("""(/[^"\s]*)/cni\.sock""")]
    private static partial Regex SocketPath();

    [GeneratedRegex(@"\bk3sf[0-9a-z]+@")]
    private static partial Regex PodLink();
}
