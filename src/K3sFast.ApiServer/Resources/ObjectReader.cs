using System.Buffers;
using System.Globalization;
using System.IO.Compression;
using System.IO.Pipelines;
using System.Text;
using K3sFast.ApiMachinery;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>GET and LIST: stored bytes to the client, streamed; nothing is decoded unless the client wants another form.</summary>
internal sealed class ObjectReader(TimeProvider clock)
{
    // A list is handed to the connection in pieces of about this size.
    private const int FlushBytes = 64 * 1024;

    // Compressing pays from about GzipThreshold bytes on; an object has about a kilobyte.
    private const int GzipObjects = ResponseWriter.GzipThreshold / 1024;

    /// <summary>Answers one object.</summary>
    internal async ValueTask GetAsync(ApiCall call, ResourceEndpoint endpoint)
    {
        var format = ResponseFormat.Negotiate(call, allowsProjection: true);
        var storage = endpoint.Storage!;
        if (call.Info.TryGetQuery("resourceVersion"u8, out _) && call.QueryInt64("resourceVersion"u8) is > 0 and var revision)
            await ListQuery.WaitForAsync(storage, revision, call.Aborted).ConfigureAwait(false);
        using var stored = storage.Get(call.Info.Namespace, call.Info.Name)
            ?? throw ApiStatus.NotFound(endpoint.Info.Group, endpoint.Info.Resource, call.Info.NameText).ToException();
        await WriteObjectAsync(call, endpoint, 200, stored, format).ConfigureAwait(false);
    }

    /// <summary>Answers a stored object with a status code.</summary>
    internal ValueTask WriteObjectAsync(ApiCall call, ResourceEndpoint endpoint, int statusCode, StoredObject stored, ResponseFormat format)
    {
        if (!format.IsPlainJson || !endpoint.IsStorageVersion)
            return WriteJsonAsync(call, endpoint, statusCode, stored.Json, format);
        call.Start(statusCode, ResponseFormat.Json, stored.Json.Length + 1);
        call.Output.Write(stored.Json);
        call.Output.Write("\n"u8);
        return FlushAsync(call);
    }

    /// <summary>Answers canonical JSON of the storage version with a status code.</summary>
    internal ValueTask WriteJsonAsync(ApiCall call, ResourceEndpoint endpoint, int statusCode, ReadOnlySpan<byte> json, ResponseFormat format)
    {
        var buffer = new PooledBuffer(json.Length + 64);
        try
        {
            ObjectProjector.Write(endpoint, json, format, IncludeOf(call), withHeaders: true, clock.GetUtcNow(), buffer);
            if (format.Media == MediaKind.Json)
                buffer.Write("\n"u8);
        }
        catch
        {
            buffer.Dispose();
            throw;
        }
        return ResponseWriter.WriteBufferAsync(call, statusCode, format.ContentType, buffer);
    }

    /// <summary>Answers a list.</summary>
    internal async ValueTask ListAsync(ApiCall call, ResourceEndpoint endpoint)
    {
        var format = ResponseFormat.Negotiate(call, allowsProjection: true, isList: true);
        var include = IncludeOf(call);
        var storage = endpoint.Storage!;
        var query = ListQuery.Read(call, endpoint, isWatch: false);
        var prefix = storage.PrefixOf(call.Info.Namespace);
        using var snapshot = await query.OpenSnapshotAsync(storage, prefix, call.Aborted).ConfigureAwait(false);
        var page = Page.Of(snapshot, storage, query);

        if (format.Media != MediaKind.Json || format.IsPretty)
        {
            await WriteWholeAsync(call, endpoint, format, include, snapshot, query, page).ConfigureAwait(false);
            return;
        }
        var isCompressed = call.AcceptsGzip && snapshot.CountFrom(page.StartKey) >= GzipObjects && (query.Limit == 0 || query.Limit >= GzipObjects);
        if (!isCompressed)
        {
            call.Start(200, format.ContentType, -1);
            await StreamAsync(call.Output, call.Aborted, endpoint, format, include, snapshot, query, page).ConfigureAwait(false);
            return;
        }
        call.SetHeader("Content-Encoding", "gzip");
        call.SetHeader("Vary", "Accept-Encoding");
        call.Start(200, format.ContentType, -1);
        var gzip = new GZipStream(call.Output.AsStream(leaveOpen: true), CompressionLevel.Fastest);
        await using (gzip.ConfigureAwait(false))
        {
            var output = PipeWriter.Create(gzip, new StreamPipeWriterOptions(leaveOpen: true, minimumBufferSize: FlushBytes));
            await StreamAsync(output, call.Aborted, endpoint, format, include, snapshot, query, page).ConfigureAwait(false);
            await output.CompleteAsync().ConfigureAwait(false);
        }
        await call.Output.FlushAsync(call.Aborted).ConfigureAwait(false);
    }

