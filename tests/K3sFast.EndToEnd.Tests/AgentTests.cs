namespace K3sFast.EndToEnd.Tests;

/// <summary>More than one node: joining, packets between them, streams, and what happens when one of them goes.</summary>
[Collection(nameof(AgentCluster))]
public sealed class AgentTests(AgentCluster cluster)
{
    private static readonly TimeSpan s_failover = TimeSpan.FromMinutes(4);

    [Fact]
    public async Task Nodes_Joined_AreWhatTheyWereToldToBe()
    {
        Assert.Equal("first", await K("get", "node", "a1", "-o", "jsonpath={.metadata.labels.part}"));
        Assert.Contains("only=tolerant:PreferNoSchedule", await K("get", "node", "a1", "-o", "jsonpath={.spec.taints[0].key}={.spec.taints[0].value}:{.spec.taints[0].effect}"));
        Assert.Equal("192.0.2.42 2001:db8::42", await K("get", "node", "a1", "-o", "jsonpath={.status.addresses[?(@.type==\"InternalIP\")].address}"));
        var cidrs = (await K("get", "nodes", "-o", "jsonpath={.items[*].spec.podCIDRs}")).Split(' ');
        Assert.Equal(3, cidrs.Distinct().Count());
        Assert.Equal("vxlan", await K("get", "node", "a2", "-o", "jsonpath={.metadata.annotations.flannel\\.alpha\\.coreos\\.com/backend-type}"));
        foreach (var node in (string[])["s1", "a1", "a2"])
            Assert.Equal("Opaque", await K("-n", "kube-system", "get", "secret", node + ".node-password.k3s", "-o", "jsonpath={.type}"));
    }

    [Fact]
    public async Task Join_WithAWrongToken_EndsWithAWord()
    {
        await RefusedAsync("w1", 51, "token: wrong", "refused the token", "server/node-token");
        await RefusedAsync("w2", 52, $"token: K10{new string('0', 64)}::server:x", "token CA hash does not match the Cluster CA certificate hash");
        // A second machine of the same name.
        await RefusedAsync("a1", 53, $"token: {cluster.Token}", "Node password rejected, duplicate hostname");
        Assert.DoesNotContain("node/w", await K("get", "nodes", "-o", "name"));
    }

    [Fact]
    public async Task Pods_OnDifferentNodes_ReachEachOtherDirectlyAndByService()
    {
        await Apply(Web("there", "a1") + Shell("here", "a2") + Shell("home", "s1") + NodePort("there"));
        await K("wait", "pod/there", "pod/here", "pod/home", "--for=condition=Ready", "--timeout=240s");
        var addresses = (await K("get", "pod", "there", "-o", "jsonpath={.status.podIPs[*].ip}")).Split(' ');
        Assert.Equal(2, addresses.Length);
        foreach (var from in (string[])["here", "home"])
        {
            await Eventually.GetAsync(() => Try("exec", from, "--", "netprobe", "get", addresses[0], "8080"), answer => answer.Output.Trim() == "there", $"pod to pod from {from}");
            await Eventually.GetAsync(() => Try("exec", from, "--", "netprobe", "get", "there", "80"), answer => answer.Output.Trim() == "there", $"service by name from {from}");
        }
        var v6 = await Eventually.GetAsync(
            () => Try("exec", "here", "--", "netprobe", "get", addresses[1], "8080"), answer => answer.ExitCode == 0, "pod to pod by IPv6");
        Assert.Equal("there", v6.Output.Trim());

        var port = await K("get", "service", "there", "-o", "jsonpath={.spec.ports[0].nodePort}");
        foreach (var node in (string[])["192.0.2.41", "192.0.2.42", "192.0.2.43"])
        {
            await Eventually.GetAsync(
                () => EndToEnd.Tests.Shell.RunAsync(Lan.Inside(cluster.Lan.Outside, "curl", "-s", "-m", "2", $"http://{node}:{port}/")), answer => answer.Output.Trim() == "there", $"node port of {node}");
        }
        await K("delete", "pod/there", "pod/here", "pod/home", "service/there", "--grace-period=1");
    }

