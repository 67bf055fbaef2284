using System.Buffers;
using K3sFast.ApiMachinery;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>
/// As YAML: each item becomes a tree and a text as it comes. Keys are sorted, so what the list says of itself stands partly before its items and partly
/// behind them.
/// </summary>
internal sealed class YamlListWriter : ListWriter
{
    private readonly IBufferWriter<byte> _output;
    private readonly PooledBuffer _json = new();
    private readonly JsonListWriter _compact;
    private ApiObject? _envelope;
    private byte[] _itemsName = [];
    private bool _hasItems;

    internal YamlListWriter(ListShape shape, IBufferWriter<byte> output)
    {
        _output = output;
        _compact = new JsonListWriter(shape, _json);
    }

    internal override void Begin(in Page page)
    {
        _compact.Begin(page);
        _json.Write("]}"u8);
        _envelope = JsonCodec.Decode(_json.Span, null, DecodeOptions.Free, null);
        foreach (var member in _envelope.Root.Members)
            _itemsName = member.Name.ToArray();
        YamlText.WriteMembers(_envelope.Root, _itemsName, isBefore: true, _output);
        _output.Write(_itemsName);
    }

    internal override void Append(StoredObject item)
    {
        _json.Clear();
        _compact.Append(item);
        using var tree = JsonCodec.Decode(_hasItems ? _json.Span[1..] : _json.Span, null, DecodeOptions.Free, null);
        if (!_hasItems)
            _output.Write(":\n"u8);
        _hasItems = true;
        YamlText.WriteElement(tree.Root, _output);
    }

    internal override void End()
    {
        if (!_hasItems)
            _output.Write(": []\n"u8);
        YamlText.WriteMembers(_envelope!.Root, _itemsName, isBefore: false, _output);
    }

    public override void Dispose()
    {
        _envelope?.Dispose();
        _envelope = null;
        _json.Dispose();
    }
}
