using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>Wakes a watch when its time is over, a bookmark is due (about once a minute, and just before the end), or the client has gone.</summary>
internal sealed class WatchAlarm : IDisposable
{
    private static readonly TimeSpan s_bookmarkPeriod = TimeSpan.FromMinutes(1);

    // Upstream's last bookmark, so that the client's next watch starts as near to now as can be.
    private static readonly TimeSpan s_lastBookmarkLead = TimeSpan.FromSeconds(2);

    private readonly WatchCursor _cursor;
    private readonly TimeProvider _clock;
    private readonly ITimer _end;
    private readonly ITimer? _bookmark;
    private readonly TimeSpan _timeout;
    private readonly long _startedAt;
    private readonly Lock _gate = new();
    private int _isBookmarkDue;
    private bool _isLastScheduled;
    private bool _isDisposed;

    internal WatchAlarm(WatchCursor cursor, TimeProvider clock, TimeSpan timeout, bool withBookmarks)
    {
        _cursor = cursor;
        _clock = clock;
        _timeout = timeout;
        _startedAt = clock.GetTimestamp();
        _end = clock.CreateTimer(static state => ((WatchAlarm)state!).End(), this, timeout, Timeout.InfiniteTimeSpan);
        if (!withBookmarks)
            return;
        _bookmark = clock.CreateTimer(static state => ((WatchAlarm)state!).Ring(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        lock (_gate)
            ScheduleLocked();
    }

    internal bool IsOver { get; private set; }

    internal bool TakeBookmark() => Interlocked.Exchange(ref _isBookmarkDue, 0) == 1;

    internal void End()
    {
        IsOver = true;
        lock (_gate)
            WakeLocked();
    }

    public void Dispose()
    {
        // A timer's last callback may still run: it must not touch a cursor that has left the ring.
        lock (_gate)
            _isDisposed = true;
        _end.Dispose();
        _bookmark?.Dispose();
    }

    private void Ring()
    {
        Volatile.Write(ref _isBookmarkDue, 1);
        lock (_gate)
        {
            WakeLocked();
            if (!_isDisposed && !_isLastScheduled)
                ScheduleLocked();
        }
    }

    private void ScheduleLocked()
    {
        var last = _timeout - s_lastBookmarkLead - _clock.GetElapsedTime(_startedAt);
        _isLastScheduled = last < s_bookmarkPeriod;
        if (last > TimeSpan.Zero)
            _bookmark!.Change(_isLastScheduled ? last : s_bookmarkPeriod, Timeout.InfiniteTimeSpan);
    }

    private void WakeLocked()
    {
        if (!_isDisposed)
            _cursor.Wake();
    }
}
