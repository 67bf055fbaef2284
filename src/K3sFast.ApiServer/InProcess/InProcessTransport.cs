using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using K3sFast.ApiMachinery;
using K3sFast.Client;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>
/// The road of components in this process: the same pipeline below HTTP, so authorization and admission hold, but lists and watches hand over the
/// cache's objects, decoded at most once for everybody.
/// </summary>
/// <remarks>Any thread.</remarks>
internal sealed class InProcessTransport(UserInfo user, RequestPipeline pipeline, Authorizer authorizer, ResourceCatalog catalog, CancellationToken stopping) : IApiTransport
{
    private const int BatchEvents = 32;

    public async ValueTask<ApiResponse> SendAsync(ApiRequest request, CancellationToken cancellationToken)
    {
        var call = new LocalApiCall(user, request.Method, request.PathAndQuery, request.Body, request.ContentType, cancellationToken);
        var started = Stopwatch.GetTimestamp();
        await pipeline.HandleAsync(call).ConfigureAwait(false);
        RestClientMetrics.Answered("in-process", request.Method, call.AnsweredStatus, started);
        return new ApiResponse(call.AnsweredStatus, call.Answer);
    }

    public async ValueTask<EncodedList> ListAsync(string pathAndQuery, CancellationToken cancellationToken)
    {
        var call = Begin(pathAndQuery, cancellationToken);
        if (catalog.Find(call.Info) is { IsStorageVersion: false, Storage: not null })
            return await ListConvertedAsync(pathAndQuery, cancellationToken).ConfigureAwait(false);
        var started = Stopwatch.GetTimestamp();
        ApiStatus? refusal = null;
        await pipeline.BeginReadAsync(call).ConfigureAwait(false);
        try
        {
            var endpoint = await AdmitAsync(call, Verb.List).ConfigureAwait(false);
            var storage = endpoint.Storage!;
            var query = ListQuery.Read(call, endpoint, isWatch: false);
            var prefix = storage.PrefixOf(call.Info.Namespace);
            using var snapshot = await query.OpenSnapshotAsync(storage, prefix, cancellationToken).ConfigureAwait(false);
            var page = await Page.OfAsync(snapshot, prefix, query, cancellationToken).ConfigureAwait(false);
            var items = new List<EncodedObject>();
            var objects = snapshot.ReadFrom(page.StartKey);
            while (items.Count < page.Count && await objects.MoveNextAsync(cancellationToken).ConfigureAwait(false))
            {
                if (query.Filter.Matches(objects.Current))
                    items.Add(new StoredEncodedObject(objects.Current));
            }
            pipeline.StartRead(call, endpoint.Info);
            return new EncodedList(page.Revision.ToString(CultureInfo.InvariantCulture), items, page.Continue);
        }
        catch (ApiStatusException refused)
        {
            refusal = refused.Status;
            throw Refused(refused);
        }
        finally
        {
            await pipeline.EndReadAsync(call, refusal, started).ConfigureAwait(false);
        }
    }

    public async IAsyncEnumerable<WatchFrame> WatchAsync(string pathAndQuery, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var call = Begin(pathAndQuery, cancellationToken);
        var started = Stopwatch.GetTimestamp();
        await pipeline.BeginReadAsync(call).ConfigureAwait(false);
        var refusal = new StrongBox<ApiStatus?>();
        try
        {
            using var opened = await OpenWatchAsync(call, refusal, cancellationToken).ConfigureAwait(false);
            await foreach (var frame in FramesAsync(opened, cancellationToken).ConfigureAwait(false))
                yield return frame;
        }
        finally
        {
            await pipeline.EndReadAsync(call, refusal.Value, started).ConfigureAwait(false);
        }
    }

    private async ValueTask<OpenWatch> OpenWatchAsync(LocalApiCall call, StrongBox<ApiStatus?> refusal, CancellationToken cancel)
    {
        try
        {
            var endpoint = await AdmitAsync(call, Verb.Watch).ConfigureAwait(false);
            var query = ListQuery.Read(call, endpoint, isWatch: true);
            await query.FreshenAsync(endpoint.Storage!, cancel).ConfigureAwait(false);
            var initial = new List<StoredEncodedObject>();
            var cursor = Open(endpoint.Storage!, query, endpoint.Storage!.PrefixOf(call.Info.Namespace), endpoint, initial);
            pipeline.StartRead(call, endpoint.Info);
            return new OpenWatch(endpoint, query, cursor, initial);
        }
        catch (ApiStatusException refused)
        {
            refusal.Value = refused.Status;
            throw Refused(refused);
        }
    }

