using k8s.Models;

namespace K3sFast.Client.Selection;

/// <summary>
/// A label selector made ready for many matches. Immutable, any thread. A missing selector matches nothing and an empty one everything, as
/// in upstream.
/// </summary>
public sealed class LabelMatcher
{
    /// <summary>Matches no labels at all.</summary>
    public static LabelMatcher Nothing { get; } = new([], matchesNothing: true);

    private readonly Requirement[] _requirements;
    private readonly bool _matchesNothing;

    private LabelMatcher(Requirement[] requirements, bool matchesNothing)
    {
        (_requirements, _matchesNothing) = (requirements, matchesNothing);
    }

    /// <summary>True for the selector without requirements.</summary>
    public bool IsEverything => !_matchesNothing && _requirements.Length == 0;

    /// <summary>A selector of matchLabels and matchExpressions; an operator that is not known matches nothing.</summary>
    public static LabelMatcher Of(V1LabelSelector? selector)
    {
        if (selector is null) return Nothing;
        var requirements = new List<Requirement>();
        foreach (var (key, value) in selector.MatchLabels ?? EmptyLabels) requirements.Add(new Requirement(key, "In", [value]));
        foreach (var expression in selector.MatchExpressions ?? [])
        {
            if (expression.OperatorProperty is not ("In" or "NotIn" or "Exists" or "DoesNotExist")) return Nothing;
            requirements.Add(new Requirement(expression.Key, expression.OperatorProperty, [.. expression.Values ?? []]));
        }
        return new LabelMatcher([.. requirements], matchesNothing: false);
    }

    /// <summary>A selector of equalities, as services and replication controllers have; none or an empty one matches nothing.</summary>
    public static LabelMatcher Of(IDictionary<string, string>? equalities)
    {
        if (equalities is not { Count: > 0 }) return Nothing;
        var requirements = new List<Requirement>(equalities.Count);
        foreach (var (key, value) in equalities) requirements.Add(new Requirement(key, "In", [value]));
        return new LabelMatcher([.. requirements], matchesNothing: false);
    }

    public bool Matches(IDictionary<string, string>? labels)
    {
        if (_matchesNothing) return false;
        foreach (var requirement in _requirements)
        {
            string? value = null;
            var isPresent = labels is not null && labels.TryGetValue(requirement.Key, out value);
            var holds = requirement.Operator switch
            {
                "In" => isPresent && Array.IndexOf(requirement.Values, value) >= 0,
                "NotIn" => !isPresent || Array.IndexOf(requirement.Values, value) < 0,
                "Exists" => isPresent,
                _ => !isPresent,
            };
            if (!holds) return false;
        }
        return true;
    }

    private static Dictionary<string, string> EmptyLabels { get; } = [];

    private readonly record struct Requirement(string Key, string Operator, string[] Values);
}
