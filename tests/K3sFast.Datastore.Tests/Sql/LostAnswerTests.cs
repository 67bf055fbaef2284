using K3sFast.Datastore.MySql;
using K3sFast.Datastore.PostgreSql;
using K3sFast.Datastore.Sql;
using K3sFast.Tests.Databases;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Datastore.Tests.Sql;

/// <summary>The database commits, and its answer gets lost. What the writer is told is the truth, or that nobody knows it.</summary>
public sealed class LostAnswerTests(DatabaseServers servers)
{
    public static TheoryData<string> Engines => ["PostgreSQL", "MariaDB"];

    [Theory]
    [MemberData(nameof(Engines))]
    public async Task Commit_AnswerLost_IsFoundDone(string name)
    {
        await using var other = await SqlDatastore.OpenAsync(await EngineAsync(name), new SqlOptions(), CancellationToken.None);
        await using var store = await SqlDatastore.OpenAsync(new LosingEngine(await EngineAsync(name), () => Task.CompletedTask), new SqlOptions(), CancellationToken.None);
        var created = await store.AppendAsync(AppendRequest.Create("/k", "lose"u8.ToArray()));
        Assert.Equal(AppendOutcome.Committed, created.Outcome);
        var seen = new RecordingObserver();
        await other.RangeAsync(new RangeRequest("/k"), seen);
        Assert.Equal((created.Revision, "lose"), (Assert.Single(seen.Changes).Revision, seen.Changes[0].Value));
    }

    /// <summary>Meanwhile another server has gone on from what was written, and compacted it away.</summary>
    [Theory]
    [MemberData(nameof(Engines))]
    public async Task Commit_AnswerLostAndHistoryCompacted_IsSaidToBeUnknown(string name)
    {
        await using var other = await SqlDatastore.OpenAsync(await EngineAsync(name), new SqlOptions(), CancellationToken.None);
        var first = await other.AppendAsync(AppendRequest.Create("/k", "first"u8.ToArray()));
        await using var store = await SqlDatastore.OpenAsync(new LosingEngine(await EngineAsync(name), GoOnAsync), new SqlOptions(), CancellationToken.None);
        var error = await Assert.ThrowsAsync<DatastoreException>(async () => await store.AppendAsync(AppendRequest.Update("/k", first.Revision, "lose"u8.ToArray())));
        Assert.Contains("it is not known whether the change was made", error.Message);
        // It goes on with what is there.
        var seen = new RecordingObserver();
        await store.RangeAsync(new RangeRequest("/k"), seen);
        Assert.Equal("later", Assert.Single(seen.Changes).Value);
        Assert.Equal(AppendOutcome.Committed, (await store.AppendAsync(AppendRequest.Update("/k", seen.Changes[0].Revision, "last"u8.ToArray()))).Outcome);

        async Task GoOnAsync()
        {
            var present = new RecordingObserver();
            await other.RangeAsync(new RangeRequest("/k"), present);
            var later = await other.AppendAsync(AppendRequest.Update("/k", present.Changes[0].Revision, "later"u8.ToArray()));
            await other.CompactAsync(later.Revision);
        }
    }

    private async Task<ISqlEngine> EngineAsync(string name)
    {
        Assert.SkipWhen((name == "PostgreSQL" ? PostgresServer.SkipReason : MariaDbServer.SkipReason) is not null, $"{name} is not installed");
        string database = $"lost{TestContext.Current.Test!.UniqueID[..12]}";
        return name == "PostgreSQL"
            ? new PgEngine(PgOptions.Parse((await servers.Postgres).Url(database), new DatastoreTls()), NullLogger.Instance)
            : new MySqlEngine(MySqlOptions.Parse((await servers.MariaDb).Url(database), new DatastoreTls()), NullLogger.Instance);
    }

    /// <summary>An engine that loses the answer to the first transaction that writes the value "lose", and what it does before there is another connection.</summary>
    private sealed class LosingEngine(ISqlEngine inner, Func<Task> meanwhileAsync) : ISqlEngine
    {
        private int _hasLost;

        public string Name => inner.Name;

        public bool HasNotices => inner.HasNotices;

        public IReadOnlyList<SqlStatement> BeginLocked => inner.BeginLocked;

        public string CompactRows => inner.CompactRows;

        public string Size => inner.Size;

        public IReadOnlyList<SqlStatement> Commit(long newest) => inner.Commit(newest);

        public Task PrepareAsync(CancellationToken cancellationToken) => inner.PrepareAsync(cancellationToken);

        public async Task<ISqlConnection> ConnectAsync(CancellationToken cancellationToken) => new Connection(this, await inner.ConnectAsync(cancellationToken));

        public Task<ISqlConnection> ListenAsync(CancellationToken cancellationToken) => inner.ListenAsync(cancellationToken);

        public ValueTask DisposeAsync() => inner.DisposeAsync();

        private sealed class Connection(LosingEngine owner, ISqlConnection inner) : ISqlConnection
        {
            public bool IsUsable => inner.IsUsable;

            public async ValueTask RunAsync(ReadOnlyMemory<SqlStatement> batch, OnRow? onRow, CancellationToken cancellationToken)
            {
                await inner.RunAsync(batch, onRow, cancellationToken);
                if (!Writes(batch.Span) || Interlocked.Exchange(ref owner._hasLost, 1) == 1) return;
                await owner.Meanwhile();
                throw new SqlException(SqlFailure.Lost, "", "the answer got lost");
            }

            public ValueTask<bool> WaitForNoticeAsync(TimeSpan patience, CancellationToken cancellationToken) => inner.WaitForNoticeAsync(patience, cancellationToken);

            public ValueTask DisposeAsync() => inner.DisposeAsync();

            private static bool Writes(ReadOnlySpan<SqlStatement> batch)
            {
                foreach (var statement in batch)
                {
                    foreach (var value in statement.Values ?? [])
                    {
                        if (value.Bytes.Span.SequenceEqual("lose"u8)) return true;
                    }
                }
                return false;
            }
        }

        private Task Meanwhile() => meanwhileAsync();
    }
}