    private static async ValueTask FlushAsync(ApiCall call) => await call.Output.FlushAsync(call.Aborted).ConfigureAwait(false);

    private async ValueTask WriteWholeAsync(
        ApiCall call, ResourceEndpoint endpoint, ResponseFormat format, IncludeObject include, Snapshot snapshot, ListQuery query, Page page)
    {
        using var json = new PooledBuffer(64 * 1024);
        WriteAll(json, endpoint, format, include, snapshot, query, page);
        var type = format.Projection switch
        {
            Projection.PartialObjectMetadataList => Schema.BuiltIn.FindType("meta.k8s.io", "v1", "PartialObjectMetadataList"),
            Projection.None => endpoint.Info.ListType,
            _ => null,
        };
        var output = new PooledBuffer(json.Length);
        ResponseWriter.Transcode(json.Span, type, format, output);
        await ResponseWriter.WriteBufferAsync(call, 200, format.ContentType, output).ConfigureAwait(false);
    }

    private void WriteAll(
        PooledBuffer output, ResourceEndpoint endpoint, ResponseFormat format, IncludeObject include, Snapshot snapshot, ListQuery query, Page page)
    {
        var writer = new ListWriter(endpoint, format, include, output, clock.GetUtcNow());
        writer.Begin(page);
        var objects = snapshot.From(page.StartKey);
        for (var left = page.Count; left > 0 && objects.MoveNext();)
        {
            if (!query.Filter.Matches(objects.Current))
                continue;
            writer.Append(objects.Current);
            left--;
        }
        writer.End();
    }

    private async ValueTask StreamAsync(
        PipeWriter output, CancellationToken aborted, ResourceEndpoint endpoint, ResponseFormat format, IncludeObject include, Snapshot snapshot, ListQuery query, Page page)
    {
        var writer = new ListWriter(endpoint, format, include, output, clock.GetUtcNow());
        writer.Begin(page);
        var objects = snapshot.From(page.StartKey);
        var left = page.Count;
        while (WriteSome(ref objects, writer, query.Filter, ref left))
        {
            var flushed = await output.FlushAsync(aborted).ConfigureAwait(false);
            if (flushed.IsCompleted)
                return;
        }
        writer.End();
        await output.FlushAsync(aborted).ConfigureAwait(false);
    }

    // False = everything is written.
    private static bool WriteSome(ref Snapshot.Enumerator objects, ListWriter writer, ObjectFilter filter, ref long left)
    {
        var written = 0;
        while (written < FlushBytes)
        {
            if (left == 0 || !objects.MoveNext())
                return false;
            var item = objects.Current;
            if (!filter.Matches(item))
                continue;
            writer.Append(item);
            written += item.Json.Length;
            left--;
        }
        return true;
    }

    internal static IncludeObject IncludeOf(ApiCall call)
    {
        var text = call.QueryString("includeObject"u8);
        if (TableConverter.TryParseIncludeObject(text, out var include))
            return include;
        throw ApiStatus.BadRequest($"unrecognized includeObject value: {GoText.Quote(text)}").ToException();
    }

