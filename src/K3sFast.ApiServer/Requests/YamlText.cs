using System.Buffers;
using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Trees as block-style YAML, keys sorted, as upstream's YAML serializer prints them. Cold path: kubectl asks for JSON and prints by itself.</summary>
internal static class YamlText
{
    private static readonly SearchValues<char> s_needsQuotes = SearchValues.Create(":{}[],&*#?|-<>=!%@`\"'\\\n\r\t \0");

    internal static void Write(ApiNode root, IBufferWriter<byte> output)
    {
        var text = new StringBuilder();
        WriteBlock(text, root, 0, isInline: false);
        Encoding.UTF8.GetBytes(text.ToString(), output);
    }

    private static void WriteBlock(StringBuilder text, ApiNode node, int indent, bool isInline)
    {
        switch (node.Kind)
        {
            case NodeKind.Object when node.Count > 0:
                var names = new List<string>();
                foreach (var member in node.Members)
                    names.Add(Encoding.UTF8.GetString(member.Name));
                names.Sort(StringComparer.Ordinal);
                var isFirst = true;
                foreach (var name in names)
                {
                    if (!isFirst || !isInline)
                        text.Append(' ', indent);
                    isFirst = false;
                    text.Append(Scalar(name)).Append(':');
                    WriteValue(text, node[Encoding.UTF8.GetBytes(name)], indent);
                }
                break;
            case NodeKind.Array when node.Count > 0:
                var isFirstElement = true;
                foreach (var element in node.Elements)
                {
                    if (!isFirstElement || !isInline)
                        text.Append(' ', indent);
                    isFirstElement = false;
                    text.Append("- ");
                    if (element.Kind is NodeKind.Object or NodeKind.Array && element.Count > 0)
                        WriteBlock(text, element, indent + 2, isInline: true);
                    else
                        text.Append(Leaf(element)).Append('\n');
                }
                break;
            default:
                text.Append(Leaf(node)).Append('\n');
                break;
        }
    }

    private static void WriteValue(StringBuilder text, ApiNode value, int indent)
    {
        if (value.Kind == NodeKind.Object && value.Count > 0)
        {
            text.Append('\n');
            WriteBlock(text, value, indent + 2, isInline: false);
        }
        else if (value.Kind == NodeKind.Array && value.Count > 0)
        {
            text.Append('\n');
            WriteBlock(text, value, indent, isInline: false);
        }
        else
        {
            text.Append(' ').Append(Leaf(value)).Append('\n');
        }
    }

    private static string Leaf(ApiNode node) => node.Kind switch
    {
        NodeKind.String => Scalar(node.AsString()),
        NodeKind.Number => node.AsString(),
        NodeKind.True => "true",
        NodeKind.False => "false",
        NodeKind.Object => "{}",
        NodeKind.Array => "[]",
        _ => "null",
    };

    private static string Scalar(string value)
    {
        if (value.Length > 0 && !value.AsSpan().ContainsAny(s_needsQuotes) && char.IsAsciiLetter(value[0]) && !IsWord(value))
            return value;
        return GoText.Quote(value);
    }

    private static bool IsWord(string value) => value.ToLowerInvariant() is "true" or "false" or "yes" or "no" or "on" or "off" or "null" or "y" or "n" or "nan" or "inf";
}
