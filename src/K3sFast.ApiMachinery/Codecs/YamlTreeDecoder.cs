using System.Text;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace K3sFast.ApiMachinery;

/// <summary>Turns the parser's events of one document after the other into trees.</summary>
internal sealed class YamlTreeDecoder(IParser parser, ICollection<string>? duplicates)
{
    // What aliases may add to a document: anchors inside anchors multiply ("billion laughs").
    private const int MaxAliasedNodes = 100_000;

    private readonly IParser _parser = parser;
    private readonly ICollection<string>? _duplicates = duplicates;
    private readonly Dictionary<string, int> _anchors = [];

    // Anchors of what is being read: an alias of one of them would have no end.
    private readonly HashSet<string> _open = [];
    private ApiObject _document = null!;
    private int _depth;

    /// <summary>The next document that is not empty; null at the end of the stream.</summary>
    public ApiObject? ReadDocument()
    {
        if (_parser.Current is null)
            _parser.MoveNext();
        _parser.TryConsume<StreamStart>(out _);
        while (_parser.TryConsume<DocumentStart>(out _))
        {
            _anchors.Clear();
            _open.Clear();
            _depth = 0;
            _document = ApiObject.RentForDecode(0);
            try
            {
                var root = ReadNode();
                _parser.Consume<DocumentEnd>();
                if (_document[root].Kind != NodeKind.Null)
                {
                    _document.RootIndex = root;
                    _document[root].IsAttached = true;
                    return _document;
                }
            }
            catch
            {
                _document.Dispose();
                throw;
            }
            _document.Dispose();
        }
        return null;
    }

    private int ReadNode()
    {
        if (_depth > DecodeOptions.DefaultMaxDepth)
            throw ApiStatus.BadRequest($"error converting YAML to JSON: yaml: exceeded max depth of {DecodeOptions.DefaultMaxDepth}").ToException();
        if (_parser.TryConsume<AnchorAlias>(out var alias))
            return ReadAlias(alias);
        if (_parser.TryConsume<Scalar>(out var scalar))
            return Remember(scalar, YamlScalar.Read(_document, scalar));
        if (_parser.TryConsume<SequenceStart>(out var sequence))
        {
            _depth++;
            Open(sequence);
            var list = _document.NewNode(NodeKind.Array);
            while (!_parser.TryConsume<SequenceEnd>(out _))
                _document.Link(list, ReadNode());
            _depth--;
            return Remember(sequence, list);
        }
        return ReadMapping(_parser.Consume<MappingStart>());
    }

    private int ReadMapping(MappingStart start)
    {
        _depth++;
        Open(start);
        var map = _document.NewNode(NodeKind.Object);
        var own = new HashSet<string>(StringComparer.Ordinal);
        while (!_parser.TryConsume<MappingEnd>(out _))
        {
            var key = _parser.Current;
            if (key is Scalar { Value: "<<", IsPlainImplicit: true })
            {
                _parser.MoveNext();
                Merge(map, own, ReadNode(), key);
                continue;
            }
            var name = KeyText(ReadNode(), key);
            var value = ReadNode();
            if (!own.Add(name))
                ReportDuplicate(name, key);
            var utf8 = Encoding.UTF8.GetBytes(name);
            if (_document.Find(map, utf8) is var existing && existing != 0)
            {
                _document.Overwrite(existing, value);
                continue;
            }
            _document.SetName(value, utf8);
            _document.Link(map, value);
        }
        _depth--;
        return Remember(start, map);
    }

    // <<: one mapping or a list of them; what the mapping says itself wins, and so do earlier ones in the list.
    private void Merge(int map, HashSet<string> own, int merged, ParsingEvent at)
    {
        var source = new ApiNode(_document, merged);
        if (source.Kind == NodeKind.Array)
        {
            foreach (var element in source.Elements)
                Merge(map, own, element.Index, at);
            return;
        }
        if (source.Kind != NodeKind.Object)
            throw Refuse("map merge requires map or sequence of maps as the value", at);
        foreach (var member in source.Members)
        {
            if (_document.Find(map, member.Name) == 0)
                new ApiNode(_document, map).Set(member.Name, member.Value);
        }
    }

    private int ReadAlias(AnchorAlias alias)
    {
        if (_open.Contains(alias.Value.Value))
            throw ApiStatus.BadRequest($"error converting YAML to JSON: yaml: anchor '{alias.Value.Value}' value contains itself").ToException();
        if (!_anchors.TryGetValue(alias.Value.Value, out var target))
            throw ApiStatus.BadRequest($"error converting YAML to JSON: yaml: unknown anchor '{alias.Value.Value}' referenced").ToException();
        var copy = _document.CopyFrom(_document, target);
        if (_document.NodeCount > MaxAliasedNodes)
            throw ApiStatus.BadRequest("error converting YAML to JSON: yaml: document contains excessive aliasing").ToException();
        return copy;
    }

    private void Open(NodeEvent node)
    {
        if (!node.Anchor.IsEmpty)
            _open.Add(node.Anchor.Value);
    }

    private int Remember(NodeEvent node, int index)
    {
        if (!node.Anchor.IsEmpty)
        {
            _open.Remove(node.Anchor.Value);
            _anchors[node.Anchor.Value] = index;
        }
        return index;
    }

    private string KeyText(int key, ParsingEvent? at)
    {
        var node = new ApiNode(_document, key);
        return node.Kind switch
        {
            NodeKind.String or NodeKind.Number => node.AsString(),
            NodeKind.True => "true",
            NodeKind.False => "false",
            _ => throw Refuse("unsupported map key", at),
        };
    }

    private void ReportDuplicate(string name, ParsingEvent? at)
    {
        var words = $"line {at?.Start.Line}: key {GoText.Quote(name)} already set in map";
        if (_duplicates is null)
            throw ApiStatus.BadRequest($"error converting YAML to JSON: yaml: unmarshal errors:\n  {words}").ToException();
        _duplicates.Add($"yaml: unmarshal errors:\n  {words}");
    }

    private static ApiStatusException Refuse(string words, ParsingEvent? at) =>
        ApiStatus.BadRequest($"error converting YAML to JSON: yaml: line {at?.Start.Line}: {words}").ToException();
}
