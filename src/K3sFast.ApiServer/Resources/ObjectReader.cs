using System.Buffers;
using System.Globalization;
using System.IO.Compression;
using System.IO.Pipelines;
using K3sFast.ApiMachinery;
using K3sFast.Datastore;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>GET and LIST: stored bytes to the client, streamed; nothing is decoded unless the client wants another form.</summary>
internal sealed class ObjectReader(TimeProvider clock)
{
    // A list is handed to the connection in pieces of about this size.
    private const int FlushBytes = 64 * 1024;

    /// <summary>Answers one object.</summary>
    internal async ValueTask GetAsync(ApiCall call, ResourceEndpoint endpoint)
    {
        var format = ResponseFormat.Negotiate(call, allowsProjection: true);
        format.CheckShape(endpoint.Info, isList: false);
        var storage = endpoint.Storage!;
        var revision = call.Info.TryGetQuery("resourceVersion"u8, out var version) && !version.IsEmpty ? ListQuery.ParseRevision(call.QueryString("resourceVersion"u8)!) : -1;
        if (revision > 0)
            await ListQuery.WaitForAsync(storage, revision, call.Aborted).ConfigureAwait(false);
        else if (revision < 0)
            await storage.FreshenAsync(call.Aborted).ConfigureAwait(false);
        using var stored = storage.Get(call.Info.Namespace, call.Info.Name)
            ?? throw ApiStatus.NotFound(endpoint.Info.Group, endpoint.Info.Resource, call.Info.NameText).ToException();
        await WriteObjectAsync(call, endpoint, 200, stored, format).ConfigureAwait(false);
    }

    /// <summary>Answers a stored object with a status code.</summary>
    internal ValueTask WriteObjectAsync(ApiCall call, ResourceEndpoint endpoint, int statusCode, StoredObject stored, ResponseFormat format)
    {
        if (!format.IsPlainJson || !endpoint.IsStorageVersion || stored.Json.Length > ResponseWriter.GzipThreshold)
            return WriteJsonAsync(call, endpoint, statusCode, stored.Json, format);
        call.Start(statusCode, ResponseFormat.Json, stored.Json.Length + 1);
        stored.Json.WriteTo(call.Output);
        call.Output.Write("\n"u8);
        return FlushAsync(call);
    }

