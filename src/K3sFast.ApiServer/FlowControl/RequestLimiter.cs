using System.Diagnostics;
using System.Globalization;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// Decides whether a request over HTTP is served now, later, or not at all. Components of this process are not limited here: they are the server itself,
/// each bounded by its own workers, and a request that waited for them while holding a seat would wait for ever.
/// </summary>
internal abstract class RequestLimiter
{
    /// <summary>Lets the request in, after a wait if need be; false = it was answered with 429.</summary>
    internal abstract ValueTask<bool> EnterAsync(HttpApiCall call);

    /// <summary>Requests that last as long as their client wants: they do not count, and have no deadline.</summary>
    internal static bool IsLongRunning(in RequestInfo info)
    {
        if (info.Verb is Verb.Watch or Verb.Proxy)
            return true;
        if (!info.IsResourceRequest)
            return info.Path.StartsWith("/debug/pprof/"u8);
        var subresource = info.Subresource;
        return !subresource.IsEmpty && (subresource.SequenceEqual("exec"u8) || subresource.SequenceEqual("attach"u8) || subresource.SequenceEqual("portforward"u8)
            || subresource.SequenceEqual("log"u8) || subresource.SequenceEqual("proxy"u8));
    }

    private protected static async ValueTask<bool> RefuseAsync(HttpApiCall call, int retryAfterSeconds)
    {
        call.SetHeader("Retry-After", retryAfterSeconds.ToString(CultureInfo.InvariantCulture));
        call.SetHeader("X-Content-Type-Options", "nosniff");
        await ResponseWriter.WriteTextAsync(call, 429, "Too many requests, please try again later.\n").ConfigureAwait(false);
        return false;
    }
}

/// <summary>Two plain counters, for readers and for writers: --enable-priority-and-fairness=false. A limit of 0 is none.</summary>
internal sealed class InFlightLimiter(int maxReading, int maxMutating) : RequestLimiter
{
    private int _reading;
    private int _mutating;

    internal override ValueTask<bool> EnterAsync(HttpApiCall call)
    {
        var info = call.Info;
        if (IsLongRunning(info))
            return ValueTask.FromResult(true);
        var isReading = info.Verb is Verb.Get or Verb.List;
        var limit = isReading ? maxReading : maxMutating;
        if (limit == 0)
            return ValueTask.FromResult(true);
        ref var count = ref isReading ? ref _reading : ref _mutating;
        if (Interlocked.Increment(ref count) <= limit)
        {
            call.HoldSlot(isReading ? _releaseReading ??= () => Interlocked.Decrement(ref _reading) : _releaseMutating ??= () => Interlocked.Decrement(ref _mutating));
            return ValueTask.FromResult(true);
        }
        Interlocked.Decrement(ref count);
        // The administrator always gets an answer.
        return call.User.IsMaster ? ValueTask.FromResult(true) : RefuseAsync(call, 1);
    }

    private Action? _releaseReading;
    private Action? _releaseMutating;
}

/// <summary>Priority and fairness: every request is a flow's, flows share their level's seats, and who finds none waits in a queue for a while.</summary>
internal sealed class FairLimiter(FlowController flows, ResourceCatalog catalog, TimeProvider clock, TimeSpan requestTimeout) : RequestLimiter
{
    private static readonly TimeSpan s_longestWait = TimeSpan.FromMinutes(1);

    internal override ValueTask<bool> EnterAsync(HttpApiCall call)
    {
        var info = call.Info;
        if (info.Verb != Verb.Watch && IsLongRunning(info))
            return ValueTask.FromResult(true);
        var schema = flows.Current.Match(info, call.User);
        var level = schema.Level;
        call.SetHeader("X-Kubernetes-PF-FlowSchema-UID", schema.Uid);
        call.SetHeader("X-Kubernetes-PF-PriorityLevel-UID", level.Uid);
        var hash = level.IsExempt ? 0 : schema.HashOf(info, call.User);
        var seats = SeatEstimate.Of(info, catalog, level.MaxSeats);
        schema.Measured?.Estimated(seats);
        switch (level.Enter(hash, seats, out var hold, out var waiter))
        {
            case SeatOutcome.Entered:
                if (hold.Queue is not null)
                    schema.Measured?.Passed(waiter?.LengthAtArrival ?? 1);
                Begin(call, schema, hold);
                return ValueTask.FromResult(true);
            case SeatOutcome.Queued:
                waiter!.Label = schema.LabelOf(info, call.User, clock.GetUtcNow());
                return WaitAsync(call, schema, waiter);
            default:
                schema.Measured?.Refused(level.HasQueues);
                return RefuseAsync(call, level.NoteDropped());
        }
    }

