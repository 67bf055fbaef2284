using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>One condition of a field selector. Immutable.</summary>
public sealed class FieldTerm
{
    private readonly byte[] _valueUtf8;
    private readonly byte[][] _pathUtf8;

    internal FieldTerm(string label, string path, bool isEqual, string value)
    {
        Label = label;
        Path = path;
        IsEqual = isEqual;
        Value = value;
        _valueUtf8 = Encoding.UTF8.GetBytes(value);
        _pathUtf8 = [.. path.Split('.').Select(Encoding.UTF8.GetBytes)];
    }

    /// <summary>The label as given, for example spec.host.</summary>
    public string Label { get; }

    /// <summary>The member that it means, for example spec.nodeName.</summary>
    public string Path { get; }

    /// <summary>True for = and ==, false for !=.</summary>
    public bool IsEqual { get; }

    /// <summary>The value without escapes.</summary>
    public string Value { get; }

    /// <summary>True if the condition holds for the member's value (no value = empty). Allocates nothing.</summary>
    public bool Holds(ReadOnlySpan<byte> value) => value.SequenceEqual(_valueUtf8) == IsEqual;

    /// <summary>True if the condition holds for the object. Allocates nothing.</summary>
    public bool Holds(ApiNode root)
    {
        var node = root;
        foreach (var part in _pathUtf8)
            node = node[part];
        // Booleans are selectable as their words, and false where they are absent.
        return Holds(node.Kind switch
        {
            NodeKind.True => "true"u8,
            NodeKind.False => "false"u8,
            _ => node.Utf8.Length > 0 || !IsBooleanPath ? node.Utf8 : "false"u8,
        });
    }

    private bool IsBooleanPath => Path is "spec.unschedulable" or "spec.hostNetwork";
}

/// <summary>A field selector: conditions on members, all of which must hold. Text form as k8s.io/apimachinery/pkg/fields. Immutable.</summary>
/// <remarks>Any thread; matching allocates nothing.</remarks>
public sealed class FieldSelector
{
    private readonly FieldTerm[] _terms;

    private FieldSelector(FieldTerm[] terms) => _terms = terms;

    /// <summary>Matches everything.</summary>
    public static FieldSelector Everything { get; } = new([]);

    /// <summary>The conditions.</summary>
    public IReadOnlyList<FieldTerm> Terms => _terms;

    /// <summary>True when everything matches.</summary>
    public bool IsEverything => _terms.Length == 0;

    /// <summary>Parses the text form: <c>metadata.name=a,status.phase!=b</c>; \ escapes , = and \ in values.</summary>
    /// <exception cref="ApiStatusException">400 in upstream's words when it cannot be read or the resource has no such field label.</exception>
    public static FieldSelector Parse(string text, ResourceInfo resource)
    {
        if (text.Length == 0)
            return Everything;
        var terms = new List<FieldTerm>();
        foreach (var part in SplitTerms(text).Order(StringComparer.Ordinal))
        {
            if (part.Length == 0)
                continue;
            var at = part.IndexOf('=', StringComparison.Ordinal);
            if (at < 0)
                throw Refuse($"invalid selector: '{text}'; can't understand '{part}'");
            var isNot = at > 0 && part[at - 1] == '!';
            var label = part[..(isNot ? at - 1 : at)];
            var isDouble = !isNot && at + 1 < part.Length && part[at + 1] == '=';
            var value = Unescape(part[(at + (isDouble ? 2 : 1))..]);
            // As upstream: a condition on nothing is left out.
            if (!isNot || label.Length > 0)
                terms.Add(new FieldTerm(label, PathOf(label, resource), !isNot, value));
        }
        return new FieldSelector([.. terms]);
    }

    /// <summary>True if the object satisfies every condition.</summary>
    public bool Matches(ApiNode root)
    {
        foreach (var term in _terms)
        {
            if (!term.Holds(root))
                return false;
        }
        return true;
    }

    /// <summary>The value that <c>metadata.name=</c> (or another path) is bound to, if a condition binds it: lists by name become one read.</summary>
    public bool TryGetExact(string path, out string value)
    {
        foreach (var term in _terms)
        {
            if (term.IsEqual && term.Path == path)
            {
                value = term.Value;
                return true;
            }
        }
        value = "";
        return false;
    }

    /// <summary>The text form.</summary>
    public override string ToString() => string.Join(',', _terms.Select(term => $"{term.Label}{(term.IsEqual ? "=" : "!=")}{Escape(term.Value)}"));

    private static string PathOf(string label, ResourceInfo resource)
    {
        foreach (var field in resource.SelectableFields)
        {
            if (field.Label == label)
                return field.Path;
        }
        throw Refuse(UnknownLabelWords(label, resource));
    }

    // Kinds with selectable fields of their own say it in their own conversions; all others share one.
    private static string UnknownLabelWords(string label, ResourceInfo resource) => (resource.Group, resource.Resource) switch
    {
        ("batch", "jobs") => $"field label {GoText.Quote(label)} not supported for Job",
        ("resource.k8s.io", "resourceslices") => $"field label not supported for {resource.ApiVersion}, Kind=ResourceSlice: {label}",
        _ when resource.SelectableFields.Any(field => field.Path is not ("metadata.name" or "metadata.namespace"))
            => $"field label not supported: {label}",
        _ => $"{GoText.Quote(label)} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
    };

    private static List<string> SplitTerms(string text)
    {
        var terms = new List<string>();
        var start = 0;
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] == '\\')
                i++;
            else if (text[i] == ',')
            {
                terms.Add(text[start..i]);
                start = i + 1;
            }
        }
        terms.Add(text[start..]);
        return terms;
    }

    private static string Unescape(string value)
    {
        if (value.AsSpan().IndexOfAny('\\', ',', '=') < 0)
            return value;
        var unescaped = new StringBuilder(value.Length);
        for (var i = 0; i < value.Length; i++)
        {
            if (value[i] is ',' or '=')
                throw Refuse($"invalid field selector: unescaped character in value: {(int)value[i]}");
            if (value[i] != '\\')
            {
                unescaped.Append(value[i]);
                continue;
            }
            i++;
            if (i == value.Length || value[i] is not ('\\' or ',' or '='))
                throw Refuse($"invalid field selector: invalid escape sequence: \\{(i < value.Length ? value[i] : "")}");
            unescaped.Append(value[i]);
        }
        return unescaped.ToString();
    }

    private static string Escape(string value) => value.Replace("\\", "\\\\", StringComparison.Ordinal).Replace(",", "\\,", StringComparison.Ordinal)
        .Replace("=", "\\=", StringComparison.Ordinal);

    private static ApiStatusException Refuse(string words) => ApiStatus.BadRequest(words).ToException();
}
