using System.Runtime.InteropServices;
using K3sFast.Datastore.Shared;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Datastore.Sql;

/// <summary>
/// The log in kine's table in a database server, which several API servers (and, at another time, k3s itself) may use. See
/// <see cref="SqlCommitter"/> for how revisions stay in order, <see cref="SqlFollower"/> for how the servers see each other's writes.
/// </summary>
public sealed class SqlDatastore : SharedDatastore, IStateReader
{
    private const int HistoryBatch = 500;

    private readonly ISqlEngine _engine;
    private readonly ILogger _logger;
    private readonly SqlReaders _readers;
    private readonly SqlFollower _follower;
    private readonly SqlCommitter _committer;
    private readonly SqlCompactor _compactor;
    private readonly SqlExpiry _expiry;
    private readonly Task _expiring;

    private SqlDatastore(ISqlEngine engine, SqlOptions options, ILogger logger, SqlReaders readers, ChangeFeed feed)
        : base(feed, logger)
    {
        (_engine, _logger, _readers) = (engine, logger, readers);
        _follower = new SqlFollower(engine, feed, options, logger);
        _committer = new SqlCommitter(engine, feed, _follower, options, logger);
        _compactor = new SqlCompactor(engine, readers, options.KeepRevisions);
        _expiry = new SqlExpiry(this, options.TimeProvider, logger);
        _follower.Start();
        _committer.Start();
        _expiring = Task.Run(ExpireAsync);
        CompactEvery(options.CompactInterval, options.TimeProvider);
    }

    /// <summary>Connects, and makes database and table if they are missing.</summary>
    /// <remarks>Throws <see cref="DatastoreOpenException"/> when the server cannot be reached or refuses.</remarks>
    internal static async Task<SqlDatastore> OpenAsync(ISqlEngine engine, SqlOptions options, CancellationToken cancellationToken)
    {
        var logger = (options.LoggerFactory ?? NullLoggerFactory.Instance).CreateLogger("K3sFast.Datastore");
        var readers = new SqlReaders(engine, options.Patience);
        try
        {
            await PrepareAsync(engine, options.Patience, cancellationToken).ConfigureAwait(false);
            var (newest, compacted) = await new SqlCompactor(engine, readers, 0).ReadAsync(cancellationToken).ConfigureAwait(false);
            await CloseHolesAsync(engine, options, logger, newest, compacted, cancellationToken).ConfigureAwait(false);
            Log.SqlOpened(logger, engine.Name, newest, compacted);
            return new SqlDatastore(engine, options, logger, readers, new ChangeFeed(newest, compacted));
        }
        catch (Exception error) when (error is SqlException || (error is DatastoreException && error is not DatastoreOpenException))
        {
            await readers.DisposeAsync().ConfigureAwait(false);
            throw new DatastoreOpenException(DatastoreOpenFailure.Other, $"{engine.Name} cannot be used: {error.Message}; look at --datastore-endpoint", error);
        }
    }

    /// <inheritdoc/>
    public override async ValueTask<long> ReadCurrentRevisionAsync(CancellationToken cancellationToken = default)
    {
        long newest = await base.ReadCurrentRevisionAsync(cancellationToken).ConfigureAwait(false);
        if (newest > Feed.Position) _follower.Wake();
        return newest;
    }

    /// <inheritdoc/>
    public override async ValueTask<long> ReadSizeAsync(CancellationToken cancellationToken = default)
    {
        long bytes = -1;
        await _readers.AskAsync(new[] { new SqlStatement(_engine.Size) }, (_, row) => bytes = row.Int64(0), null, cancellationToken).ConfigureAwait(false);
        return bytes;
    }

    /// <inheritdoc/>
    public async Task ReadStateAsync(string prefix, long revision, Func<int, IDatastoreVisitor> openPart, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(openPart);
        await SettleAsync(revision, cancellationToken).ConfigureAwait(false);
        Feed.NoteCompacted(await new SqlStateScan(_readers).ReadAsync(prefix, revision, openPart, cancellationToken).ConfigureAwait(false));
        ThrowIfCompacted(revision);
    }

