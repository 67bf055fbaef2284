namespace K3sFast.ApiMachinery;

/// <summary>JSON merge patch, RFC 7386: objects are merged, null deletes, everything else replaces.</summary>
public static class JsonMergePatch
{
    /// <summary>Changes the target by the patch. The result may have members that the type does not know or wrong types: see <see cref="PatchBody"/>.</summary>
    /// <exception cref="ApiStatusException">400 when the patch is no JSON object.</exception>
    public static void Apply(ApiObject target, ReadOnlySpan<byte> patch, ICollection<string>? strictErrors = null) =>
        Apply(target, patch, strictErrors, []);

    /// <summary>The same; notes the objects that were merged, which upstream writes again with their members sorted.</summary>
    internal static void Apply(ApiObject target, ReadOnlySpan<byte> patch, ICollection<string>? strictErrors, List<ApiNode> touched)
    {
        using var document = PatchBody.Parse(patch, strictErrors, "error decoding patch: ", "Invalid JSON Patch");
        if (document.Root.Kind is not (NodeKind.Object or NodeKind.Null) && strictErrors is not null)
        {
            throw ApiStatus.BadRequest(
                $"error decoding patch: json: cannot unmarshal {PatchBody.NameOf(document.Root)} into Go value of type map[string]interface {{}}").ToException();
        }
        if (document.Root.Kind != NodeKind.Object)
            throw ApiStatus.BadRequest("Invalid JSON Patch").ToException();
        Merge(target.Root, document.Root, touched);
    }

    private static void Merge(ApiNode target, ApiNode patch, List<ApiNode> touched)
    {
        StackGuard.Enter();
        touched.Add(target);
        foreach (var member in patch.Members)
        {
            if (member.Value.Kind == NodeKind.Null)
            {
                target.Remove(member.Name);
                continue;
            }
            var current = target[member.Name];
            if (current.Kind == NodeKind.Object && member.Value.Kind == NodeKind.Object)
                Merge(current, member.Value, touched);
            else
                DropNulls(target.Set(member.Name, member.Value));
        }
    }

    // What is new in the target has nothing that its nulls could delete.
    private static void DropNulls(ApiNode node)
    {
        StackGuard.Enter();
        foreach (var member in node.Members)
        {
            if (member.Value.Kind == NodeKind.Null)
                node.Remove(member.Name);
            else
                DropNulls(member.Value);
        }
        foreach (var element in node.Elements)
            DropNulls(element);
    }
}
