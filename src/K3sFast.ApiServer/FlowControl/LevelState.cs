namespace K3sFast.ApiServer;

/// <summary>What a level has done since its start.</summary>
internal struct LevelCounts
{
    internal long Dispatched, Rejected, TimedOut, Cancelled;
}

/// <summary>A queue as it stands.</summary>
internal readonly record struct QueueState(int Waiting, int Executing, int SeatsInUse, int SeatsWaiting, double NextDispatch);

/// <summary>A level as it stands, for dumps and metrics.</summary>
internal sealed record LevelState(
    string Name, int ActiveQueues, int Waiting, int Executing, int SeatsInUse, int SeatsWaiting, int Limit, LevelCounts Counts, bool IsExempt,
    QueueState[] Queues, (int Queue, int Index, SeatWaiter Waiter)[] Waiters);

/// <summary>The flow of a request that waits, for dumps.</summary>
internal readonly record struct FlowLabel(string Schema, string Distinguisher, DateTimeOffset ArrivedAt);
