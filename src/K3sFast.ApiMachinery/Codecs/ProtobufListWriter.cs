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

    /// <summary>Writes the whole list.</summary>
    /// <param name="kind">The list's kind: PodList.</param>
    /// <param name="apiVersion">Its version.</param>
    /// <param name="meta">Its metadata.</param>
    /// <param name="output">Where to write.</param>
    public void WriteTo(ReadOnlySpan<byte> kind, ReadOnlySpan<byte> apiVersion, in TableListMeta meta, IBufferWriter<byte> output)
    {
        using var metadata = WriteMeta(meta);
        using var head = new HeadWriter(kind, apiVersion, metadata.Written.Length + _items.Written.Length);
        output.Write(head.Written);
        output.Write(metadata.Written);
        output.Write(_items.Written);
        // contentEncoding and contentType of the envelope are empty.
        output.Write((ReadOnlySpan<byte>)[0x1A, 0, 0x22, 0]);
    }

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

        internal HeadWriter(ReadOnlySpan<byte> kind, ReadOnlySpan<byte> apiVersion, int rawLength)
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
