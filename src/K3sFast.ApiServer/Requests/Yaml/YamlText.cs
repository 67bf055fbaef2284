using System.Buffers;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// Trees as block-style YAML, keys sorted, lists not indented, long texts folded: as upstream's serializer prints them. A list may be written in parts.
/// Allocates nothing in the steady state.
/// </summary>
internal static class YamlText
{
    /// <summary>Writes a tree.</summary>
    internal static void Write(ApiNode root, IBufferWriter<byte> output)
    {
        var text = new YamlOutput(output);
        try
        {
            WriteNode(ref text, root, 0);
            text.Flush();
        }
        finally
        {
            text.Dispose();
        }
    }

    /// <summary>Writes one more element of a list that is a member of the top map.</summary>
    internal static void WriteElement(ApiNode element, IBufferWriter<byte> output)
    {
        var text = new YamlOutput(output);
        try
        {
            text.Write("- "u8);
            WriteNode(ref text, element, 2);
            text.Flush();
        }
        finally
        {
            text.Dispose();
        }
    }

    /// <summary>Writes those members of the top map that stand before, or behind, the member of that name.</summary>
    internal static void WriteMembers(ApiNode root, ReadOnlySpan<byte> name, bool isBefore, IBufferWriter<byte> output)
    {
        var text = new YamlOutput(output);
        try
        {
            var members = text.Enter(root);
            for (var place = members.Start.Value; place < members.End.Value; place++)
            {
                var order = YamlKeyOrder.Compare(text.Member(place).Name, name);
                if (isBefore ? order < 0 : order > 0)
                    WriteMember(ref text, text.Member(place), 0);
            }
            text.Flush();
        }
        finally
        {
            text.Dispose();
        }
    }

    // The first line stands where the output stands; it may be behind a dash.
    private static void WriteNode(ref YamlOutput text, ApiNode node, int indent)
    {
        if (node.Kind == NodeKind.Object && node.Count > 0)
            WriteMap(ref text, node, indent, isInline: true);
        else if (node.Kind == NodeKind.Array && node.Count > 0)
            WriteList(ref text, node, indent, isInline: true);
        else
            WriteLeaf(ref text, node, indent);
    }

    private static void WriteMap(ref YamlOutput text, ApiNode map, int indent, bool isInline)
    {
        StackGuard.Enter();
        var members = text.Enter(map);
        for (var place = members.Start.Value; place < members.End.Value; place++)
        {
            if (!isInline)
                text.Indent(indent);
            isInline = false;
            WriteMember(ref text, text.Member(place), indent);
        }
        text.Leave(members);
    }

    private static void WriteMember(ref YamlOutput text, ApiNode member, int indent)
    {
        if (!YamlScalarText.IsSimpleKey(member.Name))
        {
            WriteLongMember(ref text, member, indent);
            return;
        }
        YamlScalarText.Write(ref text, member.Name, indent, isKey: true);
        text.Write((byte)':');
        if (member.Kind == NodeKind.Object && member.Count > 0)
        {
            text.EndLine();
            WriteMap(ref text, member, indent + 2, isInline: false);
        }
        else if (member.Kind == NodeKind.Array && member.Count > 0)
        {
            text.EndLine();
            WriteList(ref text, member, indent, isInline: false);
        }
        else
        {
            text.Write((byte)' ');
            WriteLeaf(ref text, member, indent + 2);
        }
    }

    // A key that is too long for a reader's look-ahead, or has several lines, says by a mark that it is one.
    private static void WriteLongMember(ref YamlOutput text, ApiNode member, int indent)
    {
        text.Write("? "u8);
        YamlScalarText.Write(ref text, member.Name, indent + 2, isKey: false);
        if (!text.IsLineEnded)
            text.EndLine();
        text.Indent(indent);
        text.Write(": "u8);
        WriteNode(ref text, member, indent + 2);
    }

    private static void WriteList(ref YamlOutput text, ApiNode list, int indent, bool isInline)
    {
        StackGuard.Enter();
        foreach (var element in list.Elements)
        {
            if (!isInline)
                text.Indent(indent);
            isInline = false;
            text.Write("- "u8);
            WriteNode(ref text, element, indent + 2);
        }
    }

    private static void WriteLeaf(ref YamlOutput text, ApiNode node, int indent)
    {
        switch (node.Kind)
        {
            case NodeKind.String: YamlScalarText.Write(ref text, node.Utf8, indent, isKey: false); break;
            case NodeKind.Number: text.Write(node.Utf8); break;
            case NodeKind.True: text.Write("true"u8); break;
            case NodeKind.False: text.Write("false"u8); break;
            case NodeKind.Object: text.Write("{}"u8); break;
            case NodeKind.Array: text.Write("[]"u8); break;
            default: text.Write("null"u8); break;
        }
        if (!text.IsLineEnded)
            text.EndLine();
    }
}
