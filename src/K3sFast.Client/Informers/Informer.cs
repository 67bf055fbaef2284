using System.Globalization;
using k8s;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.Client;

/// <summary>
/// A local, always current copy of a resource (or of what a selector narrows it to), kept by list and watch, and the handlers that hear of
/// each change. The reflector of upstream is this class' loop. Objects are shared with everybody in the process: never change one in place.
/// </summary>
public sealed class Informer<T> where T : class, IKubernetesObject<V1ObjectMeta>
{
    // Reconnects wait this long at first and twice as long each time, up to the last value: client-go's reflector does 800 ms to 30 s.
    private static readonly TimeSpan s_firstBackoff = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan s_lastBackoff = TimeSpan.FromSeconds(30);

    // Upstream calls a watch that ends sooner than this without an event "very short".
    private static readonly TimeSpan s_shortWatch = TimeSpan.FromSeconds(1);

    // Immutable after construction
    private readonly ApiClient _client;
    private readonly string? _namespace;
    private readonly ListOptions _selection;
    private readonly ILogger _logger;
    private readonly TimeProvider _time;
    private readonly bool _keepsEncoded;
    private readonly TaskCompletionSource _synced = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Guarded by _gate
    private readonly Lock _gate = new();
    private readonly InformerStore<T> _store;
    private readonly List<InformerHandler<T>> _handlers = [];

    // Owned by the loop
    private string _resourceVersion = "";

    /// <summary>An informer of <paramref name="resource"/>, not yet running.</summary>
    /// <param name="client">The road to the API.</param>
    /// <param name="resource">What is watched.</param>
    /// <param name="namespaceName">Where; null = everywhere.</param>
    /// <param name="selection">Which of them.</param>
    /// <param name="logger">Where it logs.</param>
    /// <param name="time">The clock.</param>
    /// <param name="keepsEncoded">
    /// For resources of many objects that are read now and then: they are kept as the bytes that the API server's cache holds anyway, and decoded for
    /// each use. <see cref="List"/> decodes everything.
    /// </param>
    public Informer(
        ApiClient client, Resource<T> resource, string? namespaceName, ListOptions selection, ILogger logger, TimeProvider? time = null, bool keepsEncoded = false)
    {
        (_client, Resource, _namespace, _selection, _logger, _time, _keepsEncoded) =
            (client, resource, namespaceName, selection, logger, time ?? TimeProvider.System, keepsEncoded);
        _store = new InformerStore<T>(resource.Type);
    }

    /// <summary>What is watched.</summary>
    public Resource<T> Resource { get; }

    /// <summary>True once the first list is in the store and was handed to the handlers.</summary>
    public bool HasSynced => _synced.Task.IsCompletedSuccessfully;

    /// <summary>Adds an index by the keys that <paramref name="keys"/> gives each object. Before or after the start.</summary>
    public void AddIndex(string name, Func<T, IEnumerable<string>> keys)
    {
        lock (_gate) _store.AddIndex(name, keys);
    }

    /// <summary>
    /// Calls are made one at a time, in the order of the changes; a handler must be quick (put a key into a queue). A handler added late
    /// hears an addition for every object that is there.
    /// </summary>
    public void AddHandler(InformerHandler<T> handler)
    {
        lock (_gate)
        {
            _handlers.Add(handler);
            if (handler.Added is not { } added) return;
            foreach (var stored in _store) added(_store.ValueOf(stored));
        }
    }

    /// <summary>Shorthand: <paramref name="changed"/> hears every addition, change and deletion with the newest state.</summary>
    public void AddHandler(Action<T> changed) => AddHandler(new InformerHandler<T>(changed, (_, value) => changed(value), changed));

    /// <summary>The object, or null.</summary>
    public T? Get(string? namespaceName, string name) => Get(new ObjectKey(namespaceName ?? "", name));

    /// <summary>The object, or null.</summary>
    public T? Get(ObjectKey key)
    {
        lock (_gate) return _store.TryFind(key, out var stored) ? _store.ValueOf(stored) : null;
    }

    /// <summary>A copy of the list of objects (of one namespace, when given), in no order.</summary>
    public List<T> List(string? namespaceName = null)
    {
        lock (_gate)
        {
            var result = new List<T>(namespaceName is null ? _store.Count : 0);
            foreach (var stored in _store)
            {
                if (namespaceName is null || InformerStore<T>.KeyOf(stored).Namespace == namespaceName) result.Add(_store.ValueOf(stored));
            }
            return result;
        }
    }

    /// <summary>The objects under <paramref name="key"/> of an index, in no order. Decodes and holds them all: where they may be many, <see cref="EachByIndex"/>.</summary>
    public List<T> ByIndex(string index, string key)
    {
        lock (_gate)
        {
            var found = _store.Under(index, key);
            var result = new List<T>(found.Count);
            foreach (var stored in found) result.Add(_store.ValueOf(stored));
            return result;
        }
    }

    /// <summary>The keys of the objects under <paramref name="key"/> of an index, in no order. Decodes nothing.</summary>
    public List<ObjectKey> KeysByIndex(string index, string key)
    {
        lock (_gate)
        {
            var found = _store.Under(index, key);
            var result = new List<ObjectKey>(found.Count);
            foreach (var stored in found) result.Add(InformerStore<T>.KeyOf(stored));
            return result;
        }
    }

    /// <summary>
    /// The objects under <paramref name="key"/> of an index when the walk begins, in no order, each in its state when the walk comes to it; those that are
    /// no longer there by then are left out. Holds keys, and one object at a time.
    /// </summary>
    public IEnumerable<T> EachByIndex(string index, string key)
    {
        foreach (var found in KeysByIndex(index, key))
        {
            if (StillUnder(index, key, found) is { } value) yield return value;
        }
    }

