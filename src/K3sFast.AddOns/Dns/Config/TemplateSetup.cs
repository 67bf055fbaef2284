using System.Text.RegularExpressions;

namespace K3sFast.AddOns.Dns;

/// <summary>Reads the template plugin: CLASS TYPE [ZONE...] with match, answer, additional, authority, rcode and fallthrough.</summary>
internal static class TemplateSetup
{
    internal static TemplatePlugin Parse(CorefileDirective directive, DnsConfigBuilder.BlockContext context, DnsParts parts)
    {
        if (directive.Arguments.Length < 2) throw directive.ArgumentError();
        if (!DnsWords.TryClass(directive.Arguments[0], out var @class)) throw directive.Error($"invalid query class {directive.Arguments[0]}");
        if (!DnsWords.TryType(directive.Arguments[1], out var type)) throw directive.Error($"invalid RR class {directive.Arguments[1]}");
        var patterns = new List<Regex>();
        var records = new List<(int, TemplateText)>();
        var options = new TemplateOptions
        {
            Zones = context.Zones(directive.Arguments.Skip(2)),
            Class = @class == 255 ? (ushort)0 : @class,
            Type = type == DnsType.Any ? 0 : type,
            Patterns = patterns,
            Records = records,
        };
        foreach (var line in directive.Lines)
        {
            var rest = line.Words[1..];
            switch (line.Words[0])
            {
                case "match" when rest.Length > 0: patterns.AddRange(rest.Select(NameMatcher.Compile)); break;
                case "answer" when rest.Length > 0: records.AddRange(rest.Select(static text => (0, new TemplateText(text)))); break;
                case "authority" when rest.Length > 0: records.AddRange(rest.Select(static text => (1, new TemplateText(text)))); break;
                case "additional" when rest.Length > 0: records.AddRange(rest.Select(static text => (2, new TemplateText(text)))); break;
                case "rcode" when rest.Length == 1:
                    options = options with { Code = DnsWords.TryCode(rest[0], out var code) ? code : throw line.Error($"unknown rcode {rest[0]}") };
                    break;
                case "fallthrough": options = options with { FallThrough = FallThrough.For(rest) }; break;
                // Queries are not forwarded through it any more; CoreDNS takes the word and does nothing either.
                case "upstream": break;
                default: throw DnsConfigBuilder.UnknownProperty(line);
            }
        }
        return new TemplatePlugin(options, parts.Metrics, parts.Logger);
    }
}
