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
    // Grows for an item that is bigger, and for who gathers more.
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

    /// <summary>Adds one item from its JSON; answers how many bytes it takes in the list. Canonical JSON becomes no tree.</summary>
    /// <exception cref="ApiStatusException">400 when this is no JSON of that type.</exception>
    public int Append(ReadOnlySpan<byte> json, TypeSchema type)
    {
        var before = _items.Length;
        var start = _items.Begin(2);
        if (!JsonTranscoder.TryWriteMessage(json, type, ref _items))
        {
            using var item = JsonCodec.Decode(json, type, DecodeOptions.Free, null);
            ProtoTreeEncoder.WriteMessage(ref _items, item.Root, type);
        }
        _items.End(start);
        return _items.Length - before;
    }

    /// <summary>The items added since the last <see cref="Clear"/>, encoded.</summary>
    public ReadOnlySpan<byte> Items => _items.Written;

    /// <summary>The same, until the next call.</summary>
    public ReadOnlyMemory<byte> ItemsMemory => _items.Memory;

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

    /// <summary>Bytes of <see cref="WriteTail"/>.</summary>
    public static int TailLength => Tail.Length;

    // contentEncoding and contentType of the envelope, which are empty.
    private static ReadOnlySpan<byte> Tail => [0x1A, 0, 0x22, 0];

    /// <summary>Writes everything after the last item.</summary>
    public static void WriteTail(IBufferWriter<byte> output) => output.Write(Tail);

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