    /// <summary>Answers canonical JSON of the storage version with a status code.</summary>
    internal ValueTask WriteJsonAsync(ApiCall call, ResourceEndpoint endpoint, int statusCode, StoredBytes json, ResponseFormat format)
    {
        format.CheckShape(endpoint.Info, isList: false);
        var buffer = new PooledBuffer(json.Length + 64);
        try
        {
            ObjectProjector.Write(endpoint, json, format, IncludeOf(call, format), withHeaders: true, clock.GetUtcNow(), buffer);
            if (format.Media == MediaKind.Json && !format.IsPretty)
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
        var storage = endpoint.Storage!;
        var query = ListQuery.Read(call, endpoint, isWatch: false);
        var prefix = storage.PrefixOf(call.Info.Namespace);
        using var snapshot = await query.OpenSnapshotAsync(storage, prefix, call.Aborted).ConfigureAwait(false);
        endpoint.Listed?.Served();
        var page = await Page.OfAsync(snapshot, prefix, query, call.Aborted).ConfigureAwait(false);
        await WriteListAsync(call, endpoint, format, snapshot, query, page).ConfigureAwait(false);
    }

    /// <summary>Answers a page of a snapshot as a list.</summary>
    internal async ValueTask WriteListAsync(ApiCall call, ResourceEndpoint endpoint, ResponseFormat format, Snapshot snapshot, ListQuery query, Page page)
    {
        var include = IncludeOf(call, format);
        format.CheckShape(endpoint.Info, isList: true);
        var factory = new ListWriterFactory(endpoint, format, include, clock.GetUtcNow());
        if (format.Media == MediaKind.Protobuf)
        {
            await ProtobufLists.WriteAsync(call, endpoint, format, snapshot, query, page).ConfigureAwait(false);
        }
        else if (format.Media == MediaKind.Json && format.IsPretty)
        {
            await IndentAsync(call, factory, new(snapshot, query.Filter, page), page).ConfigureAwait(false);
        }
        else if (format.Media == MediaKind.Yaml)
        {
            await WriteWholeAsync(call, factory, new(snapshot, query.Filter, page), page).ConfigureAwait(false);
        }
        else if (call.AcceptsGzip)
        {
            await CompressAsync(call, factory, new(snapshot, query.Filter, page), page).ConfigureAwait(false);
        }
        else
        {
            call.Start(200, format.ContentType, -1);
            await StreamAsync(call.Output, call.Aborted, factory, new(snapshot, query.Filter, page), page).ConfigureAwait(false);
        }
    }

    private static async ValueTask FlushAsync(ApiCall call) => await call.Output.FlushAsync(call.Aborted).ConfigureAwait(false);

    private async ValueTask WriteWholeAsync(ApiCall call, ListWriterFactory factory, PageReader objects, Page page)
    {
        using var json = new PooledBuffer(64 * 1024);
        var writer = factory.Create(json);
        writer.Begin(page);
        while (WriteSome(objects, writer) || await objects.FillAsync(call.Aborted).ConfigureAwait(false))
        {
            // In one piece, whatever its size.
        }
        writer.End();
        var output = new PooledBuffer(json.Length);
        ResponseWriter.Transcode(json.Span, null, factory.Format, output);
        await ResponseWriter.WriteBufferAsync(call, 200, factory.Format.ContentType, output).ConfigureAwait(false);
    }

    // Short lists whole, with their length; long ones piece by piece: people ask for them without knowing how long they are.
    private static async ValueTask IndentAsync(ApiCall call, ListWriterFactory factory, PageReader objects, Page page)
    {
        using var json = new PooledBuffer(FlushBytes * 2);
        var writer = factory.Create(json);
        writer.Begin(page);
        var hasMore = true;
        while (hasMore && json.Length < FlushBytes)
            hasMore = WriteSome(objects, writer) || await objects.FillAsync(call.Aborted).ConfigureAwait(false);
        if (!hasMore)
        {
            writer.End();
            var whole = new PooledBuffer(json.Length * 2);
            JsonIndent.Write(json.Span, whole);
            await ResponseWriter.WriteBufferAsync(call, 200, factory.Format.ContentType, whole).ConfigureAwait(false);
            return;
        }
        if (call.AcceptsGzip)
        {
            call.SetHeader("Content-Encoding", "gzip");
            call.SetHeader("Vary", "Accept-Encoding");
        }
        call.Start(200, factory.Format.ContentType, -1);
        var connection = call.Output.AsStream(leaveOpen: true);
        var output = call.AcceptsGzip ? new GZipStream(connection, CompressionLevel.Fastest) : connection;
        await using (output.ConfigureAwait(false))
        {
            using var indented = new PooledBuffer(FlushBytes * 4);
            var depth = 0;
            while (true)
            {
                indented.Clear();
                JsonIndent.Write(json.Span, indented, ref depth);
                await output.WriteAsync(indented.Written, call.Aborted).ConfigureAwait(false);
                json.Clear();
                if (!hasMore)
                    break;
                hasMore = WriteSome(objects, writer) || await objects.FillAsync(call.Aborted).ConfigureAwait(false);
                if (!hasMore)
                    writer.End();
            }
        }
        await call.Output.FlushAsync(call.Aborted).ConfigureAwait(false);
    }

    private static async ValueTask StreamAsync(PipeWriter output, CancellationToken aborted, ListWriterFactory factory, PageReader objects, Page page)
    {
        var writer = factory.Create(output);
        writer.Begin(page);
        while (WriteSome(objects, writer) || await objects.FillAsync(aborted).ConfigureAwait(false))
        {
            var flushed = await output.FlushAsync(aborted).ConfigureAwait(false);
            if (flushed.IsCompleted)
                return;
        }
        writer.End();
        await output.FlushAsync(aborted).ConfigureAwait(false);
    }

    // The first bytes wait until it is known whether the whole is worth compressing.
    private static async ValueTask CompressAsync(ApiCall call, ListWriterFactory factory, PageReader objects, Page page)
    {
        using var buffer = new PooledBuffer(ResponseWriter.GzipThreshold + FlushBytes);
        var writer = factory.Create(buffer);
        writer.Begin(page);
        var hasMore = true;
        while (hasMore && buffer.Length <= ResponseWriter.GzipThreshold)
            hasMore = WriteSome(objects, writer) || await objects.FillAsync(call.Aborted).ConfigureAwait(false);
        if (!hasMore)
            writer.End();
        if (buffer.Length <= ResponseWriter.GzipThreshold)
        {
            call.Start(200, ResponseFormat.Json, buffer.Length);
            call.Output.Write(buffer.Span);
            await call.Output.FlushAsync(call.Aborted).ConfigureAwait(false);
            return;
        }
        call.SetHeader("Content-Encoding", "gzip");
        call.SetHeader("Vary", "Accept-Encoding");
        call.Start(200, ResponseFormat.Json, -1);
        var gzip = new GZipStream(call.Output.AsStream(leaveOpen: true), CompressionLevel.Fastest);
        await using (gzip.ConfigureAwait(false))
        {
            while (true)
            {
                await gzip.WriteAsync(buffer.Written, call.Aborted).ConfigureAwait(false);
                buffer.Clear();
                if (!hasMore)
                    break;
                hasMore = WriteSome(objects, writer) || await objects.FillAsync(call.Aborted).ConfigureAwait(false);
                if (!hasMore)
                    writer.End();
            }
        }
        await call.Output.FlushAsync(call.Aborted).ConfigureAwait(false);
    }

    // False = everything that is at hand is written.
    private static bool WriteSome(PageReader objects, ListWriter writer)
    {
        var written = 0;
        while (written < FlushBytes)
        {
            if (!objects.MoveNext())
                return false;
            writer.Append(objects.Current);
            written += objects.Current.Json.Length;
        }
        return true;
    }

    /// <summary>What rows of a table carry of their objects; refused in upstream's words when it is no known word.</summary>
    internal static IncludeObject IncludeOf(ApiCall call, ResponseFormat format)
    {
        if (format.Projection != Projection.Table)
            return IncludeObject.Metadata;
        var text = call.QueryString("includeObject"u8);
        if (TableConverter.TryParseIncludeObject(text, out var include))
            return include;
        throw ApiStatus.BadRequest(
            $"Unable to convert to Table as requested: includeObject: Invalid value: {GoText.Quote(text)}: must be 'Metadata', 'Object', 'None', or empty").ToException();
    }

    /// <summary>What of a snapshot one answer carries.</summary>
    internal readonly record struct Page(long Revision, byte[] StartKey, long Count, string? Continue, long? Remaining)
    {
        internal static async ValueTask<Page> OfAsync(Snapshot snapshot, byte[] prefix, ListQuery query, CancellationToken cancel)
        {
            var revision = snapshot.Revision;
            var start = query.StartKey(prefix);
            // As upstream, a list "at any revision" comes whole from the cache.
            if (query.Limit == 0 || query.Revision == 0)
                return new Page(revision, start, long.MaxValue, null, null);
            try
            {
                var objects = snapshot.ReadFrom(start);
                var left = query.Limit;
                var lastKey = "";
                while (left > 0 && await objects.MoveNextAsync(cancel).ConfigureAwait(false))
                {
                    if (!query.Filter.Matches(objects.Current))
                        continue;
                    if (--left == 0)
                        lastKey = objects.Current.Key;
                }
                if (lastKey.Length == 0 || !await objects.MoveNextAsync(cancel).ConfigureAwait(false))
                    return new Page(revision, start, query.Limit, null, null);
                var next = ContinueToken.After(revision, lastKey, prefix.Length);
                long? remaining = query.Filter.IsEmpty ? await snapshot.CountFromAsync(objects.Current.KeyUtf8, cancel).ConfigureAwait(false) : null;
                return new Page(revision, start, query.Limit, next, remaining);
            }
            catch (DatastoreCompactedException)
            {
                throw query.TooOld().ToException();
            }
        }

        /// <summary>Namespace and name of each object on the page.</summary>
        internal async ValueTask<List<(string Namespace, string Name)>> TargetsAsync(Snapshot snapshot, ObjectFilter filter, CancellationToken cancel)
        {
            var targets = new List<(string, string)>();
            var objects = new PageReader(snapshot, filter, this);
            do
            {
                while (objects.MoveNext())
                    targets.Add((objects.Current.Namespace(), objects.Current.Name()));
            }
            while (await objects.FillAsync(cancel).ConfigureAwait(false));
            return targets;
        }
    }

    /// <summary>A list writer whose output is not known yet.</summary>
    private readonly record struct ListWriterFactory(ResourceEndpoint Endpoint, ResponseFormat Format, IncludeObject Include, DateTimeOffset Now)
    {
        internal ListWriter Create(IBufferWriter<byte> output) => new(Endpoint, Format, Include, output, Now);
    }
}

