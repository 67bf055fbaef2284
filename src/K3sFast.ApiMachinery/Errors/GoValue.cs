using System.Buffers;
using System.Globalization;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>
/// Values as upstream shows them in "Invalid value": structs of the API groups as JSON under their Go names with every field present,
/// types of the machinery (label selectors, metadata) as JSON as it is sent, maps in the order of their keys.
/// </summary>
internal static class GoValue
{
    private const string MachineryPrefix = "io.k8s.apimachinery.";

    /// <summary>The value of a member of an object of that type, its zero value when it is absent.</summary>
    internal static string Member(ApiNode obj, string name, TypeSchema? type)
    {
        var utf8 = Encoding.UTF8.GetBytes(name);
        return type is not null && type.TryGetField(utf8, out var field) ? Text(obj[utf8], field) : Text(obj[utf8], (TypeSchema?)null);
    }

    /// <summary>One value of that type; null = no type of the table: shown as it is.</summary>
    internal static string Text(ApiNode value, TypeSchema? type)
    {
        if (value.Kind == NodeKind.String)
            return GoText.Quote(value.Utf8);
        var text = new StringBuilder();
        AppendOne(text, value, FieldKind.Message, type);
        return text.ToString();
    }

    /// <summary>The value of a field.</summary>
    internal static string Text(ApiNode value, FieldSchema field)
    {
        if (value.Kind == NodeKind.String)
            return GoText.Quote(value.Utf8);
        var text = new StringBuilder();
        Append(text, value, field);
        return text.ToString();
    }

    /// <summary>One value of that type as indented JSON, a blank for each level, as upstream compares values line by line.</summary>
    internal static string IndentedText(ApiNode value, TypeSchema type)
    {
        var text = new StringBuilder();
        AppendOne(text, value, FieldKind.Message, type);
        return Indent(text);
    }

    private static void Append(StringBuilder text, ApiNode value, FieldSchema field) => Append(text, value, field, field.Pointer);

    private static void Append(StringBuilder text, ApiNode value, FieldSchema field, bool isPointer)
    {
        if (value.IsNullOrUndefined || value.Kind == NodeKind.Array && value.Count == 0 && field.Cardinality == FieldCardinality.List && field.OmitEmpty)
        {
            AppendZero(text, field, isPointer);
            return;
        }
        switch (field.Cardinality)
        {
            case FieldCardinality.List:
                char separator = '[';
                foreach (var element in value.Elements)
                {
                    text.Append(separator);
                    AppendOne(text, element, field.Kind, field.Element);
                    separator = ',';
                    if (text.Length > GoText.MaxShown)
                        break;
                }
                text.Append(separator == '[' ? "[]" : "]");
                break;
            case FieldCardinality.Map:
                AppendSorted(text, value, field);
                break;
            case FieldCardinality.One when field.Kind == FieldKind.SchemaOrArray:
                AppendPair(text, "Schema", value.Kind == NodeKind.Array ? default : value, "JSONSchemas", value.Kind == NodeKind.Array ? value : default, field);
                break;
            case FieldCardinality.One when field.Kind == FieldKind.SchemaOrBool:
                text.Append("{\"Allows\":").Append(value.Kind == NodeKind.False ? "false" : "true").Append(",\"Schema\":");
                AppendSchema(text, value, field);
                text.Append('}');
                break;
            default:
                AppendOne(text, value, field.Kind, field.Element);
                break;
        }
    }

    private static void AppendPair(StringBuilder text, string first, ApiNode one, string second, ApiNode many, FieldSchema field)
    {
        text.Append("{\"").Append(first).Append("\":");
        AppendSchema(text, one, field);
        text.Append(",\"").Append(second).Append("\":");
        if (many.Kind != NodeKind.Array)
        {
            text.Append("null}");
            return;
        }
        char separator = '[';
        foreach (var element in many.Elements)
        {
            text.Append(separator);
            AppendSchema(text, element, field);
            separator = ',';
        }
        text.Append(separator == '[' ? "[]}" : "]}");
    }

    private static void AppendSchema(StringBuilder text, ApiNode value, FieldSchema field)
    {
        if (value.Kind == NodeKind.Object)
            AppendOne(text, value, FieldKind.Message, field.Element);
        else
            text.Append("null");
    }

