namespace K3sFast.EndToEnd.Tests;

/// <summary>The whole node on a machine that has little memory for it.</summary>
public sealed class SmallMemoryTests
{
    private const long Limit = 128L << 20;

    [Fact]
    public async Task Node_In128MiB_StartsAndRunsAPod()
    {
        if (!Environment.IsPrivilegedProcess) Assert.Skip("needs root: network namespaces, containerd");
        if (MemoryLimit.Absence is { } absence) Assert.Skip(absence);
        using var limit = MemoryLimit.Create($"k3e-small-{Environment.ProcessId}", Limit);
        await using var lan = await Lan.CreateAsync();
        var node = await Cluster.PrepareNodeAsync(lan, "small1", 71, null);
        try
        {
            node.Start(limit.Door);
            await node.WaitReadyAsync();
            // The server alone is limited: containerd, its shims and the pods are others' memory.
            Assert.Equal([node.ProcessId], limit.Processes);
            (await node.KubectlAsync(["apply", "-f", "-"], Manifests.Web("web"))).Ok();
            (await node.KubectlAsync(["rollout", "status", "deployment/web", "--timeout=240s"])).Ok();
            var address = (await node.KubectlAsync(["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"])).Ok();
            await Eventually.GetAsync(() => node.RunAsync("curl", "-s", "-m", "5", $"http://{address}/"), answer => answer.Output.StartsWith("web-", StringComparison.Ordinal), "the Service answers");
            Assert.StartsWith("web-", (await node.KubectlAsync(["exec", "deploy/web", "--", "hostname"])).Ok());
            (await node.KubectlAsync(["delete", "deployment,service", "web"])).Ok();
            Assert.False(node.HasExited, node.LogTail());
            Assert.Equal(0, limit.Kills);
        }
        finally
        {
            await node.DisposeAsync();
            if (Environment.GetEnvironmentVariable("K3SFAST_KEEP") is not { Length: > 0 }) Cluster.DeleteFolder(node.Folder);
        }
    }
}
