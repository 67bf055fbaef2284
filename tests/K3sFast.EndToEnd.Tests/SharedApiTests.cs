namespace K3sFast.EndToEnd.Tests;

/// <summary>The API's tests on servers that share an etcd.</summary>
[Collection(nameof(EtcdCluster))]
public sealed class EtcdApiTests(EtcdCluster cluster) : SharedApiTests(cluster);

/// <summary>The API's tests on servers that share a MariaDB.</summary>
[Collection(nameof(MariaDbCluster))]
public sealed class MariaDbApiTests(MariaDbCluster cluster) : SharedApiTests(cluster);

/// <summary>The API's tests on servers that share a PostgreSQL.</summary>
[Collection(nameof(PostgresCluster))]
public sealed class PostgresApiTests(PostgresCluster cluster) : SharedApiTests(cluster);

/// <summary>
/// Every test of the API that needs no node on three servers, of whom the leader is killed in the middle of a test in the middle of the list, so that two
/// carry on; then the API's own tests, and those that change things, on these two, of whom the leader is killed again, so that one does. Each connection goes to
/// the next server in turn and past a dead one; no request is made a second time.
/// </summary>
public abstract class SharedApiTests(SharedCluster cluster) : SharedClusterTest(cluster)
{
    // It changes an object many times over many connections, and asks nothing of the controllers that move meanwhile.
    private const string KilledIn = $"{nameof(KubectlChangeTests)}.{nameof(KubectlChangeTests.Replace_OldObject_ConflictsAndForceMakesItAnew)}";
    private const int KilledBeforeConnection = 6;

    // By the servers that there are at the beginning of the list.
    private static readonly (int Servers, ApiCase[] Cases)[] s_lists =
    [
        (3, [.. new[] { typeof(KubectlAuthTests), typeof(KubectlCreateTests), typeof(ApiTests), typeof(KubectlChangeTests), typeof(KubectlLookTests) }.SelectMany(ApiCase.Of)]),
        (2, [.. new[] { typeof(KubectlChangeTests), typeof(ApiTests) }.SelectMany(ApiCase.Of)]),
    ];

    /// <summary>Servers at the beginning of the list, and the case.</summary>
    public static IEnumerable<TheoryDataRow<int, string>> Cases =>
        from list in s_lists from one in list.Cases select new TheoryDataRow<int, string>(list.Servers, one.Name);

    // In the order of the rows, one after the other.
    [Theory]
    [MemberData(nameof(Cases), DisableDiscoveryEnumeration = true)]
    public async Task Api_LeaderIsKilledOnTheWay_EveryTestPasses(int servers, string test)
    {
        var cases = s_lists.Single(list => list.Servers == servers).Cases;
        if (test == cases[0].Name) await BeginAsync(servers);
        var one = cases.Single(one => one.Name == test);
        if (test != KilledIn)
        {
            await one.RunAsync(Cluster.Front);
            return;
        }
        var victim = await Servers.HolderAsync(Cluster.Alive.First(), "kube-controller-manager");
        Cluster.Balancer.BeforeConnection(KilledBeforeConnection, victim.KillAsync);
        await one.RunAsync(Cluster.Front);
        Assert.False(victim.IsAlive, "the test was over before the kill");
        Assert.Equal(servers - 1, Cluster.Alive.Count());
        await SharedServers.UntilLedByAnotherAsync(Cluster.Alive.First(), "kube-controller-manager", victim);
    }

    private async Task BeginAsync(int servers)
    {
        if (servers == Servers.All.Count) await Cluster.RestoreAsync();
        Assert.Equal(servers, Cluster.Alive.Count());
        // What the list left behind goes before it begins anew: some tests take a thing of which there is one in the cluster.
        await Eventually.GetAsync(
            () => Cluster.Front.Node.KubectlAsync(["get", "namespaces", "-o", "name"]), namespaces => !namespaces.Ok().Contains("/e2e-", StringComparison.Ordinal), "the namespaces of the tests before are gone");
    }
}
