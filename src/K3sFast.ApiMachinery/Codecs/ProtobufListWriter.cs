using System.Buffers;

namespace K3sFast.ApiMachinery;

/// <summary>
/// A list as an enveloped protobuf message, item by item: no item is held longer than its own encoding. Every list has the same shape:
/// <code>
/// List { 1: ListMeta { 1: selfLink = "", 2: resourceVersion, 3: continue, 4: remainingItemCount }, 2: item, … }
/// </code>
/// </summary>
/// <remarks>One thread. Dispose gives the buffer back.</remarks>
public sealed class ProtobufListWriter : IDisposable
{
    private const int FirstCapacity = 64 * 1024;

    private ProtoWriter _items = new(FirstCapacity);

    /// <summary>Adds one item. Its kind and apiVersion are the list's to tell.</summary>
    public void Append(ApiNode item, TypeSchema type)
    {
        ArgumentNullException.ThrowIfNull(type);
        var start = _items.Begin(2);
        ProtoTreeEncoder.WriteMessage(ref _items, item, type);
        _items.End(start);
    }

    /// <summary>The items added since the last <see cref="Clear"/>, encoded.</summary>
    public ReadOnlySpan<byte> Items => _items.Written;

    /// <summary>Forgets the items: they were sent, or only measured.</summary>
    public void Clear() => _items.Clear();

    /// <summary>Writes everything before the first item.</summary>
    /// <param name="kind">The list's kind: PodList.</param>
    /// <param name="apiVersion">Its version.</param>
    /// <param name="meta">Its metadata.</param>
    /// <param name="itemBytes">Bytes of all items together: the envelope tells them first.</param>
    /// <param name="output">Where to write.</param>
    public static void WriteHead(ReadOnlySpan<byte> kind, ReadOnlySpan<byte> apiVersion, in TableListMeta meta, long itemBytes, IBufferWriter<byte> output)
    {
        using var metadata = WriteMeta(meta);
        using var head = new HeadWriter(kind, apiVersion, metadata.Written.Length + itemBytes);
        output.Write(head.Written);
        output.Write(metadata.Written);
    }

    /// <summary>Writes everything after the last item: contentEncoding and contentType of the envelope, which are empty.</summary>
    public static void WriteTail(IBufferWriter<byte> output) => output.Write((ReadOnlySpan<byte>)[0x1A, 0, 0x22, 0]);

    /// <inheritdoc/>
    public void Dispose() => _items.Dispose();

    private static ProtoWriter WriteMeta(in TableListMeta meta)
    {
        var writer = new ProtoWriter(256);
        var start = writer.Begin(1);
        writer.BytesField(1, default);
        writer.BytesField(2, System.Text.Encoding.UTF8.GetBytes(meta.ResourceVersion ?? ""));
        writer.BytesField(3, System.Text.Encoding.UTF8.GetBytes(meta.Continue ?? ""));
        if (meta.RemainingItemCount is { } remaining)
            writer.NumberField(4, remaining);
        writer.End(start);
        return writer;
    }

    /// <summary>The envelope up to the list's first byte.</summary>
    private readonly struct HeadWriter : IDisposable
    {
        private readonly ProtoWriter _writer;

        internal HeadWriter(ReadOnlySpan<byte> kind, ReadOnlySpan<byte> apiVersion, long rawLength)
        {
            var writer = new ProtoWriter(256);
            writer.Raw(ProtobufCodec.Magic);
            var typeMeta = writer.Begin(1);
            writer.BytesField(1, apiVersion);
            writer.BytesField(2, kind);
            writer.End(typeMeta);
            writer.Tag(2, ProtoWriter.Bytes);
            writer.Number((ulong)rawLength);
            _writer = writer;
        }

        internal ReadOnlySpan<byte> Written => _writer.Written;

        public void Dispose()
        {
            var writer = _writer;
            writer.Dispose();
        }
    }
}
