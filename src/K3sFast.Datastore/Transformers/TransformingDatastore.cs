using System.Buffers;
using System.Text;

namespace K3sFast.Datastore.Transformers;

/// <summary>
/// A datastore whose values are stored in another form than its users see: the seam for encryption at rest, between the caches and any
/// engine. Without a transformer it passes everything through as it is, and still refuses what was stored encrypted.
/// </summary>
public sealed class TransformingDatastore : IDatastore, IStateReader
{
    private readonly IDatastore _inner;
    private readonly IValueTransformer? _transformer;

    /// <summary>Over a store, which is disposed with this. <paramref name="transformer"/>: null = values are stored as they are.</summary>
    public TransformingDatastore(IDatastore inner, IValueTransformer? transformer)
    {
        ArgumentNullException.ThrowIfNull(inner);
        _inner = inner;
        _transformer = transformer;
    }

    /// <inheritdoc/>
    public long CurrentRevision => _inner.CurrentRevision;

    /// <inheritdoc/>
    public long CompactRevision => _inner.CompactRevision;

    /// <inheritdoc/>
    public bool IsShared => _inner.IsShared;

    /// <inheritdoc/>
    public IDatastoreMonitor? Monitor => _inner.Monitor;

    /// <inheritdoc/>
    public IStateReader? StateReader => _inner.StateReader is null ? null : this;

    /// <summary>True for every form that Kubernetes stores encrypted values in.</summary>
    public static bool IsEncrypted(ReadOnlySpan<byte> stored) => stored.StartsWith("k8s:enc:"u8);

    /// <inheritdoc/>
    public ValueTask<long> ReadCurrentRevisionAsync(CancellationToken cancellationToken = default) => _inner.ReadCurrentRevisionAsync(cancellationToken);

    /// <inheritdoc/>
    public ValueTask<long> ReadSizeAsync(CancellationToken cancellationToken = default) => _inner.ReadSizeAsync(cancellationToken);

    /// <inheritdoc/>
    public ValueTask<AppendResult> AppendAsync(in AppendRequest request, CancellationToken cancellationToken = default)
    {
        if (_transformer is null || request.Kind == AppendKind.Delete) return _inner.AppendAsync(request, cancellationToken);
        byte[] key = Encoding.UTF8.GetBytes(request.Key);
        if (!_transformer.Covers(key)) return _inner.AppendAsync(request, cancellationToken);
        // Not pooled: after a cancelled wait the engine may still read it.
        var stored = new ArrayBufferWriter<byte>(request.Value.Length + 128);
        _transformer.Encode(key, request.Value.Span, stored);
        return _inner.AppendAsync(request with { Value = stored.WrittenMemory }, cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask<RangeResult> RangeAsync(in RangeRequest request, IDatastoreVisitor visitor, CancellationToken cancellationToken = default) =>
        _inner.RangeAsync(request, new Decoder(_transformer, visitor), cancellationToken);

    /// <inheritdoc/>
    public Task ReadStateAsync(string prefix, long revision, Func<int, IDatastoreVisitor> openPart, CancellationToken cancellationToken = default) =>
        _inner.StateReader!.ReadStateAsync(prefix, revision, ranks => new Decoder(_transformer, openPart(ranks)), cancellationToken);

    /// <inheritdoc/>
    public IDatastoreWatch Watch(long afterRevision, IDatastoreObserver observer) => _inner.Watch(afterRevision, new ObservingDecoder(_transformer, observer));

    /// <inheritdoc/>
    public ValueTask CompactAsync(long revision, CancellationToken cancellationToken = default) => _inner.CompactAsync(revision, cancellationToken);

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => _inner.DisposeAsync();

    /// <summary>Shows entries decoded. One thread at a time, as the engine calls it.</summary>
    private class Decoder(IValueTransformer? transformer, IDatastoreVisitor visitor) : IDatastoreVisitor
    {
        private ArrayBufferWriter<byte>? _value;

        public void OnEntry(in DatastoreEntry entry)
        {
            if (transformer is not null && transformer.Recognizes(entry.Value))
            {
                visitor.OnEntry(Decode(transformer, entry));
                return;
            }
            if (IsEncrypted(entry.Value)) ThrowUnreadable(entry);
            visitor.OnEntry(entry);
        }

        private DatastoreEntry Decode(IValueTransformer known, in DatastoreEntry entry)
        {
            _value ??= new ArrayBufferWriter<byte>();
            _value.ResetWrittenCount();
            known.Decode(Encoding.UTF8.GetBytes(entry.Key), entry.Value, _value);
            return new DatastoreEntry
            {
                Key = entry.Key,
                Value = _value.WrittenSpan,
                Revision = entry.Revision,
                CreateRevision = entry.CreateRevision,
                LeaseSeconds = entry.LeaseSeconds,
                Rank = entry.Rank,
                Kind = entry.Kind,
            };
        }

        private void ThrowUnreadable(in DatastoreEntry entry)
        {
            // The prefix alone: k8s:enc:<provider>:v1:<key name>: and no byte of what is encrypted.
            var head = entry.Value[.. Math.Min(entry.Value.Length, 96)];
            int colons = 0, length = 0;
            while (length < head.Length && colons < 5) colons += head[length++] == ':' ? 1 : 0;
            string prefix = Encoding.ASCII.GetString(head[..length]);
            throw new DatastoreTransformException(transformer is null
                ? $"unable to transform key \"{entry.Key}\": identity transformer tried to read encrypted data (stored as {prefix}): the server runs without the encryption configuration that it was written with"
                : $"unable to transform key \"{entry.Key}\": no matching prefix found (stored as {prefix}): the encryption configuration lacks the key that it was written with");
        }
    }

    private sealed class ObservingDecoder(IValueTransformer? transformer, IDatastoreObserver observer) : Decoder(transformer, observer), IDatastoreObserver
    {
        public void OnRevision(long revision) => observer.OnRevision(revision);

        public void OnFailed(Exception error) => observer.OnFailed(error);
    }
}