    private protected override ValueTask<AppendResult> AppendCoreAsync(AppendRequest request, CancellationToken cancellationToken) =>
        new(_committer.AppendAsync(request).WaitAsync(cancellationToken));

    private protected override async ValueTask CompactCoreAsync(long revision, CancellationToken cancellationToken)
    {
        if (revision > Feed.Position && revision > await ReadCurrentRevisionAsync(cancellationToken).ConfigureAwait(false))
        {
            throw new DatastoreFutureRevisionException(revision, CurrentRevision);
        }
        try
        {
            await _compactor.CompactAsync(revision, Feed.NoteCompacted, cancellationToken).ConfigureAwait(false);
        }
        catch (SqlException error)
        {
            throw new DatastoreException($"compacting {_engine.Name} failed: {error.Message}", error);
        }
    }

    private protected override Task<long> CompactTickAsync(CancellationToken cancellationToken) => _compactor.TickAsync(Feed.NoteCompacted, cancellationToken);

    private protected override bool IsOfTheEngine(Exception error) => error is SqlException;

    private protected override ValueTask FinishWritesAsync() => _committer.DisposeAsync();

    private protected override async ValueTask EndFollowingAsync()
    {
        await _expiring.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _follower.DisposeAsync().ConfigureAwait(false);
    }

    private protected override async ValueTask CloseConnectionsAsync()
    {
        await _readers.DisposeAsync().ConfigureAwait(false);
        await _engine.DisposeAsync().ConfigureAwait(false);
    }

    private protected override async Task CatchUpAsync(FeedWatch watch, CancellationToken cancellationToken)
    {
        var changes = new List<Change>();
        while (!watch.IsEnded && !Feed.TryJoin(watch))
        {
            // Never beyond what the follower has seen: up to there no revision is still to come.
            long after = watch.Position;
            long until = Math.Min(Feed.Position, after + HistoryBatch);
            long compacted = 0;
            changes.Clear();
            await _readers.AskAsync(
                new SqlStatement[] { new(KineStatements.History, after, until, HistoryBatch), new(KineStatements.Revisions) },
                (statement, row) =>
                {
                    if (statement == 1) compacted = row.Int64(1);
                    else if (KineRows.ToChange(row) is { } change) changes.Add(change);
                },
                () =>
                {
                    changes.Clear();
                    return !watch.IsEnded;
                },
                cancellationToken).ConfigureAwait(false);
            Feed.NoteCompacted(compacted);
            if (compacted > after) throw new DatastoreCompactedException(after, compacted);
            watch.TryShow(CollectionsMarshal.AsSpan(changes), until);
        }
    }

    private static async Task PrepareAsync(ISqlEngine engine, TimeSpan patience, CancellationToken cancellationToken)
    {
        long startedAt = Environment.TickCount64;
        while (true)
        {
            try
            {
                await engine.PrepareAsync(cancellationToken).ConfigureAwait(false);
                return;
            }
            // The database may still be starting, or another server makes the same table.
            catch (SqlException error) when (error.Failure != SqlFailure.Refused && Environment.TickCount64 - startedAt < patience.TotalMilliseconds)
            {
                await Task.Delay(TimeSpan.FromMilliseconds(250), cancellationToken).ConfigureAwait(false);
            }
        }
    }

    /// <summary>Whoever is late with a revision below the one we begin at gets his time; then nothing appears there any more.</summary>
    private static async Task CloseHolesAsync(ISqlEngine engine, SqlOptions options, ILogger logger, long newest, long compacted, CancellationToken cancellationToken)
    {
        await using var connection = await engine.ConnectAsync(cancellationToken).ConfigureAwait(false);
        var holes = await KineRows.FindHolesAsync(connection, newest, compacted, cancellationToken).ConfigureAwait(false);
        if (holes.Count == 0) return;
        await Task.Delay(options.GapPatience, cancellationToken).ConfigureAwait(false);
        foreach (var (first, end) in await KineRows.FindHolesAsync(connection, newest, compacted, cancellationToken).ConfigureAwait(false))
        {
            await KineRows.FillAsync(connection, first, end, cancellationToken).ConfigureAwait(false);
            Log.GapFilled(logger, engine.Name, first, end - 1);
        }
    }

