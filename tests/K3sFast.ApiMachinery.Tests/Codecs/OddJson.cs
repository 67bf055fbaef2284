using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;

namespace K3sFast.ApiMachinery.Tests;

/// <summary>Writes JSON as others might: now and then white space, members out of order, nulls, other escapes, times and quantities in other forms.</summary>
internal sealed class OddJson(Random random, int oneIn)
{
    private static readonly string[] s_spaces = [" ", "\n", "\t", "  "];

    private static readonly string[] s_quantities = ["0.5", "1000m", "1024Ki", "1e3", "+5", "00", "1.234", "-0", "0Gi", "1500Mi", "9223372036854775807", "1E", "0.0001"];

    private readonly StringBuilder _text = new();

    internal string Write(JsonNode node)
    {
        Value(node);
        return _text.ToString();
    }

    private bool IsOdd => random.Next(oneIn) == 0;

    private void Value(JsonNode? node)
    {
        switch (node)
        {
            case JsonObject members:
                Object(members);
                break;
            case JsonArray elements:
                _text.Append('[');
                for (int i = 0; i < elements.Count; i++)
                {
                    _text.Append(i == 0 ? "" : ",").Append(Space());
                    if (IsOdd)
                        _text.Append("null");
                    else
                        Value(elements[i]);
                }
                _text.Append(Space()).Append(']');
                break;
            case JsonValue value when value.TryGetValue(out string? text):
                String(Other(text));
                break;
            default:
                _text.Append(node?.ToJsonString() ?? "null");
                break;
        }
    }

    private void Object(JsonObject members)
    {
        var names = members.Select(static member => member.Key).ToArray();
        if (IsOdd)
            random.Shuffle(names);
        _text.Append('{');
        for (int i = 0; i < names.Length; i++)
        {
            _text.Append(i == 0 ? "" : ",").Append(Space());
            String(names[i]);
            _text.Append(Space()).Append(':').Append(Space());
            if (IsOdd)
                _text.Append("null");
            else
                Value(members[names[i]]);
        }
        if (IsOdd)
            _text.Append(names.Length == 0 ? "" : ",").Append("\"unknown\":{\"a\":[1,\"}\"]}");
        _text.Append(Space()).Append('}');
    }

    private void String(string text)
    {
        _text.Append('"');
        for (int i = 0; i < text.Length; i++)
        {
            char c = text[i];
            _text.Append(
                IsOdd && !char.IsSurrogate(c) ? $"\\u{(int)c:x4}"
                : c == '/' && IsOdd ? "\\/"
                : c switch { '"' => "\\\"", '\\' => "\\\\", '\n' => "\\n", < ' ' => $"\\u{(int)c:X4}", _ => c.ToString() });
        }
        _text.Append('"');
    }

    private string Other(string text)
    {
        if (!IsOdd)
            return text;
        if (DateTimeOffset.TryParseExact(text, "yyyy-MM-ddTHH:mm:ssZ", CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time))
        {
            return random.Next(4) switch
            {
                0 => time.ToOffset(TimeSpan.FromHours(2)).ToString("yyyy-MM-ddTHH:mm:sszzz", CultureInfo.InvariantCulture),
                1 => time.ToString("yyyy-MM-ddTHH:mm:ss.fffZ", CultureInfo.InvariantCulture),
                2 => "0001-01-01T00:00:00Z",
                _ => "1969-12-31T23:59:59Z",
            };
        }
        return text.Length > 0 && char.IsAsciiDigit(text[0]) ? s_quantities[random.Next(s_quantities.Length)] : text;
    }

    private string Space() => IsOdd ? s_spaces[random.Next(s_spaces.Length)] : "";
}
