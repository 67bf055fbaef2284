using System.Buffers;
using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Trees as block-style YAML, keys sorted, lists not indented, long texts folded: as upstream's serializer prints them. Cold: kubectl asks for JSON.</summary>
internal static class YamlText
{
    internal static void Write(ApiNode root, IBufferWriter<byte> output)
    {
        var text = new StringBuilder();
        WriteNode(text, root, 0, isInline: true);
        Encoding.UTF8.GetBytes(text.ToString(), output);
    }

    // isInline: the first line stands behind a dash already.
    private static void WriteNode(StringBuilder text, ApiNode node, int indent, bool isInline)
    {
        if (node.Kind == NodeKind.Object && node.Count > 0)
            WriteMap(text, node, indent, isInline);
        else if (node.Kind == NodeKind.Array && node.Count > 0)
            WriteList(text, node, indent, isInline);
        else
            WriteLeaf(text, node, indent);
    }

    private static void WriteMap(StringBuilder text, ApiNode map, int indent, bool isInline)
    {
        StackGuard.Enter();
        var names = new List<string>();
        foreach (var member in map.Members)
            names.Add(Encoding.UTF8.GetString(member.Name));
        names.Sort(YamlKeyOrder.Instance);
        foreach (var name in names)
        {
            if (!isInline)
                text.Append(' ', indent);
            isInline = false;
            YamlScalarText.Write(text, name, indent, isKey: true);
            text.Append(':');
            var value = map[Encoding.UTF8.GetBytes(name)];
            if (value.Kind == NodeKind.Object && value.Count > 0)
            {
                text.Append('\n');
                WriteMap(text, value, indent + 2, isInline: false);
            }
            else if (value.Kind == NodeKind.Array && value.Count > 0)
            {
                text.Append('\n');
                WriteList(text, value, indent, isInline: false);
            }
            else
            {
                text.Append(' ');
                WriteLeaf(text, value, indent + 2);
            }
        }
    }

    private static void WriteList(StringBuilder text, ApiNode list, int indent, bool isInline)
    {
        StackGuard.Enter();
        foreach (var element in list.Elements)
        {
            if (!isInline)
                text.Append(' ', indent);
            isInline = false;
            text.Append("- ");
            WriteNode(text, element, indent + 2, isInline: true);
        }
    }

    private static void WriteLeaf(StringBuilder text, ApiNode node, int indent)
    {
        switch (node.Kind)
        {
            case NodeKind.String: YamlScalarText.Write(text, node.AsString(), indent, isKey: false); break;
            case NodeKind.Number: text.Append(node.AsString()); break;
            case NodeKind.True: text.Append("true"); break;
            case NodeKind.False: text.Append("false"); break;
            case NodeKind.Object: text.Append("{}"); break;
            case NodeKind.Array: text.Append("[]"); break;
            default: text.Append("null"); break;
        }
        if (text[^1] != '\n' || node.Kind != NodeKind.String)
            text.Append('\n');
    }

    /// <summary>Keys in the order of upstream's encoder: letters behind everything else, numbers inside by their value.</summary>
    private sealed class YamlKeyOrder : IComparer<string>
    {
        internal static readonly YamlKeyOrder Instance = new();

        public int Compare(string? left, string? right)
        {
            string a = left ?? "", b = right ?? "";
            for (var i = 0; i < a.Length && i < b.Length; i++)
            {
                if (a[i] == b[i])
                    continue;
                bool isLetter = char.IsLetter(a[i]), isOtherLetter = char.IsLetter(b[i]);
                if (isLetter && isOtherLetter)
                    return a[i].CompareTo(b[i]);
                if (isLetter || isOtherLetter)
                    return isLetter ? 1 : -1;
                return CompareNumbers(a, b, i);
            }
            return a.Length.CompareTo(b.Length);
        }

        private static int CompareNumbers(string a, string b, int at)
        {
            if (char.IsDigit(a[at]) && char.IsDigit(b[at]))
            {
                long x = 0, y = 0;
                int i = at, j = at;
                for (; i < a.Length && char.IsDigit(a[i]); i++)
                    x = (x * 10) + (a[i] - '0');
                for (; j < b.Length && char.IsDigit(b[j]); j++)
                    y = (y * 10) + (b[j] - '0');
                if (x != y)
                    return x.CompareTo(y);
                if (i != j)
                    return i.CompareTo(j);
            }
            return a[at].CompareTo(b[at]);
        }
    }
}