    [Theory]
    [InlineData("ebpf", 45)]
    [InlineData("ipvs", 46)]
    [InlineData("userspace", 47)]
    public async Task Names_FromAnAgentsPod_AreAnsweredInEveryProxyMode(string mode, int number)
    {
        var name = "by-" + mode;
        var node = await cluster.AddAgentAsync(name, number, $"token: {cluster.Token}", "kube-proxy-arg:", $"  - proxy-mode={mode}");
        try
        {
            await node.WaitReadyAsync();
            await Apply(Shell("asks", name));
            await K("wait", "pod/asks", "--for=condition=Ready", "--timeout=240s");
            // The cluster's own names, and one that the server asks others for; by UDP, and a Service that is found by name.
            var address = await K("get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}");
            foreach (var (asked, answer) in ((string, string)[])[("kubernetes.default.svc.cluster.local", address), ("outside.example", Lan.Gateway)])
                await Eventually.GetAsync(() => Try("exec", "asks", "--", "nslookup", asked), seen => seen.Output.Contains(answer, StringComparison.Ordinal), $"{asked} in mode {mode}");
            if (File.ReadLines(node.LogFile).FirstOrDefault(line => line.Contains($"proxy-mode={mode} is not possible", StringComparison.Ordinal)) is { } missing) Assert.Skip(missing);
        }
        finally
        {
            await K("delete", "pod/asks", "--grace-period=1", "--ignore-not-found");
            await node.StopAsync();
            await K("delete", "node/" + name);
            await node.DisposeAsync();
            Cluster.DeleteFolder(node.Folder);
        }
    }

    [Fact]
    public async Task Streams_ToAnAgentsPod_Work()
    {
        await Apply("""
            apiVersion: v1
            kind: Pod
            metadata: {name: far}
            spec:
              nodeSelector: {kubernetes.io/hostname: a1}
              terminationGracePeriodSeconds: 1
              containers: [{name: c, image: "busybox:1.35", command: ["sh", "-c", "echo started; trap exit TERM; while :; do sleep 1; done"]}]
            """);
        await K("wait", "pod/far", "--for=condition=Ready", "--timeout=240s");
        await Eventually.GetAsync(() => Try("logs", "far"), answer => answer.Output.Trim() == "started", "its log");
        Assert.Equal("far", await K("exec", "far", "--", "hostname"));
        Assert.Contains("\"nodeName\":\"a1\"", (await K("get", "--raw", "/api/v1/nodes/a1/proxy/stats/summary")).Replace(" ", "", StringComparison.Ordinal));
        await K("delete", "pod/far", "--grace-period=1");
    }

    [Fact]
    public async Task Agent_Restarted_KeepsItsContainers()
    {
        await Apply(Shell("stays", "a2"));
        await K("wait", "pod/stays", "--for=condition=Ready", "--timeout=240s");
        var before = await K("get", "pod", "stays", "-o", "jsonpath={.status.containerStatuses[0].containerID} {.status.podIP}");
        await cluster.Second.KillAsync();
        cluster.Second.Start();
        await Apply(Shell("next", "a2"));
        await K("wait", "pod/next", "--for=condition=Ready", "--timeout=240s");
        Assert.Equal(before, await K("get", "pod", "stays", "-o", "jsonpath={.status.containerStatuses[0].containerID} {.status.podIP}"));
        Assert.Equal("stays", await K("exec", "stays", "--", "hostname"));
        await K("delete", "pod/stays", "pod/next", "--grace-period=1");
    }

    [Fact]
    public async Task Server_Restarted_AgentsComeBackThroughTheirBalancer()
    {
        await Apply(Shell("before", "a1"));
        await K("wait", "pod/before", "--for=condition=Ready", "--timeout=240s");
        var list = await File.ReadAllTextAsync(Path.Combine(cluster.First.DataDir, "agent", "etc", "k3s-agent-load-balancer.json"), TestContext.Current.CancellationToken);
        Assert.Contains("""{"ServerURL":"https://192.0.2.41:6443","ServerAddresses":["192.0.2.41:6443"]}""", list, StringComparison.Ordinal);
        await cluster.Server.StopAsync();
        cluster.Server.Start();
        await cluster.Server.WaitReadyAsync();
        await Apply(Shell("after", "a1"));
        await K("wait", "pod/after", "--for=condition=Ready", "--timeout=240s");
        Assert.Equal("before", await K("exec", "before", "--", "hostname"));
        await K("delete", "pod/before", "pod/after", "--grace-period=1");
    }

