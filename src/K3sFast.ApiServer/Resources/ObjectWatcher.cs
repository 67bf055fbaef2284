using System.Buffers;
using System.Buffers.Binary;
using System.Globalization;
using System.IO.Pipelines;
using System.Text;
using K3sFast.ApiMachinery;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>
/// WATCH over HTTP: a cursor on the resource's ring, whose shared frames go straight to the connection. Clients that want another form get their
/// frames made for them.
/// </summary>
internal sealed class ObjectWatcher(TimeProvider clock)
{
    // Upstream's bounds: at least 30 minutes, drawn from that and its double, so that watches do not all end together.
    private const int MinTimeoutSeconds = 1800;

    // Upstream promises bookmarks about once a minute.
    private static readonly TimeSpan s_bookmarkPeriod = TimeSpan.FromMinutes(1);

    // One read takes this many events; more are read in the next turn, after a flush.
    private const int BatchEvents = 64;

    internal async ValueTask WatchAsync(ApiCall call, ResourceEndpoint endpoint)
    {
        var format = ResponseFormat.Negotiate(call, allowsProjection: true);
        if (format.Media == MediaKind.Yaml)
            throw ApiStatus.NotAcceptable("application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch").ToException();
        var info = call.Info;
        var query = ListQuery.Read(call, endpoint, isWatch: true, info.IsWatchPath && !info.Name.IsEmpty ? info.NameText : null);
        var storage = endpoint.Storage!;
        var prefix = storage.PrefixOf(info.Namespace);
        var frames = new FrameWriter(endpoint, format, query.Filter, ObjectReader.IncludeOf(call), clock);
        if (query.Revision > 0)
            await ListQuery.WaitForAsync(storage, query.Revision, call.Aborted).ConfigureAwait(false);

        var output = call.Output;
        using var cursor = Begin(call, storage, prefix, query, frames, format);
        var seconds = query.TimeoutSeconds is > 0 and var wanted ? wanted : Random.Shared.Next(MinTimeoutSeconds, MinTimeoutSeconds * 2);
        using var alarm = new Alarm(cursor, clock, TimeSpan.FromSeconds(seconds), query.AllowsBookmarks);
        using var onAbort = call.Aborted.UnsafeRegister(static state => ((Alarm)state!).End(), alarm);
        using var onStop = call.Stopping.UnsafeRegister(static state => ((Alarm)state!).End(), alarm);
        await FollowAsync(output, cursor, frames, alarm, call.Aborted).ConfigureAwait(false);
    }

    // Headers, and with no revision to start from everything that is there now.
    private static WatchCursor Begin(ApiCall call, ResourceStorage storage, byte[] prefix, ListQuery query, FrameWriter frames, ResponseFormat format)
    {
        var isFromNow = query.Revision <= 0 || query.SendsInitialEvents;
        if (!isFromNow)
        {
            call.Start(200, format.WatchContentType, -1);
            return storage.Cache.OpenCursor(query.Revision, prefix);
        }
        using var snapshot = storage.Cache.List(prefix);
        var cursor = storage.Cache.OpenCursor(snapshot.Revision, prefix);
        call.Start(200, format.WatchContentType, -1);
        foreach (var item in snapshot)
        {
            if (query.Filter.Matches(item))
                frames.Write(call.Output, WatchEventType.Added, item, item);
        }
        if (query.SendsInitialEvents && query.AllowsBookmarks)
            frames.WriteBookmark(call.Output, snapshot.Revision, isInitialEnd: true);
        return cursor;
    }

