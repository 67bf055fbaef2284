using System.Collections.Concurrent;

namespace K3sFast.EndToEnd.Tests;

/// <summary>Three API servers of one cluster on a real etcd.</summary>
[Collection(nameof(EtcdCluster))]
public sealed class EtcdServersTests(EtcdCluster cluster) : SharedDatastoreTests(cluster);

/// <summary>Three API servers of one cluster on a real MariaDB.</summary>
[Collection(nameof(MariaDbCluster))]
public sealed class MariaDbServersTests(MariaDbCluster cluster) : SharedDatastoreTests(cluster);

/// <summary>Three API servers of one cluster on a real PostgreSQL.</summary>
[Collection(nameof(PostgresCluster))]
public sealed class PostgresServersTests(PostgresCluster cluster) : SharedDatastoreTests(cluster);

/// <summary>What a cluster of several API servers must do on any engine that they share.</summary>
public abstract class SharedDatastoreTests(SharedCluster cluster) : SharedClusterTest(cluster)
{
    [Fact]
    public async Task ThreeServers_OneIsKilled_TheClusterGoesOnAndLosesNothing()
    {
        await Cluster.RestoreAsync();
        await WritesAreReadEverywhereAtOnce();
        await AnotherTokenIsRefused();
        await EveryServerAnswersNames();

        var victim = await Servers.HolderAsync(Servers.All[0], "kube-controller-manager");
        var survivors = Servers.All.Where(server => server != victim).ToArray();
        // A watch on one server, begun before, sees what is written on the others until the end.
        using var watch = survivors[0].StartKubectl("get", "configmaps", "-n", "default", "--watch-only", "--output-watch-events", "-o", "name");
        var seen = new ConcurrentQueue<string>();
        watch.OutputDataReceived += (_, line) => seen.Enqueue(line.Data ?? "");
        watch.BeginOutputReadLine();
        await Eventually.GetAsync(async () => { await survivors[1].KubectlAsync("create", "configmap", $"begin-{Guid.NewGuid():N}", "-n", "default"); return seen.Count; }, count => count > 0, "the watch has begun");

        var acknowledged = new ConcurrentQueue<string>();
        using var enough = new CancellationTokenSource();
        var writers = Servers.All.Select(server => WriteAsync(server, acknowledged, enough.Token)).ToArray();
        await Eventually.GetAsync(() => Task.FromResult(acknowledged.Count), count => count >= 9, "writes are acknowledged");
        await victim.KillAsync();
        var atKill = acknowledged.Count;
        await Eventually.GetAsync(() => Task.FromResult(acknowledged.Count), count => count >= atKill + 9, "writes go on");
        await enough.CancelAsync();
        await Task.WhenAll(writers);

        foreach (var server in survivors)
        {
            var there = (await server.K("get", "configmaps", "-n", "default", "-o", "name")).Split('\n').ToHashSet();
            Assert.DoesNotContain(acknowledged, name => !there.Contains($"configmap/{name}"));
        }
        await Eventually.GetAsync(
            () => Task.FromResult(acknowledged.Where(name => !seen.Any(line => line.Contains($"configmap/{name}", StringComparison.Ordinal))).ToArray()),
            missed => missed.Length == 0, "the watch saw every acknowledged write");
        watch.Kill();

        await ControllersAndSchedulerMoveAsync(survivors, victim);
        await EndpointsAreAsync(survivors[0], survivors);
        // Pods ask the survivors alone.
        await EndpointsAreAsync(survivors[0], survivors, "kube-system", "kube-dns");

        victim.Start(Cluster.Endpoint, SharedCluster.Token);
        await victim.WaitReadyAsync();
        Assert.Equal(survivors[0].Name.Length > 0, (await victim.K("get", "configmaps", "-n", "default", "-o", "name")).Contains(acknowledged.First(), StringComparison.Ordinal));
        await EndpointsAreAsync(survivors[0], Servers.All);
        await EndpointsAreAsync(survivors[0], Servers.All, "kube-system", "kube-dns");
        // Nobody's process ended but the killed one's.
        Assert.All(Servers.All, server => Assert.False(server.HasEnded, server.LogTail()));
    }

