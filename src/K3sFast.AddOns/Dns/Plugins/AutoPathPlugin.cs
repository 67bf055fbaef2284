using K3sFast.Client;

namespace K3sFast.AddOns.Dns;

/// <summary>
/// Walks a pod's search path here instead of letting the client do it: its first question is answered with what it would have found after
/// several, behind an alias (autopath). Who asks is known by the pod's address.
/// </summary>
internal sealed class AutoPathPlugin(ZoneSet zones, Func<Exchange, byte[][]> searchPath, Counter successes) : Plugin
{
    internal override string Name => "autopath";

    internal override bool IsForQuestionOnly => true;

    internal override Step Handle(Exchange exchange)
    {
        // Deeper in the path the question is ours.
        if (exchange.Notes.SearchBase is not null || zones.Match(exchange.Name) is null) return Step.Next;
        var path = searchPath(exchange);
        if (path.Length < 2 || exchange.Name.Length <= path[0].Length || !WireName.IsWithin(exchange.Name, path[0])) return Step.Next;
        // The rest of the name, labels without the closing zero.
        exchange.Notes.SearchBase = exchange.Name[..^path[0].Length].ToArray();
        (exchange.Notes.SearchPath, exchange.Notes.SearchIndex) = (path, 0);
        return Step.Next;
    }

    internal override Step Finish(Exchange exchange)
    {
        var notes = exchange.Notes;
        if (notes.SearchBase is not { } name) return Step.Answered;
        if (exchange.Code == DnsCode.NameError)
        {
            while (++notes.SearchIndex < notes.SearchPath.Length)
            {
                var domain = notes.SearchPath[notes.SearchIndex];
                if (name.Length + domain.Length > DnsMessage.MaxNameSize) continue;
                return Ask(exchange, [.. name, .. domain]);
            }
            // Nowhere: the first answer is the one to give. The path is at its end, so that this comes by only once more.
            if (notes.SearchIndex == notes.SearchPath.Length) return Ask(exchange, exchange.Question);
        }
        if (notes.SearchIndex > 0 && notes.SearchIndex < notes.SearchPath.Length) Alias(exchange);
        exchange.IsQuestionName = true;
        return Step.Answered;
    }

    private static Step Ask(Exchange exchange, ReadOnlySpan<byte> name)
    {
        exchange.Reset();
        exchange.SetName(name);
        exchange.IsQuestionName = name.SequenceEqual(exchange.Question);
        exchange.Answered = null;
        exchange.Notes.IsForeign = false;
        return Step.Again;
    }

    // The question's name is an alias of the name that was found; its records follow.
    private void Alias(Exchange exchange)
    {
        successes.Add();
        var records = AnswerRecords.Read(exchange);
        var found = exchange.Name.ToArray();
        var ttl = records.Where(static record => record.Section == 0).Select(static record => record.Ttl).DefaultIfEmpty(0u).Min();
        if (records.Exists(static record => record.Section == 0))
        {
            records.Insert(0, new AnswerRecords.Record(0, exchange.Question.ToArray(), DnsType.Cname, 1, ttl, found));
        }
        AnswerRecords.Replace(exchange, records);
    }
}
