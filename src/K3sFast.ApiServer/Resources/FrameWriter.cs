using System.Buffers;
using System.Globalization;
using System.IO.Pipelines;
using System.Text;
using K3sFast.ApiMachinery;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>
/// Writes the frames of one watch in the form that its client asked for. JSON frames are <c>{"type":…,"object":…}\n</c>; protobuf frames are four
/// bytes of length and a WatchEvent whose object is an envelope.
/// </summary>
/// <remarks>One thread. Delivering an event whose frame is made already allocates nothing.</remarks>
internal sealed class FrameWriter(
    ResourceEndpoint endpoint, ResponseFormat format, ObjectFilter filter, IncludeObject include, TimeProvider clock, SharedFrames? shared)
{
    private bool _hasHeaders;

    /// <summary>Writes what this watcher sees of an event.</summary>
    internal void WriteEvent(PipeWriter output, in WatchEvent change)
    {
        if (filter.IsEmpty)
        {
            if (shared is null)
                Send(output, change.Frame);
            else
                WriteShared(output, change.Type, change.Object, change.Object);
            return;
        }
        var matches = filter.Matches(change.Object);
        var matchedBefore = change.Previous is { } previous ? filter.Matches(previous) : change.Type == WatchEventType.Deleted && matches;
        if (!change.TryTranslate(matches, matchedBefore, out var seen))
            return;
        // What stops matching is shown as it was, with the revision at which it stopped.
        var isLeaving = seen == WatchEventType.Deleted && change.Type != WatchEventType.Deleted;
        if (shared is not null)
            WriteShared(output, seen, change.Object, isLeaving ? change.Previous! : change.Object);
        else if (isLeaving)
            WriteLeaving(output, change.Object, change.Previous!);
        else if (seen == change.Type)
            Send(output, change.Frame);
        else
            WriteAs(output, seen, change.Object);
    }

    /// <summary>Writes an object that was there before the watch.</summary>
    internal void WriteState(PipeWriter output, StoredObject item)
    {
        if (shared is null)
        {
            WriteAs(output, WatchEventType.Added, item);
            return;
        }
        var frame = Encode(WatchEventType.Added, item, item);
        Send(output, frame.Span);
        frame.Dispose();
    }

    internal void WriteBookmark(PipeWriter output, long revision, bool isInitialEnd)
    {
        var annotations = isInitialEnd ? ",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}" : "";
        using var document = JsonCodec.Decode(
            Encoding.UTF8.GetBytes(string.Create(
                CultureInfo.InvariantCulture,
                $"{{\"kind\":\"{endpoint.Info.Kind}\",\"apiVersion\":\"{endpoint.Info.ApiVersion}\",\"metadata\":{{\"resourceVersion\":\"{revision}\"{annotations}}}}}")),
            null, DecodeOptions.Free, null);
        using var json = new PooledBuffer(256);
        JsonCodec.Encode(document.Root, endpoint.Info.Type, json);
        using var encoded = new PooledBuffer(256);
        // The annotation must arrive, so its row always has an object.
        var shown = isInitialEnd && include == IncludeObject.None ? IncludeObject.Metadata : include;
        ObjectProjector.Project(endpoint, json.Span, format, shown, TakeHeaders(), clock.GetUtcNow(), encoded);
        WriteFrame(output, "BOOKMARK"u8, encoded.Span);
    }

    /// <summary>Writes the reason why a watch ends.</summary>
    internal void WriteError(PipeWriter output, ApiStatus status)
    {
        using var json = new PooledBuffer(256);
        status.WriteJson(json);
        if (format.Media != MediaKind.Protobuf)
        {
            WriteFrame(output, "ERROR"u8, json.Span);
            return;
        }
        using var encoded = new PooledBuffer(256);
        ResponseWriter.Transcode(json.Span, Schema.BuiltIn.FindType("", "v1", "Status"), new ResponseFormat(MediaKind.Protobuf), encoded);
        WriteFrame(output, "ERROR"u8, encoded.Span);
    }

    private void Send(PipeWriter output, StoredBytes frame)
    {
        frame.WriteTo(output);
        endpoint.Watched?.Sent(frame.Length);
    }

    private void WriteAs(PipeWriter output, WatchEventType seen, StoredObject item)
    {
        output.Write(StoredObject.FrameStart(seen));
        Send(output, item.FrameEnd);
    }

    private void WriteLeaving(PipeWriter output, StoredObject item, StoredObject shown)
    {
        output.Write(StoredObject.FrameStart(WatchEventType.Deleted));
        ObjectProjector.WriteWithRevision(shown.Json, item.Revision, output);
        output.Write("}\n"u8);
        endpoint.Watched?.Sent(shown.Json.Length);
    }

    private void WriteShared(PipeWriter output, WatchEventType seen, StoredObject item, StoredObject shown)
    {
        // The first row of a table comes with its headers, for this watcher alone.
        var isOwn = format.Projection == Projection.Table && !_hasHeaders;
        if (!isOwn && shared!.Find(item.Revision, seen) is { } known)
        {
            Send(output, known.AsSpan());
            return;
        }
        using var frame = Encode(seen, item, shown);
        Send(output, frame.Span);
        if (!isOwn)
            shared!.Keep(item.Revision, seen, frame.Span.ToArray());
    }

    private PooledBuffer Encode(WatchEventType seen, StoredObject item, StoredObject shown)
    {
        using var json = new PooledBuffer(shown.Json.Length + 64);
        if (ReferenceEquals(item, shown))
            shown.Json.WriteTo(json);
        else
            ObjectProjector.WriteWithRevision(shown.Json, item.Revision, json);
        using var encoded = new PooledBuffer(shown.Json.Length + 64);
        ObjectProjector.Write(endpoint, json.Span, format, include, TakeHeaders(), clock.GetUtcNow(), encoded);
        var frame = new PooledBuffer(encoded.Length + 64);
        WriteFrame(frame, seen switch { WatchEventType.Added => "ADDED"u8, WatchEventType.Modified => "MODIFIED"u8, _ => "DELETED"u8 }, encoded.Span);
        return frame;
    }

    private bool TakeHeaders()
    {
        var isFirst = !_hasHeaders;
        _hasHeaders = true;
        return isFirst;
    }

    private void WriteFrame(IBufferWriter<byte> output, ReadOnlySpan<byte> type, ReadOnlySpan<byte> encoded)
    {
        if (format.Media == MediaKind.Protobuf)
        {
            ProtobufCodec.EncodeWatchFrame(type, encoded, output);
            return;
        }
        output.Write("{\"type\":\""u8);
        output.Write(type);
        output.Write("\",\"object\":"u8);
        output.Write(encoded);
        output.Write("}\n"u8);
    }
}
