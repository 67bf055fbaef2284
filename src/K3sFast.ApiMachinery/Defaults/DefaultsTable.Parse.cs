using System.Collections.Frozen;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>
/// The literal defaulting rules, by type. The text is compiled in; it is read once, on first use, into one array per type.
/// One rule a line: type, dotted path below it, what counts as absent, JSON to set.
/// </summary>
internal static partial class DefaultsTable
{
    private static readonly FrozenDictionary<string, DefaultsLiteral[]> s_byType = Parse();

    /// <summary>Rules of one type in table order; empty when it has none.</summary>
    internal static DefaultsLiteral[] For(string typeFullName) => s_byType.TryGetValue(typeFullName, out var rules) ? rules : [];

    /// <summary>All types that have rules, for the tests that prove each of them exists in the schema.</summary>
    internal static IEnumerable<string> Types => s_byType.Keys;

    private static FrozenDictionary<string, DefaultsLiteral[]> Parse()
    {
        var byType = new Dictionary<string, List<DefaultsLiteral>>();
        var rest = Text;
        while (!rest.IsEmpty)
        {
            int end = rest.IndexOf((byte)'\n');
            var line = end < 0 ? rest : rest[..end];
            rest = end < 0 ? default : rest[(end + 1)..];
            int typeEnd = line.IndexOf((byte)' ');
            int pathEnd = typeEnd + 1 + line[(typeEnd + 1)..].IndexOf((byte)' ');
            int whenEnd = pathEnd + 1 + line[(pathEnd + 1)..].IndexOf((byte)' ');
            string type = Encoding.ASCII.GetString(line[..typeEnd]);
            string path = Encoding.ASCII.GetString(line[(typeEnd + 1)..pathEnd]);
            if (!byType.TryGetValue(type, out var rules))
                byType[type] = rules = [];
            rules.Add(new DefaultsLiteral(path, line[pathEnd + 1], line[(whenEnd + 1)..]));
        }
        return byType.ToFrozenDictionary(pair => pair.Key, pair => pair.Value.ToArray());
    }
}

/// <summary>One literal rule: sets a constant at a path when nothing is there. Immutable.</summary>
internal sealed class DefaultsLiteral
{
    private readonly byte[][] _parents;
    private readonly byte[] _name;
    private readonly bool _zeroIsAbsent;
    private readonly byte[] _value;      // text between the quotes, or the JSON itself
    private readonly byte _first;        // first byte of the JSON: its kind

    internal DefaultsLiteral(string path, byte when, ReadOnlySpan<byte> json)
    {
        var segments = path.Split('.');
        _parents = segments[..^1].Select(Encoding.UTF8.GetBytes).ToArray();
        _name = Encoding.UTF8.GetBytes(segments[^1]);
        _zeroIsAbsent = when != (byte)'n';
        _first = json[0];
        _value = _first switch
        {
            (byte)'"' => json[1..^1].ToArray(),
            (byte)'[' => json[2..^2].ToArray(),
            _ => json.ToArray(),
        };
    }

    /// <summary>First member of the path: the field of the owner's type that the rule needs.</summary>
    internal ReadOnlySpan<byte> FirstSegment => _parents.Length > 0 ? _parents[0] : _name;

    internal void Apply(ApiNode node)
    {
        foreach (var parent in _parents)
            node = node.GetOrAddObject(parent);
        var current = node[_name];
        if (!current.IsNullOrUndefined && !(_zeroIsAbsent && IsZero(current)))
            return;
        switch (_first)
        {
            case (byte)'"':
                node.Set(_name, _value);
                break;
            case (byte)'t':
            case (byte)'f':
                node.Set(_name, _first == (byte)'t');
                break;
            case (byte)'{':
                node.Remove(_name);
                node.GetOrAddObject(_name);
                break;
            case (byte)'[':
                node.Remove(_name);
                node.GetOrAddArray(_name).AppendString(_value);
                break;
            default:
                node.SetNumber(_name, _value);
                break;
        }
    }

    private static bool IsZero(ApiNode node) => node.Kind switch
    {
        NodeKind.String => node.Utf8.IsEmpty,
        NodeKind.Number => node.TryGetInt64(out long value) && value == 0,
        NodeKind.Array or NodeKind.Object => node.Count == 0,
        _ => false,
    };
}
