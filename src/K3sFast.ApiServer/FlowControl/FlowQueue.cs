namespace K3sFast.ApiServer;

/// <summary>A queue of a priority level: requests that wait, oldest first, and how far the queue has come in virtual time.</summary>
/// <remarks>Guarded by its level's lock.</remarks>
internal sealed class FlowQueue
{
    internal SeatWaiter? Oldest { get; private set; }

    private SeatWaiter? _newest;

    /// <summary>Requests that wait.</summary>
    internal int Waiting { get; private set; }

    /// <summary>Seats that those want.</summary>
    internal int SeatsWaiting { get; private set; }

    /// <summary>Requests that are being served.</summary>
    internal int Executing { get; set; }

    /// <summary>Seats that those hold.</summary>
    internal int SeatsInUse { get; set; }

    /// <summary>The virtual time (in seat-seconds) at which the next request's work would begin.</summary>
    internal double NextDispatch { get; set; }

    internal bool IsIdle => Waiting == 0 && Executing == 0;

    internal void Append(SeatWaiter waiter)
    {
        waiter.Previous = _newest;
        if (_newest is null) Oldest = waiter;
        else _newest.Next = waiter;
        _newest = waiter;
        Waiting++;
        SeatsWaiting += waiter.Seats;
        waiter.LengthAtArrival = Waiting;
    }

    internal void Remove(SeatWaiter waiter)
    {
        if (waiter.Previous is null) Oldest = waiter.Next;
        else waiter.Previous.Next = waiter.Next;
        if (waiter.Next is null) _newest = waiter.Previous;
        else waiter.Next.Previous = waiter.Previous;
        waiter.Next = waiter.Previous = null;
        Waiting--;
        SeatsWaiting -= waiter.Seats;
    }

    /// <summary>Dispatching never comes before arrival, so that an idle queue saves nothing up.</summary>
    internal void Bound()
    {
        if (Oldest is { } oldest && NextDispatch < oldest.ArrivedAt)
            NextDispatch = oldest.ArrivedAt;
    }
}

/// <summary>A request in a queue. Its task ends when it may go on.</summary>
internal sealed class SeatWaiter(FlowQueue queue, int seats, double arrivedAt)
{
    private readonly TaskCompletionSource _turn = new(TaskCreationOptions.RunContinuationsAsynchronously);

    internal FlowQueue Queue => queue;

    internal int Seats => seats;

    /// <summary>The virtual time of its arrival.</summary>
    internal double ArrivedAt => arrivedAt;

    /// <summary>How many stood in its queue when it came, with itself.</summary>
    internal int LengthAtArrival { get; set; }

    /// <summary>Whose flow it is, and since when it waits; for people.</summary>
    internal FlowLabel Label { get; set; }

    /// <summary>When its service began; 0 = it waits.</summary>
    internal long StartedAt { get; private set; }

    internal bool IsServed => StartedAt != 0;

    internal SeatWaiter? Previous { get; set; }

    internal SeatWaiter? Next { get; set; }

    internal Task Turn => _turn.Task;

    internal void Serve(long now)
    {
        StartedAt = now;
        _turn.SetResult();
    }
}

/// <summary>What a request that is being served holds; given back once.</summary>
internal struct SeatHold
{
    internal PriorityLevel? Level;
    internal FlowQueue? Queue;
    internal int Seats;
    internal long StartedAt;

    // For metrics: whose request it is, and since when it is served by the stopwatch.
    internal FlowMetrics.FlowSeries? Measured;
    internal bool IsWatch;
    internal bool IsMutating;
    internal long MeasuredFrom;
}
