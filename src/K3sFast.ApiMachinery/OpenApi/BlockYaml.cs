using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace K3sFast.ApiMachinery;

/// <summary>Small JSON values as YAML blocks, as extensions are carried: objects, lists and scalars of at most a few lines.</summary>
internal static class BlockYaml
{
    internal static string Of(JsonElement value)
    {
        var text = new StringBuilder();
        Write(text, value, indent: 0, isInline: false);
        return text.ToString();
    }

    private static void Write(StringBuilder text, JsonElement value, int indent, bool isInline)
    {
        switch (value.ValueKind)
        {
            case JsonValueKind.Object when value.EnumerateObject().MoveNext():
                WriteMembers(text, value, indent, isInline);
                break;
            case JsonValueKind.Array when value.GetArrayLength() > 0:
                foreach (var element in value.EnumerateArray())
                {
                    text.Append(' ', isInline ? 0 : indent).Append("- ");
                    isInline = false;
                    Write(text, element, indent + 2, isInline: true);
                }
                break;
            default:
                text.Append(Scalar(value)).Append('\n');
                break;
        }
    }

    private static void WriteMembers(StringBuilder text, JsonElement value, int indent, bool isInline)
    {
        foreach (var member in value.EnumerateObject())
        {
            text.Append(' ', isInline ? 0 : indent).Append(Quote(member.Name)).Append(':');
            isInline = false;
            if (member.Value.ValueKind is JsonValueKind.Object or JsonValueKind.Array && HasContent(member.Value))
            {
                text.Append('\n');
                Write(text, member.Value, member.Value.ValueKind == JsonValueKind.Object ? indent + 2 : indent + 4, isInline: false);
            }
            else
                text.Append(' ').Append(Scalar(member.Value)).Append('\n');
        }
    }

    private static bool HasContent(JsonElement value) => value.ValueKind == JsonValueKind.Array ? value.GetArrayLength() > 0 : value.EnumerateObject().MoveNext();

    private static string Scalar(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => Quote(value.GetString()!),
        JsonValueKind.Object => "{}",
        JsonValueKind.Array => "[]",
        JsonValueKind.Null => "null",
        _ => value.GetRawText(),
    };

    // Words stay bare unless they would be read as something else.
    private static string Quote(string text)
    {
        var isPlain = text.Length > 0 && text is not ("true" or "false" or "null" or "yes" or "no" or "on" or "off" or "y" or "n" or "~")
            && !double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out _) && !text.AsSpan().ContainsAny(" :#{}[],&*!|>'\"%@`\n\t") && text[0] is not ('-' or '?');
        return isPlain ? text : $"\"{JsonEncodedText.Encode(text, JavaScriptEncoder.UnsafeRelaxedJsonEscaping)}\"";
    }
}
