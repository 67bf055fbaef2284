using System.Buffers;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>Writes one list item by item: <see cref="Begin"/>, any number of <see cref="Append"/>, <see cref="End"/>. What is written may be sent in between.</summary>
internal abstract class ListWriter : IDisposable
{
    /// <summary>The writer of a form; protobuf has its own, which must know the length first.</summary>
    internal static ListWriter Create(ListShape shape, IBufferWriter<byte> output) =>
        shape.Format.Media == MediaKind.Yaml ? new YamlListWriter(shape, output)
        : shape.IsCompactJson ? new JsonListWriter(shape, output)
        : new IndentedListWriter(shape, output);

    internal abstract void Begin(in Page page);

    internal abstract void Append(StoredObject item);

    internal abstract void End();

    public virtual void Dispose()
    {
    }
}
