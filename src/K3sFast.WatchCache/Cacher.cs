using K3sFast.Datastore;

namespace K3sFast.WatchCache;

/// <summary>All resources' caches over one datastore.</summary>
public sealed class Cacher : IAsyncDisposable
{
    /// <summary>Caches over <paramref name="store"/>, which stays the caller's.</summary>
    public Cacher(IDatastore store, CacherOptions options)
    {
        ArgumentNullException.ThrowIfNull(store);
        ArgumentNullException.ThrowIfNull(options);
    }

    /// <summary>The newest revision that every cache shows.</summary>
    public long CurrentRevision => throw new NotImplementedException();

    /// <summary>Loads all registered resources and follows the datastore. Once.</summary>
    public Task StartAsync(CancellationToken cancellationToken) => throw new NotImplementedException();

    /// <summary>Makes a resource known. After the start its objects are loaded before this returns.</summary>
    /// <param name="keyPrefix">What all keys start with, with a slash at the end: <c>/registry/pods/</c>.</param>
    /// <param name="selectableFieldPaths">Dotted paths to scalar members that are kept at hand for field selectors: <c>spec.nodeName</c>.</param>
    public WatchCache Register(string keyPrefix, IReadOnlyList<string> selectableFieldPaths) => throw new NotImplementedException();

    /// <summary>Forgets a resource (a deleted custom resource definition). Its cursors end with expiry.</summary>
    public void Unregister(WatchCache cache) => throw new NotImplementedException();

    /// <summary>Writes one key; completes when it is durable and every cache shows it.</summary>
    public ValueTask<WriteResult> WriteAsync(in AppendRequest request, CancellationToken cancellationToken = default) => throw new NotImplementedException();

    /// <summary>Completes when the caches show at least <paramref name="revision"/>.</summary>
    public ValueTask WaitForAsync(long revision, CancellationToken cancellationToken = default) => throw new NotImplementedException();

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => throw new NotImplementedException();
}