    [Fact]
    public async Task Agent_Killed_ItsPodsAreReplacedAndKillallLeavesNothing()
    {
        var doomed = await cluster.PrepareAgentAsync("a3", 44, $"token: {cluster.Token}");
        var before = await AgentCluster.LookAsync(doomed.NetworkNamespace);
        doomed.Start();
        await doomed.WaitReadyAsync();
        await Apply("""
            apiVersion: apps/v1
            kind: Deployment
            metadata: {name: moves}
            spec:
              selector: {matchLabels: {app: moves}}
              template:
                metadata: {labels: {app: moves}}
                spec:
                  affinity:
                    nodeAffinity:
                      preferredDuringSchedulingIgnoredDuringExecution:
                      - {weight: 100, preference: {matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [a3]}]}}
                  tolerations:
                  - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
                  - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
                  terminationGracePeriodSeconds: 1
                  containers: [{name: c, image: "busybox:1.35", command: ["sh", "-c", "trap exit TERM; while :; do sleep 1; done"]}]
            """);
        await K("rollout", "status", "deployment/moves", "--timeout=240s");
        Assert.Equal("a3", await K("get", "pods", "-l", "app=moves", "-o", "jsonpath={.items[0].spec.nodeName}"));
        // The whole machine goes: its agent, and everything that it left in the kernel.
        await doomed.KillAsync();
        await doomed.CleanUpAsync();
        Assert.Equal(before, await AgentCluster.LookAsync(doomed.NetworkNamespace));
        Cluster.DeleteFolder(doomed.Folder);
        await Eventually.GetAsync(
            () => K("get", "node", "a3", "-o", "jsonpath={.spec.taints[*].key}"), taints => taints.Contains("node.kubernetes.io/unreachable", StringComparison.Ordinal), "the node is tainted", s_failover);
        await Eventually.GetAsync(
            () => K("get", "pods", "-l", "app=moves", "--field-selector=status.phase=Running", "-o", "jsonpath={.items[*].spec.nodeName}"),
            nodes => nodes.Split(' ').Any(static node => node is "s1" or "a1" or "a2"), "the pod runs elsewhere", s_failover);
        await K("delete", "deployment/moves", "node/a3");
        // With the node goes what its password was known by: the name is free again.
        await Eventually.GetAsync(() => Try("-n", "kube-system", "get", "secret", "a3.node-password.k3s"), answer => answer.Error.Contains("NotFound", StringComparison.Ordinal), "the password is forgotten");
    }

    private async Task RefusedAsync(string name, int number, string token, params string[] words)
    {
        var node = await cluster.AddAgentAsync(name, number, token);
        try
        {
            await Eventually.GetAsync(() => Task.FromResult(node.HasExited), static hasExited => hasExited, $"agent {name} ends");
            Assert.Equal(1, node.ExitCode);
            foreach (var word in words) Assert.Contains(word, node.LogTail(), StringComparison.Ordinal);
            Assert.Contains("level=fatal", node.LogTail(), StringComparison.Ordinal);
        }
        finally
        {
            await node.DisposeAsync();
            Cluster.DeleteFolder(node.Folder);
        }
    }

    private async Task Apply(string yaml) => (await cluster.Server.KubectlAsync(["apply", "-f", "-"], yaml)).Ok();

    private async Task<string> K(params string[] arguments) => (await Try(arguments)).Ok();

    private Task<CommandResult> Try(params string[] arguments) => cluster.Server.KubectlAsync(arguments);

    private static string Web(string name, string node) => $$$"""
        apiVersion: v1
        kind: Pod
        metadata: {name: {{{name}}}, labels: {app: {{{name}}}}}
        spec:
          nodeSelector: {kubernetes.io/hostname: {{{node}}}}
          terminationGracePeriodSeconds: 1
          containers:
          - name: web
            image: busybox:1.35
            command: ["sh", "-c", "hostname > /www/index.html; exec httpd -f -p 8080 -h /www"]
            ports: [{containerPort: 8080}]
            readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
        ---

        """;

    private static string Shell(string name, string node) => $$$"""
        apiVersion: v1
        kind: Pod
        metadata: {name: {{{name}}}}
        spec:
          nodeSelector: {kubernetes.io/hostname: {{{node}}}}
          terminationGracePeriodSeconds: 1
          containers: [{name: shell, image: "busybox:1.35", command: ["sh", "-c", "trap exit TERM; while :; do sleep 1; done"]}]
        ---

        """;

    private static string NodePort(string name) => $$$"""
        apiVersion: v1
        kind: Service
        metadata: {name: {{{name}}}}
        spec:
          type: NodePort
          selector: {app: {{{name}}}}
          ports: [{name: http, port: 80, targetPort: 8080}]
        ---

        """;
}
