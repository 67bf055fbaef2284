namespace K3sFast.EndToEnd.Tests;

/// <summary>Services in proxy-mode=ebpf, as pods, the node and the outside see them.</summary>
public sealed class EbpfTests(EbpfCluster cluster) : IClassFixture<EbpfCluster>
{
    private static readonly string s_web = Manifests.Web("web", replicas: 2) + Manifests.Shell("box") + """
        apiVersion: v1
        kind: Service
        metadata: {name: web-outside}
        spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: nobody}
        spec: {selector: {app: nobody}, ports: [{port: 80}]}
        """;

    private ServerNode Node => cluster.Node;

    [Fact]
    public async Task Services_FromPodNodeAndOutside_ReachPods()
    {
        await StartAsync();
        Assert.NotEmpty(Directory.EnumerateFiles(cluster.Pins));
        // The name is asked of a Service too, by UDP.
        var answers = await cluster.K("exec", "box", "--", "sh", "-c", "for i in $(seq 40); do netprobe get web 80 || exit 1; done | sort -u");
        Assert.Equal(2, answers.Split('\n').Length);
        Assert.StartsWith("web-", await cluster.K("exec", "deploy/web", "--", "netprobe", "get", "web", "80"));

        var address = await cluster.K("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}");
        Assert.StartsWith("web-", (await Node.RunAsync("curl", "-s", "-m", "10", $"http://{address}/")).Ok());
        var port = await cluster.K("get", "service", "web-outside", "-o", "jsonpath={.spec.ports[0].nodePort}");
        foreach (var host in (string[])[Node.Address, "127.0.0.1"])
            Assert.StartsWith("web-", (await Node.RunAsync("curl", "-s", "-m", "10", $"http://{host}:{port}/")).Ok());
        Assert.StartsWith("web-", (await Shell.RunAsync(Lan.Inside(cluster.Lan.Outside, "curl", "-s", "-m", "10", $"http://{Node.Address}:{port}/"))).Ok());

        // No rule knows a Service that programs carry.
        var rules = (await Node.RunAsync("nft", "list", "ruleset")).Ok();
        Assert.DoesNotContain(address, rules);
        Assert.DoesNotContain(port, rules);
        // curl: 7 = refused.
        var nobody = await cluster.K("get", "service", "nobody", "-o", "jsonpath={.spec.clusterIP}");
        Assert.Equal(7, (await Node.RunAsync("curl", "-s", "-m", "30", $"http://{nobody}/")).ExitCode);
    }

    [Fact]
    public async Task Restart_WhileAPodAsks_NoRequestFails()
    {
        await StartAsync();
        var address = await cluster.K("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}");
        using var requests = await RequestLoop.StartAsync(Node, address);
        await requests.UntilMadeAsync(10);
        await Node.StopAsync();
        await requests.UntilMadeAsync(20);
        Node.Start();
        await Node.WaitReadyAsync();
        await requests.UntilMadeAsync(20);
        Assert.Equal(0, await requests.EndAsync());
        await Eventually.GetAsync(() => cluster.Try("exec", "box", "--", "netprobe", "get", "web", "80"), answer => answer.Output.StartsWith("web-", StringComparison.Ordinal), "a pod's request after the restart");
    }

    private async Task StartAsync()
    {
        await cluster.Apply(s_web);
        await cluster.K("rollout", "status", "deployment/web", "--timeout=120s");
        await cluster.K("wait", "pod/box", "--for=condition=Ready", "--timeout=120s");
        await Eventually.GetAsync(() => cluster.Try("exec", "box", "--", "netprobe", "get", "web", "80"), answer => answer.ExitCode == 0, "the Service answers");
    }
}
