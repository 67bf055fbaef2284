using System.Diagnostics;
using K3sFast.Datastore.FailPoints;
using Microsoft.Extensions.Logging;

namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// Compaction, and giving free pages back to the file system, in steps between the writer's groups. A step is bounded by the pages it
/// touches, and the bound follows the time that steps take. Owned by the writer thread, whose connection it uses.
/// </summary>
/// <remarks>
/// A step is not flushed: the next group's flush covers it, as the log is flushed whole, and a power cut before that only means that the same history is
/// compacted again. So a write that arrives meanwhile waits for the step's work and not for the disk. But its own flush would have to carry what many steps
/// wrote; so whenever so much waits for a flush that it would take long, one is begun beside the writer, and no step is done until it has ended.
/// </remarks>
internal sealed class Maintenance : IDisposable
{
    // A write waits for one step at most, and that is to be below 2 ms: steps that take longer than half of that get smaller.
    private static readonly TimeSpan s_longStep = TimeSpan.FromMilliseconds(1);
    private static readonly TimeSpan s_shortStep = TimeSpan.FromMilliseconds(0.4);

    /// <summary>Steps in a row without a flush: what a power cut may tear stays small enough to be told from damage (<see cref="LogCheck"/>).</summary>
    internal const int MaxUnflushedSteps = 64;

    // Pages that the next group's flush has to carry besides its own, 1 MiB to begin with. A card that writes 20 MB/s takes 25 ms for the fewest.
    internal const int MinUnflushedPages = 128;
    internal const int MaxUnflushedPages = 2048;
    internal const int FirstUnflushedPages = 256;
    private static readonly TimeSpan s_longFlush = TimeSpan.FromMilliseconds(4);
    private static readonly TimeSpan s_shortFlush = TimeSpan.FromMilliseconds(2);

    // Pages per step. A row costs its leaf, the index's leaf, and a page for each 4 KiB of value.
    internal const int MinStepPages = 16;
    internal const int MaxStepPages = 512;
    private const int FirstStepPages = 64;

    // Moving a page costs about as much as deleting a row: the page, the one that points to it, the map of pointers.
    internal const int MinVacuumPages = 8;
    private const int FirstVacuumPages = 16;
    private const int PagesPerRow = 2;
    private const int PageBytes = 4096;

    // Free pages are given back from this many and this share of the file on, and down to half of that, so that the file stays well
    // below twice what lives in it plus 64 MiB, and pages that will be needed again anyway stay.
    private const long VacuumFromPages = 2048;
    private const int VacuumFromPercent = 20;

    private readonly SqliteConnection _connection;
    private readonly CommitFeed _feed;
    private readonly WriterStatistics _statistics;
    private readonly ILogger _logger;
    private readonly SqliteConnection.Statement _begin;
    private readonly SqliteConnection.Statement _commit;
    private readonly SqliteConnection.Statement _superseded;
    private readonly SqliteConnection.Statement _length;
    private readonly SqliteConnection.Statement _deleteRow;
    private readonly SqliteConnection.Statement _setCompactRevision;
    private readonly List<long> _doomed = [];
    private readonly bool _canVacuum;
    private int _stepPages = FirstStepPages;
    private int _vacuumPages = FirstVacuumPages;
    private MaintenanceMark _done;
    private MaintenanceMark _flushed;
    private int _unflushedBound = FirstUnflushedPages;
    private int _logFrames;
    private CommitFlush _usual;
    private bool _isFlushing;
    private bool _isVacuuming;

    public Maintenance(SqliteConnection connection, CommitFeed feed, WriterStatistics statistics, ILogger logger)
    {
        _connection = connection;
        _feed = feed;
        _statistics = statistics;
        _logger = logger;
        _begin = connection.Prepare("BEGIN IMMEDIATE"u8);
        _commit = connection.Prepare("COMMIT"u8);
        _superseded = connection.Prepare(KineSchema.SelectSuperseded);
        _length = connection.Prepare(KineSchema.RowBytes);
        _deleteRow = connection.Prepare(KineSchema.DeleteRow);
        _setCompactRevision = connection.Prepare(KineSchema.SetCompactRevision);
        _canVacuum = connection.QueryInt64("PRAGMA auto_vacuum"u8) == 2;
        // What an earlier process left free.
        LookForFreePages();
    }

