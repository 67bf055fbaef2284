using System.Text;
using K3sFast.Datastore;

namespace K3sFast.WatchCache;

/// <summary>
/// One resource's objects at a revision that its ring has forgotten, read from the datastore: what a slow pager's next page is made of. They live in
/// their snapshot alone.
/// </summary>
internal sealed class StoredHistory(WatchCache cache, StoredValueTransformer? transformer) : IDatastoreVisitor
{
    private readonly ObjectTable _table = new();
    private readonly ValueReader _values = new(transformer);

    /// <summary>The state, or null when its revision was compacted away.</summary>
    /// <remarks>O(objects) of memory until the snapshot is disposed. Throws <see cref="DatastoreException"/> when the medium fails.</remarks>
    public static async ValueTask<Snapshot?> ReadAsync(
        IDatastore store, WatchCache cache, StoredValueTransformer? transformer, long revision, byte[] prefix, CancellationToken cancellationToken)
    {
        var history = new StoredHistory(cache, transformer);
        try
        {
            await store.RangeAsync(new RangeRequest(Encoding.UTF8.GetString(prefix), revision), history, cancellationToken).ConfigureAwait(false);
            return new Snapshot(history._table.TakeRoot(), prefix, revision, []);
        }
        catch (DatastoreCompactedException)
        {
            return null;
        }
        finally
        {
            history._table.Clear();
        }
    }

    /// <inheritdoc/>
    public void OnEntry(in DatastoreEntry entry)
    {
        Span<byte> buffer = stackalloc byte[512];
        _table.Set(cache.Read(entry, ValueReader.KeyOf(entry, buffer), _values.AsJson(entry)))?.Release();
    }
}
