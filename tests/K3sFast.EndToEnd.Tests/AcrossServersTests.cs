using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Text.Json.Nodes;

namespace K3sFast.EndToEnd.Tests;

/// <summary>What one server writes and another tells, on an etcd.</summary>
[Collection(nameof(EtcdCluster))]
public sealed class AcrossEtcdServersTests(EtcdCluster cluster) : AcrossServersTests(cluster);

/// <summary>The same on a MariaDB.</summary>
[Collection(nameof(MariaDbCluster))]
public sealed class AcrossMariaDbServersTests(MariaDbCluster cluster) : AcrossServersTests(cluster);

/// <summary>The same on a PostgreSQL.</summary>
[Collection(nameof(PostgresCluster))]
public sealed class AcrossPostgresServersTests(PostgresCluster cluster) : AcrossServersTests(cluster);

/// <summary>
/// Three servers of one cluster are one API: whatever is asked of one of them after another has answered shows what that one did, and what is asked of all at
/// once is decided once.
/// </summary>
public abstract class AcrossServersTests(SharedCluster cluster) : SharedClusterTest(cluster)
{
    private readonly List<DirectClient> _clients = [];
    private string _namespace = "";

    private string Maps => $"/api/v1/namespaces/{_namespace}/configmaps";

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        await Cluster.RestoreAsync();
        foreach (var server in Servers.All) _clients.Add(server.CreateClient());
        _namespace = (string)(await Client(0).CreateAsync("/api/v1/namespaces", """{"metadata":{"generateName":"across-"}}"""))["metadata"]!["name"]!;
    }

    public override async ValueTask DisposeAsync()
    {
        if (_namespace.Length > 0) await Servers.All.First(static server => server.IsAlive).KubectlAsync("delete", "namespace", _namespace, "--wait=false");
        foreach (var client in _clients) client.Dispose();
        await base.DisposeAsync();
    }

    [Fact]
    public async Task Reads_OnTheOthersAfterAWrite_AreNeverStale()
    {
        for (var i = 0; i < 60; i++)
        {
            var (name, others) = ($"m{i % 7}", new[] { Client(i + 1), Client(i + 2) });
            var (status, written) = await Client(i).TryAsync(HttpMethod.Put, $"{Maps}/{name}", Map(name, $"{i}"));
            if (status == HttpStatusCode.NotFound) written = await Client(i).CreateAsync(Maps, Map(name, $"{i}"));
            var revision = RevisionOf(written);
            await Task.WhenAll(others.Select(async other =>
            {
                Assert.Equal($"{i}", (string?)(await other.GetAsync($"{Maps}/{name}"))["data"]!["v"]);
                foreach (var query in (string[])["", $"&resourceVersion={revision}&resourceVersionMatch=NotOlderThan", $"&resourceVersion={revision}&resourceVersionMatch=Exact", "&limit=1"])
                {
                    var list = await other.GetAsync($"{Maps}?fieldSelector=metadata.name%3D{name}{query}");
                    Assert.Equal($"{i}", (string?)Assert.Single(list["items"]!.AsArray())!["data"]!["v"]);
                    Assert.True(RevisionOf(list) >= revision, $"{query}: {RevisionOf(list)} after {revision}");
                }
            }));
            if (i % 5 != 4) continue;
            await Client(i + 1).SendAsync(HttpMethod.Delete, $"{Maps}/{name}");
            foreach (var client in _clients) Assert.Equal(HttpStatusCode.NotFound, (await client.TryAsync(HttpMethod.Get, $"{Maps}/{name}")).Status);
        }
    }

    [Fact]
    public async Task Watches_OnAllServers_TellOneHistoryThoughOneIsKilled()
    {
        const string Last = "the-last";
        var selected = $"{Maps}?labelSelector=part%3Dwatched";
        var begin = RevisionOf(await Client(0).GetAsync(selected));
        var followers = Servers.All.Select(_ => new WatchFollower(selected, begin)).ToArray();
        // Two stay where they are, and the one whose server is killed goes on at each of the others in turn.
        var following = Task.WhenAll(followers.Select((follower, i) => follower.FollowAsync(Last, i < 2 ? [Client(i)] : [Client(2), Client(1), Client(0)])));
        await Task.WhenAll(followers.Select(static follower => follower.Begun));

        var acknowledged = new ConcurrentQueue<WatchedChange>();
        var (half, goOn) = (new CountdownEvent(Servers.All.Count), new TaskCompletionSource());
        var writers = Servers.All.Select((_, i) => WriteAsync(i, acknowledged, half, goOn.Task)).ToArray();
        await Eventually.GetAsync(() => Task.FromResult(half.IsSet || writers.Any(static writer => writer.IsFaulted)), static isSet => isSet, "every writer has done some");
        goOn.SetResult();
        await Servers.All[2].KillAsync();
        await Task.WhenAll(writers);
        await Client(1).CreateAsync(Maps, Map(Last, "", "watched"));
        await following;

        var history = followers[0].Changes;
        foreach (var follower in followers[1..]) Assert.Equal(history, follower.Changes);
        Assert.Equal(history.Select(static change => change.Revision), history.Select(static change => change.Revision).Distinct().Order());
        foreach (var (type, name, revision) in acknowledged)
            Assert.Single(history, change => change.Type == type && change.Name == name && (type == "DELETED" || change.Revision == revision));
        Assert.True(acknowledged.Count >= 3 * 3 * 10, $"{acknowledged.Count} changes were acknowledged");
    }

    [Fact]
    public async Task Apply_OfManagersOnDifferentServers_IsDecidedByWhoOwnsAField()
    {
        var path = $"{Maps}/applied";
        string Body(string data) => $$$"""{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"applied"},"data":{{{data}}}}""";
        Task<(HttpStatusCode Status, JsonNode Answer)> ApplyAsync(int server, string manager, string data, string more = "") =>
            Client(server).TryAsync(HttpMethod.Patch, $"{path}?fieldManager={manager}{more}", Body(data), "application/apply-patch+yaml");

        Assert.Equal(HttpStatusCode.Created, (await ApplyAsync(0, "one", """{"a":"1"}""")).Status);
        Assert.Equal(HttpStatusCode.OK, (await ApplyAsync(1, "two", """{"b":"2"}""")).Status);
        var (status, refusal) = await ApplyAsync(2, "two", """{"a":"3","b":"2"}""");
        Assert.Equal(HttpStatusCode.Conflict, status);
        Assert.Contains("conflict with \"one\": .data.a", (string)refusal["message"]!);
        Assert.Equal(HttpStatusCode.OK, (await ApplyAsync(2, "two", """{"a":"3","b":"2"}""", "&force=true")).Status);
        // What one gives up is the other's alone, and goes with it.
        Assert.Equal(HttpStatusCode.OK, (await ApplyAsync(0, "one", "{}")).Status);
        var seen = await Task.WhenAll(_clients.Select(client => client.GetAsync(path)));
        Assert.All(seen, one => Assert.Equal("""{"a":"3","b":"2"}""", one["data"]!.ToJsonString()));
        Assert.All(seen, one => Assert.Equal(seen[0].ToJsonString(), one.ToJsonString()));
        Assert.Equal(HttpStatusCode.OK, (await ApplyAsync(1, "two", """{"b":"2"}""")).Status);
        Assert.Equal("""{"b":"2"}""", (await Client(2).GetAsync(path))["data"]!.ToJsonString());
    }

    [Fact]
    public async Task Lease_TakenOnAllServersAtOnce_HasOneHolderEachTime()
    {
        var leases = $"/apis/coordination.k8s.io/v1/namespaces/{_namespace}/leases";
        var lease = await Client(0).CreateAsync(leases, """{"metadata":{"name":"one"},"spec":{"holderIdentity":"nobody","leaseTransitions":0}}""");
        for (var round = 1; round <= 15; round++)
        {
            var answers = await Task.WhenAll(_clients.Select((client, i) =>
            {
                var wanted = lease.DeepClone();
                (wanted["spec"]!["holderIdentity"], wanted["spec"]!["leaseTransitions"]) = ($"server-{i}", round);
                return client.TryAsync(HttpMethod.Put, leases + "/one", wanted.ToJsonString());
            }));
            lease = Assert.Single(answers, static answer => answer.Status == HttpStatusCode.OK).Answer;
            Assert.Equal(2, answers.Count(static answer => answer.Status == HttpStatusCode.Conflict));
            foreach (var client in _clients) Assert.Equal(lease.ToJsonString(), (await client.GetAsync(leases + "/one")).ToJsonString());
        }
        Assert.Equal(15, (int)lease["spec"]!["leaseTransitions"]!);
    }

    [Fact]
    public async Task Quota_FilledOnAllServersAtOnce_IsNotExceeded()
    {
        const int Hard = 12;
        var quotas = $"/api/v1/namespaces/{_namespace}/resourcequotas";
        await Client(0).CreateAsync(quotas, $$$$"""{"metadata":{"name":"few"},"spec":{"hard":{"secrets":"{{{{Hard}}}}"}}}""");
        await Eventually.GetAsync(
            async () => (string?)(await Client(1).GetAsync(quotas + "/few"))["status"]?["hard"]?["secrets"], static hard => hard is not null, "the quota is counted");
        var secrets = $"/api/v1/namespaces/{_namespace}/secrets";
        var answers = await Task.WhenAll(Enumerable.Range(0, 3 * Hard).Select(async i =>
        {
            var (status, answer) = await Client(i).TryAsync(HttpMethod.Post, secrets, $$$"""{"metadata":{"name":"s{{{i}}}"}}""");
            // Many at once may find the quota changed under them more often than they try.
            Assert.True(status is HttpStatusCode.Created or HttpStatusCode.Forbidden or HttpStatusCode.Conflict, $"{answer}");
            return status;
        }));
        var created = answers.Count(static status => status == HttpStatusCode.Created);
        Assert.InRange(created, 1, Hard);
        foreach (var client in _clients) Assert.Equal(created, (await client.GetAsync(secrets))["items"]!.AsArray().Count);
    }

    [Fact]
    public async Task Delete_OfACollection_LeavesNothingOfItAnywhere()
    {
        await Task.WhenAll(Enumerable.Range(0, 60).Select(i => Client(i).CreateAsync(Maps, Map($"d{i}", "", i % 3 == 0 ? "stays" : "goes"))));
        var before = RevisionOf(await Client(1).GetAsync(Maps));
        await Client(1).SendAsync(HttpMethod.Delete, $"{Maps}?labelSelector=part%3Dgoes");
        foreach (var client in _clients)
        {
            Assert.Empty(Names(await client.GetAsync($"{Maps}?labelSelector=part%3Dgoes")));
            Assert.Equal(20, Names(await client.GetAsync($"{Maps}?labelSelector=part%3Dstays")).Length);
            // As it was is still to be seen, on whichever.
            Assert.Equal(40, Names(await client.GetAsync($"{Maps}?labelSelector=part%3Dgoes&resourceVersion={before}&resourceVersionMatch=Exact")).Length);
        }
    }

    [Fact]
    public async Task Pages_EachOfAnotherServer_ShowOneMoment()
    {
        await Task.WhenAll(Enumerable.Range(0, 40).Select(i => Client(i).CreateAsync(Maps, Map(string.Create(CultureInfo.InvariantCulture, $"p{i:00}"), "", "paged"))));
        var selected = $"{Maps}?labelSelector=part%3Dpaged&limit=6";
        var (names, moment, token, page) = (new List<string>(), 0L, "", 0);
        do
        {
            var list = await Client(page).GetAsync(token.Length == 0 ? selected : $"{selected}&continue={Uri.EscapeDataString(token)}");
            names.AddRange(Names(list));
            if (page == 0) moment = RevisionOf(list);
            Assert.Equal(moment, RevisionOf(list));
            token = (string?)list["metadata"]!["continue"] ?? "";
            // What comes and goes meanwhile is not of that moment.
            await Client(page + 1).SendAsync(HttpMethod.Delete, string.Create(CultureInfo.InvariantCulture, $"{Maps}/p{39 - page:00}"));
            await Client(page + 2).CreateAsync(Maps, Map($"p99-{page}", "", "paged"));
            page++;
        }
        while (token.Length > 0);
        Assert.Equal(7, page);
        Assert.Equal(Enumerable.Range(0, 40).Select(static i => string.Create(CultureInfo.InvariantCulture, $"p{i:00}")), names);
    }

    private DirectClient Client(int number) => _clients[number % _clients.Count];

    // Creates, changes and deletes objects of its own on one server; counts down halfway, and ends when its server does.
    private async Task WriteAsync(int server, ConcurrentQueue<WatchedChange> acknowledged, CountdownEvent half, Task goOn)
    {
        const int Rounds = 20;
        var client = Client(server);
        for (var i = 0; i < Rounds; i++)
        {
            if (i == Rounds / 2)
            {
                half.Signal();
                await goOn;
            }
            var name = $"w{server}-{i}";
            try
            {
                acknowledged.Enqueue(new WatchedChange("ADDED", name, RevisionOf(await client.CreateAsync(Maps, Map(name, "old", "watched")))));
                acknowledged.Enqueue(new WatchedChange("MODIFIED", name, RevisionOf(await client.SendAsync(HttpMethod.Put, $"{Maps}/{name}", Map(name, "new", "watched")))));
                await client.SendAsync(HttpMethod.Delete, $"{Maps}/{name}");
                acknowledged.Enqueue(new WatchedChange("DELETED", name, 0));
            }
            catch (Exception lost) when (server == 2 && i >= Rounds / 2 && lost is HttpRequestException or IOException)
            {
                return;
            }
        }
    }

    private static string Map(string name, string value, string part = "") =>
        $$$"""{"metadata":{"name":"{{{name}}}","labels":{"part":"{{{part}}}"}},"data":{"v":"{{{value}}}"}}""";

    private static long RevisionOf(JsonNode answer) => long.Parse((string)answer["metadata"]!["resourceVersion"]!, CultureInfo.InvariantCulture);

    private static string[] Names(JsonNode list) => [.. list["items"]!.AsArray().Select(static item => (string)item!["metadata"]!["name"]!)];
}
