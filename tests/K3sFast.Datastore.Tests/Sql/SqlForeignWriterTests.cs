using K3sFast.Datastore.MySql;
using K3sFast.Datastore.PostgreSql;
using K3sFast.Datastore.Sql;
using K3sFast.Tests.Databases;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Datastore.Tests.Sql;

/// <summary>A kine beside us in PostgreSQL.</summary>
public sealed class PostgresForeignWriterTests(DatabaseServers servers) : SqlForeignWriterTests
{
    private readonly string _database = $"k{Guid.NewGuid():N}";

    protected override string? SkipReason => PostgresServer.SkipReason;

    private protected override async Task<ISqlEngine> EngineAsync() =>
        new PgEngine(PgOptions.Parse((await servers.Postgres).Url(_database), new DatastoreTls()), NullLogger.Instance);

    private protected override string OldTable => """
        CREATE TABLE kine (id SERIAL PRIMARY KEY, name VARCHAR(630), created INTEGER, deleted INTEGER, create_revision INTEGER, prev_revision INTEGER,
            lease INTEGER, value bytea, old_value bytea)
        """;
}

/// <summary>A kine beside us in MariaDB.</summary>
public sealed class MariaDbForeignWriterTests(DatabaseServers servers) : SqlForeignWriterTests
{
    private readonly string _database = $"k{Guid.NewGuid():N}";

    protected override string? SkipReason => MariaDbServer.SkipReason;

    private protected override async Task<ISqlEngine> EngineAsync() =>
        new MySqlEngine(MySqlOptions.Parse((await servers.MariaDb).Url(_database), new DatastoreTls()), NullLogger.Instance);

    private protected override string OldTable => """
        CREATE TABLE kine (id INTEGER AUTO_INCREMENT, name VARCHAR(630) CHARACTER SET ascii, created INTEGER, deleted INTEGER, create_revision INTEGER, prev_revision INTEGER,
            lease INTEGER, value MEDIUMBLOB, old_value MEDIUMBLOB, PRIMARY KEY (id))
        """;
}

/// <summary>
/// Writers that do not know our lock, as kine is one: they take ids from the database's sequence, are slow to commit, and roll back. Nothing
/// of theirs may be skipped, and nothing of ours be held up for ever.
/// </summary>
public abstract class SqlForeignWriterTests : IAsyncLifetime
{
    private SqlDatastore? _store;
    private ISqlEngine? _engine;

    protected abstract string? SkipReason { get; }

    private protected abstract Task<ISqlEngine> EngineAsync();

    private protected abstract string OldTable { get; }

    private SqlDatastore Store => _store!;

    public async ValueTask InitializeAsync()
    {
        if (SkipReason is { } reason) Assert.Skip(reason);
        _engine = await EngineAsync();
    }

