using K3sFast.Datastore.Etcd;
using K3sFast.Tests.Databases;

namespace K3sFast.Datastore.Tests.Etcd;

/// <summary>etcd when it breaks.</summary>
public sealed class EtcdFaultTests : SharedStoreFaultTests
{
    private EtcdServer? _server;

    protected override string? SkipReason => EtcdServer.SkipReason;

    private protected override DatabaseProcess Server => _server!;

    private protected override async Task StartServerAsync() => _server = (await EtcdServer.StartClusterAsync(1))[0];

    private protected override async Task<IDatastore> OpenAsync(int port) =>
        await EtcdDatastore.OpenAsync(new EtcdOptions { Endpoints = [new Uri($"http://127.0.0.1:{port}")] });
}

/// <summary>A cluster of three members that lose one after the other.</summary>
public sealed class EtcdFailoverTests
{
    [Fact]
    public async Task EachMemberInTurn_KilledAndStartedAgain_WritesAndWatchGoOn()
    {
        if (EtcdServer.SkipReason is { } reason) Assert.Skip(reason);
        var members = await EtcdServer.StartClusterAsync(3);
        try
        {
            await using var store = await EtcdDatastore.OpenAsync(new EtcdOptions { Endpoints = [.. members.Select(member => new Uri(member.Url))] });
            var seen = new RecordingObserver();
            long start = store.CurrentRevision;
            using var watch = store.Watch(start, seen);
            var acknowledged = new List<long>();
            int number = 0;
            foreach (var member in members)
            {
                await WriteAsync(10);
                await member.KillAsync();
                // Two of three are a majority.
                await WriteAsync(10);
                await member.StartAsync();
            }
            await seen.WaitForAsync(acknowledged[^1]);
            Assert.Null(seen.Error);
            var revisions = seen.Changes.Select(change => change.Revision).ToArray();
            Assert.Equal(revisions.Distinct().Order(), revisions);
            Assert.Empty(acknowledged.Except(revisions));
            var now = new RecordingObserver();
            await store.RangeAsync(new RangeRequest("/f/"), now);
            Assert.Equal(now.Changes.Select(change => change.Revision).Order(), revisions);

            async Task WriteAsync(int more)
            {
                for (int wanted = acknowledged.Count + more; acknowledged.Count < wanted;)
                {
                    try
                    {
                        var result = await store.AppendAsync(AppendRequest.Create($"/f/{number++}", "v"u8.ToArray()));
                        Assert.Equal(AppendOutcome.Committed, result.Outcome);
                        acknowledged.Add(result.Revision);
                    }
                    catch (DatastoreException)
                    {
                        // In doubt: it may be there or not, but not twice.
                    }
                }
            }
        }
        finally
        {
            foreach (var member in members) await member.DisposeAsync();
        }
    }
}