    /// <summary>True = there is no space: every free page is given back, however few they are.</summary>
    public bool IsThorough { get; set; }

    /// <summary>True = pages wait to be given back.</summary>
    public bool IsVacuuming => _isVacuuming;

    /// <summary>Commits that the next flush has to cover.</summary>
    public bool HasUnflushed => _done.Steps > _flushed.Steps;

    /// <summary>So much waits for a flush that no step is to be done before one.</summary>
    public bool IsFlushDue => _done.Steps - _flushed.Steps >= MaxUnflushedSteps || _done.Pages - _flushed.Pages >= _unflushedBound;

    /// <summary>True = the writer begins a flush beside itself when one is due: no step flushes by itself.</summary>
    public bool IsFlushedBeside { get; init; }

    /// <summary>All steps until now.</summary>
    public MaintenanceMark Done => _done;

    /// <summary>The log was flushed with these steps in it.</summary>
    public void OnFlushed(MaintenanceMark steps)
    {
        if (steps.Steps > _flushed.Steps) _flushed = steps;
    }

    /// <summary>A flush beside the writer that was begun for steps alone has ended.</summary>
    public void OnFlushedBeside(TimeSpan elapsed)
    {
        _statistics.MaintenanceFlushSeconds.Add(elapsed.TotalSeconds);
        _unflushedBound = NextUnflushedPages(_unflushedBound, elapsed);
    }

    /// <summary>Compacts a little of what was superseded up to <paramref name="target"/>; true = nothing is left.</summary>
    public bool CompactStep(long target)
    {
        long from = _feed.CompactedRevision;
        target = Math.Min(target, _feed.CurrentRevision);
        if (from >= target) return true;
        long startedAt = Stopwatch.GetTimestamp();
        long to = Choose(from, target);
        // Raised first: a reader that finds it unchanged after reading has missed nothing.
        if (to > _feed.CompactRevision) _feed.CompactRevision = to;
        _connection.Reach(FailPointNames.CompactBeforeBegin);
        BeginStep();
        try
        {
            _begin.Run();
            foreach (long id in _doomed) _deleteRow.Bind(1, id).Run();
            _setCompactRevision.Bind(1, to).Run();
            _connection.Reach(FailPointNames.CompactBeforeCommit);
            _commit.Run();
            _feed.CompactedRevision = to;
            NoteCommit();
        }
        finally
        {
            EndStep(startedAt, _statistics.CompactionSeconds, ref _stepPages, MinStepPages, isFull: to < target);
        }
        _statistics.CompactedRows += _doomed.Count;
        _connection.Reach(FailPointNames.CompactAfterCommit);
        if (to < target) return false;
        LookForFreePages();
        return true;
    }

    /// <summary>Gives a few pages back.</summary>
    public void VacuumStep()
    {
        long startedAt = Stopwatch.GetTimestamp();
        int pages = _vacuumPages;
        _connection.Reach(FailPointNames.VacuumBeforeStep);
        BeginStep();
        try
        {
            using var vacuum = _connection.Prepare(System.Text.Encoding.ASCII.GetBytes($"PRAGMA incremental_vacuum({pages})"));
            vacuum.Run();
            NoteCommit();
        }
        finally
        {
            EndStep(startedAt, _statistics.VacuumSeconds, ref _vacuumPages, MinVacuumPages, isFull: true);
        }
        _statistics.VacuumedPages += pages;
        _connection.Reach(FailPointNames.VacuumAfterStep);
        long free = _connection.QueryInt64("PRAGMA freelist_count"u8);
        if (IsThorough) _isVacuuming = free > 0;
        else if (free < VacuumFromPages / 2 || free * 200 < _connection.QueryInt64("PRAGMA page_count"u8) * VacuumFromPercent) _isVacuuming = false;
    }

    /// <summary>Ends giving back after it failed; the next compaction looks again.</summary>
    public void StopVacuuming() => _isVacuuming = false;

