using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>
/// An applied configuration against its schema: every field declared, values of the right kind, elements of keyed lists with their keys and no two
/// alike. In the words of structured-merge-diff's validation, which clients see.
/// </summary>
internal sealed class ConfigCheck
{
    private const int MaxPath = 4096;

    private readonly List<string> _errors = [];

    private ConfigCheck()
    {
    }

    /// <summary>What is wrong with a configuration; null when nothing is.</summary>
    public static string? FindErrors(ApiNode config, TypeSchema type)
    {
        var check = new ConfigCheck();
        check.Visit(config, TypedPlace.Top(type), "");
        return check._errors.Count switch
        {
            0 => null,
            1 => check._errors[0],
            _ => $"errors:\n  {string.Join("\n  ", check._errors)}",
        };
    }

    private void Visit(ApiNode node, in TypedPlace place, string path)
    {
        StackGuard.Enter();
        if (node.Kind == NodeKind.Null)
            return;
        switch (place.Kind)
        {
            case PlaceKind.Message or PlaceKind.Map:
                if (node.Kind == NodeKind.Object)
                    VisitMembers(node, place, path);
                else
                    Add(path, $"expected map, got &{{{GoText.Value(node)}}}");
                break;
            case PlaceKind.List:
                if (node.Kind == NodeKind.Array)
                    VisitElements(node, place, path);
                else
                    Add(path, $"expected list, got &{{{GoText.Value(node)}}}");
                break;
            case PlaceKind.Scalar:
                VisitScalar(node, place.Field!, path);
                break;
        }
    }

    private void VisitMembers(ApiNode node, in TypedPlace place, string path)
    {
        foreach (var member in node.Members)
        {
            var at = Below(path, $".{Encoding.UTF8.GetString(member.Name)}");
            if (place.Kind == PlaceKind.Message && !place.Type!.TryGetField(member.Name, out _) && !place.Type.PreserveUnknown)
            {
                Add(at, "field not declared in schema");
                return;
            }
            Visit(member.Value, place.Member(member.Name), at);
        }
    }

    private void VisitElements(ApiNode list, in TypedPlace place, string path)
    {
        if (place.IsAtomic)
        {
            var at = 0;
            foreach (var element in list.Elements)
                Visit(element, place.Element, Below(path, $"[{at++}]"));
            return;
        }
        var index = new ListIndex();
        index.Build(list, isExact: true, place);
        for (var i = 0; i < index.Count; i++)
        {
            var element = PathElement.Describe(index.PathOf(i));
            if (index.IsRepetition(i))
                Add(path, $"duplicate entries for key {element}");
            Visit(index.ElementAt(i), place.Element, Below(path, element));
        }
        if (index.Error is not null)
            Add(path, index.Error);
    }

    private void VisitScalar(ApiNode node, FieldSchema field, string path)
    {
        switch (field.Kind)
        {
            case FieldKind.String or FieldKind.Bytes or FieldKind.Duration or FieldKind.StringList:
                if (node.Kind != NodeKind.String)
                    Add(path, $"expected string, got &value.valueUnstructured{{Value:{GoSyntax(node)}}}");
                break;
            case FieldKind.Boolean:
                if (node.Kind is not (NodeKind.True or NodeKind.False))
                    Add(path, $"expected boolean, got &{{{GoText.Value(node)}}}");
                break;
            case FieldKind.Int32 or FieldKind.Int64 or FieldKind.Double:
                if (node.Kind != NodeKind.Number)
                    Add(path, $"expected numeric (int or float), got {GoType(node)}");
                break;
            default:
                if (node.Kind is NodeKind.Object or NodeKind.Array)
                    Add(path, $"expected any scalar, got &{{{GoText.Value(node)}}}");
                break;
        }
    }

    private void Add(string path, string message)
    {
        if (_errors.Count < FieldErrorList.MaxErrors)
            _errors.Add(path.Length == 0 ? message : $"{path}: {message}");
    }

    // A path that nobody would read to its end is not told to its end, so that deep configurations do not make long paths for every level.
    private static string Below(string path, string step) => path.Length > MaxPath ? path : path + step;

    private static string GoType(ApiNode node) => node.Kind switch
    {
        NodeKind.String => "string",
        NodeKind.True or NodeKind.False => "bool",
        NodeKind.Array => "[]interface {}",
        _ => "map[string]interface {}",
    };

    // As Go's %#v prints it.
    private static string GoSyntax(ApiNode node)
    {
        switch (node.Kind)
        {
            case NodeKind.Object:
                var members = new List<(string Name, string Value)>();
                foreach (var member in node.Members)
                    members.Add((Encoding.UTF8.GetString(member.Name), GoSyntax(member.Value)));
                return $"map[string]interface {{}}{{{string.Join(", ", members.OrderBy(static m => m.Name, StringComparer.Ordinal).Select(static m => $"{GoText.Quote(m.Name)}:{m.Value}"))}}}";
            case NodeKind.Array:
                var elements = new List<string>();
                foreach (var element in node.Elements)
                    elements.Add(GoSyntax(element));
                return $"[]interface {{}}{{{string.Join(", ", elements)}}}";
            case NodeKind.String:
                return GoText.Quote(node.Utf8);
            case NodeKind.Null:
                return "interface {}(nil)";
            default:
                return GoText.Value(node);
        }
    }
}
