using System.Buffers;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>As indented JSON: each item is indented as it comes.</summary>
internal sealed class IndentedListWriter : ListWriter
{
    private readonly IBufferWriter<byte> _output;
    private readonly PooledBuffer _json = new();
    private readonly JsonListWriter _compact;
    private int _depth;

    internal IndentedListWriter(ListShape shape, IBufferWriter<byte> output)
    {
        _output = output;
        _compact = new JsonListWriter(shape, _json);
    }

    // What opens the list is indented with what follows it: only then it is known whether the list is empty.
    internal override void Begin(in Page page) => _compact.Begin(page);

    internal override void Append(StoredObject item)
    {
        _compact.Append(item);
        Indent();
    }

    internal override void End()
    {
        _compact.End();
        Indent();
    }

    public override void Dispose() => _json.Dispose();

    private void Indent()
    {
        JsonIndent.Write(_json.Span, _output, ref _depth);
        _json.Clear();
    }
}
