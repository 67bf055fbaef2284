namespace K3sFast.ApiServer;

/// <summary>How asking for seats ended.</summary>
internal enum SeatOutcome : byte
{
    Entered,
    Refused,
    Queued,
}

/// <summary>
/// One priority level: a number of seats, and queues that share them fairly. A request takes seats for as long as it is served. Flows are dealt a hand of
/// queues each (shuffle sharding), so that a flow that floods fills its own hand and hardly anybody else's; queues are served by virtual finish
/// time, as if each got the same share of seats at every moment.
/// </summary>
/// <remarks>Any thread. A request that need not wait allocates nothing.</remarks>
internal sealed class PriorityLevel(string name, TimeProvider clock)
{
    // Upstream's first guess of how long a request is served; corrected when its service ends.
    private const double EstimatedServiceSeconds = 0.003;

    private readonly Lock _gate = new();

    // Guarded by _gate: configuration
    private int _queueCount;
    private int _handSize = 1;
    private int _queueLengthLimit;
    private bool _isExempt;
    private int _limit;

    // Guarded by _gate: state. Queues beyond _queueCount are left over from a larger configuration and drain.
    private FlowQueue[] _queues = [];
    private int _executing;
    private int _seatsInUse;
    private int _waiting;
    private int _seatsWaiting;
    private int _activeQueues;
    private int _robin;
    private int _dealt;
    private double _progress;
    private long _progressAt = clock.GetTimestamp();
    private SeatDemand _demand = new(clock.GetTimestamp());
    private RatioTimes _demandTimes = new(LevelTimes.DemandBounds, clock.GetTimestamp());
    private RatioTimes _seatTimes = new(LevelTimes.SeatBounds, clock.GetTimestamp());
    private RatioTimes _executingTimes = new(LevelTimes.RequestBounds, clock.GetTimestamp());
    private RatioTimes _waitingTimes = new(LevelTimes.RequestBounds, clock.GetTimestamp());
    private DispatchTimes _dispatch;
    private DroppedRequests _dropped = new();
    private LevelCounts _counts;

    internal string Name => name;

    internal string Uid { get; private set; } = "";

    internal bool IsExempt => _isExempt;

    /// <summary>Requests that find no seat wait.</summary>
    internal bool HasQueues => _queueCount > 0;

    /// <summary>A request of this level never asks for more seats.</summary>
    internal int MaxSeats { get; private set; } = 1;

    /// <summary>Takes over a configuration; requests in flight go on.</summary>
    internal void Configure(string uid, bool isExempt, int queues, int handSize, int queueLengthLimit)
    {
        lock (_gate)
        {
            Uid = uid;
            _isExempt = isExempt;
            _queueCount = queues;
            _handSize = Math.Clamp(handSize, 1, ShuffleSharding.MaxHandSize);
            _queueLengthLimit = queueLengthLimit;
            _waitingTimes.SetWhole(clock, clock.GetTimestamp(), Math.Max(1, queueLengthLimit) * Math.Max(1, queues));
            var had = _queues.Length;
            if (had < queues)
            {
                Array.Resize(ref _queues, queues);
                for (var i = had; i < queues; i++)
                    _queues[i] = new FlowQueue();
            }
            TrimQueuesLocked();
        }
    }

    /// <summary>Changes how many seats there are; who waited for more is served. Demand and use are told as parts of <paramref name="whole"/>.</summary>
    internal void SetLimit(int limit, int maxSeats, int whole = 1)
    {
        lock (_gate)
        {
            var now = AdvanceLocked();
            _demandTimes.SetWhole(clock, now, whole);
            _seatTimes.SetWhole(clock, now, whole);
            _executingTimes.SetWhole(clock, now, whole);
            _limit = limit;
            MaxSeats = maxSeats;
            ServeWaitingLocked();
        }
    }

    /// <summary>Asks for seats. <see cref="SeatOutcome.Queued"/> comes with the waiter to wait on.</summary>
    internal SeatOutcome Enter(ulong flowHash, int seats, out SeatHold hold, out SeatWaiter? waiter)
    {
        waiter = null;
        hold = default;
        lock (_gate)
        {
            var now = AdvanceLocked();
            if (_queueCount < 1)
            {
                if (!HasRoomLocked(seats))
                    return RefuseLocked();
                StartLocked(null, seats);
                hold = new SeatHold { Level = this, Seats = seats, StartedAt = now };
                return SeatOutcome.Entered;
            }
            var queue = DealLocked(flowHash);
            if (_waiting == 0 && HasRoomLocked(seats))
            {
                WakeLocked(queue);
                StartLocked(queue, seats);
                hold = new SeatHold { Level = this, Queue = queue, Seats = seats, StartedAt = now };
                return SeatOutcome.Entered;
            }
            if (_seatsInUse >= _limit && queue.Waiting >= _queueLengthLimit)
                return RefuseLocked();
            waiter = EnqueueLocked(queue, seats);
            ServeWaitingLocked();
            if (!waiter.IsServed)
                return SeatOutcome.Queued;
            hold = HoldOf(waiter);
            return SeatOutcome.Entered;
        }
    }

