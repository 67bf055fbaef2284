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
    private readonly TaskCompletionSource _synced = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Guarded by _gate
    private readonly Lock _gate = new();
    private readonly Dictionary<ObjectKey, T> _objects = [];
    private readonly List<InformerHandler<T>> _handlers = [];
    private readonly Dictionary<string, ObjectIndex<T>> _indexes = [];

    // Owned by the loop
    private string _resourceVersion = "";

    /// <summary>An informer of <paramref name="resource"/>, not yet running.</summary>
    public Informer(ApiClient client, Resource<T> resource, string? namespaceName, ListOptions selection, ILogger logger, TimeProvider? time = null)
    {
        (_client, Resource, _namespace, _selection, _logger, _time) = (client, resource, namespaceName, selection, logger, time ?? TimeProvider.System);
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
            foreach (var value in _objects.Values) index.Add(value);
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
            foreach (var value in _objects.Values) handler.Added?.Invoke(value);
        }
    }

    /// <summary>Shorthand: <paramref name="changed"/> hears every addition, change and deletion with the newest state.</summary>
    public void AddHandler(Action<T> changed) => AddHandler(new InformerHandler<T>(changed, (_, value) => changed(value), changed));

    /// <summary>The object, or null.</summary>
    public T? Get(string? namespaceName, string name)
    {
        lock (_gate) return _objects.GetValueOrDefault(new ObjectKey(namespaceName ?? "", name));
    }

    /// <summary>The object, or null.</summary>
    public T? Get(ObjectKey key)
    {
        lock (_gate) return _objects.GetValueOrDefault(key);
    }

    /// <summary>A copy of the list of objects (of one namespace, when given), in no order.</summary>
    public List<T> List(string? namespaceName = null)
    {
        lock (_gate)
        {
            if (namespaceName is null) return [.. _objects.Values];
            var result = new List<T>();
            foreach (var (key, value) in _objects)
            {
                if (key.Namespace == namespaceName) result.Add(value);
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
                if (_objects.TryGetValue(objectKey, out var value)) result.Add(value);
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
        var list = await _client.ListAsync(Resource, _namespace, _selection, cancellationToken).ConfigureAwait(false);
        var seen = new HashSet<ObjectKey>(list.Items.Count);
        foreach (var value in list.Items)
        {
            seen.Add(ObjectKey.Of(value));
            Apply(value, isDeleted: false);
        }
        foreach (var value in List())
        {
            if (!seen.Contains(ObjectKey.Of(value))) Apply(value, isDeleted: true);
        }
        _resourceVersion = list.ResourceVersion;
        _synced.TrySetResult();
    }

    private async Task WatchOnceAsync(CancellationToken cancellationToken)
    {
        var options = _selection with { ResourceVersion = _resourceVersion };
        await foreach (var frame in _client.WatchAsync(Resource, _namespace, options, cancellationToken).ConfigureAwait(false))
        {
            var value = frame.Object.Decode(Resource.Type);
            if (frame.Type != WatchFrameType.Bookmark) Apply(value, frame.Type == WatchFrameType.Deleted);
            _resourceVersion = value.Metadata.ResourceVersion;
        }
    }

    private void Apply(T value, bool isDeleted)
    {
        lock (_gate)
        {
            var key = ObjectKey.Of(value);
            _objects.TryGetValue(key, out var old);
            if (isDeleted)
            {
                if (old is null) return;
                _objects.Remove(key);
            }
            else
            {
                // A list after a broken watch brings back what is known already.
                if (old is not null && old.Metadata.ResourceVersion == value.Metadata.ResourceVersion && old.Metadata.Uid == value.Metadata.Uid) return;
                _objects[key] = value;
            }
            foreach (var index in _indexes.Values) index.Replace(key, old, isDeleted ? null : value);
            foreach (var handler in _handlers)
            {
                if (isDeleted) handler.Deleted?.Invoke(value);
                else if (old is null) handler.Added?.Invoke(value);
                else handler.Updated?.Invoke(old, value);
            }
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

/// <summary>Object keys by a derived key. Guarded by its informer's lock.</summary>
internal sealed class ObjectIndex<T>(Func<T, IEnumerable<string>> keys) where T : class, IKubernetesObject<V1ObjectMeta>
{
    private readonly Dictionary<string, HashSet<ObjectKey>> _entries = [];

    internal IEnumerable<ObjectKey> Keys(string key) => _entries.TryGetValue(key, out var found) ? found : [];

    internal void Add(T value)
    {
        var objectKey = ObjectKey.Of(value);
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
        if (value is not null) Add(value);
    }
}
