using System.Buffers;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using K3sFast.ApiMachinery;
using K3sFast.Datastore;
using K3sFast.WatchCache;
using ResourceCache = K3sFast.WatchCache.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>
/// Where one resource's objects are kept, in their storage version: reads come from the watch cache, writes go through it to the datastore.
/// Objects that it hands out are retained for the caller, who disposes them, unless said otherwise.
/// </summary>
/// <remarks>Any thread.</remarks>
internal sealed class ResourceStorage
{
    private readonly Cacher _cacher;
    private readonly byte[] _prefix;
    private readonly byte[] _listItemPrefix;

    internal ResourceStorage(Cacher cacher, ResourceInfo info, IReadOnlyList<string> fieldPaths, long leaseSeconds = 0)
    {
        _cacher = cacher;
        Info = info;
        FieldPaths = fieldPaths;
        LeaseSeconds = leaseSeconds;
        KeyPrefix = $"/registry/{info.EtcdPrefix}/";
        _prefix = Encoding.UTF8.GetBytes(KeyPrefix);
        _listItemPrefix = Encoding.UTF8.GetBytes($"{{\"kind\":\"{info.Kind}\",\"apiVersion\":\"{info.ApiVersion}\",");
        Cache = cacher.Register(KeyPrefix, fieldPaths, IndexesOf(info));
    }

    /// <summary>The resource in the version that is stored.</summary>
    internal ResourceInfo Info { get; }

    internal string KeyPrefix { get; }

    internal ResourceCache Cache { get; }

    /// <summary>The fields that the cache keeps at hand, in its order.</summary>
    internal IReadOnlyList<string> FieldPaths { get; }

    /// <summary>Objects vanish by themselves after this long (events); 0 = never.</summary>
    internal long LeaseSeconds { get; }

    /// <summary>The served versions, and who keeps the owners of fields in each.</summary>
    internal StorageVersions Fields { get; } = new();

    /// <summary>Measures writes; null measures none.</summary>
    internal StoreSeries? Measured { get; set; }

    /// <summary>The newest revision that reads show.</summary>
    internal long CurrentRevision => _cacher.CurrentRevision;

    /// <summary>How the JSON of every stored object begins; lists leave kind and apiVersion of items out, as upstream does.</summary>
    internal ReadOnlySpan<byte> ListItemPrefix => _listItemPrefix;

    internal ValueTask WaitForAsync(long revision, CancellationToken cancel) => _cacher.WaitForAsync(revision, cancel);

    /// <summary>Completes when reads show everything that was acknowledged before this call, on any server.</summary>
    internal ValueTask FreshenAsync(CancellationToken cancel) => _cacher.FreshenAsync(cancel);

    /// <summary>The datastore has forgotten the state at a revision.</summary>
    internal bool IsCompacted(long revision) => revision < _cacher.CompactRevision;

    /// <summary>The objects under a prefix as the datastore has them at an old revision, beginning at a key; null when it was compacted away.</summary>
    internal ValueTask<Snapshot?> ListStoredAsync(long revision, byte[] prefix, byte[] startKey, CancellationToken cancel) =>
        _cacher.ListStoredAsync(Cache, revision, prefix, startKey, cancel);

    /// <summary>The object, or null. Allocates nothing for keys of ordinary length.</summary>
    internal StoredObject? Get(ReadOnlySpan<byte> ns, ReadOnlySpan<byte> name)
    {
        var length = _prefix.Length + name.Length + (Info.Namespaced ? ns.Length + 1 : 0);
        if (name.IsEmpty || name.Contains((byte)'/') || ns.Contains((byte)'/'))
            return null;
        Span<byte> key = stackalloc byte[512];
        if (length > key.Length)
            return null;
        _prefix.CopyTo(key);
        var at = _prefix.Length;
        if (Info.Namespaced)
        {
            ns.CopyTo(key[at..]);
            at += ns.Length;
            key[at++] = (byte)'/';
        }
        name.CopyTo(key[at..]);
        return Cache.Get(key[..length]);
    }

    internal StoredObject? Get(string ns, string name) => Get(Encoding.UTF8.GetBytes(ns), Encoding.UTF8.GetBytes(name));

    /// <summary>All objects of a namespace ("" or null = everywhere), each lent until the enumeration goes on.</summary>
    internal IEnumerable<StoredObject> All(string? ns)
    {
        using var snapshot = Cache.List(PrefixOf(string.IsNullOrEmpty(ns) ? default : Encoding.UTF8.GetBytes(ns)));
        var objects = snapshot.GetEnumerator();
        while (objects.MoveNext())
            yield return objects.Current;
    }

    /// <summary>The key prefix of a namespace; of everything when it is empty.</summary>
    internal byte[] PrefixOf(ReadOnlySpan<byte> ns)
    {
        if (ns.IsEmpty || !Info.Namespaced)
            return _prefix;
        var prefix = new byte[_prefix.Length + ns.Length + 1];
        _prefix.CopyTo(prefix, 0);
        ns.CopyTo(prefix.AsSpan(_prefix.Length));
        prefix[^1] = (byte)'/';
        return prefix;
    }

