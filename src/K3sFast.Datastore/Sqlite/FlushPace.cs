using System.Diagnostics;

namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// Decides from how long flushes take whether they are worth a thread of their own, and when one may begin beside another that still runs.
/// Owned by the writer thread; all times are <see cref="Stopwatch"/>'s ticks, given by the caller.
/// </summary>
/// <remarks>
/// A medium that answers soon is left alone: the writer flushes by itself, as no hand-over is quicker. On a slow one (<see cref="IsSlow"/>) what is
/// written meanwhile need not wait for the flush that runs: its own begins once that has lasted a quarter of the usual time, so that a write waits
/// a quarter and not a whole one before its own. That helps only where the medium works on several at once; a card that takes them one after the
/// other would make each of them the slower by as much. So each flush that began beside another tells how much of the time that it spent beside it
/// was lost: nothing = they do not hinder each other, all of it = one after the other. Where more than <see cref="MostLost"/> is, flushes
/// are begun alone for a while, which gets longer each time that another trial shows the same.
/// </remarks>
internal sealed class FlushPace
{
    /// <summary>Flushes that run at once, at most.</summary>
    public const int MaxFlushes = 4;

    // Media that share their strength evenly lose half.
    private const double MostLost = 0.5;

    // Flushes beside others until the verdict, and how much less each counts with each that follows.
    private const int TrialFlushes = 8;
    private const double Fading = 0.9;

    // Flushes alone until the next trial. At 10 ms each: 0.6 s to 10 s.
    private const int FirstPause = 64;
    private const int LongestPause = 1024;

    // So many in a row change the mind about slow and not slow: one hiccup does not.
    private const int RecentFlushes = 4;

    private readonly long _slowFrom;
    private readonly bool _isAlwaysBeside;
    private readonly List<Flush> _running = [];
    private readonly long[] _recent = new long[RecentFlushes];
    private int _recentCount;
    private long _usual;
    private double _together;
    private double _lost;
    private int _trial;
    private int _pause;
    private int _nextPause = FirstPause;

    /// <param name="slowFrom">Flushes that take this long have threads of their own; zero = all.</param>
    /// <param name="isAlwaysBeside">True = begins beside others whatever comes of it: for tests.</param>
    public FlushPace(TimeSpan slowFrom, bool isAlwaysBeside = false)
    {
        _slowFrom = (long)(slowFrom.TotalSeconds * Stopwatch.Frequency);
        _isAlwaysBeside = isAlwaysBeside;
        IsSlow = _slowFrom == 0;
    }

    /// <summary>True = flushes are worth threads of their own. Turns back when they have become twice as quick as it takes to turn.</summary>
    public bool IsSlow { get; private set; }

    /// <summary>Flushes that run on those threads.</summary>
    public int Running => _running.Count;

    /// <summary>How long until the next flush may begin; 0 = now, <see cref="long.MaxValue"/> = not before one has ended.</summary>
    public long TicksBeforeNext(long now)
    {
        if (_running.Count == 0) return 0;
        if (!IsSlow || _running.Count == MaxFlushes) return long.MaxValue;
        if (_isAlwaysBeside) return 0;
        if (_usual == 0 || _pause > 0) return long.MaxValue;
        return Math.Max(0, _running[^1].Began + (_usual / MaxFlushes) - now);
    }

    /// <summary>A flush begins on a thread of its own.</summary>
    public void OnBegin(long number, long now)
    {
        var flush = new Flush { Number = number, Began = now, Beside = _running.Count > 0 ? _running[^1] : null };
        foreach (var other in _running) other.IsAlone = false;
        flush.IsAlone = flush.Beside is null;
        _running.Add(flush);
    }

    /// <summary>It has ended well.</summary>
    public void OnEnd(long number, long now)
    {
        if (Take(number) is not { } flush) return;
        flush.Ended = now;
        long took = now - flush.Began;
        if (flush.IsAlone) Learn(took);
        else if (flush.Beside is { } other) Compare(took, (other.Ended == 0 ? now : other.Ended) - flush.Began);
        flush.Beside = null;
        Remember(took);
    }

    /// <summary>It has ended with an error, which says nothing of the pace.</summary>
    public void OnFailed(long number)
    {
        if (Take(number) is { } flush) flush.Beside = null;
    }

    /// <summary>The writer has flushed by itself, with nothing beside.</summary>
    public void OnOwnFlush(TimeSpan elapsed)
    {
        long took = (long)(Math.Max(0, elapsed.TotalSeconds) * Stopwatch.Frequency);
        Learn(took);
        Remember(took);
    }

    /// <summary>Null = it was not told of: one for maintenance, beside a writer that flushes by itself.</summary>
    private Flush? Take(long number)
    {
        int at = _running.FindIndex(flush => flush.Number == number);
        if (at < 0) return null;
        var taken = _running[at];
        _running.RemoveAt(at);
        return taken;
    }

    private void Learn(long took)
    {
        _usual = _usual == 0 ? took : _usual + ((took - _usual) / 4);
        if (_pause > 0) _pause--;
    }

    private void Compare(long took, long together)
    {
        _together = (_together * Fading) + together;
        long most = Math.Max(0, together);
        // Both ways: no flush takes exactly the usual time.
        _lost = (_lost * Fading) + Math.Clamp(took - _usual, -most, most);
        // The medium has become quicker since it was seen alone.
        if (took < _usual / 2) _usual -= _usual / 4;
        if (++_trial < TrialFlushes) return;
        if (_lost > MostLost * _together)
        {
            _pause = _nextPause;
            _nextPause = Math.Min(LongestPause, _nextPause * 2);
            (_together, _lost, _trial) = (0, 0, 0);
        }
        else if (_trial > FirstPause)
        {
            _nextPause = FirstPause;
        }
    }

    private void Remember(long took)
    {
        _recent[_recentCount++ % RecentFlushes] = took;
        if (_recentCount < RecentFlushes) return;
        IsSlow = IsSlow ? _recent.Max() >= _slowFrom / 2 : _recent.Min() >= _slowFrom;
    }

    private sealed class Flush
    {
        public required long Number { get; init; }

        public required long Began { get; init; }

        /// <summary>0 = it runs.</summary>
        public long Ended { get; set; }

        /// <summary>The newest that ran when this one began.</summary>
        public Flush? Beside { get; set; }

        public bool IsAlone { get; set; }
    }
}