    private protected override async ValueTask<RangeResult> RangeCoreAsync(RangeRequest request, IDatastoreVisitor visitor, CancellationToken cancellationToken)
    {
        long revision = request.Revision;
        if (revision == 0) revision = await ReadCurrentRevisionAsync(cancellationToken).ConfigureAwait(false);
        await SettleAsync(revision, cancellationToken).ConfigureAwait(false);
        string low = StoreKeys.IsBefore(request.StartKey ?? "", request.Prefix) ? request.Prefix : request.StartKey!;
        var (count, hasMore) = await ReadRangeAsync(low, StoreKeys.PrefixEnd(request.Prefix), revision, request.Limit, visitor, cancellationToken).ConfigureAwait(false);
        return new RangeResult(revision, count, hasMore);
    }

    /// <summary>Completes when the state at a revision never changes any more, or throws that it is gone or still to come.</summary>
    private async ValueTask SettleAsync(long revision, CancellationToken cancellationToken)
    {
        if (revision > Feed.Position && revision > await ReadCurrentRevisionAsync(cancellationToken).ConfigureAwait(false))
        {
            throw new DatastoreFutureRevisionException(revision, CurrentRevision);
        }
        ThrowIfCompacted(revision);
        // Up to where the follower has come, no revision is still to come: the state at it never changes. A watch that is being shown a
        // change may ask for the state at it, so what is known counts, not what all watches have seen.
        if (revision > Feed.Known) await Feed.WaitForAsync(revision, cancellationToken).ConfigureAwait(false);
    }

    private async Task<(int Count, bool HasMore)> ReadRangeAsync(
        string low, string high, long revision, int limit, IDatastoreVisitor visitor, CancellationToken cancellationToken)
    {
        int count = 0;
        bool hasMore = false;
        long compacted = 0;
        // One more than asked for tells whether there is more; the store's own key may be among them, too.
        long most = limit > 0 ? limit + 2L : int.MaxValue;
        // A key and a zero: where a page ended, as the contract writes it.
        var range = low.EndsWith('\0')
            ? new SqlStatement(KineStatements.RangeBehind, low[..^1], high, revision, most)
            : new SqlStatement(KineStatements.Range, low, high, revision, most);
        // Asked again only while nothing was shown.
        await _readers.AskAsync(new[] { range, new(KineStatements.Revisions) }, OnRow, () => count == 0, cancellationToken).ConfigureAwait(false);
        Feed.NoteCompacted(compacted);
        // Read after the rows: a compaction that took some of them shows here.
        if (compacted > revision) throw new DatastoreCompactedException(revision, compacted);
        return (count, hasMore);

        void OnRow(int statement, SqlRow row)
        {
            if (statement == 1)
            {
                compacted = row.Int64(1);
                return;
            }
            string name = row.Text(0);
            if (hasMore || StoreKeys.IsInternal(name)) return;
            if (limit > 0 && count == limit)
            {
                hasMore = true;
                return;
            }
            visitor.OnEntry(KineRows.ToEntry(row, name));
            count++;
        }
    }

    private protected override async Task<long> AskRevisionAsync(CancellationToken cancellationToken) => (await _compactor.ReadAsync(cancellationToken).ConfigureAwait(false)).Newest;

    private async Task ExpireAsync()
    {
        while (!Stopping.IsCancellationRequested)
        {
            try
            {
                // Live first, so that no lease falls between; a key that comes twice is deleted once.
                using var watch = Watch(Feed.Position, _expiry);
                await _readers.AskAsync(
                    new[] { new SqlStatement(KineStatements.Leases) },
                    (_, row) => _expiry.Add(row.Text(1), row.Int64(0), row.Int64(2)),
                    null,
                    Stopping).ConfigureAwait(false);
                await _expiry.RunAsync(Stopping).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (Stopping.IsCancellationRequested)
            {
                return;
            }
            // Expiry must go on, whatever the database says today.
            catch (Exception error)
            {
                if (IsDisposed) return;
                Log.LeasesUnreadable(_logger, error);
                await Task.Delay(TimeSpan.FromSeconds(5), Stopping).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }
}
