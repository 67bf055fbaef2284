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
    // T, or KeptObject<T> where the encoded form is kept.
    private readonly Dictionary<ObjectKey, object> _objects = [];
    private readonly Dictionary<string, string> _namespaces = [];
    private readonly List<InformerHandler<T>> _handlers = [];
    private readonly Dictionary<string, ObjectIndex<T>> _indexes = [];

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
    }

    /// <summary>What is watched.</summary>
    public Resource<T> Resource { get; }

    /// <summary>True once the first list is in the store and was handed to the handlers.</summary>
    public bool HasSynced => _synced.Task.IsCompletedSuccessfully;

    /// <summary>Adds an index by the keys that <paramref name="keys"/> gives each object. Before or after the start.</summary>
    public void AddIndex(string name, Func<T, IEnumerable<string>> keys)
    {
        lock (_gate)
        {
            var index = new ObjectIndex<T>(keys);
            foreach (var (key, value) in _objects) index.Add(key, ValueOf(value));
            _indexes[name] = index;
        }
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
            foreach (var value in _objects.Values) added(ValueOf(value));
        }
    }

    /// <summary>Shorthand: <paramref name="changed"/> hears every addition, change and deletion with the newest state.</summary>
    public void AddHandler(Action<T> changed) => AddHandler(new InformerHandler<T>(changed, (_, value) => changed(value), changed));

    /// <summary>The object, or null.</summary>
    public T? Get(string? namespaceName, string name) => Get(new ObjectKey(namespaceName ?? "", name));

    /// <summary>The object, or null.</summary>
    public T? Get(ObjectKey key)
    {
        lock (_gate) return _objects.TryGetValue(key, out var value) ? ValueOf(value) : null;
    }

    /// <summary>A copy of the list of objects (of one namespace, when given), in no order.</summary>
    public List<T> List(string? namespaceName = null)
    {
        lock (_gate)
        {
            var result = new List<T>(namespaceName is null ? _objects.Count : 0);
            foreach (var (key, value) in _objects)
            {
                if (namespaceName is null || key.Namespace == namespaceName) result.Add(ValueOf(value));
            }
            return result;
        }
    }

    /// <summary>The objects under <paramref name="key"/> of an index, in no order.</summary>
    public List<T> ByIndex(string index, string key)
    {
        lock (_gate)
        {
            var result = new List<T>();
            if (!_indexes.TryGetValue(index, out var found)) throw new ArgumentException($"no index named {index}", nameof(index));
            foreach (var objectKey in found.Keys(key))
            {
                if (_objects.TryGetValue(objectKey, out var value)) result.Add(ValueOf(value));
            }
            return result;
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
        lock (_gate) gone = [.. _objects.Keys.Where(key => !seen.Contains(key))];
        foreach (var key in gone)
        {
            if (Get(key) is { } value) Apply(value, null, isDeleted: true);
        }
        _resourceVersion = list.ResourceVersion;
        _synced.TrySetResult();
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
        var value = kept?.Value ?? item.Decode(Resource.Type);
        var key = Apply(value, kept, isDeleted);
        _resourceVersion = value.Metadata.ResourceVersion;
        return key;
    }

    private ObjectKey Apply(T value, KeptObject<T>? kept, bool isDeleted)
    {
        lock (_gate)
        {
            var key = KeyOf(value);
            _objects.TryGetValue(key, out var stored);
            var old = stored is null ? null : ValueOf(stored);
            // Deleted, and never known; or what a list after a broken watch brings back although it is known already.
            if (old is null ? isDeleted : !isDeleted && old.Metadata.ResourceVersion == value.Metadata.ResourceVersion && old.Metadata.Uid == value.Metadata.Uid)
            {
                kept?.Dispose();
                return key;
            }
            // Taken out first, so that the newest state's strings are the key's too, and nothing keeps those of an older one.
            _objects.Remove(key);
            if (!isDeleted) _objects.Add(key, (object?)kept ?? value);
            foreach (var index in _indexes.Values) index.Replace(key, old, isDeleted ? null : value);
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

    // A namespace's name is the same string in all keys.
    private ObjectKey KeyOf(T value)
    {
        var key = ObjectKey.Of(value);
        if (_namespaces.TryGetValue(key.Namespace, out var known)) return key with { Namespace = known };
        _namespaces.Add(key.Namespace, key.Namespace);
        return key;
    }

    private static T ValueOf(object stored) => stored as T ?? ((KeptObject<T>)stored).Value;

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

/// <summary>Object keys by a derived key. Guarded by its informer's lock.</summary>
internal sealed class ObjectIndex<T>(Func<T, IEnumerable<string>> keys) where T : class, IKubernetesObject<V1ObjectMeta>
{
    private readonly Dictionary<string, HashSet<ObjectKey>> _entries = [];

    internal IEnumerable<ObjectKey> Keys(string key) => _entries.TryGetValue(key, out var found) ? found : [];

    internal void Add(ObjectKey objectKey, T value)
    {
        foreach (var key in keys(value))
        {
            if (!_entries.TryGetValue(key, out var set)) _entries[key] = set = [];
            set.Add(objectKey);
        }
    }

    internal void Replace(ObjectKey objectKey, T? old, T? value)
    {
        if (old is not null)
        {
            foreach (var key in keys(old))
            {
                if (_entries.TryGetValue(key, out var set) && set.Remove(objectKey) && set.Count == 0) _entries.Remove(key);
            }
        }
        if (value is not null) Add(objectKey, value);
    }
}