    private async IAsyncEnumerable<WatchFrame> FramesAsync(OpenWatch opened, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var (endpoint, query, cursor, initial) = opened;
        var storage = endpoint.Storage!;
        foreach (var item in initial)
            yield return new WatchFrame(WatchFrameType.Added, item);
        initial.Clear();
        if (query.IsStreamedList)
            yield return new WatchFrame(WatchFrameType.Bookmark, Bookmark(storage.Info, cursor.Revision));

        using var ended = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, stopping);
        if (query.TimeoutSeconds is > 0 and var seconds)
            ended.CancelAfter(TimeSpan.FromSeconds(seconds));
        var events = new WatchEvent[BatchEvents];
        var frames = new List<WatchFrame>(BatchEvents);
        while (!ended.IsCancellationRequested)
        {
            var count = cursor.Read(events);
            if (count < 0)
                throw Refused(ApiStatus.Expired($"too old resource version: {cursor.Revision} ({storage.Cache.OldestRevision})").ToException());
            for (var i = 0; i < count; i++)
                AddFrame(events[i], query.Filter, endpoint, frames);
            cursor.ReturnEvents();
            foreach (var frame in frames)
                yield return frame;
            frames.Clear();
            if (count > 0)
                continue;
            try
            {
                await cursor.WaitAsync(ended.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                yield break;
            }
        }
        cancellationToken.ThrowIfCancellationRequested();
    }

    // The cursor, and what there is already when the watch starts from now.
    private static WatchCursor Open(ResourceStorage storage, ListQuery query, byte[] prefix, ResourceEndpoint endpoint, List<StoredEncodedObject> initial)
    {
        if (!query.StartsWithState)
            return query.Revision > 0 ? storage.Cache.OpenCursor(query.Revision, prefix, query.Filter.Key) : storage.Cache.OpenCursorAtEnd(prefix, query.Filter.Key);
        using var snapshot = storage.Cache.List(prefix, query.Filter.Key);
        foreach (var item in snapshot)
        {
            if (query.Filter.Matches(item))
                initial.Add(new StoredEncodedObject(item, endpoint));
        }
        return storage.Cache.OpenCursor(snapshot.Revision, prefix, query.Filter.Key);
    }

    private static void AddFrame(in WatchEvent change, ObjectFilter filter, ResourceEndpoint endpoint, List<WatchFrame> frames)
    {
        var matches = filter.Matches(change.Object);
        var matchedBefore = filter.IsEmpty || (change.Previous is { } previous ? filter.Matches(previous) : change.Type == WatchEventType.Deleted && matches);
        if (!change.TryTranslate(matches, matchedBefore, out var seen))
            return;
        var type = seen switch { WatchEventType.Added => WatchFrameType.Added, WatchEventType.Modified => WatchFrameType.Modified, _ => WatchFrameType.Deleted };
        frames.Add(new WatchFrame(type, new StoredEncodedObject(change.Object, endpoint)));
    }

    private static JsonEncodedObject Bookmark(ResourceInfo info, long revision) => new(Encoding.UTF8.GetBytes(
        $"{{\"kind\":\"{info.Kind}\",\"apiVersion\":\"{info.ApiVersion}\",\"metadata\":{{\"resourceVersion\":\"{revision}\",\"annotations\":{{\"k8s.io/initial-events-end\":\"true\"}}}}}}"));

    private async ValueTask<EncodedList> ListConvertedAsync(string pathAndQuery, CancellationToken cancel)
    {
        var response = await SendAsync(new ApiRequest("GET", pathAndQuery), cancel).ConfigureAwait(false);
        if (!response.IsSuccess)
            throw ApiException.From(response);
        using var document = JsonDocument.Parse(response.Body);
        var items = new List<EncodedObject>();
        foreach (var item in document.RootElement.GetProperty("items").EnumerateArray())
            items.Add(new JsonEncodedObject(Encoding.UTF8.GetBytes(item.GetRawText())));
        var metadata = document.RootElement.GetProperty("metadata");
        return new EncodedList(
            metadata.GetProperty("resourceVersion").GetString() ?? "", items, metadata.TryGetProperty("continue", out var token) ? token.GetString() : null);
    }

    private LocalApiCall Begin(string pathAndQuery, CancellationToken cancel)
    {
        var call = new LocalApiCall(user, "GET", pathAndQuery, default, null, cancel);
        return call.IsUnderstood ? call : throw Refused(ApiStatus.BadRequest("the request target is not understandable").ToException());
    }

    private async ValueTask<ResourceEndpoint> AdmitAsync(LocalApiCall call, Verb verb)
    {
        if (call.Info.Verb != verb)
            throw ApiStatus.BadRequest($"{Encoding.UTF8.GetString(call.Info.Path)} is no {verb.Text()} request").ToException();
        await authorizer.DemandAsync(AuthorizationAttributes.Of(call.Info, user), call).ConfigureAwait(false);
        var endpoint = catalog.Find(call.Info);
        return endpoint?.Storage is null ? throw ApiStatus.NotFoundPath().ToException() : endpoint;
    }