    /// <summary>The bound of the next step, from how long one took. One that had less to do than it might says nothing of how long more would take.</summary>
    internal static int NextStepPages(int pages, int least, TimeSpan elapsed, bool isFull) =>
        elapsed > s_longStep ? Math.Max(least, pages / 2)
        : isFull && elapsed < s_shortStep ? Math.Min(MaxStepPages, pages + (pages / 4))
        : pages;

    /// <summary>The bound of what waits for a flush, from how long a step took that ended with one.</summary>
    internal static int NextUnflushedPages(int pages, TimeSpan elapsed) =>
        elapsed > s_longFlush ? Math.Max(MinUnflushedPages, pages / 2)
        : elapsed < s_shortFlush ? Math.Min(MaxUnflushedPages, pages + (pages / 4))
        : pages;

    public void Dispose()
    {
        foreach (var statement in (ReadOnlySpan<SqliteConnection.Statement>)[_begin, _commit, _superseded, _length, _deleteRow, _setCompactRevision]) statement.Dispose();
    }

    /// <summary>Collects the rows of the next step; returns the revision that it reaches.</summary>
    private long Choose(long from, long target)
    {
        _doomed.Clear();
        int pages = 0;
        long to = target;
        try
        {
            _superseded.Bind(1, from).Bind(2, target);
            while (_superseded.Step())
            {
                // Whole revisions only, and one at least.
                if (pages >= _stepPages) break;
                to = _superseded.Int64(0);
                if (_superseded.Int64(1) is var previous and not 0) pages += Doom(previous);
                if (_superseded.Int64(2) != 0) pages += Doom(to);
                pages++;
            }
            return pages >= _stepPages ? to : target;
        }
        finally
        {
            _superseded.Reset();
        }
    }

    private int Doom(long id)
    {
        _doomed.Add(id);
        try
        {
            return _length.Bind(1, id).Step() ? PagesPerRow + (int)(_length.Int64(0) / PageBytes) : 1;
        }
        finally
        {
            _length.Reset();
        }
    }

    private void BeginStep()
    {
        _isFlushing = !IsFlushedBeside && IsFlushDue;
        _logFrames = _connection.LogFrames;
        _usual = _connection.CommitFlush;
        if (!_isFlushing && _usual == CommitFlush.All) _connection.CommitFlush = CommitFlush.Head;
    }

    private void NoteCommit()
    {
        if (_isFlushing)
        {
            OnFlushed(_done);
            return;
        }
        int frames = _connection.LogFrames;
        // A log that began anew counts from its beginning.
        _done = new MaintenanceMark(_done.Steps + 1, _done.Pages + (frames >= _logFrames ? frames - _logFrames : frames));
    }

    private void EndStep(long startedAt, Distribution seconds, ref int pages, int least, bool isFull)
    {
        // A statement that failed may have left the transaction open; the level cannot be changed inside of one.
        if (_connection.IsInTransaction) _connection.Execute("ROLLBACK"u8);
        _connection.CommitFlush = _usual;
        var elapsed = Stopwatch.GetElapsedTime(startedAt);
        if (!_isFlushing && _usual != CommitFlush.Nothing && _connection.LogFrames < _logFrames)
        {
            // It happened to begin the log anew, which SQLite by itself does not without a flush of the log's head.
            _statistics.MaintenanceFlushSeconds.Add(elapsed.TotalSeconds);
            return;
        }
        (_isFlushing ? _statistics.MaintenanceFlushSeconds : seconds).Add(elapsed.TotalSeconds);
        // What a flush takes says nothing of the step's work.
        if (_isFlushing) _unflushedBound = NextUnflushedPages(_unflushedBound, elapsed);
        else pages = NextStepPages(pages, least, elapsed, isFull);
    }

    private void LookForFreePages()
    {
        if (!_canVacuum) return;
        long free = _connection.QueryInt64("PRAGMA freelist_count"u8);
        _isVacuuming = IsThorough ? free > 0 : free >= VacuumFromPages && free * 100 >= _connection.QueryInt64("PRAGMA page_count"u8) * VacuumFromPercent;
    }
}

/// <summary>So many steps of maintenance, which wrote so many pages.</summary>
internal readonly record struct MaintenanceMark(long Steps, long Pages);
