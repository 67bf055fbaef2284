namespace K3sFast.EndToEnd.Tests;

/// <summary>A cluster over a network that knows its server by an outer address alone, as over the Internet: <c>--flannel-external-ip</c>.</summary>
public sealed class ExternalAddressTests
{
    private const string Inner = "198.51.100.71";

    [Fact]
    public async Task Names_OfAServerThatIsReachedByItsOuterAddress_AreAnsweredThroughTheOverlay()
    {
        if (!Environment.IsPrivilegedProcess) Assert.Skip("needs root: network namespaces, containerd");
        var lan = await Lan.CreateAsync();
        var nodes = new List<ServerNode>();
        try
        {
            nodes.Add(await Cluster.PrepareNodeAsync(lan, "x1", 71, null, "node-ip: " + Inner, "node-external-ip: 192.0.2.71", "flannel-external-ip: true"));
            // Nobody else has a way to it.
            (await nodes[0].RunAsync("ip", "link", "add", "inner", "type", "veth", "peer", "name", "inside")).Ok();
            (await nodes[0].RunAsync("ip", "address", "add", Inner + "/32", "dev", "inner")).Ok();
            foreach (var link in (string[])["inner", "inside"]) (await nodes[0].RunAsync("ip", "link", "set", link, "up")).Ok();
            nodes[0].Start();
            await nodes[0].WaitReadyAsync();
            var token = await File.ReadAllTextAsync(Path.Combine(nodes[0].DataDir, "server", "node-token"), TestContext.Current.CancellationToken);
            nodes.Add(await Cluster.StartNodeAsync(lan, "x2", 72, nodes[0], "token: " + token.Trim()));
            await nodes[1].WaitReadyAsync();
            await CheckAsync(nodes[0]);
        }
        finally
        {
            foreach (var node in Enumerable.Reverse(nodes))
            {
                if (TestContext.Current.TestState?.Result == TestResult.Failed) TestContext.Current.TestOutputHelper?.WriteLine($"--- {node.Name}\n{node.LogTail()}");
                await node.DisposeAsync();
                Cluster.DeleteFolder(node.Folder);
            }
            await lan.DisposeAsync();
        }
    }

    private static async Task CheckAsync(ServerNode server)
    {
        (await server.KubectlAsync(["apply", "-f", "-"], """
            apiVersion: v1
            kind: Pod
            metadata: {name: asks}
            spec:
              nodeName: x2
              terminationGracePeriodSeconds: 1
              containers: [{name: c, image: "busybox:1.35", command: ["sh", "-c", "trap exit TERM; while :; do sleep 1; done"]}]
            """)).Ok();
        (await server.KubectlAsync(["wait", "pod/asks", "--for=condition=Ready", "--timeout=240s"])).Ok();
        var address = (await server.KubectlAsync(["get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}"])).Ok();
        await Eventually.GetAsync(
            () => server.KubectlAsync(["exec", "asks", "--", "nslookup", "kubernetes.default.svc.cluster.local"]), answer => answer.Output.Contains(address, StringComparison.Ordinal), "a name, asked from the other node");
    }
}
