using System.Buffers;
using K3sFast.ApiMachinery;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>GET and LIST: stored bytes to the client, streamed; nothing is decoded unless the client wants another form.</summary>
internal sealed class ObjectReader(TimeProvider clock)
{
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
        if (format.Media == MediaKind.Protobuf)
            await ProtobufLists.WriteAsync(call, endpoint, format, snapshot, query, page).ConfigureAwait(false);
        else
            await TextLists.WriteAsync(call, new ListShape(endpoint, format, include, clock.GetUtcNow()), new PageReader(snapshot, query.Filter, page), page).ConfigureAwait(false);
    }

    private static async ValueTask FlushAsync(ApiCall call) => await call.Output.FlushAsync(call.Aborted).ConfigureAwait(false);

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
}
