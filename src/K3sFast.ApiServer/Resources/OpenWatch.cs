using System.IO.Pipelines;
using K3sFast.ApiMachinery;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>
/// A watch whose answer has begun: all that it needs while it waits, and its alarm. It is woken when its time is over, a bookmark is due (about once a
/// minute, and just before the end), the client has gone, or the server stops.
/// </summary>
/// <remarks>The methods are the watch's own; <see cref="End"/> is anybody's. There are ten thousands of these: each field counts.</remarks>
internal sealed class OpenWatch : IAsyncDisposable
{
    // One read takes this many events; more are read in the next turn, after a flush.
    internal const int BatchEvents = 64;

    private static readonly TimeSpan s_bookmarkPeriod = TimeSpan.FromMinutes(1);

    // Upstream's last bookmark, so that the client's next watch starts as near to now as can be.
    private static readonly TimeSpan s_lastBookmarkLead = TimeSpan.FromSeconds(2);

    // One buffer per thread, not per watch: ten thousand watches that wait hold none.
    [ThreadStatic]
    private static WatchEvent[]? t_events;

    private readonly OpenWatches _owner;
    private readonly FrameWriter _frames;
    private readonly SharedFrameTable.Lease? _lease;
    private readonly WatchSocket? _socket;
    private readonly TimeSpan _timeout;
    private readonly long _startedAt;
    private readonly ITimer _timer;
    private CancellationTokenRegistration _onGone;
    private Due _due;
    private int _isBookmarkDue;

    internal OpenWatch(
        OpenWatches owner, PipeWriter output, WatchSocket? socket, WatchCursor cursor, FrameWriter frames, SharedFrameTable.Lease? lease, TimeSpan timeout, bool withBookmarks)
    {
        (_owner, Output, _socket, Cursor, _frames, _lease, _timeout) = (owner, output, socket, cursor, frames, lease, timeout);
        _startedAt = owner.Clock.GetTimestamp();
        _due = withBookmarks ? Due.Bookmark : Due.End;
        _timer = owner.Clock.CreateTimer(static state => ((OpenWatch)state!).Ring(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        Schedule();
        _socket?.WhenClosed(End);
    }

    // What the alarm rings for next.
    private enum Due : byte
    {
        Bookmark,
        LastBookmark,
        End,
    }

    internal PipeWriter Output { get; }

    internal WatchCursor Cursor { get; }

    /// <summary>Nothing more is to be written.</summary>
    internal bool IsOver { get; private set; }

    /// <summary>The last <see cref="Write"/> found nothing: there is time to wait.</summary>
    internal bool IsCaughtUp { get; private set; }

    // Guarded by the owner's lock
    internal OpenWatch? Next { get; set; }

    internal OpenWatch? Previous { get; set; }

    /// <summary>Ends with the client. Right after the construction.</summary>
    internal void EndWith(CancellationToken gone) => _onGone = gone.UnsafeRegister(static state => ((OpenWatch)state!).End(), this);

    /// <summary>Writes what has come, if anything has; false = that was the last. What was read is in the connection's buffer then, so a client that does not read keeps nothing of the cache alive.</summary>
    internal bool Write()
    {
        var events = (t_events ??= new WatchEvent[BatchEvents]).AsSpan();
        var count = Cursor.Read(events);
        for (var i = 0; i < count; i++)
            _frames.WriteEvent(Output, events[i]);
        Cursor.ReturnEvents();
        events[..Math.Max(0, count)].Clear();
        IsCaughtUp = count == 0;
        if (count < 0)
        {
            _frames.WriteError(Output, ApiStatus.Expired($"too old resource version: {Cursor.Revision} ({Cursor.Cache.OldestRevision})"));
            return false;
        }
        if (count == 0 && Interlocked.Exchange(ref _isBookmarkDue, 0) == 1)
            _frames.WriteBookmark(Output, Cursor.Revision, isInitialEnd: false);
        return !IsOver;
    }

    /// <summary>From any thread.</summary>
    internal void End()
    {
        IsOver = true;
        Cursor.Wake();
    }

    public async ValueTask DisposeAsync()
    {
        _onGone.Dispose();
        _timer.Dispose();
        _owner.Remove(this);
        Cursor.Dispose();
        _lease?.Dispose();
        if (_socket is not null)
            await _socket.CloseAsync().ConfigureAwait(false);
    }

    private void Ring()
    {
        if (_due == Due.End)
        {
            End();
            return;
        }
        Volatile.Write(ref _isBookmarkDue, 1);
        if (_due == Due.LastBookmark)
            _due = Due.End;
        Schedule();
        Cursor.Wake();
    }

    private void Schedule()
    {
        var left = _timeout - _owner.Clock.GetElapsedTime(_startedAt);
        if (_due == Due.Bookmark && left - s_lastBookmarkLead < s_bookmarkPeriod)
            _due = left > s_lastBookmarkLead ? Due.LastBookmark : Due.End;
        var wait = _due switch { Due.Bookmark => s_bookmarkPeriod, Due.LastBookmark => left - s_lastBookmarkLead, _ => left };
        // Also after the disposal, when a last ring comes late: it does nothing then.
        _timer.Change(wait > TimeSpan.Zero ? wait : TimeSpan.Zero, Timeout.InfiniteTimeSpan);
    }
}

/// <summary>All watches that are open over HTTP, to be ended when the server stops: a list through the watches themselves. Any thread.</summary>
internal sealed class OpenWatches(TimeProvider clock)
{
    private readonly Lock _gate = new();

    // Guarded by _gate
    private OpenWatch? _first;
    private bool _isFollowing;

    internal TimeProvider Clock => clock;

    /// <summary>Takes a watch in, which leaves by <see cref="Remove"/>. All that end with <paramref name="stopping"/> end with the same.</summary>
    internal void Add(OpenWatch watch, CancellationToken stopping)
    {
        bool isFirstEver;
        lock (_gate)
        {
            watch.Next = _first;
            if (_first is not null)
                _first.Previous = watch;
            _first = watch;
            isFirstEver = stopping.CanBeCanceled && !_isFollowing;
            _isFollowing |= isFirstEver;
        }
        if (isFirstEver)
            stopping.UnsafeRegister(static watches => ((OpenWatches)watches!).EndAll(), this);
        if (stopping.IsCancellationRequested)
            watch.End();
    }

    internal void Remove(OpenWatch watch)
    {
        lock (_gate)
        {
            if (watch.Previous is { } previous)
                previous.Next = watch.Next;
            else if (_first == watch)
                _first = watch.Next;
            if (watch.Next is { } next)
                next.Previous = watch.Previous;
            watch.Next = watch.Previous = null;
        }
    }

    private void EndAll()
    {
        lock (_gate)
        {
            for (var watch = _first; watch is not null; watch = watch.Next)
                watch.End();
        }
    }
}
