using System.Text;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace K3sFast.ApiMachinery;

/// <summary>Turns the parser's events of one document after the other into trees.</summary>
internal sealed class YamlTreeDecoder(IParser parser, ICollection<string>? duplicates)
{
    // Half of upstream's: the parser's work for each token grows with the depth.
    private const int MaxDepth = DecodeOptions.DefaultMaxDepth / 2;

    // As many equal keys as anybody would read about.
    private const int MaxDuplicates = 100;

    private readonly IParser _parser = parser;
    private readonly ICollection<string>? _duplicates = duplicates;
    private readonly Dictionary<string, int> _anchors = [];

    // Anchors of what is being read: an alias of one of them would have no end.
    private readonly HashSet<string> _open = [];
    private ApiObject _document = null!;
    private int _depth;

    // What aliases have added: anchors inside anchors multiply ("billion laughs").
    private long _aliased;

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
            _aliased = 0;
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
        StackGuard.Enter();
        if (_depth > MaxDepth)
            throw ApiStatus.BadRequest($"error converting YAML to JSON: yaml: exceeded max depth of {MaxDepth}").ToException();
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
        // Members that came by a merge key, which the mapping's own ones replace without a word. Nearly no mapping has any.
        HashSet<int>? merged = null;
        while (!_parser.TryConsume<MappingEnd>(out _))
        {
            var key = _parser.Current;
            if (key is Scalar { Value: "<<", IsPlainImplicit: true })
            {
                _parser.MoveNext();
                Merge(map, merged ??= [], ReadNode(), key);
                continue;
            }
            var name = ReadNode();
            CheckKey(name, key);
            var value = ReadNode();
            var text = KeyText(name);
            if (_document.Find(map, text) is var existing && existing != 0)
            {
                if (merged is null || !merged.Remove(existing))
                    ReportDuplicate(text, key);
                _document.Overwrite(existing, value);
                continue;
            }
            _document.SetName(value, text);
            _document.Link(map, value);
        }
        _depth--;
        return Remember(start, map);
    }

    // <<: one mapping or a list of them; what the mapping says itself wins, and so do earlier ones in the list.
    private void Merge(int map, HashSet<int> merged, int from, ParsingEvent at)
    {
        var source = new ApiNode(_document, from);
        if (source.Kind == NodeKind.Array)
        {
            foreach (var element in source.Elements)
                Merge(map, merged, element.Index, at);
            return;
        }
        if (source.Kind != NodeKind.Object)
            throw Refuse("map merge requires map or sequence of maps as the value", at);
        foreach (var member in source.Members)
        {
            if (_document.Find(map, member.Name) == 0)
                merged.Add(new ApiNode(_document, map).Set(member.Name, member.Value).Index);
        }
    }

    private int ReadAlias(AnchorAlias alias)
    {
        if (_open.Contains(alias.Value.Value))
            throw ApiStatus.BadRequest($"error converting YAML to JSON: yaml: anchor '{alias.Value.Value}' value contains itself").ToException();
        if (!_anchors.TryGetValue(alias.Value.Value, out var target))
            throw ApiStatus.BadRequest($"error converting YAML to JSON: yaml: unknown anchor '{alias.Value.Value}' referenced").ToException();
        var before = _document.NodeCount;
        var copy = _document.CopyFrom(_document, target);
        _aliased += _document.NodeCount - before;
        CheckAliases();
        return copy;
    }

    // As upstream, at a quarter of its sizes: small documents may be nearly all aliases, big ones less and less.
    private void CheckAliases()
    {
        const int Small = 100_000, Big = 1_000_000;
        var all = _document.NodeCount;
        var allowed = all <= Small ? 0.99 : all >= Big ? 0.10 : 0.99 - (0.89 * (all - Small) / (Big - Small));
        if (_aliased > 100 && all > 1000 && _aliased > allowed * all)
            throw ApiStatus.BadRequest("error converting YAML to JSON: yaml: document contains excessive aliasing").ToException();
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

    private void CheckKey(int key, ParsingEvent? at)
    {
        if (_document[key].Kind is not (NodeKind.String or NodeKind.Number or NodeKind.True or NodeKind.False))
            throw Refuse("unsupported map key", at);
    }

    private ReadOnlySpan<byte> KeyText(int key) => _document[key].Kind switch
    {
        NodeKind.True => "true"u8,
        NodeKind.False => "false"u8,
        _ => _document.TextOf(key),
    };

    private void ReportDuplicate(ReadOnlySpan<byte> name, ParsingEvent? at)
    {
        if (_duplicates?.Count >= MaxDuplicates)
            return;
        var words = $"line {at?.Start.Line}: key {GoText.Quote(name)} already set in map";
        if (_duplicates is null)
            throw ApiStatus.BadRequest($"error converting YAML to JSON: yaml: unmarshal errors:\n  {words}").ToException();
        _duplicates.Add($"yaml: unmarshal errors:\n  {words}");
    }

    private static ApiStatusException Refuse(string words, ParsingEvent? at) =>
        ApiStatus.BadRequest($"error converting YAML to JSON: yaml: line {at?.Start.Line}: {words}").ToException();
}
