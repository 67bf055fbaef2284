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
    // The longest that timers can wait is some days more.
    private const int MaxTimeoutSeconds = 4_000_000;

    private readonly SharedFrameTable _shared = new();
    private readonly OpenWatches _open = new(clock);

    internal async ValueTask WatchAsync(ApiCall call, ResourceEndpoint endpoint)
    {
        // What only the beginning needs goes with its method: a watch that waits is this one's state and the open watch.
        if (await OpenAsync(call, endpoint).ConfigureAwait(false) is not { } watch)
            return;
        try
        {
            while (watch.Write())
            {
                var flushed = await watch.Output.FlushAsync(call.Aborted).ConfigureAwait(false);
                // The costly part is done: what follows is paid by those who write.
                call.ReleaseSeat();
                if (flushed.IsCompleted)
                    return;
                if (watch.IsCaughtUp)
                    await watch.Cursor.WaitAsync(CancellationToken.None).ConfigureAwait(false);
            }
            await watch.Output.FlushAsync(watch.IsOver ? CancellationToken.None : call.Aborted).ConfigureAwait(false);
        }
        finally
        {
            await watch.DisposeAsync().ConfigureAwait(false);
        }
    }

    // Null = it is refused by a frame, and that was all.
    private async ValueTask<OpenWatch?> OpenAsync(ApiCall call, ResourceEndpoint endpoint)
    {
        var started = Stopwatch.GetTimestamp();
        var format = ResponseFormat.NegotiateStream(call);
        var query = ReadQuery(call, endpoint);
        var include = ObjectReader.IncludeOf(call, format);
        var timeout = TimeoutOf(query);
        await query.FreshenAsync(endpoint.Storage!, call.Aborted).ConfigureAwait(false);
        var lease = _shared.Rent(endpoint, format, include);
        WatchSocket? socket = null;
        OpenWatch? watch = null;
        try
        {
            var frames = new FrameWriter(endpoint, format, query.Filter, include, clock, lease?.Frames);
            socket = call is HttpApiCall http && WatchSocket.IsAsked(http) ? await WatchSocket.AcceptAsync(http, format.Media).ConfigureAwait(false) : null;
            if (socket is null)
                call.Start(200, format.WatchContentType, -1);
            PipeWriter output = socket is null ? call.Output : socket;
            var storage = endpoint.Storage!;
            if (query.IsStreamedList && query.Revision > 0 && await RefusalOfFutureAsync(storage, query.Revision, call.Aborted).ConfigureAwait(false) is { } refusal)
            {
                frames.WriteError(output, refusal);
                await output.FlushAsync(CancellationToken.None).ConfigureAwait(false);
                return null;
            }
            var cursor = await BeginAsync(call, storage, storage.PrefixOf(call.Info.Namespace), query, frames, output).ConfigureAwait(false);
            if (query.IsStreamedList)
                endpoint.Watched?.Listed(RequestMetrics.Scope(call.Info), started);
            watch = new OpenWatch(_open, output, socket, cursor, frames, lease, timeout, query.AllowsBookmarks);
            watch.EndWith(call.Aborted);
            _open.Add(watch, call.Stopping);
            return watch;
        }
        finally
        {
            if (watch is null)
            {
                lease?.Dispose();
                if (socket is not null)
                    await socket.CloseAsync().ConfigureAwait(false);
            }
        }
    }

    private static ListQuery ReadQuery(ApiCall call, ResourceEndpoint endpoint)
    {
        var info = call.Info;
        return ListQuery.Read(call, endpoint, isWatch: true, info.IsWatchPath && !info.Name.IsEmpty ? info.NameText : null);
    }

    // Without a wish of the client's, drawn from the least time and its double, so that watches do not all end together.
    private TimeSpan TimeoutOf(ListQuery query) => query.TimeoutSeconds is { } seconds && seconds != 0
        ? TimeSpan.FromSeconds(Math.Clamp(seconds, 0, MaxTimeoutSeconds))
        : minTimeout * (1 + Random.Shared.NextDouble());

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
            return query.Revision > 0 ? storage.Cache.OpenCursor(query.Revision, prefix, query.Filter.Key) : storage.Cache.OpenCursorAtEnd(prefix, query.Filter.Key);
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
        for (var written = 0; written < OpenWatch.BatchEvents;)
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
}
