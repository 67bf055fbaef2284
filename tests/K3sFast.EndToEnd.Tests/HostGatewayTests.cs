namespace K3sFast.EndToEnd.Tests;

/// <summary>Two nodes on one network, with plain routes between them.</summary>
public sealed class HostGatewayTests
{
    [Fact]
    public async Task Pods_OfTwoNodes_ReachEachOtherByPlainRoutes()
    {
        if (!Environment.IsPrivilegedProcess) Assert.Skip("needs root: network namespaces, containerd");
        var lan = await Lan.CreateAsync();
        var nodes = new List<ServerNode>();
        try
        {
            nodes.Add(await Cluster.StartNodeAsync(lan, "h1", 61, null, "flannel-backend: host-gw"));
            await nodes[0].WaitReadyAsync();
            nodes.Add(await Cluster.StartNodeAsync(lan, "h2", 62, nodes[0], $"token: {(await File.ReadAllTextAsync(Path.Combine(nodes[0].DataDir, "server", "node-token"), TestContext.Current.CancellationToken)).Trim()}"));
            await nodes[1].WaitReadyAsync();
            await CheckAsync(lan, nodes);
        }
        finally
        {
            foreach (var node in Enumerable.Reverse(nodes))
            {
                await node.DisposeAsync();
                Cluster.DeleteFolder(node.Folder);
            }
            await lan.DisposeAsync();
        }
    }

    private static async Task CheckAsync(Lan lan, List<ServerNode> nodes)
    {
        async Task<string> K(params string[] arguments) => (await nodes[0].KubectlAsync(arguments)).Ok();
        (await nodes[0].KubectlAsync(["apply", "-f", "-"], """
            apiVersion: v1
            kind: Pod
            metadata: {name: far, labels: {app: far}}
            spec:
              nodeName: h2
              terminationGracePeriodSeconds: 1
              containers: [{name: c, image: "busybox:1.35", command: ["sh", "-c", "hostname > /www/index.html; exec httpd -f -p 8080 -h /www"]}]
            ---
            apiVersion: v1
            kind: Pod
            metadata: {name: near}
            spec:
              nodeName: h1
              terminationGracePeriodSeconds: 1
              containers: [{name: c, image: "busybox:1.35", command: ["sh", "-c", "trap exit TERM; while :; do sleep 1; done"]}]
            ---
            apiVersion: v1
            kind: Service
            metadata: {name: far}
            spec: {type: NodePort, selector: {app: far}, ports: [{port: 80, targetPort: 8080}]}
            """)).Ok();
        await K("wait", "pod/far", "pod/near", "--for=condition=Ready", "--timeout=240s");
        foreach (var (host, port) in ((string, string)[])[(await K("get", "pod", "far", "-o", "jsonpath={.status.podIP}"), "8080"), ("far", "80")])
            await Eventually.GetAsync(() => nodes[0].KubectlAsync(["exec", "near", "--", "netprobe", "get", host, port]), static answer => answer.Output.Trim() == "far", $"{host} from the other node");
        var nodePort = await K("get", "service", "far", "-o", "jsonpath={.spec.ports[0].nodePort}");
        foreach (var node in nodes)
            await Eventually.GetAsync(() => Shell.RunAsync(Lan.Inside(lan.Outside, "curl", "-s", "-m", "2", $"http://{node.Address}:{nodePort}/")), static answer => answer.Output.Trim() == "far", $"node port of {node.Name}");
        var cidr = await K("get", "node", "h2", "-o", "jsonpath={.spec.podCIDR}");
        Assert.Contains($"{cidr} via {nodes[1].Address} dev eth0", (await nodes[0].RunAsync("ip", "route", "show")).Ok());
        Assert.DoesNotContain("flannel", (await nodes[0].RunAsync("ip", "link", "show")).Ok());
        // Nothing is put around a packet: it is as long as the network takes.
        Assert.Contains("mtu 1500", await K("exec", "near", "--", "ip", "link", "show", "eth0"));
    }
}
