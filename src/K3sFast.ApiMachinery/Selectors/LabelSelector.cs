using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>
/// A label selector: conditions on labels, all of which must hold. Text form and words are those of k8s.io/apimachinery/pkg/labels. Immutable.
/// </summary>
/// <remarks>Any thread. Matching allocates nothing; it is linear in labels times conditions, both of which are few.</remarks>
public sealed class LabelSelector
{
    private readonly LabelRequirement[] _requirements;
    private readonly bool _matchesNothing;

    private LabelSelector(LabelRequirement[] requirements, bool matchesNothing = false)
    {
        _requirements = requirements;
        _matchesNothing = matchesNothing;
    }

    /// <summary>Matches everything.</summary>
    public static LabelSelector Everything { get; } = new([]);

    /// <summary>Matches nothing: what an absent selector means in objects.</summary>
    public static LabelSelector Nothing { get; } = new([], matchesNothing: true);

    /// <summary>The conditions, sorted by label.</summary>
    public IReadOnlyList<LabelRequirement> Requirements => _requirements;

    /// <summary>True when everything matches.</summary>
    public bool IsEverything => _requirements.Length == 0 && !_matchesNothing;

    /// <summary>Parses the text form: <c>a=b,c!=d,e in (f,g),h notin (i),j,!k,l&gt;1</c>. Empty text matches everything.</summary>
    /// <exception cref="ApiStatusException">400 with upstream's words.</exception>
    public static LabelSelector Parse(string text) => text.Length == 0 ? Everything : new LabelSelector(Sorted(new LabelSelectorParser(text).Parse()));

    /// <summary>A selector of checked conditions.</summary>
    public static LabelSelector FromRequirements(params IEnumerable<LabelRequirement> requirements) => new(Sorted(requirements));

    /// <summary>Labels that must all be there with these values.</summary>
    public static LabelSelector FromLabels(IEnumerable<KeyValuePair<string, string>>? labels) =>
        new(Sorted((labels ?? []).Select(label => new LabelRequirement(label.Key, LabelOperator.Equals, label.Value))));

    /// <summary>A metav1.LabelSelector (matchLabels, matchExpressions): absent matches nothing, empty matches everything.</summary>
    /// <exception cref="ApiStatusException">400 for an operator that is none.</exception>
    public static LabelSelector FromNode(ApiNode selector)
    {
        if (selector.IsNullOrUndefined)
            return Nothing;
        var requirements = new List<LabelRequirement>();
        foreach (var label in selector["matchLabels"u8].Members)
            requirements.Add(new LabelRequirement(Encoding.UTF8.GetString(label.Name), LabelOperator.Equals, label.Value.AsString()));
        foreach (var expression in selector["matchExpressions"u8].Elements)
        {
            var values = new List<string>();
            foreach (var value in expression["values"u8].Elements)
                values.Add(value.AsString());
            var comparison = expression["operator"u8].AsString() switch
            {
                "In" => LabelOperator.In,
                "NotIn" => LabelOperator.NotIn,
                "Exists" => LabelOperator.Exists,
                "DoesNotExist" => LabelOperator.DoesNotExist,
                var other => throw ApiStatus.BadRequest($"{GoText.Quote(other)} is not a valid label selector operator").ToException(),
            };
            requirements.Add(new LabelRequirement(expression["key"u8].AsString(), comparison, values));
        }
        return requirements.Count == 0 ? Everything : new LabelSelector(Sorted(requirements));
    }

    /// <summary>True if the labels, given as one JSON object (empty span = no labels), satisfy every condition.</summary>
    public bool Matches(ReadOnlySpan<byte> labelsJsonObject)
    {
        foreach (var requirement in _requirements)
        {
            var exists = TryFind(labelsJsonObject, requirement.KeyUtf8, out var value);
            if (!requirement.Holds(exists, value))
                return false;
        }
        return !_matchesNothing;
    }

    /// <summary>True if the labels object satisfies every condition; undefined = no labels.</summary>
    public bool Matches(ApiNode labels)
    {
        foreach (var requirement in _requirements)
        {
            var label = labels[requirement.KeyUtf8];
            if (!requirement.Holds(label.IsDefined, new LabelText(label.Utf8, isEscaped: false)))
                return false;
        }
        return !_matchesNothing;
    }

    /// <summary>True if the labels satisfy every condition; null = no labels.</summary>
    public bool Matches(IDictionary<string, string>? labels)
    {
        Span<byte> buffer = stackalloc byte[256];
        foreach (var requirement in _requirements)
        {
            string? label = null;
            var exists = labels is not null && labels.TryGetValue(requirement.Key, out label);
            var value = label is null ? default
                : Encoding.UTF8.TryGetBytes(label, buffer, out var length) ? buffer[..length]
                : Encoding.UTF8.GetBytes(label);
            if (!requirement.Holds(exists, new LabelText(value, isEscaped: false)))
                return false;
        }
        return !_matchesNothing;
    }

    /// <summary>The text form.</summary>
    public override string ToString() => string.Join(',', _requirements.Select(requirement => requirement.ToString()));

    // Object of strings without white space between tokens, or with: both are read.
    private static bool TryFind(ReadOnlySpan<byte> json, ReadOnlySpan<byte> key, out LabelText value)
    {
        value = default;
        var rest = json;
        while (true)
        {
            var quote = rest.IndexOf((byte)'"');
            if (quote < 0)
                return false;
            rest = rest[(quote + 1)..];
            var name = TakeString(ref rest, out var isNameEscaped);
            quote = rest.IndexOf((byte)'"');
            if (quote < 0)
                return false;
            rest = rest[(quote + 1)..];
            var text = TakeString(ref rest, out var isEscaped);
            if (!new LabelText(name, isNameEscaped).Equals(key))
                continue;
            value = new LabelText(text, isEscaped);
            return true;
        }
    }

    private static ReadOnlySpan<byte> TakeString(scoped ref ReadOnlySpan<byte> rest, out bool isEscaped)
    {
        isEscaped = false;
        var end = rest.IndexOfAny((byte)'"', (byte)'\\');
        while (end >= 0 && rest[end] == '\\')
        {
            isEscaped = true;
            var next = end + 2 < rest.Length ? rest[(end + 2)..].IndexOfAny((byte)'"', (byte)'\\') : -1;
            end = next < 0 ? -1 : end + 2 + next;
        }
        var text = end < 0 ? rest : rest[..end];
        rest = end < 0 ? default : rest[(end + 1)..];
        return text;
    }

    private static LabelRequirement[] Sorted(IEnumerable<LabelRequirement> requirements) =>
        [.. requirements.OrderBy(requirement => requirement.Key, StringComparer.Ordinal)];
}
