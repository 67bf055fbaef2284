using System.Diagnostics;
using System.IO.Pipelines;
using K3sFast.ApiMachinery;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>
/// WATCH: a cursor on the resource's ring, whose shared frames go straight to the connection. Clients that want another form share frames of
/// that form.
/// </summary>
internal sealed class ObjectWatcher(TimeProvider clock, TimeSpan minTimeout)
{
    // One read takes this many events; more are read in the next turn, after a flush.
    private const int BatchEvents = 64;

    [ThreadStatic]
    private static WatchEvent[]? t_events;

    private readonly SharedFrameTable _shared = new();

    internal async ValueTask WatchAsync(ApiCall call, ResourceEndpoint endpoint)
    {
        var started = Stopwatch.GetTimestamp();
        var format = ResponseFormat.NegotiateStream(call);
        var info = call.Info;
        var query = ListQuery.Read(call, endpoint, isWatch: true, info.IsWatchPath && !info.Name.IsEmpty ? info.NameText : null);
        var include = ObjectReader.IncludeOf(call, format);
        var timeout = TimeoutOf(query);
        await query.FreshenAsync(endpoint.Storage!, call.Aborted).ConfigureAwait(false);
        using var lease = _shared.Rent(endpoint, format, include);
        var frames = new FrameWriter(endpoint, format, query.Filter, include, clock, lease.Frames);
        var socket = call is HttpApiCall http && WatchSocket.IsAsked(http) ? await WatchSocket.AcceptAsync(http, format.Media).ConfigureAwait(false) : null;
        if (socket is null)
            call.Start(200, format.WatchContentType, -1);
        PipeWriter output = socket is null ? call.Output : socket;
        try
        {
            await RunAsync(call, endpoint, query, frames, output, socket, timeout, started).ConfigureAwait(false);
        }
        finally
        {
            if (socket is not null)
                await socket.CloseAsync().ConfigureAwait(false);
        }
    }

    // Without a wish of the client's, drawn from the least time and its double, so that watches do not all end together.
    private TimeSpan TimeoutOf(ListQuery query) => query.TimeoutSeconds is { } seconds && seconds != 0
        ? TimeSpan.FromSeconds(Math.Clamp(seconds, 0, int.MaxValue))
        : minTimeout * (1 + Random.Shared.NextDouble());

    private async ValueTask RunAsync(
        ApiCall call, ResourceEndpoint endpoint, ListQuery query, FrameWriter frames, PipeWriter output, WatchSocket? socket, TimeSpan timeout, long started)
    {
        var storage = endpoint.Storage!;
        var prefix = storage.PrefixOf(call.Info.Namespace);
        if (query.IsStreamedList && query.Revision > 0 && await RefusalOfFutureAsync(storage, query.Revision, call.Aborted).ConfigureAwait(false) is { } refusal)
        {
            frames.WriteError(output, refusal);
            await output.FlushAsync(CancellationToken.None).ConfigureAwait(false);
            return;
        }
        using var cursor = await BeginAsync(call, storage, prefix, query, frames, output).ConfigureAwait(false);
        if (query.IsStreamedList)
            endpoint.Watched?.Listed(RequestMetrics.Scope(call.Info), started);
        using var alarm = new WatchAlarm(cursor, clock, timeout, query.AllowsBookmarks);
        using var onAbort = call.Aborted.UnsafeRegister(static state => ((WatchAlarm)state!).End(), alarm);
        using var onStop = call.Stopping.UnsafeRegister(static state => ((WatchAlarm)state!).End(), alarm);
        socket?.WhenClosed(alarm.End);
        await FollowAsync(call, output, cursor, frames, alarm).ConfigureAwait(false);
    }

    private static async ValueTask<ApiStatus?> RefusalOfFutureAsync(ResourceStorage storage, long revision, CancellationToken cancel)
    {
        try
        {
            await ListQuery.WaitForAsync(storage, revision, cancel).ConfigureAwait(false);
            return null;
        }
        catch (ApiStatusException tooLarge)
        {
            return tooLarge.Status;
        }
    }

    // Everything that is there now where the watch begins with it; a watch of many objects is flushed on the way.
    private static async ValueTask<WatchCursor> BeginAsync(ApiCall call, ResourceStorage storage, byte[] prefix, ListQuery query, FrameWriter frames, PipeWriter output)
    {
        if (!query.StartsWithState)
            return storage.Cache.OpenCursor(query.Revision > 0 ? query.Revision : storage.CurrentRevision, prefix, query.Filter.Key);
        using var snapshot = storage.Cache.List(prefix, query.Filter.Key);
        var cursor = storage.Cache.OpenCursor(snapshot.Revision, prefix, query.Filter.Key);
        try
        {
            var objects = snapshot.GetEnumerator();
            while (WriteState(ref objects, query.Filter, frames, output))
                await output.FlushAsync(call.Aborted).ConfigureAwait(false);
            if (query.IsStreamedList)
                frames.WriteBookmark(output, snapshot.Revision, isInitialEnd: true);
            return cursor;
        }
        catch
        {
            cursor.Dispose();
            throw;
        }
    }

    // False = everything is written.
    private static bool WriteState(ref Snapshot.Enumerator objects, ObjectFilter filter, FrameWriter frames, PipeWriter output)
    {
        for (var written = 0; written < BatchEvents;)
        {
            if (!objects.MoveNext())
                return false;
            if (!filter.Matches(objects.Current))
                continue;
            frames.WriteState(output, objects.Current);
            written++;
        }
        return true;
    }

    private static async ValueTask FollowAsync(ApiCall call, PipeWriter output, WatchCursor cursor, FrameWriter frames, WatchAlarm alarm)
    {
        while (true)
        {
            var count = WriteEvents(cursor, frames, output);
            if (count < 0)
            {
                frames.WriteError(output, ApiStatus.Expired($"too old resource version: {cursor.Revision} ({cursor.Cache.OldestRevision})"));
                await output.FlushAsync(call.Aborted).ConfigureAwait(false);
                return;
            }
            if (count == 0 && alarm.TakeBookmark())
                frames.WriteBookmark(output, cursor.Revision, isInitialEnd: false);
            if (alarm.IsOver)
            {
                await output.FlushAsync(CancellationToken.None).ConfigureAwait(false);
                return;
            }
            var flushed = await output.FlushAsync(call.Aborted).ConfigureAwait(false);
            // The costly part is done: what follows is paid by those who write.
            call.ReleaseSeat();
            if (flushed.IsCompleted)
                return;
            if (count == 0)
                await cursor.WaitAsync(CancellationToken.None).ConfigureAwait(false);
        }
    }

    // One buffer per thread, not per watch: ten thousand watches that wait hold none. What was read is in the connection's buffer when this returns, so
    // a client that does not read keeps nothing of the cache alive.
    private static int WriteEvents(WatchCursor cursor, FrameWriter frames, PipeWriter output)
    {
        var events = (t_events ??= new WatchEvent[BatchEvents]).AsSpan();
        var count = cursor.Read(events);
        for (var i = 0; i < count; i++)
            frames.WriteEvent(output, events[i]);
        cursor.ReturnEvents();
        events[..Math.Max(0, count)].Clear();
        return count;
    }
}
