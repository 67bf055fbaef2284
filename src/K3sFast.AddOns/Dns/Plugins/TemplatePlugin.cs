using System.Text.RegularExpressions;
using Microsoft.Extensions.Logging;

namespace K3sFast.AddOns.Dns;

/// <summary>What a Corefile's template plugin says.</summary>
internal sealed record TemplateOptions
{
    internal required ZoneSet Zones { get; init; }

    /// <summary>0 = any.</summary>
    internal ushort Class { get; init; }

    /// <summary>0 = any.</summary>
    internal DnsType Type { get; init; }

    internal IReadOnlyList<Regex> Patterns { get; init; } = [];

    /// <summary>Section (0 answer, 1 authority, 2 additional) and record.</summary>
    internal IReadOnlyList<(int Section, TemplateText Text)> Records { get; init; } = [];

    internal DnsCode Code { get; init; }

    internal FallThrough FallThrough { get; init; } = FallThrough.Never;
}

/// <summary>Answers that are made of the question by a pattern and a text.</summary>
internal sealed class TemplatePlugin(TemplateOptions options, DnsMetrics metrics, ILogger logger) : Plugin
{
    internal override string Name => "template";

    internal override Step Handle(Exchange exchange)
    {
        if ((options.Class != 0 && exchange.Class != options.Class) || (options.Type != 0 && exchange.Type != options.Type)) return Step.Next;
        if (options.Zones.Match(exchange.Name) is not { } zone) return Step.Next;
        var name = NameText.Of(exchange.Name);
        Match? match = null;
        foreach (var pattern in options.Patterns)
        {
            match = pattern.Match(name);
            if (match.Success) break;
        }
        if (match is { Success: false })
        {
            if (options.FallThrough.Includes(exchange.Name)) return Step.Next;
            exchange.Code = DnsCode.ServerFailure;
            return Step.Answered;
        }
        metrics.TemplateMatches.With(exchange.Block.Server, WireName.ToText(zone), "", DnsWords.Class(exchange.Class), DnsWords.Type(exchange.Type)).Add();
        if (options.Code is not (DnsCode.NoError or DnsCode.NameError))
        {
            exchange.Code = options.Code;
            return Step.Answered;
        }
        exchange.IsAuthoritative = true;
        exchange.Code = options.Code;
        var values = new TemplateValues(name, exchange.Type, exchange.Class, WireName.ToText(zone), exchange.ClientEndPoint().Address, match);
        byte[]? alias = null;
        try
        {
            foreach (var (section, text) in options.Records)
            {
                var record = Parse(text.Fill(values));
                if (section == 0)
                {
                    exchange.Add(record.Owner, record.Type, record.Class, record.Ttl, record.Data);
                    if (record.Type == DnsType.Cname && exchange.Type is not (DnsType.Cname or DnsType.Any)) alias = record.Data;
                }
                else if (section == 1) exchange.AddAuthority(record.Owner, record.Type, record.Ttl, record.Data);
                else exchange.AddAdditional(record.Owner, record.Type, record.Ttl, record.Data);
            }
        }
        catch (FormatException wrong)
        {
            metrics.TemplateFailures.With(exchange.Block.Server, WireName.ToText(zone), "", DnsWords.Class(exchange.Class), DnsWords.Type(exchange.Type)).Add();
            Log.TemplateFailed(logger, name, wrong.Message);
            exchange.Fail(DnsCode.ServerFailure);
            return Step.Answered;
        }
        return alias is not null && exchange.TryFollow(alias) ? Step.Again : Step.Answered;
    }

    /// <summary>A record as a template writes it.</summary>
    /// <exception cref="FormatException">It is none.</exception>
    internal static ZoneRecord Parse(string text)
    {
        var words = new List<string>();
        for (var rest = text.AsSpan().Trim(); rest.Length > 0; rest = rest.TrimStart())
        {
            var isQuoted = rest[0] == '"';
            if (isQuoted) rest = rest[1..];
            var end = isQuoted ? rest.IndexOf('"') : rest.IndexOfAny(' ', '\t');
            if (end < 0) end = rest.Length;
            words.Add(rest[..end].ToString());
            rest = rest[Math.Min(rest.Length, end + (isQuoted ? 1 : 0))..];
        }
        if (words.Count < 3) throw new FormatException($"\"{text}\" is no record");
        return RecordParser.Parse([.. words.Skip(1)], RecordParser.Name(words[0], null), null, 3600);
    }
}
