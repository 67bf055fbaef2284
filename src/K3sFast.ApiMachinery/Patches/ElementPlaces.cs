using System.Buffers.Text;
using System.Globalization;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Where the elements of a list are, by merge key or, without one, by value; so that a patch of a long list costs a lookup for each element.</summary>
internal sealed class ElementPlaces
{
    private readonly byte[]? _key;
    private readonly Dictionary<string, int> _places = new(StringComparer.Ordinal);
    private readonly StringBuilder _text = new();
    private int _count;

    /// <summary>Notes the elements, in their order; the first of equal ones counts.</summary>
    internal ElementPlaces(IEnumerable<ApiNode> elements, string? key)
    {
        _key = key is null ? null : Encoding.UTF8.GetBytes(key);
        foreach (var element in elements)
            Add(element);
    }

    /// <summary>Notes one more element behind the others.</summary>
    internal void Add(ApiNode element)
    {
        if (TextOf(element) is { } text)
            _places.TryAdd(text, _count);
        _count++;
    }

    /// <summary>The place of the element that is the same; -1 when there is none.</summary>
    internal int Find(ApiNode element) => TextOf(element) is { } text ? _places.GetValueOrDefault(text, -1) : -1;

    // Elements are the same exactly when their texts are; one that lacks the key is the same as none.
    private string? TextOf(ApiNode element)
    {
        _text.Clear();
        if (_key is null || element.Kind != NodeKind.Object)
        {
            Write(element);
            return _text.ToString();
        }
        var value = element[_key.AsSpan()];
        if (!value.IsDefined)
            return null;
        _text.Append('k');
        Write(value);
        return _text.ToString();
    }

    // Texts stand behind their lengths, so that none looks like two.
    private void Write(ApiNode node)
    {
        switch (node.Kind)
        {
            case NodeKind.Number:
                // By value, whatever it is written like.
                _text.Append(Utf8Parser.TryParse(node.Utf8, out double number, out var used) && used == node.Utf8.Length
                    ? number.ToString("R", CultureInfo.InvariantCulture) : node.AsString());
                break;
            case NodeKind.String:
                WriteText(node.AsString());
                break;
            case NodeKind.Object:
                StackGuard.Enter();
                _text.Append('{');
                var members = new List<(string Name, ApiNode Value)>();
                foreach (var member in node.Members)
                    members.Add((Encoding.UTF8.GetString(member.Name), member.Value));
                foreach (var (name, value) in members.OrderBy(static member => member.Name, StringComparer.Ordinal))
                {
                    WriteText(name);
                    _text.Append(':');
                    Write(value);
                }
                _text.Append('}');
                break;
            case NodeKind.Array:
                StackGuard.Enter();
                _text.Append('[');
                foreach (var element in node.Elements)
                {
                    Write(element);
                    _text.Append(',');
                }
                _text.Append(']');
                break;
            default:
                _text.Append(node.Kind);
                break;
        }
    }

    private void WriteText(string text) => _text.Append('"').Append(text.Length).Append('"').Append(text);
}
