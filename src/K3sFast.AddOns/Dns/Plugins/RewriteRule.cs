namespace K3sFast.AddOns.Dns;

/// <summary>What a rewrite did to a question, so that the answer can be led back.</summary>
internal sealed record RewriteNote(RewriteRule Rule, string From, string To);

/// <summary>How names in an answer, or in its data, are rewritten.</summary>
internal sealed record AnswerRule(bool IsAuto, bool IsValue, NameMatcher? Matcher, string To);

/// <summary>One rule of the rewrite plugin. Immutable.</summary>
internal sealed record RewriteRule
{
    /// <summary>name, type, class, ttl or rcode.</summary>
    internal required string Field { get; init; }

    internal bool Continues { get; init; }

    internal NameMatch Kind { get; init; }

    internal NameMatcher? Matcher { get; init; }

    /// <summary>The pattern's text, dot-closed where it is a whole name.</summary>
    internal string From { get; init; } = "";

    internal string To { get; init; } = "";

    /// <summary>Type, class or code.</summary>
    internal ushort FromNumber { get; init; }

    internal ushort ToNumber { get; init; }

    internal uint MinTtl { get; init; }

    internal uint MaxTtl { get; init; } = uint.MaxValue;

    internal IReadOnlyList<AnswerRule> Answers { get; init; } = [];

    /// <summary>True where records of the rewritten name appear as records of the name that was asked for.</summary>
    internal bool IsAuto => Field == "name" && (Kind == NameMatch.Exact || Answers.Any(static rule => rule.IsAuto));

    /// <summary>Leads a name of the answer back: what this rule made of <paramref name="note"/>'s name becomes what it was.</summary>
    internal string LeadBack(string name, RewriteNote note)
    {
        if (name == note.To) return note.From;
        return Kind switch
        {
            NameMatch.Suffix when name.EndsWith(To, StringComparison.Ordinal) => name[..^To.Length] + From,
            NameMatch.Prefix when To.Length > 0 && name.StartsWith(To, StringComparison.Ordinal) => From + name[To.Length..],
            NameMatch.Substring when To.Length > 0 => name.Replace(To, From, StringComparison.Ordinal),
            _ => name,
        };
    }
}