    // A quarter of the request's own time, so that what remains suffices to serve it.
    private async ValueTask<bool> WaitAsync(HttpApiCall call, FlowSchemaMatcher schema, SeatWaiter waiter)
    {
        var (level, measured) = (schema.Level, schema.Measured);
        var since = Stopwatch.GetTimestamp();
        var isMutating = IsMutating(call.Info);
        measured?.Queued(waiter.LengthAtArrival, waiter.Seats, isMutating);
        var limit = (call.Timeout > TimeSpan.Zero ? call.Timeout : requestTimeout) / 4;
        var isTimeout = false;
        try
        {
            await waiter.Turn.WaitAsync(limit < s_longestWait ? limit : s_longestWait, clock, call.Gone).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            isTimeout = true;
        }
        catch (OperationCanceledException)
        {
            // The client has gone; its place is given up all the same.
        }
        measured?.Left(waiter.Seats, isMutating);
        measured?.Waited(since);
        if (!waiter.Turn.IsCompleted && level.TryWithdraw(waiter, isTimeout))
        {
            measured?.TimedOut();
            return await RefuseAsync(call, level.NoteDropped()).ConfigureAwait(false);
        }
        Begin(call, schema, level.HoldOf(waiter));
        return true;
    }

    private static bool IsMutating(in RequestInfo info) => info.Verb is not (Verb.Get or Verb.List or Verb.Watch or Verb.Head);

    private static void Begin(HttpApiCall call, FlowSchemaMatcher schema, SeatHold hold)
    {
        hold.Measured = schema.Measured;
        hold.IsWatch = call.Info.Verb == Verb.Watch;
        hold.IsMutating = IsMutating(call.Info);
        hold.MeasuredFrom = Stopwatch.GetTimestamp();
        schema.Measured?.Started(hold.Seats, hold.IsMutating);
        call.Hold(hold);
    }
}

/// <summary>How many seats a request takes: one, and more for lists, by what they read.</summary>
internal static class SeatEstimate
{
    // Upstream's price: a seat for each 100 kB that are held at once, and no list served from a cache holds more than a megabyte.
    private const int BytesPerSeat = 100_000;
    private const int MaxBytesAtOnce = 1_000_000;

    // The caches do not know their objects' mean size; a pod has about 2 KB, most others less.
    private const int BytesPerObject = 1024;

    internal static int Of(in RequestInfo info, ResourceCatalog catalog, int maxSeats)
    {
        if (info.Verb is not (Verb.List or Verb.Watch) || !info.Name.IsEmpty || info.Verb == Verb.Watch && !StartsWithState(info))
            return 1;
        if (catalog.Find(info)?.Storage is not { } storage)
            return 1;
        long objects = storage.Cache.Count;
        if (QueryReader.TryGetInt64(info.Query, "limit"u8, out var limit) && limit is > 0 && limit < objects)
            objects = limit.Value;
        var bytes = Math.Min(MaxBytesAtOnce, objects * BytesPerObject);
        return (int)Math.Clamp((bytes + BytesPerSeat - 1) / BytesPerSeat, 1, Math.Max(1, maxSeats));
    }

    private static bool StartsWithState(in RequestInfo info) =>
        QueryReader.GetBool(info.Query, "sendInitialEvents"u8)
        || !info.TryGetQuery("resourceVersion"u8, out var version) || version.IsEmpty || version.SequenceEqual("0"u8);
}