    /// <summary>Completes when <see cref="HasSynced"/> turns true.</summary>
    public Task WaitForSyncAsync(CancellationToken cancellationToken) => _synced.Task.WaitAsync(cancellationToken);

    /// <summary>Lists, then watches, and does so again whenever the watch ends. Returns when cancelled; throws nothing else.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var backoff = s_firstBackoff;
        while (!cancellationToken.IsCancellationRequested)
        {
            try
            {
                if (_resourceVersion.Length == 0) await ListOnceAsync(cancellationToken).ConfigureAwait(false);
                var started = _time.GetTimestamp();
                await WatchOnceAsync(cancellationToken).ConfigureAwait(false);
                // A server that ends every watch at once must not be asked in a tight loop.
                if (_time.GetElapsedTime(started) >= s_shortWatch)
                {
                    backoff = s_firstBackoff;
                    continue;
                }
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                return;
            }
            catch (ApiException gone) when (gone.IsGone)
            {
                Log.WatchExpired(_logger, Resource.Plural, gone.Message);
                _resourceVersion = "";
            }
            catch (Exception failure) when (failure is ApiException or HttpRequestException or IOException or OperationCanceledException)
            {
                Log.WatchFailed(_logger, Resource.Plural, failure.Message, backoff.TotalMilliseconds);
            }
            catch (Exception bug)
            {
                // A handler or a decoder threw. The store may lack the event: list again rather than miss it.
                Log.InformerFaulted(_logger, Resource.Plural, bug);
                _resourceVersion = "";
            }
            if (!await DelayAsync(backoff, cancellationToken).ConfigureAwait(false)) return;
            backoff = backoff * 2 < s_lastBackoff ? backoff * 2 : s_lastBackoff;
        }
    }

    private async Task ListOnceAsync(CancellationToken cancellationToken)
    {
        var list = await _client.Transport.ListAsync(Resource.Path(_namespace) + _selection.ToQuery(), cancellationToken).ConfigureAwait(false);
        var seen = new HashSet<ObjectKey>(list.Items.Count);
        // One after the other: all of a long list decoded at once would be a multiple of what is kept of it.
        foreach (var item in list.Items) seen.Add(Apply(item, isDeleted: false));
        List<ObjectKey> gone;
        lock (_gate) gone = GoneLocked(seen);
        foreach (var key in gone)
        {
            if (Get(key) is { } value) Apply(value, null, isDeleted: true);
        }
        _resourceVersion = list.ResourceVersion;
        _synced.TrySetResult();
    }

    private T? StillUnder(string index, string indexKey, ObjectKey key)
    {
        lock (_gate) return _store.TryFindUnder(index, indexKey, key, out var stored) ? _store.ValueOf(stored) : null;
    }

    private List<ObjectKey> GoneLocked(HashSet<ObjectKey> seen)
    {
        var gone = new List<ObjectKey>();
        foreach (var stored in _store)
        {
            var key = InformerStore<T>.KeyOf(stored);
            if (!seen.Contains(key)) gone.Add(key);
        }
        return gone;
    }

    private async Task WatchOnceAsync(CancellationToken cancellationToken)
    {
        var options = _selection with { ResourceVersion = _resourceVersion };
        await foreach (var frame in _client.WatchAsync(Resource, _namespace, options, cancellationToken).ConfigureAwait(false))
        {
            if (frame.Type == WatchFrameType.Bookmark) _resourceVersion = frame.Object.Decode(Resource.Type).Metadata.ResourceVersion;
            else Apply(frame.Object, frame.Type == WatchFrameType.Deleted);
        }
    }

    private ObjectKey Apply(EncodedObject item, bool isDeleted)
    {
        // Where a handler throws on the way, the collector finds what was kept.
        var kept = _keepsEncoded ? item.Keep(Resource.Type) : null;
        var value = kept?.Decode(Resource.Type) ?? item.Decode(Resource.Type);
        var key = Apply(value, kept, isDeleted);
        _resourceVersion = value.Metadata.ResourceVersion;
        return key;
    }

    private ObjectKey Apply(T value, KeptObject<T>? kept, bool isDeleted)
    {
        lock (_gate)
        {
            var key = ObjectKey.Of(value);
            _store.TryFind(key, out var stored);
            var old = stored is null ? null : _store.ValueOf(stored);
            // Deleted, and never known; or what a list after a broken watch brings back although it is known already.
            if (old is null ? isDeleted : !isDeleted && old.Metadata.ResourceVersion == value.Metadata.ResourceVersion && old.Metadata.Uid == value.Metadata.Uid)
            {
                kept?.Dispose();
                return key;
            }
            _store.Replace(old is null ? null : (stored!, old), isDeleted ? null : ((object?)kept ?? value, value));
            foreach (var handler in _handlers)
            {
                if (isDeleted) handler.Deleted?.Invoke(value);
                else if (old is null) handler.Added?.Invoke(value);
                else handler.Updated?.Invoke(old, value);
            }
            if (isDeleted) kept?.Dispose();
            (stored as KeptObject<T>)?.Dispose();
            return key;
        }
    }

    private async Task<bool> DelayAsync(TimeSpan delay, CancellationToken cancellationToken)
    {
        try
        {
            await Task.Delay(delay, _time, cancellationToken).ConfigureAwait(false);
            return true;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }
}

/// <summary>What somebody does at each change; any of the three may be null.</summary>
public sealed record InformerHandler<T>(Action<T>? Added = null, Action<T, T>? Updated = null, Action<T>? Deleted = null);
