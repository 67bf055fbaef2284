using System.Buffers;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>What mutating policies make of an object: fields applied as server-side apply would merge them, or operations of a JSON patch.</summary>
public static class PolicyPatch
{
    /// <summary>Merges an Object value into the object, in place. Null, or what is wrong in upstream's words; the object is untouched then.</summary>
    public static string? ApplyConfiguration(ApiObject target, CelValue value, TypeSchema type)
    {
        if (value.Reference is not CelStruct root)
            return $"unsupported return type from ApplyConfiguration expression: {value.TypeName}";
        var names = new List<string>();
        CheckNames(value, root.TypeName, names);
        if (names.Count > 0)
            return $"type mismatch: {string.Join('\n', names)}";
        using var config = new ApiObject();
        if (!CelJson.TryWrite(value, config, out var node, out string problem))
            return problem;
        config.ReplaceRoot(node);
        config.Root.Set("apiVersion"u8, target.Root["apiVersion"u8].Utf8);
        config.Root.Set("kind"u8, target.Root["kind"u8].Utf8);
        if (ConfigCheck.FindErrors(config.Root, type) is { } errors)
            return $"error applying patch: failed to convert patch object to typed object: {errors}";
        var atomics = new List<string>();
        FindAtomics(config.Root, TypedPlace.Top(type), "", atomics);
        if (atomics.Count > 0)
            return $"error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {string.Join(", ", atomics)}";
        ConfigMerge.Merge(target.Root, config.Root, type);
        return null;
    }

    /// <summary>
    /// Does the operations of a list of JSONPatch values to the object, in place. Null, or what is wrong in upstream's words. <paramref name="isTestFailed"/>
    /// says that a test operation did not hold, which changes nothing and is no mistake. Unless all is well the object is half changed.
    /// </summary>
    public static string? ApplyJsonPatch(ApiObject target, CelValue operations, out bool isTestFailed)
    {
        isTestFailed = false;
        if (operations.Kind != CelKind.List)
            return "type mismatch: JSONPatchType.expression should evaluate to array";
        for (int i = 0; i < operations.AsList.Count; i++)
        {
            if (operations.AsList[i].Reference is not CelStruct { TypeName: "JSONPatch" } operation)
                return $"type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch: got element of {operations.AsList[i].TypeName}";
            if (OperationProblem(target, operation, out isTestFailed) is { } problem)
                return problem;
            if (isTestFailed)
                return null;
        }
        return null;
    }

    private static string? OperationProblem(ApiObject target, CelStruct operation, out bool isTestFailed)
    {
        isTestFailed = false;
        using var document = new ApiObject();
        var node = document.NewObject();
        foreach (var (name, value) in operation.Fields)
        {
            if (name == "value")
            {
                var names = new List<string>();
                if (value.Reference is CelStruct made)
                    CheckNames(value, made.TypeName, names);
                if (names.Count > 0)
                    return $"type mismatch: {string.Join('\n', names)}";
                if (!CelJson.TryWrite(value, document, out var written, out string problem))
                    return $"JSONPath valueExpression evaluated to a type that could not marshal to JSON: {problem}";
                node.Set("value"u8, written);
            }
            else if (value.Kind != CelKind.String)
            {
                return $"unexpected type {value.TypeName} for JSONPatchType '{name}' field";
            }
            else if (name != "from" || value.AsString.Length > 0)
            {
                node.Set(Encoding.UTF8.GetBytes(name), value.AsString);
            }
        }
        string kind = node["op"u8].AsString(), path = node["path"u8].AsString();
        var list = document.NewArray();
        list.Append(node);
        var patch = new ArrayBufferWriter<byte>();
        list.WriteJson(patch);
        try
        {
            JsonPatch.Apply(target, patch.WrittenSpan);
            return null;
        }
        catch (ApiStatusException)
        {
            isTestFailed = kind == "test";
            return isTestFailed ? null : "JSON Patch: " + Refusal(target.Root, kind, path, node["from"u8].AsString());
        }
    }

    // The words of the library that upstream patches with.
    private static string Refusal(ApiNode root, string kind, string path, string from)
    {
        bool hasParent = Parent(root, path, out string key);
        return kind switch
        {
            "add" when hasParent => $"error in add for path: '{path}': Unable to access invalid index: {key}: invalid index referenced",
            "add" => $"add operation does not apply: doc is missing path: \"{path}\": missing value",
            "remove" when hasParent => $"error in remove for path: '{path}': Unable to remove nonexistent key: {key}: missing value",
            "remove" => $"remove operation does not apply: doc is missing path: \"{path}\": missing value",
            "replace" when hasParent => $"replace operation does not apply: doc is missing key: {path}: missing value",
            "replace" => $"replace operation does not apply: doc is missing path: {path}: missing value",
            "move" or "copy" => $"{kind} operation does not apply: doc is missing from path: {from}: missing value",
            _ => $"Unexpected kind: {kind}",
        };
    }

    private static bool Parent(ApiNode node, string path, out string key)
    {
        var parts = path.Split('/').Skip(1).Select(static part => part.Replace("~1", "/", StringComparison.Ordinal).Replace("~0", "~", StringComparison.Ordinal)).ToList();
        key = parts.Count == 0 ? "" : parts[^1];
        foreach (string part in parts.SkipLast(1))
            node = node.Kind == NodeKind.Array && int.TryParse(part, System.Globalization.CultureInfo.InvariantCulture, out int index) ? node[index] : node[Encoding.UTF8.GetBytes(part)];
        return node.Kind is NodeKind.Object or NodeKind.Array;
    }

    // Objects must be made with the type that their place in the root says.
    private static void CheckNames(CelValue value, string path, List<string> problems)
    {
        switch (value.Reference)
        {
            case CelStruct made:
                if (made.TypeName != path)
                    problems.Add($"unexpected type name {GoText.Quote(made.TypeName)}, expected {GoText.Quote(path)}, which matches field name path from root Object type");
                foreach (var (name, field) in made.Fields)
                    CheckNames(field, $"{path}.{name}", problems);
                break;
            case CelList list:
                for (int i = 0; i < list.Count; i++)
                    CheckNames(list[i], path, problems);
                break;
            case CelValueMap map:
                foreach (var key in map.Keys)
                {
                    if (map.TryGet(key, out var member))
                        CheckNames(member, path, problems);
                }
                break;
        }
    }

    private static void FindAtomics(ApiNode node, in TypedPlace place, string path, List<string> atomics)
    {
        if (place.IsAtomic && node.Kind is NodeKind.Object or NodeKind.Array)
            atomics.Add(path);
        int i = 0;
        foreach (var element in node.Elements)
            FindAtomics(element, place.Element, $"{path}[{i++}]", atomics);
        foreach (var member in node.Members)
            FindAtomics(member.Value, place.Member(member.Name), $"{path}.{Encoding.UTF8.GetString(member.Name)}", atomics);
    }
}