    /// <summary>What a waiter holds whose turn has come.</summary>
    internal SeatHold HoldOf(SeatWaiter waiter) => new() { Level = this, Queue = waiter.Queue, Seats = waiter.Seats, StartedAt = waiter.StartedAt };

    /// <summary>Leaves the queue. False = its turn has come meanwhile: it holds seats.</summary>
    internal bool TryWithdraw(SeatWaiter waiter, bool isTimeout)
    {
        lock (_gate)
        {
            AdvanceLocked();
            if (waiter.IsServed)
                return false;
            DequeueLocked(waiter);
            if (waiter.Queue.IsIdle)
                _activeQueues--;
            waiter.Queue.Bound();
            _counts.Rejected++;
            if (isTimeout) _counts.TimedOut++;
            else _counts.Cancelled++;
            ServeWaitingLocked();
            return true;
        }
    }

    /// <summary>Gives seats back.</summary>
    internal void Leave(in SeatHold hold)
    {
        lock (_gate)
        {
            var now = AdvanceLocked();
            _executing--;
            _seatsInUse -= hold.Seats;
            NoteDemandLocked(now);
            if (hold.Queue is { } queue)
            {
                queue.Executing--;
                queue.SeatsInUse -= hold.Seats;
                // What was charged beforehand was a guess.
                queue.NextDispatch -= hold.Seats * (EstimatedServiceSeconds - clock.GetElapsedTime(hold.StartedAt, now).TotalSeconds);
                queue.Bound();
                if (queue.IsIdle)
                    _activeQueues--;
            }
            ServeWaitingLocked();
            TrimQueuesLocked();
        }
    }

    /// <summary>Notes that a request was sent away, and answers after how many seconds it may come again.</summary>
    internal int NoteDropped()
    {
        lock (_gate)
            return _dropped.Note(clock.GetUtcNow().ToUnixTimeSeconds());
    }

    /// <summary>The demand for seats since the last time this was asked.</summary>
    internal SeatDemand.Summary TakeDemand()
    {
        lock (_gate)
            return _demand.Take(clock, clock.GetTimestamp());
    }

    /// <summary>For how long there was how much demand and use, since the start.</summary>
    internal LevelTimes Times()
    {
        lock (_gate)
        {
            var now = clock.GetTimestamp();
            return new LevelTimes(_demandTimes.Read(clock, now), _seatTimes.Read(clock, now), _executingTimes.Read(clock, now), _waitingTimes.Read(clock, now));
        }
    }

    /// <summary>The level's virtual times.</summary>
    internal DispatchTimes Dispatch()
    {
        lock (_gate)
            return _dispatch with { Now = _progress };
    }

    internal LevelState State()
    {
        lock (_gate)
        {
            return new LevelState(
                name, _activeQueues, _waiting, _executing, _seatsInUse, _seatsWaiting, _limit, _counts, _isExempt,
                [.. _queues.Select(static queue => new QueueState(queue.Waiting, queue.Executing, queue.SeatsInUse, queue.SeatsWaiting, queue.NextDispatch))],
                [.. WaitersLocked()]);
        }
    }

    private SeatOutcome RefuseLocked()
    {
        _counts.Rejected++;
        return SeatOutcome.Refused;
    }

    private bool HasRoomLocked(int seats)
    {
        if (_isExempt)
            return true;
        // A request wider than the whole level has it for itself.
        return seats > _limit ? _executing == 0 : _seatsInUse + seats <= _limit;
    }

    /// <summary>Brings virtual time up to now: it runs at the rate at which each active queue is served.</summary>
    private long AdvanceLocked()
    {
        var now = clock.GetTimestamp();
        if (_activeQueues > 0)
            _progress += clock.GetElapsedTime(_progressAt, now).TotalSeconds * Math.Min(_seatsInUse + _seatsWaiting, _limit) / _activeQueues;
        _progressAt = now;
        return now;
    }

