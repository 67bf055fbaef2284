using System.Text;
using K3sFast.Tests.Databases;

namespace K3sFast.Datastore.Tests;

/// <summary>
/// What every shared engine must do when the way to it breaks, or the server itself dies. Each class has a server of its own; the store
/// under test reaches it through a relay that can be cut, a second store reaches it directly.
/// </summary>
public abstract class SharedStoreFaultTests : IAsyncLifetime
{
    private TcpRelay? _relay;
    private IDatastore? _store;
    private IDatastore? _other;

    private protected TcpRelay Relay => _relay!;

    private protected IDatastore Store => _store!;

    private protected IDatastore Other => _other!;

    protected abstract string? SkipReason { get; }

    private protected abstract DatabaseProcess Server { get; }

    private protected abstract Task StartServerAsync();

    private protected abstract Task<IDatastore> OpenAsync(int port);

    public async ValueTask InitializeAsync()
    {
        if (SkipReason is { } reason) Assert.Skip(reason);
        await StartServerAsync();
        _relay = new TcpRelay(Server.Port);
        _other = await OpenAsync(Server.Port);
        _store = await OpenAsync(_relay.Port);
    }

    public async ValueTask DisposeAsync()
    {
        if (_store is not null) await _store.DisposeAsync();
        if (_other is not null) await _other.DisposeAsync();
        if (_relay is not null) await _relay.DisposeAsync();
        if (SkipReason is null) await Server.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public async Task Cut_WhileAnotherServerWrites_ItsWritesAreSeenOnceAndInOrder()
    {
        var seen = new RecordingObserver();
        using var watch = Store.Watch(Store.CurrentRevision, seen);
        var wanted = new List<long>();
        for (int round = 0; round < 3; round++)
        {
            wanted.Add(await CreateAsync(Other, $"/w/{round}-before"));
            await seen.WaitForAsync(wanted[^1]);
            Relay.Cut();
            for (int i = 0; i < 20; i++) wanted.Add(await CreateAsync(Other, $"/w/{round}-{i}"));
            Relay.Mend();
            await seen.WaitForAsync(wanted[^1]);
        }
        Assert.Null(seen.Error);
        Assert.Equal(wanted, seen.Changes.Select(change => change.Revision));
    }

    [Fact]
    public async Task Cut_CompactedMeanwhile_EndsTheWatchAndFollowsOn()
    {
        var seen = new RecordingObserver();
        using var watch = Store.Watch(Store.CurrentRevision, seen);
        long revision = await CreateAsync(Other, "/w/1");
        await seen.WaitForAsync(revision);
        Relay.Cut();
        for (int i = 0; i < 20; i++) revision = (await Other.AppendAsync(AppendRequest.Update("/w/1", revision, Encoding.UTF8.GetBytes($"{i}")))).Revision;
        await Other.CompactAsync(revision);
        Relay.Mend();
        await seen.WaitForAsync(long.MaxValue);
        Assert.IsType<DatastoreCompactedException>(seen.Error);
        // What follows is followed: own writes complete, others' are seen.
        long own = await CreateAsync(Store, "/w/2");
        var later = new RecordingObserver();
        using var second = Store.Watch(own, later);
        long last = await CreateAsync(Other, "/w/3");
        await later.WaitForAsync(last);
        Assert.Equal([last], later.Changes.Select(change => change.Revision));
        Assert.Equal(revision, Store.CompactRevision);
    }

    /// <summary>Writers count while their connections break again and again. What was acknowledged is there once; what was not is there at most once.</summary>
    [Fact]
    public async Task Cut_AgainAndAgain_LosesNothingAndWritesNothingTwice()
    {
        var seen = new RecordingObserver();
        using var watch = Other.Watch(Other.CurrentRevision, seen);
        using var enough = new CancellationTokenSource();
        var counters = new Counters(Store, Other);
        var counting = counters.StartAsync(enough.Token);
        for (int i = 0; i < 6; i++)
        {
            await seen.WaitForAsync(await Other.ReadCurrentRevisionAsync() + 5);
            Relay.Cut(stays: false);
        }
        await enough.CancelAsync();
        await counters.VerifyAsync(await counting, seen);
    }

    [Fact]
    public async Task Server_KilledAndStartedAgain_LosesNothingAndIsFollowedOn()
    {
        var seen = new RecordingObserver();
        using var watch = Store.Watch(Store.CurrentRevision, seen);
        using var enough = new CancellationTokenSource();
        var counters = new Counters(Store, Other);
        var counting = counters.StartAsync(enough.Token);
        await seen.WaitForAsync(Store.CurrentRevision + 20);
        await Server.KillAsync();
        await Server.StartAsync();
        await seen.WaitForAsync(Store.CurrentRevision + 20);
        await enough.CancelAsync();
        var counts = await counting;
        Assert.Null(seen.Error);
        await counters.VerifyAsync(counts, seen);
    }

    /// <summary>A server that is there but says nothing: calls end with an error instead of hanging, and all is well when it speaks again.</summary>
    [Fact]
    public async Task Server_Frozen_FailsInTimeAndRecovers()
    {
        long before = await CreateAsync(Store, "/w/1");
        await Server.FreezeAsync();
        using (var limit = new CancellationTokenSource(TimeSpan.FromSeconds(120)))
        {
            await Assert.ThrowsAnyAsync<DatastoreException>(async () => await Store.ReadCurrentRevisionAsync(limit.Token));
        }
        Server.Thaw();
        var seen = new RecordingObserver();
        using var watch = Store.Watch(before, seen);
        long after = 0;
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(120));
        for (int i = 0; after == 0; i++)
        {
            try
            {
                after = await CreateAsync(Store, $"/w/after-{i}");
            }
            catch (DatastoreException) when (!patience.IsCancellationRequested)
            {
                // The first ones may still meet connections of before.
                await Task.Delay(20);
            }
        }
        await seen.WaitForAsync(after);
        Assert.Contains(seen.Changes, change => change.Revision == after);
    }

    private static async Task<long> CreateAsync(IDatastore store, string key)
    {
        var result = await store.AppendAsync(AppendRequest.Create(key, "v"u8.ToArray()));
        Assert.Equal(AppendOutcome.Committed, result.Outcome);
        return result.Revision;
    }
}
