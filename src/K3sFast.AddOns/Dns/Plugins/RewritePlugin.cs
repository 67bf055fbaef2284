namespace K3sFast.AddOns.Dns;

/// <summary>
/// Changes questions before they are answered and leads the answers back, so that the client sees nothing of it. All rules of a block are one
/// plugin, tried in their order.
/// </summary>
internal sealed class RewritePlugin(IReadOnlyList<RewriteRule> rules) : Plugin
{
    internal override string Name => "rewrite";

    internal override bool IsForQuestionOnly => true;

    internal override Step Handle(Exchange exchange)
    {
        Span<char> text = stackalloc char[NameText.MaxSize];
        ReadOnlySpan<char> name = text[..NameText.Write(exchange.Name, text)];
        for (var i = 0; i < rules.Count; i++)
        {
            var rule = rules[i];
            if (!Matches(rule, exchange, name)) continue;
            if (rule.Field == "name")
            {
                var from = new string(name);
                var to = rule.Matcher!.Replace(from, rule.To);
                if (!to.EndsWith('.')) to += ".";
                if (NameText.Parse(to) is not { } wire)
                {
                    exchange.Fail(DnsCode.ServerFailure);
                    return Step.Answered;
                }
                exchange.SetName(wire);
                exchange.IsQuestionName &= rule.IsAuto;
                exchange.Notes.Rewrites.Add(new RewriteNote(rule, from, NameText.Of(wire)));
                name = text[..NameText.Write(wire, text)];
            }
            else Apply(rule, exchange);
            if (!rule.Continues) break;
        }
        return Step.Next;
    }

    internal override Step Finish(Exchange exchange)
    {
        var notes = exchange.Notes.Rewrites;
        for (var i = notes.Count - 1; i >= 0; i--)
        {
            var note = notes[i];
            switch (note.Rule.Field)
            {
                case "rcode" when (ushort)exchange.Code == note.Rule.FromNumber: exchange.Code = (DnsCode)note.Rule.ToNumber; break;
                case "ttl": AnswerRecords.ClampTtl(exchange, note.Rule.MinTtl, note.Rule.MaxTtl); break;
                case "name": LeadBack(exchange, note); break;
                default: break;
            }
        }
        return Step.Answered;
    }

    private static bool Matches(RewriteRule rule, Exchange exchange, ReadOnlySpan<char> name) => rule.Field switch
    {
        "type" => (ushort)exchange.Type == rule.FromNumber,
        "class" => exchange.Class == rule.FromNumber,
        _ => rule.Matcher!.IsMatch(name),
    };

    private static void Apply(RewriteRule rule, Exchange exchange)
    {
        if (rule.Field == "type") exchange.Type = (DnsType)rule.ToNumber;
        else if (rule.Field == "class") exchange.Class = rule.ToNumber;
        else exchange.Notes.Rewrites.Add(new RewriteNote(rule, "", ""));
    }

    private static void LeadBack(Exchange exchange, RewriteNote note)
    {
        var rule = note.Rule;
        // Records of the name itself were written as the question's already; only others have to be looked at.
        if (rule.IsAuto && !AnswerRecords.HasForeignOwners(exchange) && rule.Answers.All(static answer => answer.IsAuto)) return;
        AnswerRecords.Rewrite(exchange, name =>
        {
            foreach (var answer in rule.Answers)
            {
                if (!answer.IsAuto && !answer.IsValue && answer.Matcher!.IsMatch(name)) return Closed(answer.Matcher.Replace(name, answer.To));
            }
            return rule.IsAuto ? rule.LeadBack(name, note) : name;
        }, value =>
        {
            foreach (var answer in rule.Answers)
            {
                if (answer.IsValue && answer.Matcher!.IsMatch(value)) return Closed(answer.Matcher.Replace(value, answer.To));
            }
            return value;
        });
    }

    private static string Closed(string name) => name.EndsWith('.') ? name : name + ".";
}
