namespace K3sFast.Datastore.Sqlite;

/// <summary>The embedded engine.</summary>
public sealed class SqliteDatastore : IDatastore
{
    /// <summary>Opens or makes the database. Throws <see cref="DatastoreOpenException"/>.</summary>
    public static SqliteDatastore Open(SqliteDatastoreOptions options) => throw new NotImplementedException(options.Path);

    /// <inheritdoc/>
    public long CurrentRevision => throw new NotImplementedException();

    /// <inheritdoc/>
    public long CompactRevision => throw new NotImplementedException();

    /// <inheritdoc/>
    public ValueTask<AppendResult> AppendAsync(in AppendRequest request, CancellationToken cancellationToken = default) => throw new NotImplementedException();

    /// <inheritdoc/>
    public ValueTask<RangeResult> RangeAsync(in RangeRequest request, IDatastoreVisitor visitor, CancellationToken cancellationToken = default) => throw new NotImplementedException();

    /// <inheritdoc/>
    public IDatastoreWatch Watch(long afterRevision, IDatastoreObserver observer) => throw new NotImplementedException();

    /// <inheritdoc/>
    public ValueTask CompactAsync(long revision, CancellationToken cancellationToken = default) => throw new NotImplementedException();

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => throw new NotImplementedException();
}