    internal string KeyOf(string ns, string name) => Info.Namespaced ? $"{KeyPrefix}{ns}/{name}" : KeyPrefix + name;

    /// <summary>The object as a tree; the caller disposes it.</summary>
    internal ApiObject Decode(StoredObject stored)
    {
        using var json = stored.Json.Rent();
        return JsonCodec.Decode(json.Span, null, DecodeOptions.Free, null);
    }

    /// <summary>The object's canonical bytes as they are stored: without resourceVersion.</summary>
    internal PooledBuffer Encode(ApiNode obj)
    {
        obj["metadata"u8].Remove("resourceVersion"u8);
        obj.Set("kind"u8, Info.KindUtf8);
        obj.Set("apiVersion"u8, Info.ApiVersionUtf8);
        var body = new PooledBuffer();
        JsonCodec.Encode(obj, Info.Type, body);
        return body;
    }

    /// <summary>The object's canonical bytes for answers that are not stored (dry run): with a resourceVersion when there is an object that has one.</summary>
    internal byte[] WithVersion(ApiNode obj, long? revision)
    {
        if (revision is { } known)
            obj.GetOrAddObject("metadata"u8).Set("resourceVersion"u8, known.ToString(CultureInfo.InvariantCulture));
        var body = new ArrayBufferWriter<byte>();
        JsonCodec.Encode(obj, Info.Type, body);
        return body.WrittenSpan.ToArray();
    }

    /// <summary>True if storing these bytes would change nothing.</summary>
    internal bool IsUnchanged(StoredObject current, ReadOnlySpan<byte> body)
    {
        // The cache has put a resourceVersion in; everything else is the same bytes.
        if (current.Json.Length <= body.Length)
            return false;
        using var old = Decode(current);
        using var bytes = Encode(old.Root);
        return bytes.Span.SequenceEqual(body);
    }

    /// <summary>The stored object, or null when the name is taken.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    internal async ValueTask<StoredObject?> TryCreateAsync(string ns, string name, ReadOnlyMemory<byte> body, CancellationToken cancel)
    {
        var started = Stopwatch.GetTimestamp();
        var result = await _cacher.WriteAsync(AppendRequest.Create(KeyOf(ns, name), body, LeaseSeconds), cancel).ConfigureAwait(false);
        Measured?.Create.Done(started, result.Outcome == AppendOutcome.Full);
        return Outcome(result);
    }

    /// <summary>The stored object, or null when it is no longer at that revision.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    internal async ValueTask<StoredObject?> TryUpdateAsync(StoredObject current, ReadOnlyMemory<byte> body, CancellationToken cancel)
    {
        var started = Stopwatch.GetTimestamp();
        var result = await _cacher.WriteAsync(AppendRequest.Update(current.Key, current.Revision, body, LeaseSeconds), cancel).ConfigureAwait(false);
        Measured?.Update.Done(started, result.Outcome == AppendOutcome.Full);
        return Outcome(result);
    }

    /// <summary>The last state, or null when it is no longer at that revision.</summary>
    internal async ValueTask<StoredObject?> TryDeleteAsync(StoredObject current, CancellationToken cancel)
    {
        var started = Stopwatch.GetTimestamp();
        var result = await _cacher.WriteAsync(AppendRequest.Delete(current.Key, current.Revision), cancel).ConfigureAwait(false);
        Measured?.Delete.Done(started, result.Outcome == AppendOutcome.Full);
        return Outcome(result);
    }

    // What kubelets, schedulers and service proxies ask for, many of them and each for a little.
    private static ResourceIndexes IndexesOf(ResourceInfo info) => (info.Group, info.Resource) switch
    {
        ("", "pods") => new ResourceIndexes(["spec.nodeName"], []),
        ("discovery.k8s.io", "endpointslices") => new ResourceIndexes([], ["kubernetes.io/service-name"]),
        _ => ResourceIndexes.None,
    };

    private StoredObject? Outcome(in K3sFast.WatchCache.WriteResult result)
    {
        if (result.Outcome == AppendOutcome.Full)
        {
            throw new ApiStatus
            {
                Code = 507,
                Reason = "InsufficientStorage",
                Message = $"etcdserver: mvcc: database space exceeded: {Info.GroupResource} cannot be written, no space is left on the datastore's device; reads and deletions go on, writes work again when there is space",
            }.ToException();
        }
        return result.IsCommitted ? result.Object ?? throw new InvalidOperationException($"no cache for {KeyPrefix}") : null;
    }
}

/// <summary>Strings of stored objects, where they are kept.</summary>
internal static class StoredObjectText
{
    internal static string Name(this StoredObject stored) => Encoding.UTF8.GetString(stored.NameUtf8);

    internal static string Namespace(this StoredObject stored) => Encoding.UTF8.GetString(stored.NamespaceUtf8);

    internal static string Uid(this StoredObject stored) => Encoding.UTF8.GetString(stored.UidUtf8);
}
