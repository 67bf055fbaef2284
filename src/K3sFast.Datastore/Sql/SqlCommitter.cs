using System.Diagnostics;
using System.Threading.Channels;
using K3sFast.Datastore.Shared;
using Microsoft.Extensions.Logging;

namespace K3sFast.Datastore.Sql;

/// <summary>
/// The one writer of this server. It takes all appends that wait as one transaction: lock, look at the keys' newest rows, add the rows of
/// those that win with the ids that follow, commit. The lock is every server's, so a revision is never visible before a lower one.
/// </summary>
/// <remarks>
/// When the connection breaks while a commit is under way, the next one takes the lock, which the broken one can no longer hold, and looks
/// whether the rows are there. So a lost connection is answered with the truth, and nothing is written twice.
/// </remarks>
internal sealed class SqlCommitter(ISqlEngine engine, ChangeFeed feed, SqlFollower follower, SqlOptions options, ILogger logger) : IAsyncDisposable
{
    // Bounds the memory of waiting appends; kube-apiserver lets 200 writes in at once, so this is reached by a bug or an attack only.
    private const int MaxQueued = 16 * 1024;
    private const int MaxGroup = 512;
    private const long MaxGroupBytes = 4L << 20;

    // kine warns of SQL that takes a second.
    private static readonly TimeSpan s_slowCommit = TimeSpan.FromSeconds(1);

    private readonly Channel<PendingWrite> _queue = Channel.CreateBounded<PendingWrite>(new BoundedChannelOptions(MaxQueued) { SingleReader = true });
    private readonly CancellationTokenSource _stopping = new();
    private readonly List<PendingWrite> _group = [];
    private readonly HashSet<string> _keys = [];
    private PendingWrite? _heldBack;

    // Not 0: the group waits until the follower has shown this revision.
    private long _shownWith;
    private ISqlConnection? _connection;
    private Task _running = Task.CompletedTask;

    public void Start() => _running = Task.Run(RunAsync);

    /// <summary>Queues an append; the task completes when it is durable and shown to this server's watches.</summary>
    public Task<AppendResult> AppendAsync(in AppendRequest request)
    {
        var pending = new PendingWrite(request);
        if (_queue.Writer.TryWrite(pending)) return pending.Task;
        ObjectDisposedException.ThrowIf(_stopping.IsCancellationRequested, typeof(SqlDatastore));
        throw new DatastoreException($"{MaxQueued} writes are waiting for {engine.Name}: the database does not keep up, try again later");
    }

    /// <summary>Finishes what is queued.</summary>
    public async ValueTask DisposeAsync()
    {
        _queue.Writer.TryComplete();
        _stopping.CancelAfter(options.Patience);
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _stopping.CancelAsync().ConfigureAwait(false);
        if (_connection is not null) await _connection.DisposeAsync().ConfigureAwait(false);
        _stopping.Dispose();
    }

    private async Task RunAsync()
    {
        while (await NextGroupAsync().ConfigureAwait(false))
        {
            long startedAt = Stopwatch.GetTimestamp();
            try
            {
                await CommitGroupAsync(_stopping.Token).ConfigureAwait(false);
                if (_shownWith == 0) Complete(_group);
                else _ = CompleteWhenShownAsync([.. _group], _shownWith);
                var elapsed = Stopwatch.GetElapsedTime(startedAt);
                if (elapsed > s_slowCommit) Log.SlowCommit(logger, _group.Count, (long)elapsed.TotalMilliseconds);
            }
            // A group's failure is its callers'; the next group finds another connection.
            catch (Exception error)
            {
                Log.CommitFailed(logger, engine.Name, _group.Count, error);
                await DropConnectionAsync().ConfigureAwait(false);
                var told = error is ObjectDisposedException or DatastoreException ? error : new DatastoreException($"writing {engine.Name} failed: {error.Message}", error);
                foreach (var write in _group) write.Fail(told);
            }
        }
    }

