using System.Buffers;
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
    private ArrayBufferWriter<byte>? _transformed;

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
        var type = entry.Kind == AppendKind.Create ? WatchEventType.Added : WatchEventType.Modified;
        _table.Set(cache.Rebuild(Encoding.UTF8.GetBytes(entry.Key), AsJson(entry), entry.Revision, entry.CreateRevision, type))?.Release();
    }

    private ReadOnlySpan<byte> AsJson(in DatastoreEntry entry)
    {
        if (!entry.Value.IsEmpty && entry.Value[0] == '{') return entry.Value;
        if (transformer is null) throw new FormatException("the value is not JSON");
        _transformed ??= new ArrayBufferWriter<byte>();
        _transformed.ResetWrittenCount();
        transformer(entry.Key, entry.Value, _transformed);
        return _transformed.WrittenSpan;
    }
}