    /// <summary>What of a snapshot one answer carries.</summary>
    internal readonly record struct Page(long Revision, byte[] StartKey, long Count, string? Continue, long? Remaining)
    {
        internal static Page Of(Snapshot snapshot, ResourceStorage storage, ListQuery query)
        {
            var revision = snapshot.Revision;
            var start = query.Continue is { } token ? Encoding.UTF8.GetBytes(storage.KeyPrefix + token.StartKey) : [];
            // As upstream, a list "at any revision" comes whole from the cache.
            if (query.Limit == 0 || query.Revision == 0 && query.Match == VersionMatch.Unset && query.Continue is null)
                return new Page(revision, start, long.MaxValue, null, null);
            var objects = snapshot.From(start);
            var left = query.Limit;
            var lastKey = "";
            while (left > 0 && objects.MoveNext())
            {
                if (!query.Filter.Matches(objects.Current))
                    continue;
                if (--left == 0)
                    lastKey = objects.Current.Key;
            }
            if (lastKey.Length == 0 || !objects.MoveNext())
                return new Page(revision, start, query.Limit, null, null);
            var next = new ContinueToken(revision, lastKey[storage.KeyPrefix.Length..]).Write();
            long? remaining = query.Filter.IsEmpty ? snapshot.CountFrom(objects.Current.KeyUtf8) : null;
            return new Page(revision, start, query.Limit, next, remaining);
        }
    }
}

/// <summary>Writes one list item by item, as JSON of the kind's list, a table or a PartialObjectMetadataList.</summary>
internal sealed class ListWriter(ResourceEndpoint endpoint, ResponseFormat format, IncludeObject include, IBufferWriter<byte> output, DateTimeOffset now)
{
    private readonly TableWriter? _table = format.Projection == Projection.Table ? new TableWriter(endpoint.Info, include, output, now) : null;
    private readonly byte[] _versionedPrefix = Encoding.UTF8.GetBytes($"{{\"kind\":\"{endpoint.Info.Kind}\",\"apiVersion\":\"{endpoint.Info.ApiVersion}\",");
    private bool _hasItems;

    internal void Begin(in ObjectReader.Page page)
    {
        if (_table is not null)
        {
            _table.Begin(
                new TableListMeta(page.Revision.ToString(CultureInfo.InvariantCulture), page.Continue, page.Remaining), true, $"meta.k8s.io/{format.MetaVersion}");
            return;
        }
        var isPartial = format.Projection == Projection.PartialObjectMetadataList;
        var kind = isPartial ? "PartialObjectMetadataList" : endpoint.Info.ListKind;
        var version = isPartial ? $"meta.k8s.io/{format.MetaVersion}" : endpoint.Info.ApiVersion;
        var token = page.Continue is null ? "" : $",\"continue\":\"{page.Continue}\"";
        var remaining = page.Remaining is { } count ? string.Create(CultureInfo.InvariantCulture, $",\"remainingItemCount\":{count}") : "";
        Encoding.UTF8.GetBytes(
            string.Create(CultureInfo.InvariantCulture, $"{{\"kind\":\"{kind}\",\"apiVersion\":\"{version}\",\"metadata\":{{\"resourceVersion\":\"{page.Revision}\"{token}{remaining}}},\"items\":["),
            output);
    }

    internal void Append(StoredObject item)
    {
        if (_table is not null)
        {
            if (endpoint.IsStorageVersion)
            {
                _table.AppendRow(item.Json);
                return;
            }
            using var row = new PooledBuffer(item.Json.Length + 64);
            ObjectProjector.WriteVersioned(endpoint, item.Json, row);
            _table.AppendRow(row.Span);
            return;
        }
        if (_hasItems)
            output.Write(","u8);
        _hasItems = true;
        if (format.Projection == Projection.PartialObjectMetadataList)
        {
            ObjectProjector.WritePartial(item.Json, format.MetaVersion, output);
            return;
        }
        if (endpoint.IsStorageVersion)
        {
            WriteItem(item.Json, endpoint.Storage!.ListItemPrefix);
            return;
        }
        using var versioned = new PooledBuffer(item.Json.Length + 64);
        ObjectProjector.WriteVersioned(endpoint, item.Json, versioned);
        WriteItem(versioned.Span, _versionedPrefix);
    }

    internal void End()
    {
        if (_table is not null)
            _table.End();
        else
            output.Write("]}"u8);
        if (format.Media == MediaKind.Json)
            output.Write("\n"u8);
    }

    // Items of a list carry neither kind nor apiVersion: the list says both.
    private void WriteItem(ReadOnlySpan<byte> json, ReadOnlySpan<byte> prefix)
    {
        if (json.StartsWith(prefix))
        {
            output.Write("{"u8);
            output.Write(json[prefix.Length..]);
        }
        else
        {
            output.Write(json);
        }
    }
}