    /// <summary>Takes what waits, one append per key: a second one of the same key belongs to the next group.</summary>
    private async ValueTask<bool> NextGroupAsync()
    {
        _group.Clear();
        _keys.Clear();
        _shownWith = 0;
        long bytes = 0;
        if (_heldBack is null && !await _queue.Reader.WaitToReadAsync().ConfigureAwait(false)) return false;
        while (_group.Count < MaxGroup)
        {
            var next = _heldBack;
            _heldBack = null;
            if (next is null && !_queue.Reader.TryRead(out next)) break;
            bytes += next.Request.Value.Length;
            if (_group.Count > 0 && (bytes > MaxGroupBytes || _keys.Contains(next.Request.Key)))
            {
                _heldBack = next;
                break;
            }
            _keys.Add(next.Request.Key);
            _group.Add(next);
        }
        return true;
    }

    private async Task CommitGroupAsync(CancellationToken cancellationToken)
    {
        var patience = Stopwatch.StartNew();
        List<KineRow>? inDoubt = null;
        int duplicates = 0;
        for (var pause = TimeSpan.FromMilliseconds(20); ; pause = TimeSpan.FromTicks(Math.Min(pause.Ticks * 2, TimeSpan.TicksPerSecond)))
        {
            List<KineRow>? rows = null;
            try
            {
                _connection ??= await engine.ConnectAsync(cancellationToken).ConfigureAwait(false);
                var (newest, present) = await BeginAsync(_connection, cancellationToken).ConfigureAwait(false);
                if (inDoubt is not null && await WasCommittedAsync(_connection, inDoubt, cancellationToken).ConfigureAwait(false))
                {
                    await _connection.RunAsync(new[] { new SqlStatement("ROLLBACK") }, null, cancellationToken).ConfigureAwait(false);
                    Publish(inDoubt);
                    return;
                }
                inDoubt = null;
                var judged = Judge(newest, present);
                if (judged.Count == 0)
                {
                    await _connection.RunAsync(new[] { new SqlStatement("ROLLBACK") }, null, cancellationToken).ConfigureAwait(false);
                    return;
                }
                rows = judged;
                SqlStatement[] batch = [KineStatements.Insert(rows), .. engine.Commit(rows[^1].Id)];
                await _connection.RunAsync(batch, null, cancellationToken).ConfigureAwait(false);
                Publish(rows);
                return;
            }
            catch (SqlException error)
            {
                await DropConnectionAsync().ConfigureAwait(false);
                if (error.Failure == SqlFailure.Full)
                {
                    Log.SqlFull(logger, engine.Name);
                    foreach (var write in _group) write.Result = new AppendResult(AppendOutcome.Full, 0);
                    return;
                }
                if (error.Failure == SqlFailure.Duplicate && ++duplicates > 20) throw;
                if (error.Failure == SqlFailure.Refused || patience.Elapsed > options.Patience) throw Failed(error, isInDoubt: rows is not null || inDoubt is not null);
                // Only a lost connection leaves the outcome open.
                if (error.Failure == SqlFailure.Lost && rows is not null) inDoubt = rows;
                await Task.Delay(pause, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    private async Task<(long Newest, Dictionary<string, NewestRow> Present)> BeginAsync(ISqlConnection connection, CancellationToken cancellationToken)
    {
        long newest = 0;
        var present = new Dictionary<string, NewestRow>();
        int first = engine.BeginLocked.Count;
        SqlStatement[] batch = [.. engine.BeginLocked, new(KineStatements.Revisions), KineStatements.Newest([.. _keys])];
        await connection.RunAsync(batch, OnRow, cancellationToken).ConfigureAwait(false);
        return (newest, present);

        void OnRow(int statement, SqlRow row)
        {
            if (statement == first) newest = Math.Max(row.Int64(0), row.Int64(1));
            else if (statement > first) present[row.Text(0)] = new NewestRow(row.Int64(1), row.Int64(2) == 0, row.Int64(3));
        }
    }

    /// <summary>Decides every append of the group by the keys' newest rows; the winners' rows get the ids that follow.</summary>
    private List<KineRow> Judge(long newest, Dictionary<string, NewestRow> present)
    {
        var rows = new List<KineRow>(_group.Count);
        foreach (var write in _group)
        {
            var request = write.Request;
            present.TryGetValue(request.Key, out var row);
            write.Result = request.Kind switch
            {
                AppendKind.Create when row.IsLive => new AppendResult(AppendOutcome.Conflict, row.Id),
                AppendKind.Create => new AppendResult(AppendOutcome.Committed, ++newest),
                _ when !row.IsLive => new AppendResult(AppendOutcome.NotFound, 0),
                _ when row.Id != request.ExpectedRevision => new AppendResult(AppendOutcome.Conflict, row.Id),
                _ => new AppendResult(AppendOutcome.Committed, ++newest),
            };
            if (write.Result.Outcome != AppendOutcome.Committed) continue;
            long created = request.Kind == AppendKind.Create ? newest : row.CreateRevision != 0 ? row.CreateRevision : row.Id;
            rows.Add(new KineRow(newest, request.Key, request.Kind, created, row.Id, request.LeaseSeconds, request.Value));
        }
        return rows;
    }

    /// <summary>Whether a group is there whose commit was not answered: all its rows are, or none.</summary>
    /// <remarks>Throws <see cref="DatastoreException"/> when nobody can tell any more: it was superseded since, and what was superseded is compacted.</remarks>
    private async Task<bool> WasCommittedAsync(ISqlConnection connection, List<KineRow> rows, CancellationToken cancellationToken)
    {
        var byId = rows.ToDictionary(static row => row.Id);
        bool isThere = false, isOthers = false;
        long compacted = 0;
        await connection.RunAsync(new[] { KineStatements.Rows([.. byId.Keys]), new(KineStatements.Revisions) }, OnRow, cancellationToken).ConfigureAwait(false);
        // Compaction takes no row of a later revision.
        if (isThere || isOthers || rows[^1].Id > compacted) return isThere;
        throw new DatastoreException($"writing {engine.Name} failed, it is not known whether the change was made: the connection broke, and history was compacted before there was another");

        void OnRow(int statement, SqlRow found)
        {
            if (statement == 1)
            {
                compacted = found.Int64(1);
                return;
            }
            var row = byId[found.Int64(0)];
            bool isOurs = found.Text(1) == row.Name && found.Int64(2) == row.PreviousRevision && (row.Kind == AppendKind.Delete || found.Bytes(3).SequenceEqual(row.Value.Span));
            isThere |= isOurs;
            isOthers |= !isOurs;
        }
    }

    /// <summary>Shows the committed rows to the watches: from memory when nobody else wrote in between, else by reading what lies between.</summary>
    private void Publish(List<KineRow> rows)
    {
        var changes = new Change[rows.Count];
        for (int i = 0; i < changes.Length; i++)
        {
            var row = rows[i];
            // The caller's bytes are his again when the append completes; watches that are shown them copy what they keep.
            changes[i] = new Change(row.Name, row.Value, row.Id, row.CreateRevision, row.Lease, row.Kind);
        }
        if (feed.TryPublish(rows[0].Id - 1, changes, rows[^1].Id)) return;
        _shownWith = rows[^1].Id;
        follower.Wake();
    }

    /// <summary>Other servers' changes lie before the group's: its appends complete when the follower has shown both.</summary>
    private async Task CompleteWhenShownAsync(PendingWrite[] group, long revision)
    {
        try
        {
            await feed.WaitForAsync(revision, _stopping.Token).ConfigureAwait(false);
            Complete(group);
        }
        catch (Exception error) when (error is OperationCanceledException or ObjectDisposedException)
        {
            foreach (var write in group) write.Fail(new ObjectDisposedException(nameof(SqlDatastore)));
        }
    }

    private static void Complete(IReadOnlyList<PendingWrite> group)
    {
        foreach (var write in group) write.Complete();
    }

    private DatastoreException Failed(SqlException error, bool isInDoubt) => new(
        isInDoubt
            ? $"writing {engine.Name} failed, it is not known whether the change was made: {error.Message}"
            : $"writing {engine.Name} failed: {error.Message}",
        error);

    private async ValueTask DropConnectionAsync()
    {
        if (_connection is not { } connection) return;
        _connection = null;
        await connection.DisposeAsync().ConfigureAwait(false);
    }

    private readonly record struct NewestRow(long Id, bool IsLive, long CreateRevision);
}
