using System.Runtime.InteropServices;
using K3sFast.Datastore.Shared;
using Microsoft.Extensions.Logging;

namespace K3sFast.Datastore.Sql;

/// <summary>
/// Reads what other servers commit, strictly in the order of ids, and feeds this server's watches. It is woken by notices of the database,
/// by readers who know of a newer revision, and by a timer that is quick after activity and slow when nothing happens.
/// </summary>
internal sealed class SqlFollower(ISqlEngine engine, ChangeFeed feed, SqlOptions options, ILogger logger) : IAsyncDisposable
{
    // kine's poll batch.
    private const int Batch = 500;

    private static readonly TimeSpan s_quickest = TimeSpan.FromMilliseconds(10);
    // Somebody else writes to this database: he is seen within this time even without notices.
    private static readonly TimeSpan s_slowestInCompany = TimeSpan.FromMilliseconds(100);
    // Nobody else has for a while, or the database gives notice.
    private static readonly TimeSpan s_slowestAlone = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_slowestWithNotices = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan s_companyLasts = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan s_listenPatience = TimeSpan.FromSeconds(30);

    private readonly SemaphoreSlim _wake = new(0, 1);
    private readonly CancellationTokenSource _stopping = new();
    private readonly List<Change> _changes = [];
    private Task _running = Task.CompletedTask;
    private Task _listening = Task.CompletedTask;
    private ISqlConnection? _connection;
    private volatile bool _isListening;
    private long _holeAt;
    private long _holeSince;
    private long _companyAt = long.MinValue / 2;

    public void Start()
    {
        _running = Task.Run(RunAsync);
        if (engine.HasNotices) _listening = Task.Run(ListenAsync);
    }

    /// <summary>There is something to read.</summary>
    public void Wake()
    {
        try
        {
            if (_wake.CurrentCount == 0) _wake.Release();
        }
        catch (SemaphoreFullException)
        {
            // Somebody else was quicker.
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync().ConfigureAwait(false);
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _listening.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (_connection is not null) await _connection.DisposeAsync().ConfigureAwait(false);
        _stopping.Dispose();
        _wake.Dispose();
    }

    private async Task RunAsync()
    {
        var stopping = _stopping.Token;
        var wait = s_quickest;
        while (!stopping.IsCancellationRequested)
        {
            try
            {
                bool isWoken = await _wake.WaitAsync(wait, stopping).ConfigureAwait(false);
                long before = feed.Position;
                bool hasMore = await ReadOnAsync(stopping).ConfigureAwait(false);
                if (hasMore)
                {
                    wait = TimeSpan.Zero;
                    continue;
                }
                bool isActive = feed.Position > before || isWoken || _holeAt != 0;
                wait = isActive ? s_quickest : TimeSpan.FromTicks(Math.Min(Math.Max(wait.Ticks, s_quickest.Ticks) * 2, Slowest.Ticks));
            }
            catch (OperationCanceledException) when (stopping.IsCancellationRequested)
            {
                return;
            }
            // The next round opens another connection.
            catch (Exception error)
            {
                Log.SqlFollowFailed(logger, engine.Name, feed.Position, error.Message);
                if (_connection is { } connection) await connection.DisposeAsync().ConfigureAwait(false);
                _connection = null;
                wait = TimeSpan.FromMilliseconds(200);
            }
        }
    }

    private TimeSpan Slowest => _isListening ? s_slowestWithNotices
        : Environment.TickCount64 - _companyAt < s_companyLasts.TotalMilliseconds ? s_slowestInCompany
        : s_slowestAlone;

    /// <summary>One batch. True = there is more to read at once.</summary>
    private async Task<bool> ReadOnAsync(CancellationToken cancellationToken)
    {
        _connection ??= await engine.ConnectAsync(cancellationToken).ConfigureAwait(false);
        long position = feed.Position;
        long next = position + 1;
        long beyondHole = 0;
        long newest = 0;
        long compacted = 0;
        int read = 0;
        _changes.Clear();
        // The compacted revision is read after the rows: if it is not past the position, no row was missing.
        var batch = new SqlStatement[] { new(KineStatements.History, position, long.MaxValue, Batch), new(KineStatements.Revisions) };
        await _connection.RunAsync(batch, OnRow, cancellationToken).ConfigureAwait(false);
        feed.NoteCompacted(compacted);
        if (compacted > position)
        {
            Log.HistoryLost(logger, position, newest);
            feed.Restart(newest, new DatastoreCompactedException(position, compacted));
            return false;
        }
        if (next - 1 > position)
        {
            if (next - 1 > feed.Position) _companyAt = Environment.TickCount64;
            feed.Publish(CollectionsMarshal.AsSpan(_changes), next - 1);
        }
        // What lies beyond a hole waits until the hole is filled, by its owner or by us.
        if (beyondHole != 0) return await WaitForHoleAsync(next, beyondHole, cancellationToken).ConfigureAwait(false);
        _holeAt = 0;
        return read == Batch;

        void OnRow(int statement, SqlRow row)
        {
            if (statement == 1)
            {
                newest = Math.Max(row.Int64(0), row.Int64(1));
                compacted = row.Int64(1);
                return;
            }
            read++;
            long id = row.Int64(0);
            if (beyondHole != 0) return;
            if (id != next)
            {
                beyondHole = id;
                return;
            }
            next++;
            if (KineRows.ToChange(row) is { } change) _changes.Add(change);
        }
    }

    private async ValueTask<bool> WaitForHoleAsync(long first, long end, CancellationToken cancellationToken)
    {
        if (_holeAt != first)
        {
            _holeAt = first;
            _holeSince = Environment.TickCount64;
            return false;
        }
        if (Environment.TickCount64 - _holeSince < options.GapPatience.TotalMilliseconds) return false;
        end = Math.Min(end, first + Batch);
        await KineRows.FillAsync(_connection!, first, end, cancellationToken).ConfigureAwait(false);
        Log.GapFilled(logger, engine.Name, first, end - 1);
        _holeAt = 0;
        return true;
    }

    private async Task ListenAsync()
    {
        var stopping = _stopping.Token;
        while (!stopping.IsCancellationRequested)
        {
            try
            {
                await using var connection = await engine.ListenAsync(stopping).ConfigureAwait(false);
                _isListening = true;
                // What was committed before we listened.
                Wake();
                while (true)
                {
                    if (await connection.WaitForNoticeAsync(s_listenPatience, stopping).ConfigureAwait(false)) Wake();
                    // Nothing for long: does the connection still live?
                    else await connection.RunAsync(new[] { new SqlStatement("SELECT 1") }, null, stopping).ConfigureAwait(false);
                }
            }
            catch (OperationCanceledException) when (stopping.IsCancellationRequested)
            {
                return;
            }
            // Polling is quick meanwhile.
            catch (Exception error)
            {
                _isListening = false;
                Wake();
                Log.ListenFailed(logger, engine.Name, error.Message);
                await Task.Delay(TimeSpan.FromSeconds(1), stopping).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }
}