    public async ValueTask DisposeAsync()
    {
        if (_store is not null) await _store.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public async Task SlowCommitter_BehindAQuickOne_IsNotSkipped()
    {
        await OpenAsync();
        long start = Store.CurrentRevision;
        var seen = new RecordingObserver();
        using var watch = Store.Watch(start, seen);
        await using var slow = await _engine!.ConnectAsync(CancellationToken.None);
        await using var quick = await _engine.ConnectAsync(CancellationToken.None);
        await slow.RunAsync(new SqlStatement[] { new("BEGIN"), Row(start + 1, "/f/slow") }, null, CancellationToken.None);
        await quick.RunAsync(new[] { Row(start + 2, "/f/quick") }, null, CancellationToken.None);
        // Longer than a hole is waited for: the filler meets the slow one's row and waits, too.
        await Task.Delay(TimeSpan.FromSeconds(2));
        Assert.Empty(seen.Changes);
        await slow.RunAsync(new SqlStatement[] { new("COMMIT") }, null, CancellationToken.None);
        await seen.WaitForAsync(start + 2);
        Assert.Equal([(start + 1, "/f/slow"), (start + 2, "/f/quick")], seen.Changes.Select(change => (change.Revision, change.Key)));
        Assert.Equal(start + 3, (await CreateAsync("/f/ours")).Revision);
    }

    [Fact]
    public async Task RolledBackIds_LeaveAHole_ThatIsFilledAsKineDoes()
    {
        await OpenAsync();
        long start = Store.CurrentRevision;
        var seen = new RecordingObserver();
        using var watch = Store.Watch(start, seen);
        await using var other = await _engine!.ConnectAsync(CancellationToken.None);
        await other.RunAsync(new[] { Row(start + 3, "/f/beyond") }, null, CancellationToken.None);
        await seen.WaitForAsync(start + 3);
        Assert.Equal([(start + 3, "/f/beyond")], seen.Changes.Select(change => (change.Revision, change.Key)));
        var fillers = new List<string>();
        await other.RunAsync(new[] { new SqlStatement("SELECT name FROM kine WHERE id > $1 AND id < $2 ORDER BY id", start, start + 3) }, (_, row) => fillers.Add(row.Text(0)), CancellationToken.None);
        Assert.Equal([$"gap-{start + 1}", $"gap-{start + 2}"], fillers);
        // Fillers are nobody's keys.
        Assert.DoesNotContain(await KeysAsync("g"), key => key.StartsWith("gap-", StringComparison.Ordinal));
    }

    [Fact]
    public async Task ForeignWriterInTheWay_OurWriteWaitsForIt_AndBothAreThere()
    {
        await OpenAsync();
        long start = Store.CurrentRevision;
        var seen = new RecordingObserver();
        using var watch = Store.Watch(start, seen);
        await using var other = await _engine!.ConnectAsync(CancellationToken.None);
        await other.RunAsync(new SqlStatement[] { new("BEGIN"), Row(start + 1, "/f/theirs") }, null, CancellationToken.None);
        var ours = CreateAsync("/f/ours").AsTask();
        await Task.WhenAny(ours, Task.Delay(300));
        Assert.False(ours.IsCompleted);
        await other.RunAsync(new SqlStatement[] { new("COMMIT") }, null, CancellationToken.None);
        Assert.Equal(new AppendResult(AppendOutcome.Committed, start + 2), await ours);
        await seen.WaitForAsync(start + 2);
        Assert.Equal(["/f/theirs", "/f/ours"], seen.Changes.Select(change => change.Key));
    }

    [Fact]
    public async Task HoleBeforeTheStart_IsClosedBeforeAnythingIsShown()
    {
        await OpenAsync();
        long start = Store.CurrentRevision;
        await Store.DisposeAsync();
        await using (var other = await _engine!.ConnectAsync(CancellationToken.None))
        {
            await other.RunAsync(new[] { Row(start + 2, "/f/beyond") }, null, CancellationToken.None);
            await OpenAsync();
            Assert.Equal(start + 2, Store.CurrentRevision);
            var late = await Assert.ThrowsAsync<SqlException>(async () => await other.RunAsync(new[] { Row(start + 1, "/f/late") }, null, CancellationToken.None));
            Assert.Equal(SqlFailure.Duplicate, late.Failure);
        }
        Assert.Equal(["/f/beyond"], await KeysAsync("/f/"));
    }

    [Fact]
    public async Task TableOfAnOldKine_IsServedInByteOrderAndBackAgain()
    {
        // The database is made first, then the table as an old kine left it.
        await OpenAsync();
        await using (var other = await _engine!.ConnectAsync(CancellationToken.None))
        {
            await other.RunAsync(new[] { new SqlStatement("DROP TABLE kine") }, null, CancellationToken.None);
            await Store.DisposeAsync();
            await other.RunAsync(new SqlStatement[] { new(OldTable), Row(1, "compact_rev_key", deleted: 0), Row(2, "/registry/b"), Row(3, "/registry/B"), Row(4, "/registry/a") }, null, CancellationToken.None);
            await OpenAsync();
            Assert.Equal(4, Store.CurrentRevision);
            Assert.Equal(["/registry/B", "/registry/a", "/registry/b"], await KeysAsync("/registry/"));
            Assert.Equal(AppendOutcome.Conflict, (await CreateAsync("/registry/a")).Outcome);
            Assert.Equal(new AppendResult(AppendOutcome.Committed, 5), await CreateAsync("/registry/A"));
            await Store.DisposeAsync();
            // kine takes the next id from the sequence: it must be free.
            await other.RunAsync(
                new[] { new SqlStatement("INSERT INTO kine (name, created, deleted, create_revision, prev_revision, lease, value, old_value) VALUES ('/registry/c', 1, 0, 0, 0, 0, $1, NULL)", "v"u8.ToArray().AsMemory().ToValue()) },
                null, CancellationToken.None);
            long id = 0;
            await other.RunAsync(new[] { new SqlStatement("SELECT id FROM kine WHERE name = '/registry/c'") }, (_, row) => id = row.Int64(0), CancellationToken.None);
            Assert.Equal(6, id);
        }
    }

    private async Task OpenAsync() => _store = await SqlDatastore.OpenAsync(_engine!, new SqlOptions(), CancellationToken.None);

    private ValueTask<AppendResult> CreateAsync(string key) => Store.AppendAsync(AppendRequest.Create(key, "v"u8.ToArray()));

    private async Task<string[]> KeysAsync(string prefix)
    {
        var seen = new RecordingObserver();
        await Store.RangeAsync(new RangeRequest(prefix), seen);
        return [.. seen.Changes.Select(change => change.Key)];
    }

    private static SqlStatement Row(long id, string name, int deleted = 0) => new(
        $"INSERT INTO kine (id, name, created, deleted, create_revision, prev_revision, lease, value, old_value) VALUES ($1, $2, 1, {deleted}, 0, 0, 0, $3, NULL)",
        id, name, "v"u8.ToArray().AsMemory().ToValue());
}

internal static class SqlValues
{
    internal static SqlValue ToValue(this Memory<byte> bytes) => (ReadOnlyMemory<byte>)bytes;
}