    private static async ValueTask FollowAsync(PipeWriter output, WatchCursor cursor, FrameWriter frames, Alarm alarm, CancellationToken aborted)
    {
        var events = ArrayPool<WatchEvent>.Shared.Rent(BatchEvents);
        try
        {
            while (true)
            {
                var count = cursor.Read(events.AsSpan(0, BatchEvents));
                if (count < 0)
                {
                    frames.WriteExpired(output, cursor.Revision);
                    await output.FlushAsync(aborted).ConfigureAwait(false);
                    return;
                }
                for (var i = 0; i < count; i++)
                    frames.WriteEvent(output, events[i]);
                if (count == 0 && alarm.TakeBookmark())
                    frames.WriteBookmark(output, cursor.Revision, isInitialEnd: false);
                if (alarm.IsOver)
                {
                    await output.FlushAsync(CancellationToken.None).ConfigureAwait(false);
                    return;
                }
                var flushed = await output.FlushAsync(aborted).ConfigureAwait(false);
                if (flushed.IsCompleted)
                    return;
                if (count == 0)
                    await cursor.WaitAsync(CancellationToken.None).ConfigureAwait(false);
            }
        }
        finally
        {
            ArrayPool<WatchEvent>.Shared.Return(events, clearArray: true);
        }
    }

    /// <summary>Wakes a watch when its time is over, a bookmark is due, or the client has gone.</summary>
    private sealed class Alarm : IDisposable
    {
        private readonly WatchCursor _cursor;
        private readonly ITimer _end;
        private readonly ITimer? _bookmark;
        private readonly Lock _gate = new();
        private int _isBookmarkDue;
        private bool _isDisposed;

        internal Alarm(WatchCursor cursor, TimeProvider clock, TimeSpan timeout, bool withBookmarks)
        {
            _cursor = cursor;
            _end = clock.CreateTimer(static state => ((Alarm)state!).End(), this, timeout, Timeout.InfiniteTimeSpan);
            if (withBookmarks)
                _bookmark = clock.CreateTimer(static state => ((Alarm)state!).Ring(), this, s_bookmarkPeriod, s_bookmarkPeriod);
        }

        internal bool IsOver { get; private set; }

        internal bool TakeBookmark() => Interlocked.Exchange(ref _isBookmarkDue, 0) == 1;

        internal void End()
        {
            IsOver = true;
            Wake();
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
            Wake();
        }

        private void Wake()
        {
            lock (_gate)
            {
                if (!_isDisposed)
                    _cursor.Wake();
            }
        }
    }
}

/// <summary>Writes the frames of one watch in the form that its client asked for.</summary>
internal sealed class FrameWriter(ResourceEndpoint endpoint, ResponseFormat format, ObjectFilter filter, IncludeObject include, TimeProvider clock)
{
    private readonly bool _isShared = format.IsPlainJson && endpoint.IsStorageVersion;
    private bool _hasHeaders;

    /// <summary>Writes what this watcher sees of an event. The plain case copies the shared frame and allocates nothing.</summary>
    internal void WriteEvent(PipeWriter output, in WatchEvent change)
    {
        if (filter.IsEmpty)
        {
            if (_isShared)
                output.Write(change.Frame);
            else
                Write(output, change.Type, change.Object, change.Object);
            return;
        }
        var matches = filter.Matches(change.Object);
        var matchedBefore = change.Previous is { } previous ? filter.Matches(previous) : change.Type == WatchEventType.Deleted && matches;
        if (!change.TryTranslate(matches, matchedBefore, out var seen))
            return;
        if (seen == change.Type && _isShared)
            output.Write(change.Frame);
        else
            Write(output, seen, change.Object, seen == WatchEventType.Deleted && change.Type != WatchEventType.Deleted ? change.Previous! : change.Object);
    }

    /// <summary>Writes a frame; <paramref name="shown"/> is the object whose state is carried, with the revision of <paramref name="item"/>.</summary>
    internal void Write(PipeWriter output, WatchEventType type, StoredObject item, StoredObject shown)
    {
        if (_isShared && ReferenceEquals(item, shown))
        {
            output.Write(StoredObject.FrameStart(type));
            output.Write(item.FrameEnd);
            return;
        }
        using var json = new PooledBuffer(shown.Json.Length + 64);
        if (ReferenceEquals(item, shown))
            json.Write(shown.Json);
        else
            ObjectProjector.WriteWithRevision(shown.Json, item.Revision, json);
        WriteFrame(output, type switch { WatchEventType.Added => "ADDED", WatchEventType.Modified => "MODIFIED", _ => "DELETED" }, json.Span);
    }

