using System.Collections.Concurrent;
using K3sFast.Tests.Databases;

namespace K3sFast.EndToEnd.Tests;

/// <summary>Three API servers of one cluster on a real etcd.</summary>
public sealed class EtcdServersTests : SharedDatastoreTests
{
    private EtcdServer[] _members = [];

    protected override string? MissingDatabase => EtcdServer.SkipReason;

    private protected override async Task<string> StartDatabaseAsync(DatabasePlace place)
    {
        _members = await EtcdServer.StartClusterAsync(1, place: place);
        return string.Join(',', _members.Select(member => member.Url));
    }

    private protected override async Task StopDatabaseAsync()
    {
        foreach (var member in _members) await member.DisposeAsync();
    }
}

/// <summary>Three API servers of one cluster on a real MariaDB.</summary>
public sealed class MariaDbServersTests : SharedDatastoreTests
{
    private MariaDbServer? _server;

    protected override string? MissingDatabase => MariaDbServer.SkipReason;

    private protected override async Task<string> StartDatabaseAsync(DatabasePlace place)
    {
        _server = await MariaDbServer.StartNewAsync(place: place);
        return _server.Url("kubernetes");
    }

    private protected override Task StopDatabaseAsync() => _server is null ? Task.CompletedTask : _server.DisposeAsync().AsTask();
}

/// <summary>Three API servers of one cluster on a real PostgreSQL.</summary>
public sealed class PostgresServersTests : SharedDatastoreTests
{
    private PostgresServer? _server;

    protected override string? MissingDatabase => PostgresServer.SkipReason;

    private protected override async Task<string> StartDatabaseAsync(DatabasePlace place)
    {
        _server = await PostgresServer.StartNewAsync(place: place);
        return _server.Url("kubernetes");
    }

    private protected override Task StopDatabaseAsync() => _server is null ? Task.CompletedTask : _server.DisposeAsync().AsTask();
}

/// <summary>What a cluster of several API servers must do on any engine that they share.</summary>
public abstract class SharedDatastoreTests : IAsyncLifetime
{
    private const string Token = "the-clusters-secret";

    private SharedServers? _servers;
    private string _endpoint = "";

    private SharedServers Servers => _servers!;

    protected abstract string? MissingDatabase { get; }

    private protected abstract Task<string> StartDatabaseAsync(DatabasePlace place);

    private protected abstract Task StopDatabaseAsync();

    public async ValueTask InitializeAsync()
    {
        if (!Environment.IsPrivilegedProcess) Assert.Skip("needs root: network namespaces");
        if (MissingDatabase is { } missing) Assert.Skip(missing);
        _servers = await SharedServers.CreateAsync(3);
        _endpoint = await StartDatabaseAsync(_servers.Place);
        // All at once: one founds the cluster, the others find it.
        foreach (var server in _servers.All) server.Start(_endpoint, Token);
        foreach (var server in _servers.All) await server.WaitReadyAsync();
    }

    public async ValueTask DisposeAsync()
    {
        if (_servers is not null)
        {
            if (TestContext.Current.TestState?.Result == TestResult.Failed)
            {
                foreach (var server in _servers.All) TestContext.Current.TestOutputHelper?.WriteLine($"--- {server.Name}\n{server.LogTail(30)}");
            }
            foreach (var server in _servers.All) await server.KillAsync();
        }
        await StopDatabaseAsync();
        if (_servers is not null) await _servers.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public async Task ThreeServers_OneIsKilled_TheClusterGoesOnAndLosesNothing()
    {
        await WritesAreReadEverywhereAtOnce();
        await AnotherTokenIsRefused();
        await EveryServerAnswersNames();

        var victim = await HolderAsync(Servers.All[0], "kube-controller-manager");
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

        victim.Start(_endpoint, Token);
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
        stranger.Start(_endpoint, "another-secret");
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

    private async Task<SharedServer> HolderAsync(SharedServer asked, string lease)
    {
        var holder = await Eventually.GetAsync(
            async () => (await asked.KubectlAsync("get", "lease", lease, "-n", "kube-system", "-o", "jsonpath={.spec.holderIdentity}")).Output.Trim(), text => text.Length > 0, $"somebody leads {lease}");
        return Servers.All.Single(server => holder.StartsWith(server.Name + "_", StringComparison.Ordinal));
    }

    private static async Task ControllersAndSchedulerMoveAsync(SharedServer[] survivors, SharedServer victim)
    {
        foreach (var lease in new[] { "kube-controller-manager", "kube-scheduler" })
        {
            await Eventually.GetAsync(
                () => survivors[0].K("get", "lease", lease, "-n", "kube-system", "-o", "jsonpath={.spec.holderIdentity}"),
                holder => holder.Length > 0 && !holder.StartsWith(victim.Name + "_", StringComparison.Ordinal), $"{lease} is led by a survivor");
        }
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