    /// <summary>The queue of the flow's hand with the least work waiting.</summary>
    private FlowQueue DealLocked(ulong flowHash)
    {
        Span<int> hand = stackalloc int[ShuffleSharding.MaxHandSize];
        hand = hand[..Math.Min(_handSize, _queueCount)];
        ShuffleSharding.Deal(flowHash, _queueCount, hand);
        var start = (int)((uint)_dealt++ % (uint)hand.Length);
        FlowQueue? best = null;
        for (var i = 0; i < hand.Length; i++)
        {
            var queue = _queues[hand[(start + i) % hand.Length]];
            if (best is null || queue.SeatsWaiting < best.SeatsWaiting)
                best = queue;
        }
        return best!;
    }

    private void WakeLocked(FlowQueue queue)
    {
        if (!queue.IsIdle)
            return;
        queue.NextDispatch = _progress;
        _activeQueues++;
    }

    private SeatWaiter EnqueueLocked(FlowQueue queue, int seats)
    {
        WakeLocked(queue);
        var waiter = new SeatWaiter(queue, seats, _progress);
        queue.Append(waiter);
        queue.Bound();
        _waiting++;
        _seatsWaiting += seats;
        NoteDemandLocked(_progressAt);
        return waiter;
    }

    private void DequeueLocked(SeatWaiter waiter)
    {
        waiter.Queue.Remove(waiter);
        _waiting--;
        _seatsWaiting -= waiter.Seats;
        NoteDemandLocked(_progressAt);
    }

    private void StartLocked(FlowQueue? queue, int seats)
    {
        _executing++;
        _seatsInUse += seats;
        _counts.Dispatched++;
        NoteDemandLocked(_progressAt);
        if (queue is null)
            return;
        NoteDispatchLocked(queue);
        queue.Executing++;
        queue.SeatsInUse += seats;
        queue.NextDispatch += seats * EstimatedServiceSeconds;
    }

    private void ServeWaitingLocked()
    {
        while (_waiting > 0 && _seatsInUse < _limit && FindNextLocked() is { } queue)
        {
            var waiter = queue.Oldest!;
            DequeueLocked(waiter);
            StartLocked(queue, waiter.Seats);
            queue.Bound();
            waiter.Serve(_progressAt);
        }
    }

    /// <summary>The queue whose oldest request would be done first in virtual time; null when that request does not fit yet.</summary>
    private FlowQueue? FindNextLocked()
    {
        FlowQueue? next = null;
        var nextIndex = 0;
        var soonest = double.MaxValue;
        for (var i = 1; i <= _queues.Length; i++)
        {
            var index = (_robin + i) % _queues.Length;
            var queue = _queues[index];
            if (queue.Oldest is not { } oldest)
                continue;
            var finish = queue.NextDispatch + (oldest.Seats * EstimatedServiceSeconds);
            if (finish >= soonest)
                continue;
            soonest = finish;
            next = queue;
            nextIndex = index;
        }
        if (next is null || !HasRoomLocked(next.Oldest!.Seats))
            return null;
        _robin = nextIndex;
        return next;
    }

    private void TrimQueuesLocked()
    {
        var kept = _queues.Length;
        while (kept > Math.Max(0, _queueCount) && _queues[kept - 1].IsIdle)
            kept--;
        if (kept == _queues.Length)
            return;
        Array.Resize(ref _queues, kept);
        _robin = kept == 0 ? 0 : _robin % kept;
    }

    private void NoteDemandLocked(long now)
    {
        _demand.Set(clock, now, _seatsInUse + _seatsWaiting);
        _demandTimes.Set(clock, now, _seatsInUse + _seatsWaiting);
        _seatTimes.Set(clock, now, _seatsInUse);
        _executingTimes.Set(clock, now, _executing);
        _waitingTimes.Set(clock, now, _waiting);
    }

    private void NoteDispatchLocked(FlowQueue next)
    {
        double min = next.NextDispatch, max = min, discountedMin = Discounted(next), discountedMax = discountedMin;
        for (var i = 0; _waiting > 0 && i < _queues.Length; i++)
        {
            var queue = _queues[i];
            if (queue.Waiting == 0)
                continue;
            min = Math.Min(min, queue.NextDispatch);
            max = Math.Max(max, queue.NextDispatch);
            discountedMin = Math.Min(discountedMin, Discounted(queue));
            discountedMax = Math.Max(discountedMax, Discounted(queue));
        }
        _dispatch = new DispatchTimes(_progress, true, _progress, next.NextDispatch, min, max, discountedMin, discountedMax);
    }

    private static double Discounted(FlowQueue queue) => queue.NextDispatch - (queue.SeatsInUse * EstimatedServiceSeconds);

    private IEnumerable<(int Queue, int Index, SeatWaiter Waiter)> WaitersLocked()
    {
        for (var i = 0; i < _queues.Length; i++)
        {
            var index = 0;
            for (var waiter = _queues[i].Oldest; waiter is not null; waiter = waiter.Next)
                yield return (i, index++, waiter);
        }
    }
}