    internal void WriteBookmark(PipeWriter output, long revision, bool isInitialEnd)
    {
        var annotations = isInitialEnd ? ",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}" : "";
        var version = revision.ToString(CultureInfo.InvariantCulture);
        using var json = new PooledBuffer(256);
        if (format.Projection == Projection.Table)
        {
            Encoding.UTF8.GetBytes(
                $"{{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/{format.MetaVersion}\",\"metadata\":{{\"resourceVersion\":\"{version}\"}},\"columnDefinitions\":null,\"rows\":[]}}", json);
            WriteEncoded(output, "BOOKMARK", json.Span);
            return;
        }
        var info = endpoint.Storage!.Info;
        Encoding.UTF8.GetBytes(
            $"{{\"kind\":\"{info.Kind}\",\"apiVersion\":\"{info.ApiVersion}\",\"metadata\":{{\"resourceVersion\":\"{version}\",\"creationTimestamp\":null{annotations}}}}}", json);
        WriteFrame(output, "BOOKMARK", json.Span);
    }

    /// <summary>The end of a watch whose place in history is gone.</summary>
    internal void WriteExpired(PipeWriter output, long revision)
    {
        using var json = new PooledBuffer(256);
        ApiStatus.Expired($"too old resource version: {revision} ({endpoint.Storage!.CurrentRevision})").WriteJson(json);
        if (format.Media == MediaKind.Protobuf)
        {
            using var encoded = new PooledBuffer(256);
            ResponseWriter.Transcode(json.Span, Schema.BuiltIn.FindType("", "v1", "Status"), format with { Projection = Projection.None }, encoded);
            WriteEncoded(output, "ERROR", encoded.Span);
            return;
        }
        WriteEncoded(output, "ERROR", json.Span);
    }

    private void WriteFrame(PipeWriter output, string type, ReadOnlySpan<byte> storedJson)
    {
        using var encoded = new PooledBuffer(storedJson.Length + 64);
        ObjectProjector.Write(endpoint, storedJson, format with { IsPretty = false }, include, withHeaders: !_hasHeaders, clock.GetUtcNow(), encoded);
        _hasHeaders = true;
        WriteEncoded(output, type, encoded.Span);
    }

    private void WriteEncoded(PipeWriter output, string type, ReadOnlySpan<byte> encoded)
    {
        if (format.Media == MediaKind.Protobuf)
        {
            WriteProtobufFrame(output, type, encoded);
            return;
        }
        output.Write("{\"type\":\""u8);
        Encoding.UTF8.GetBytes(type, output);
        output.Write("\",\"object\":"u8);
        output.Write(encoded);
        output.Write("}\n"u8);
    }

    // Four bytes of length, then metav1.WatchEvent without envelope: 1 = type, 2 = RawExtension { 1 = the enveloped object }.
    private static void WriteProtobufFrame(PipeWriter output, string type, ReadOnlySpan<byte> encoded)
    {
        var raw = 1 + VarintLength(encoded.Length) + encoded.Length;
        var length = 1 + VarintLength(type.Length) + type.Length + 1 + VarintLength(raw) + raw;
        var span = output.GetSpan(4 + length);
        BinaryPrimitives.WriteInt32BigEndian(span, length);
        var at = 4;
        span[at++] = 0x0A;
        at += WriteVarint(span[at..], type.Length);
        at += Encoding.ASCII.GetBytes(type, span[at..]);
        span[at++] = 0x12;
        at += WriteVarint(span[at..], raw);
        span[at++] = 0x0A;
        at += WriteVarint(span[at..], encoded.Length);
        encoded.CopyTo(span[at..]);
        output.Advance(4 + length);
    }

    private static int VarintLength(int value) => value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x200000 ? 3 : value < 0x10000000 ? 4 : 5;

    private static int WriteVarint(Span<byte> span, int value)
    {
        var at = 0;
        for (; value >= 0x80; value >>= 7)
            span[at++] = (byte)(value | 0x80);
        span[at++] = (byte)value;
        return at;
    }
}