    private async Task WritesAreReadEverywhereAtOnce()
    {
        for (var i = 0; i < 6; i++)
        {
            var writer = Servers.All[i % 3];
            await writer.K("create", "configmap", $"first-{i}", "-n", "default", $"--from-literal=by={writer.Name}");
            foreach (var reader in Servers.All)
                Assert.Equal(writer.Name, await reader.K("get", "configmap", $"first-{i}", "-n", "default", "-o", "jsonpath={.data.by}"));
            var other = Servers.All[(i + 1) % 3];
            await other.K("patch", "configmap", $"first-{i}", "-n", "default", "-p", """{"data":{"by":"changed"}}""");
            Assert.Contains("changed", await writer.K("get", "configmaps", "-n", "default", "-o", "jsonpath={.items[*].data.by}"));
        }
        // Ports and addresses of Services come out of one pot.
        var ports = await Task.WhenAll(Enumerable.Range(0, 9).Select(async i =>
        {
            await Servers.All[i % 3].K("create", "service", "nodeport", $"np-{i}", "--tcp=80", "-n", "default");
            return await Servers.All[(i + 1) % 3].K("get", "service", $"np-{i}", "-n", "default", "-o", "jsonpath={.spec.ports[0].nodePort} {.spec.clusterIP}");
        }));
        Assert.Equal(9, ports.Select(text => text.Split(' ')[0]).Distinct().Count());
        Assert.Equal(9, ports.Select(text => text.Split(' ')[1]).Distinct().Count());
    }

    private async Task AnotherTokenIsRefused()
    {
        var stranger = await Servers.AddAsync();
        stranger.Start(Cluster.Endpoint, "another-secret");
        await stranger.WaitEndedAsync();
        Assert.Contains("bootstrap data already found and encrypted with different token", stranger.Log);
        Servers.All.Remove(stranger);
    }

    private static async Task WriteAsync(SharedServer server, ConcurrentQueue<string> acknowledged, CancellationToken enough)
    {
        for (var i = 0; !enough.IsCancellationRequested; i++)
        {
            var name = $"load-{server.Name}-{i}";
            if ((await server.KubectlAsync("create", "configmap", name, "-n", "default", "--request-timeout=20s")).ExitCode == 0) acknowledged.Enqueue(name);
            else await Task.Delay(50, CancellationToken.None);
        }
    }

    private static async Task ControllersAndSchedulerMoveAsync(SharedServer[] survivors, SharedServer victim)
    {
        foreach (var lease in new[] { "kube-controller-manager", "kube-scheduler" }) await SharedServers.UntilLedByAnotherAsync(survivors[0], lease, victim);
        await survivors[0].K("create", "deployment", "after", "--image=none", "-n", "default");
        // The controllers make a pod of it, and the scheduler says why it has no node.
        await Eventually.GetAsync(
            () => survivors[1].K("get", "pods", "-n", "default", "-l", "app=after", "-o", "jsonpath={.items[*].status.conditions[?(@.type==\"PodScheduled\")].reason}"),
            reason => reason == "Unschedulable", "controllers and scheduler work");
    }

    // Servers without pods of their own serve names once the cluster has a node that could run some.
    private async Task EveryServerAnswersNames()
    {
        await Servers.All[0].K("create", "-f", Servers.File("""{"apiVersion":"v1","kind":"Node","metadata":{"name":"edge"}}"""));
        await EndpointsAreAsync(Servers.All[1], Servers.All, "kube-system", "kube-dns");
        var service = await Servers.All[1].K("get", "service", "kubernetes", "-n", "default", "-o", "jsonpath={.spec.clusterIP}");
        foreach (var server in Servers.All)
        {
            using var socket = Servers.OpenOutside(server);
            await Eventually.GetAsync(() => Task.FromResult(SharedServers.AskName(socket, "kubernetes.default.svc.cluster.local")), answer => answer == service, $"{server.Name} answers a name");
        }
    }

    private static Task EndpointsAreAsync(SharedServer asked, IReadOnlyCollection<SharedServer> servers, string ns = "default", string service = "kubernetes")
    {
        var wanted = string.Join(' ', servers.Select(server => server.Address).Order(StringComparer.Ordinal));
        return Eventually.GetAsync(
            async () => (await asked.KubectlAsync("get", "endpoints", service, "-n", ns, "-o", "jsonpath={.subsets[*].addresses[*].ip}")).Output, text => text.Trim() == wanted, $"Service {service} leads to {wanted}");
    }
}