    /// <summary>A watch whose answer has begun.</summary>
    private sealed record OpenWatch(ResourceEndpoint Endpoint, ListQuery Query, WatchCursor Cursor, List<StoredEncodedObject> Initial) : IDisposable
    {
        public void Dispose() => Cursor.Dispose();
    }

    private static ApiException Refused(ApiStatusException refused) => ApiException.From(new ApiResponse(refused.Status.Code, refused.Status.ToJson()));
}

/// <summary>
/// A cache's object on its way to a component. It holds a reference until it is decoded (which is soon: informers decode at once), so that the
/// bytes do not outlive their use; the decoded form is shared with everybody who asks while the cache holds the object.
/// </summary>
internal sealed class StoredEncodedObject : EncodedObject
{
    private readonly ResourceEndpoint? _endpoint;
    private StoredObject? _stored;
    private object? _decoded;

    internal StoredEncodedObject(StoredObject stored, ResourceEndpoint? endpoint = null)
    {
        stored.Retain();
        _stored = stored;
        _endpoint = endpoint is { IsStorageVersion: false } ? endpoint : null;
    }

    ~StoredEncodedObject() => _stored?.Release();

    public override T Decode<T>(JsonTypeInfo<T> type)
    {
        if (Volatile.Read(ref _decoded) is T decoded)
            return decoded;
        var stored = Interlocked.Exchange(ref _stored, null) ?? throw new InvalidOperationException("the object was decoded as another type before");
        try
        {
            decoded = _endpoint is null ? stored.Decode(json => Read(json, type)) : ReadConverted(stored, type);
        }
        finally
        {
            stored.Release();
            GC.SuppressFinalize(this);
        }
        Volatile.Write(ref _decoded, decoded);
        return decoded;
    }

    public override T DecodeAlone<T>(JsonTypeInfo<T> type)
    {
        if (_endpoint is not null || Interlocked.Exchange(ref _stored, null) is not { } stored)
            return Decode(type);
        GC.SuppressFinalize(this);
        try
        {
            using var json = stored.Json.Rent();
            return Read(json.Span, type);
        }
        finally
        {
            stored.Release();
        }
    }

    public override KeptObject<T>? Keep<T>(JsonTypeInfo<T> type)
    {
        if (_endpoint is not null || Interlocked.Exchange(ref _stored, null) is not { } stored)
            return null;
        GC.SuppressFinalize(this);
        return new KeptStoredObject<T>(stored);
    }

    private T ReadConverted<T>(StoredObject stored, JsonTypeInfo<T> type) where T : class
    {
        using var json = new PooledBuffer(stored.Json.Length + 64);
        ObjectProjector.WriteVersioned(_endpoint!, stored.Json, json);
        return Read(json.Span, type);
    }

    internal static T Read<T>(ReadOnlySpan<byte> json, JsonTypeInfo<T> type) => JsonSerializer.Deserialize(json, type) ?? throw new JsonException("the object is null");
}

/// <summary>A cache's object that a component keeps: the very bytes that the cache holds, so keeping it costs next to nothing while the object does not change.</summary>
internal sealed class KeptStoredObject<T>(StoredObject stored) : KeptObject<T> where T : class
{
    private StoredObject? _stored = stored;

    ~KeptStoredObject() => Dispose(disposing: false);

    public override ObjectKey Key => Kept(new ObjectKey(Stored.Namespace(), Stored.Name()));

    public override int KeyHash => Kept(ObjectKey.HashOf(Stored.NamespaceUtf8, Stored.NameUtf8));

    public override bool IsAt(ObjectKey key) => Kept(IsText(Stored.NameUtf8, key.Name) && IsText(Stored.NamespaceUtf8, key.Namespace));

    public override T Decode(JsonTypeInfo<T> type) => Kept(Stored.Decode(json => StoredEncodedObject.Read(json, type)));

    protected override void Dispose(bool disposing) => Interlocked.Exchange(ref _stored, null)?.Release();

    private StoredObject Stored => _stored ?? throw new ObjectDisposedException(nameof(KeptStoredObject<>));

    // Until the bytes are read this must be reachable: the finalizer gives them back.
    private TResult Kept<TResult>(TResult result)
    {
        GC.KeepAlive(this);
        return result;
    }

    private static bool IsText(ReadOnlySpan<byte> utf8, string text) =>
        Ascii.IsValid(text) ? Ascii.Equals(utf8, text) : utf8.SequenceEqual(Encoding.UTF8.GetBytes(text));
}
