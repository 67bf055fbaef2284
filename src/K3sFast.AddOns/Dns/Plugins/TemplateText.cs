using System.Globalization;
using System.Net;
using System.Text;
using System.Text.RegularExpressions;

namespace K3sFast.AddOns.Dns;

/// <summary>
/// A text with Go template actions, of those that make records: {{ .Name }}, .Type, .Class, .Zone, .Remote, .Question.Name, .Group.NAME,
/// index .Match N, and parseInt of one of these. Anything else is refused when the configuration is read. Immutable.
/// </summary>
internal sealed class TemplateText
{
    private readonly List<Part> _parts = [];

    /// <exception cref="FormatException">An action that is not known.</exception>
    internal TemplateText(string text)
    {
        while (text.Length > 0)
        {
            var open = text.IndexOf("{{", StringComparison.Ordinal);
            if (open < 0) open = text.Length;
            if (open > 0) _parts.Add(new Part("", text[..open], 0, 0));
            if (open == text.Length) break;
            var close = text.IndexOf("}}", open, StringComparison.Ordinal);
            if (close < 0) throw new FormatException("unclosed action");
            _parts.Add(Action(text[(open + 2)..close].Trim().Trim('-').Trim()));
            text = text[(close + 2)..];
        }
    }

    /// <summary>The text for a question.</summary>
    internal string Fill(in TemplateValues values)
    {
        var text = new StringBuilder();
        foreach (var part in _parts) text.Append(Value(part, values));
        return text.ToString();
    }

    private static Part Action(string action)
    {
        var words = action.Replace("(", " ( ", StringComparison.Ordinal).Replace(")", " ) ", StringComparison.Ordinal).Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return words switch
        {
            ["index", ".Match", var index] when int.TryParse(index, out var number) => new Part("match", "", number, 0),
            ["parseInt", .. var of, var radix, var bits] when int.TryParse(radix, out var number) && number is 2 or 8 or 10 or 16 && int.TryParse(bits, out _) =>
                Action(string.Join(' ', of is ["(", .. var inner, ")"] ? inner : of)) with { Radix = number },
            [".Name" or ".Type" or ".Class" or ".Zone" or ".Remote" or ".Question.Name"] => new Part(words[0], "", 0, 0),
            [['.', 'G', 'r', 'o', 'u', 'p', '.', .. var name]] when name.Length > 0 => new Part("group", name, 0, 0),
            _ => throw new FormatException($"template action \"{{{{ {action} }}}}\" is not supported"),
        };
    }

    private static string Value(Part part, in TemplateValues values)
    {
        var text = part.Kind switch
        {
            "" => part.Text,
            "match" => values.Match?.Groups[part.Index].Value ?? "",
            "group" => values.Match?.Groups[part.Text].Value ?? "",
            ".Type" => DnsWords.Type(values.Type),
            ".Class" => DnsWords.Class(values.Class),
            ".Zone" => values.Zone,
            ".Remote" => values.Remote.ToString(),
            _ => values.Name,
        };
        if (part.Radix == 0) return text;
        try
        {
            return Convert.ToUInt64(text, part.Radix).ToString(CultureInfo.InvariantCulture);
        }
        catch (Exception wrong) when (wrong is ArgumentException or FormatException or OverflowException)
        {
            throw new FormatException($"parseInt: \"{text}\" is no number", wrong);
        }
    }

    private sealed record Part(string Kind, string Text, int Index, int Radix);
}

/// <summary>What a template may tell.</summary>
internal readonly record struct TemplateValues(string Name, DnsType Type, ushort Class, string Zone, IPAddress Remote, Match? Match);
