namespace K3sFast.EndToEnd.Tests;

/// <summary>Services in proxy-mode=ebpf, as pods, the node and the outside see them.</summary>
public sealed class EbpfTests(EbpfCluster cluster) : IClassFixture<EbpfCluster>
{
    private const string Web = """
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: web}
        spec:
          replicas: 2
          selector: {matchLabels: {app: web}}
          template:
            metadata: {labels: {app: web}}
            spec:
              terminationGracePeriodSeconds: 1
              containers:
              - name: web
                image: busybox:1.35
                command: ["sh", "-c", "hostname > /www/index.html; exec httpd -f -p 8080 -h /www"]
                readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: web}
        spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: web-outside}
        spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: nobody}
        spec: {selector: {app: nobody}, ports: [{port: 80}]}
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: box}
        spec:
          terminationGracePeriodSeconds: 1
          containers:
          - {name: shell, image: "busybox:1.35", command: ["sh", "-c", "trap exit TERM; while :; do sleep 1; done"]}
        """;

    private ServerNode Node => cluster.Node;

    [Fact]
    public async Task Services_FromPodNodeAndOutside_ReachPods()
    {
        await StartAsync();
        Assert.NotEmpty(Directory.EnumerateFiles(cluster.Pins));
        // The name is asked of a Service too, by UDP.
        var answers = await K("exec", "box", "--", "sh", "-c", "for i in $(seq 40); do netprobe get web 80 || exit 1; done | sort -u");
        Assert.Equal(2, answers.Split('\n').Length);
        Assert.StartsWith("web-", await K("exec", "deploy/web", "--", "netprobe", "get", "web", "80"));

        var address = await K("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}");
        Assert.StartsWith("web-", (await Node.RunAsync("curl", "-s", "-m", "10", $"http://{address}/")).Ok());
        var port = await K("get", "service", "web-outside", "-o", "jsonpath={.spec.ports[0].nodePort}");
        foreach (var host in (string[])[Node.Address, "127.0.0.1"])
            Assert.StartsWith("web-", (await Node.RunAsync("curl", "-s", "-m", "10", $"http://{host}:{port}/")).Ok());
        Assert.StartsWith("web-", (await Shell.RunAsync(Lan.Inside(cluster.Outside, "curl", "-s", "-m", "10", $"http://{Node.Address}:{port}/"))).Ok());

        // No rule knows a Service that programs carry.
        var rules = (await Node.RunAsync("nft", "list", "ruleset")).Ok();
        Assert.DoesNotContain(address, rules);
        Assert.DoesNotContain(port, rules);
        // curl: 7 = refused.
        var nobody = await K("get", "service", "nobody", "-o", "jsonpath={.spec.clusterIP}");
        Assert.Equal(7, (await Node.RunAsync("curl", "-s", "-m", "30", $"http://{nobody}/")).ExitCode);
    }

    [Fact]
    public async Task Restart_WhileAPodAsks_NoRequestFails()
    {
        await StartAsync();
        var address = await K("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}");
        using var requests = await RequestLoop.StartAsync(Node, address);
        await requests.UntilMadeAsync(10);
        await Node.StopAsync();
        await requests.UntilMadeAsync(20);
        Node.Start();
        await Node.WaitReadyAsync();
        await requests.UntilMadeAsync(20);
        Assert.Equal(0, await requests.EndAsync());
        await Eventually.GetAsync(() => Try("exec", "box", "--", "netprobe", "get", "web", "80"), answer => answer.Output.StartsWith("web-", StringComparison.Ordinal), "a pod's request after the restart");
    }

    private async Task StartAsync()
    {
        (await Node.KubectlAsync(["apply", "-f", "-"], Web)).Ok();
        await K("rollout", "status", "deployment/web", "--timeout=120s");
        await K("wait", "pod/box", "--for=condition=Ready", "--timeout=120s");
        await Eventually.GetAsync(() => Try("exec", "box", "--", "netprobe", "get", "web", "80"), answer => answer.ExitCode == 0, "the Service answers");
    }

    private async Task<string> K(params string[] arguments) => (await Try(arguments)).Ok();

    private Task<CommandResult> Try(params string[] arguments) => Node.KubectlAsync(arguments);
}