    private static void AppendOne(StringBuilder text, ApiNode value, FieldKind kind, TypeSchema? type, ApiNode podSpec = default)
    {
        if (text.Length > GoText.MaxShown)
            return;
        StackGuard.Enter();
        if (kind != FieldKind.Message || type is null || value.Kind != NodeKind.Object && !value.IsNullOrUndefined)
        {
            AppendFree(text, value);
            return;
        }
        if (type.FullName.StartsWith(MachineryPrefix, StringComparison.Ordinal))
        {
            AppendMachinery(text, value, type);
            return;
        }
        text.Append('{');
        int start = text.Length;
        foreach (var (name, field, isPointer, isOfPodSpec) in GoLayout.Of(type))
        {
            if (text.Length > start)
                text.Append(',');
            if (field is { Kind: FieldKind.Message, JsonName: "metadata", Element: { } metadata })
            {
                // The metadata is embedded: its fields stand in the struct's own place.
                int before = text.Length;
                AppendMachinery(text, value["metadata"u8], metadata);
                text.Remove(before, 1).Length--;
                if (text.Length == before && before > start)
                    text.Length--;
                continue;
            }
            text.Append('"').Append(name).Append("\":");
            if (field is null)
                text.Append("null");
            else if (isOfPodSpec)
                Append(text, podSpec[field.JsonNameUtf8], field, isPointer);
            else if (name == "SecurityContext" && type.Name == "PodSpec")
                AppendOne(text, value["securityContext"u8], FieldKind.Message, field.Element, value);
            else
                Append(text, value[field.JsonNameUtf8], field, isPointer);
        }
        text.Append('}');
    }

    private static void AppendMachinery(StringBuilder text, ApiNode value, TypeSchema type)
    {
        if (value.IsNullOrUndefined)
        {
            text.Append("{}");
            return;
        }
        text.Append('{');
        int start = text.Length;
        foreach (var field in type.Fields)
        {
            var member = value[field.JsonNameUtf8];
            if (member.IsNullOrUndefined && field.IsLeftOutWhenAbsent || field.OmitEmpty && field.Cardinality != FieldCardinality.One && member.Count == 0)
                continue;
            if (text.Length > start)
                text.Append(',');
            text.Append('"').Append(field.JsonName).Append("\":");
            Append(text, member, field);
        }
        text.Append('}');
    }

    private static void AppendSorted(StringBuilder text, ApiNode map, FieldSchema field)
    {
        text.Append('{');
        int start = text.Length;
        foreach (var (name, value) in Sorted(map))
        {
            if (text.Length > GoText.MaxShown)
                break;
            AppendOne(text.Append(text.Length > start ? "," : "").Append(GoText.Quote(name)).Append(':'), value, field.Kind, field.Element);
        }
        text.Append('}');
    }

    private static void AppendFree(StringBuilder text, ApiNode value)
    {
        if (value.Kind != NodeKind.Object)
        {
            text.Append(value.IsDefined ? GoText.Json(value) : "null");
            return;
        }
        StackGuard.Enter();
        text.Append('{');
        int start = text.Length;
        foreach (var (name, member) in Sorted(value))
        {
            if (text.Length > GoText.MaxShown)
                break;
            AppendFree(text.Append(text.Length > start ? "," : "").Append(GoText.Quote(name)).Append(':'), member);
        }
        text.Append('}');
    }

    private static List<(string Name, ApiNode Value)> Sorted(ApiNode map)
    {
        var members = new List<(string Name, ApiNode Value)>();
        foreach (var member in map.Members)
            members.Add((Encoding.UTF8.GetString(member.Name), member.Value));
        members.Sort(static (left, right) => string.CompareOrdinal(left.Name, right.Name));
        return members;
    }

    // As Go's json.Indent: empty objects and lists stay closed.
    private static string Indent(StringBuilder compact)
    {
        var text = new StringBuilder(compact.Length * 2);
        int depth = 0;
        bool isInString = false;
        for (int i = 0; i < compact.Length; i++)
        {
            char c = compact[i];
            if (isInString)
            {
                text.Append(c);
                if (c == '\\')
                    text.Append(compact[++i]);
                else
                    isInString = c != '"';
                continue;
            }
            switch (c)
            {
                case '{' or '[' when compact[i + 1] is '}' or ']':
                    text.Append(c).Append(compact[++i]);
                    break;
                case '{' or '[':
                    text.Append(c).Append('\n').Append(' ', ++depth);
                    break;
                case '}' or ']':
                    text.Append('\n').Append(' ', --depth).Append(c);
                    break;
                case ',':
                    text.Append(",\n").Append(' ', depth);
                    break;
                case ':':
                    text.Append(": ");
                    break;
                default:
                    isInString = c == '"';
                    text.Append(c);
                    break;
            }
        }
        return text.ToString();
    }

    private static void AppendZero(StringBuilder text, FieldSchema field, bool isPointer)
    {
        if (isPointer || field.Cardinality != FieldCardinality.One)
        {
            text.Append("null");
            return;
        }
        switch (field.Kind)
        {
            case FieldKind.String:
                text.Append("\"\"");
                break;
            case FieldKind.Boolean:
                text.Append("false");
                break;
            case FieldKind.Int32 or FieldKind.Int64 or FieldKind.Double or FieldKind.IntOrString:
                text.Append(CultureInfo.InvariantCulture, $"{0}");
                break;
            case FieldKind.Quantity:
                text.Append("\"0\"");
                break;
            case FieldKind.Message when field.Element is { } element:
                AppendOne(text, default, FieldKind.Message, element);
                break;
            default:
                text.Append("null");
                break;
        }
    }
}
