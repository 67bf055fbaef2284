namespace K3sFast.Datastore;

/// <summary>An engine that reads a whole state quicker when it need not keep to the order of keys. Any thread may call.</summary>
public interface IStateReader
{
    /// <summary>Shows the keys with a prefix that existed at a revision, by several threads at once, each entry with its <see cref="DatastoreEntry.Rank"/>.</summary>
    /// <param name="prefix">Keys that start with this.</param>
    /// <param name="revision">The state at this revision.</param>
    /// <param name="openPart">
    /// Called before the reading begins, once for each part that one thread reads, with a number that all ranks are below. Of what it returns each is
    /// called by one thread at a time.
    /// </param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <remarks>Ranks grow with the keys; some may never be shown. Throws as <see cref="IDatastore.RangeAsync"/>.</remarks>
    Task ReadStateAsync(string prefix, long revision, Func<int, IDatastoreVisitor> openPart, CancellationToken cancellationToken = default);
}
