namespace K3sFast.AddOns.Dns;

/// <summary>Reads one rule of the rewrite plugin; its braces only spread the words over lines.</summary>
internal static class RewriteSetup
{
    internal static RewriteRule Parse(CorefileDirective directive)
    {
        var words = directive.Arguments.Concat(directive.Lines.SelectMany(static line => line.Words)).ToList();
        var continues = false;
        if (words.Count > 0 && words[0] is "continue" or "stop")
        {
            continues = words[0] == "continue";
            words.RemoveAt(0);
        }
        if (words.Count < 2) throw directive.ArgumentError();
        var field = words[0];
        words.RemoveAt(0);
        return field switch
        {
            "name" => Name(directive, words),
            "type" => Numbers(directive, words, field, static word => DnsWords.TryType(word, out var type) ? (ushort)type : null),
            "class" => Numbers(directive, words, field, static word => DnsWords.TryClass(word, out var number) ? number : null),
            "ttl" => Ttl(directive, words),
            "rcode" => Code(directive, words),
            "edns0" or "cname" => throw directive.Error($"rewrite of {field} is not part of the built-in DNS"),
            _ => throw directive.Error($"invalid rule type \"{field}\""),
        } with { Continues = continues };
    }

    // [exact|prefix|suffix|substring|regex] FROM TO [[answer] auto | [answer] name FROM TO | [answer] value FROM TO]...
    private static RewriteRule Name(CorefileDirective directive, List<string> words)
    {
        var kind = NameMatch.Exact;
        if (words.Count > 2 && NameMatcher.TryKind(words[0], out kind)) words.RemoveAt(0);
        if (words.Count < 2) throw directive.ArgumentError();
        var from = kind == NameMatch.Regex ? words[0] : words[0].ToLowerInvariant();
        var to = words[1].ToLowerInvariant();
        if (kind is NameMatch.Exact or NameMatch.Suffix)
        {
            from = Closed(from);
            to = Closed(to);
        }
        var answers = new List<AnswerRule>();
        for (var i = 2; i < words.Count;)
        {
            if (words[i] == "answer" && ++i == words.Count) throw directive.ArgumentError();
            if (words[i] == "auto" || (words[i] == "name" && i + 1 < words.Count && words[i + 1] == "auto"))
            {
                answers.Add(new AnswerRule(true, false, null, ""));
                i += words[i] == "auto" ? 1 : 2;
            }
            else if (words[i] is "name" or "value" && i + 2 < words.Count)
            {
                answers.Add(new AnswerRule(false, words[i] == "value", new NameMatcher(NameMatch.Regex, words[i + 1]), words[i + 2].ToLowerInvariant()));
                i += 3;
            }
            else throw directive.Error($"exceeded the number of arguments for a name rule, or an unknown option '{words[i]}'");
        }
        return new RewriteRule { Field = "name", Kind = kind, Matcher = new NameMatcher(kind, from), From = from, To = to, Answers = answers };
    }

    private static RewriteRule Numbers(CorefileDirective directive, List<string> words, string field, Func<string, ushort?> read)
    {
        if (words.Count != 2) throw directive.ArgumentError();
        return new RewriteRule
        {
            Field = field,
            FromNumber = read(words[0]) ?? throw directive.Error($"invalid {field} \"{words[0]}\""),
            ToNumber = read(words[1]) ?? throw directive.Error($"invalid {field} \"{words[1]}\""),
        };
    }

    // [MATCH] STRING SECONDS | MIN-MAX
    private static RewriteRule Ttl(CorefileDirective directive, List<string> words)
    {
        var kind = NameMatch.Exact;
        if (words.Count > 2 && NameMatcher.TryKind(words[0], out kind)) words.RemoveAt(0);
        if (words.Count != 2) throw directive.ArgumentError();
        var dash = words[1].IndexOf('-', StringComparison.Ordinal);
        var (low, high) = dash < 0 ? (words[1], words[1]) : (words[1][..dash], words[1][(dash + 1)..]);
        uint min = 0, max = int.MaxValue;
        if ((low.Length > 0 && !uint.TryParse(low, out min)) || (high.Length > 0 && !uint.TryParse(high, out max)) || min > max) throw directive.Error($"invalid TTL '{words[1]}'");
        return new RewriteRule { Field = "ttl", Kind = kind, Matcher = new NameMatcher(kind, words[0]), MinTtl = min, MaxTtl = max };
    }

    // [MATCH] STRING FROM TO
    private static RewriteRule Code(CorefileDirective directive, List<string> words)
    {
        var kind = NameMatch.Exact;
        if (words.Count > 3 && NameMatcher.TryKind(words[0], out kind)) words.RemoveAt(0);
        if (words.Count != 3) throw directive.ArgumentError();
        if (!DnsWords.TryCode(words[1], out var from)) throw directive.Error($"invalid rcode '{words[1]}'");
        if (!DnsWords.TryCode(words[2], out var to)) throw directive.Error($"invalid rcode '{words[2]}'");
        return new RewriteRule { Field = "rcode", Kind = kind, Matcher = new NameMatcher(kind, words[0]), FromNumber = (ushort)from, ToNumber = (ushort)to };
    }

    private static string Closed(string name) => name.EndsWith('.') ? name : name + ".";
}
