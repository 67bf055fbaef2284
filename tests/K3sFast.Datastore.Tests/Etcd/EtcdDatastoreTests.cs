using System.Net.Http.Json;
using K3sFast.Datastore.Etcd;
using K3sFast.Tests.Databases;

namespace K3sFast.Datastore.Tests.Etcd;

/// <summary>The contract on a real etcd. The tests share one server: each finds it empty, at the revision that the one before left.</summary>
public sealed class EtcdContractTests(DatabaseServers servers) : SharedStoreContractTests
{
    protected override string? SkipReason => EtcdServer.SkipReason;

    // etcd's default of --max-request-bytes is 1.5 MiB.
    protected override int LargeValueBytes => 1024 * 1024;

    protected override async Task<IDatastore> OpenAsync()
    {
        var members = await servers.Etcd;
        return await EtcdDatastore.OpenAsync(new EtcdOptions { Endpoints = [.. members.Select(member => new Uri(member.Url))] });
    }

    [Fact]
    public async Task Append_TooLargeForEtcd_SaysSo()
    {
        var refused = await Assert.ThrowsAsync<DatastoreException>(async () => await Create("/v/huge", new string('x', 3 * 1024 * 1024)));
        Assert.Contains("--max-request-bytes", refused.Message, StringComparison.Ordinal);
        Assert.Empty(await Range("/v/"));
    }
}

/// <summary>An etcd that asks who comes.</summary>
public sealed class EtcdUserTests
{
    [Fact]
    public async Task Open_WithUserAndPassword_ReadsWritesAndWatches_AndWithoutIsRefused()
    {
        if (EtcdServer.SkipReason is { } reason) Assert.Skip(reason);
        var members = await EtcdServer.StartClusterAsync(1);
        try
        {
            using var http = new HttpClient { BaseAddress = new Uri(members[0].Url) };
            await PostAsync("/v3/auth/user/add", new { name = "root", password = "p@ss/w" });
            await PostAsync("/v3/auth/role/add", new { name = "root" });
            await PostAsync("/v3/auth/user/grant", new { user = "root", role = "root" });
            await PostAsync("/v3/auth/enable", new { });
            await using (var store = await OpenAsync("root:p%40ss%2Fw@"))
            {
                var seen = new RecordingObserver();
                using var watch = store.Watch(store.CurrentRevision, seen);
                var created = await store.AppendAsync(AppendRequest.Create("/u/1", "v"u8.ToArray()));
                Assert.Equal(AppendOutcome.Committed, created.Outcome);
                await seen.WaitForAsync(created.Revision);
                Assert.Single(seen.Changes);
            }
            var wrong = await Assert.ThrowsAsync<DatastoreOpenException>(() => OpenAsync("root:wrong@"));
            Assert.DoesNotContain("wrong", wrong.Message, StringComparison.Ordinal);
            await Assert.ThrowsAsync<DatastoreOpenException>(() => OpenAsync(""));

            async Task PostAsync<T>(string path, T body) => (await http.PostAsJsonAsync(path, body)).EnsureSuccessStatusCode();
        }
        finally
        {
            await members[0].DisposeAsync();
        }

        Task<EtcdDatastore> OpenAsync(string user) =>
            EtcdDatastore.OpenAsync(new EtcdOptions { Endpoints = [new Uri(members[0].Url.Replace("://", $"://{user}", StringComparison.Ordinal))] });
    }
}
