using System.Text;
using K3sFast.Datastore;
using Microsoft.Extensions.Logging;

namespace K3sFast.WatchCache;

/// <summary>
/// One resource's objects at a revision that its ring has forgotten, read from the datastore piece by piece: what a slow pager's next page is made of. A
/// piece lives in its snapshot alone, so that memory does not grow with the list.
/// </summary>
internal sealed class StoredHistory(
    IDatastore store, WatchCache cache, StoredValueTransformer? transformer, long revision, byte[] prefix, ILogger logger)
{
    // A piece ends at whichever it reaches first: as many pages of the store, or as much to send, as are worth one question.
    private const int MaxPieceObjects = 512;
    private const int MaxPieceBytes = 512 * 1024;

    private readonly string _prefix = Encoding.UTF8.GetString(prefix);

    /// <summary>The objects from a key on that fit into a piece.</summary>
    /// <remarks>Throws <see cref="DatastoreCompactedException"/> when the revision was compacted away, <see cref="DatastoreException"/> when the medium fails.</remarks>
    public async ValueTask<HistoryPiece> ReadAsync(byte[] startKey, CancellationToken cancellationToken)
    {
        using var full = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var reader = new PieceReader(this, full);
        try
        {
            bool hasMore;
            try
            {
                var request = new RangeRequest(_prefix, revision, Encoding.UTF8.GetString(startKey), MaxPieceObjects);
                hasMore = (await store.RangeAsync(request, reader, full.Token).ConfigureAwait(false)).HasMore || reader.IsFull;
            }
            catch (OperationCanceledException) when (reader.IsFull && !cancellationToken.IsCancellationRequested)
            {
                hasMore = true;
            }
            // Behind the last key: it with a zero byte appended.
            return new HistoryPiece(reader.Table.TakeRoot(), startKey, hasMore ? [.. reader.LastKey, 0] : null);
        }
        finally
        {
            reader.Table.Clear();
        }
    }

    /// <summary>How many objects there are from a key on.</summary>
    public async ValueTask<int> CountFromAsync(byte[] startKey, CancellationToken cancellationToken) =>
        (await store.RangeAsync(new RangeRequest(_prefix, revision, Encoding.UTF8.GetString(startKey)), Unseen.Instance, cancellationToken).ConfigureAwait(false)).Count;

    private sealed class PieceReader(StoredHistory owner, CancellationTokenSource full) : IDatastoreVisitor
    {
        private readonly ValueReader _values = new(owner.Transformer);
        private long _bytes;

        public ObjectTable Table { get; } = new();

        public bool IsFull { get; private set; }

        public byte[] LastKey { get; private set; } = [];

        public void OnEntry(in DatastoreEntry entry)
        {
            // Engines that have the whole answer already show the rest of it.
            if (IsFull) return;
            Span<byte> buffer = stackalloc byte[512];
            var key = ValueReader.KeyOf(entry, buffer);
            LastKey = key.ToArray();
            try
            {
                var item = owner.Cache.Read(entry, key, _values.AsJson(entry));
                Table.Append(item);
                _bytes += item.SizeBytes;
            }
            catch (FormatException error)
            {
                Log.UnreadableValue(owner.Logger, entry.Key, entry.Revision, error);
            }
            if (_bytes < MaxPieceBytes) return;
            IsFull = true;
            full.Cancel();
        }
    }

    private StoredValueTransformer? Transformer => transformer;

    private WatchCache Cache => cache;

    private ILogger Logger => logger;

    private sealed class Unseen : IDatastoreVisitor
    {
        public static readonly Unseen Instance = new();

        public void OnEntry(in DatastoreEntry entry)
        {
        }
    }
}

/// <summary>A run of objects of an old state.</summary>
/// <param name="Root">The objects, retained.</param>
/// <param name="From">The key that they begin at.</param>
/// <param name="Next">Where the next piece begins; null = there is none.</param>
internal readonly record struct HistoryPiece(TableRoot Root, byte[] From, byte[]? Next);
