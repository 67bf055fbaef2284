using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>
/// Kubernetes' strategic merge patch: like a merge patch, but lists whose field has the merge strategy are merged by element, by the merge key or by
/// value. Directives: $patch (replace, delete, merge), $retainKeys, $setElementOrder/list, $deleteFromPrimitiveList/list. Behaviour and words are those
/// of k8s.io/apimachinery/pkg/util/strategicpatch.
/// </summary>
public static class StrategicMergePatch
{
    private static ReadOnlySpan<byte> Directive => "$patch"u8;

    private static ReadOnlySpan<byte> RetainKeys => "$retainKeys"u8;

    private static ReadOnlySpan<byte> ElementOrderPrefix => "$setElementOrder/"u8;

    private static ReadOnlySpan<byte> DeletionPrefix => "$deleteFromPrimitiveList/"u8;

    /// <summary>Changes the target by the patch, with the strategies of the type. When it throws, the target is half changed: dispose it.</summary>
    /// <exception cref="ApiStatusException">In upstream's words.</exception>
    public static void Apply(ApiObject target, ReadOnlySpan<byte> patch, TypeSchema type, ICollection<string>? strictErrors = null)
    {
        using var document = PatchBody.Parse(patch, strictErrors, "", null);
        if (document.Root.Kind == NodeKind.Null)
            return;
        if (document.Root.Kind != NodeKind.Object)
            throw ApiStatus.BadRequest($"json: cannot unmarshal {PatchBody.NameOf(document.Root)} into Go value of type map[string]interface {{}}").ToException();
        MergeObject(target.Root, document.Root, type);
    }

    private static void MergeObject(ApiNode original, ApiNode patch, TypeSchema? type)
    {
        StackGuard.Enter();
        var directive = patch[Directive];
        if (directive.IsDefined)
        {
            ApplyObjectDirective(original, patch, directive);
            return;
        }
        ApplyRetainKeys(original, patch);
        ApplyElementOrders(original, patch, type);
        foreach (var member in patch.Members)
        {
            var name = member.Name;
            var isDeletion = name.StartsWith(DeletionPrefix);
            if (isDeletion)
                name = name[DeletionPrefix.Length..];
            MergeMember(original, name, member.Value, isDeletion, type);
        }
    }

    private static void MergeMember(ApiNode original, ReadOnlySpan<byte> name, ApiNode patch, bool isDeletion, TypeSchema? type)
    {
        if (patch.Kind == NodeKind.Null)
        {
            original.Remove(name);
            return;
        }
        var current = original[name];
        if (!current.IsDefined || current.Kind != patch.Kind || patch.Kind is not (NodeKind.Object or NodeKind.Array))
        {
            if (!isDeletion)
                PutNew(original, name, patch);
            return;
        }
        FieldSchema? field = null;
        type?.TryGetField(name, out field);
        if (patch.Kind == NodeKind.Object)
        {
            if (field is { PatchReplace: true })
                original.Set(name, patch);
            else
                MergeObject(current, patch, field is { Cardinality: FieldCardinality.One } ? field.Element : null);
        }
        else if (isDeletion)
        {
            DeleteScalars(current, patch);
        }
        else if (field is { PatchMerge: true })
        {
            MergeList(current, patch, field);
        }
        else
        {
            original.Set(name, patch);
        }
    }

    // A value that the original has not: its nulls and directives have nothing to act on.
    private static void PutNew(ApiNode original, ReadOnlySpan<byte> name, ApiNode patch)
    {
        if (patch.Kind == NodeKind.Object && patch[Directive].IsDefined)
            original.Remove(name);
        else
            CleanNew(original.Set(name, patch));
    }

    private static void CleanNew(ApiNode node)
    {
        StackGuard.Enter();
        foreach (var member in node.Members)
        {
            if (member.Value.Kind == NodeKind.Null || (member.Value.Kind == NodeKind.Object && member.Value[Directive].IsDefined))
                node.Remove(member.Name);
            else
                CleanNew(member.Value);
        }
        if (node.Kind != NodeKind.Array)
            return;
        var kept = new List<ApiNode>(node.Count);
        foreach (var element in node.Elements)
        {
            if (element.Kind == NodeKind.Object && element[Directive].IsDefined)
                continue;
            CleanNew(element);
            kept.Add(element);
        }
        if (kept.Count < node.Count)
            Rebuild(node, kept);
    }

    private static void ApplyObjectDirective(ApiNode original, ApiNode patch, ApiNode directive)
    {
        if (directive.Equals("delete"u8))
        {
            original.Clear();
        }
        else if (directive.Equals("replace"u8))
        {
            original.ReplaceWith(patch);
            original.Remove(Directive);
        }
        else
        {
            throw BadDirective(directive, patch);
        }
    }

    private static void ApplyRetainKeys(ApiNode original, ApiNode patch)
    {
        var retained = patch[RetainKeys];
        if (!retained.IsDefined)
            return;
        if (retained.Kind != NodeKind.Array)
            throw ApiStatus.BadRequest("invalid patch format of retainKeys").ToException();
        var names = new ElementPlaces(Snapshot(retained), null);
        using var scratch = ApiObject.Rent();
        foreach (var member in patch.Members)
        {
            var isDirective = member.Name.SequenceEqual(RetainKeys) || member.Name.StartsWith(ElementOrderPrefix) || member.Name.StartsWith(DeletionPrefix);
            if (!isDirective && member.Value.Kind != NodeKind.Null && names.Find(scratch.NewString(member.Name)) < 0)
                throw ApiStatus.BadRequest("invalid patch format of retainKeys").ToException();
        }
        foreach (var member in original.Members)
        {
            if (names.Find(scratch.NewString(member.Name)) < 0)
                original.Remove(member.Name);
        }
        patch.Remove(RetainKeys);
    }

    // Lists with an order directive are merged here, ordered, and taken out of the patch.
    private static void ApplyElementOrders(ApiNode original, ApiNode patch, TypeSchema? type)
    {
        List<ApiNode>? orders = null;
        foreach (var member in patch.Members)
        {
            if (member.Name.StartsWith(ElementOrderPrefix))
                (orders ??= []).Add(member.Value);
        }
        foreach (var order in orders ?? [])
        {
            var name = order.Name[ElementOrderPrefix.Length..];
            patch.Remove(order.Name);
            if (order.Kind != NodeKind.Array)
                throw ApiStatus.Unknown("expected a []interface {}, but received a string").ToException();
            FieldSchema? field = null;
            type?.TryGetField(name, out field);
            var key = field?.PatchMergeKey;
            var listPatch = patch[name];
            var current = original[name];
            if (listPatch.IsDefined && listPatch.Kind != NodeKind.Array)
                throw ApiStatus.Unknown("expected a []interface {}, but received a map[string]interface {}").ToException();
            CheckAgainstOrder(listPatch, order, key);
            if (!current.IsDefined && !listPatch.IsDefined)
                continue;
            var before = Snapshot(current);
            if (!current.IsDefined)
            {
                PutNew(original, name, listPatch);
                current = original[name];
            }
            else if (listPatch.IsDefined)
            {
                if (field is { PatchMerge: true })
                    MergeList(current, listPatch, field);
                else
                    original.Set(name, listPatch);
            }
            Reorder(current, order, before, key);
            patch.Remove(name);
        }
    }

    private static void MergeList(ApiNode original, ApiNode patch, FieldSchema field)
    {
        if (original.Count == 0 && patch.Count == 0)
            return;
        var before = Snapshot(original);
        var key = field.PatchMergeKey;
        if (patch[0].Kind != NodeKind.Object && original[0].Kind != NodeKind.Object)
        {
            if (patch[0].Kind == NodeKind.Array)
                throw ApiStatus.Unprocessable().ToException();
            var known = new ElementPlaces(before, null);
            foreach (var value in patch.Elements)
            {
                if (known.Find(value) >= 0)
                    continue;
                original.Append(value);
                known.Add(value);
            }
            Reorder(original, patch, before, null);
            return;
        }
        if (key is null)
            throw ApiStatus.Unknown($"cannot merge lists without merge key for {field.Element?.Name}").ToException();
        CheckElements(original, patch);
        ApplyListDirectives(original, patch, key, out var isReplaced);
        if (isReplaced)
            return;
        var keyUtf8 = Encoding.UTF8.GetBytes(key);
        var present = Snapshot(original);
        var places = new ElementPlaces(present, key);
        foreach (var element in patch.Elements)
        {
            if (!element[keyUtf8.AsSpan()].IsDefined)
                throw NoMergeKey(element, key);
            var at = places.Find(element);
            if (at >= 0)
            {
                MergeObject(present[at], element, field.Element);
                continue;
            }
            present.Add(original.Append(element));
            places.Add(element);
        }
        Reorder(original, patch, before, key);
    }

    private static void CheckElements(ApiNode original, ApiNode patch)
    {
        foreach (var list in (ReadOnlySpan<ApiNode>)[original, patch])
        {
            foreach (var element in list.Elements)
            {
                if (element.Kind != NodeKind.Object)
                    throw ApiStatus.Unknown($"list element types are not identical: [{GoText.Value(original)} {GoText.Value(patch)}]").ToException();
            }
        }
    }

    // Takes elements with $patch out of the patch list after doing what they say.
    private static void ApplyListDirectives(ApiNode original, ApiNode patch, string key, out bool isReplaced)
    {
        isReplaced = false;
        var kept = new List<ApiNode>(patch.Count);
        var deletions = new List<ApiNode>();
        var elements = Snapshot(patch);
        // From the end, which is where the first wrong one is complained of.
        for (var i = elements.Count - 1; i >= 0; i--)
        {
            var element = elements[i];
            var directive = element[Directive];
            if (!directive.IsDefined)
            {
                kept.Add(element);
            }
            else if (directive.Equals("replace"u8))
            {
                isReplaced = true;
            }
            else if (directive.Equals("delete"u8))
            {
                if (!element[Encoding.UTF8.GetBytes(key).AsSpan()].IsDefined)
                    throw NoMergeKey(element, key);
                deletions.Add(element);
            }
            else
            {
                throw directive.Equals("merge"u8)
                    ? ApiStatus.Unknown("merging lists cannot yet be specified in the patch").ToException()
                    : BadDirective(directive, element);
            }
        }
        if (kept.Count < elements.Count)
        {
            kept.Reverse();
            Rebuild(patch, kept);
        }
        if (deletions.Count > 0)
        {
            var unwanted = new ElementPlaces(deletions, key);
            Rebuild(original, [.. Snapshot(original).Where(element => unwanted.Find(element) < 0)]);
        }
        if (isReplaced)
            original.ReplaceWith(patch);
    }

    private static void DeleteScalars(ApiNode list, ApiNode unwanted)
    {
        var places = new ElementPlaces(Snapshot(unwanted), null);
        Rebuild(list, [.. Snapshot(list).Where(element => places.Find(element) < 0)]);
    }

    // Elements that the order names come in its order; the others keep the order that they had, each placed before the first named element that it
    // stood before.
    private static void Reorder(ApiNode list, ApiNode order, List<ApiNode> before, string? key)
    {
        var wantedPlaces = new ElementPlaces(Snapshot(order), key);
        var placesBefore = new ElementPlaces(before, key);
        var named = new List<(int Place, ApiNode Element)>();
        var others = new List<(int Place, ApiNode Element)>();
        foreach (var element in list.Elements)
        {
            if (key is not null && !element[Encoding.UTF8.GetBytes(key).AsSpan()].IsDefined)
                throw NoMergeKey(element, key);
            var place = wantedPlaces.Find(element);
            if (place >= 0)
                named.Add((place, element));
            else
                others.Add((placesBefore.Find(element), element));
        }
        var wanted = new List<ApiNode>(list.Count);
        var rest = new Queue<(int Place, ApiNode Element)>(others.OrderBy(item => item.Place));
        foreach (var (_, element) in named.OrderBy(item => item.Place))
        {
            var place = placesBefore.Find(element);
            while (place >= 0 && rest.Count > 0 && rest.Peek().Place >= 0 && rest.Peek().Place < place)
                wanted.Add(rest.Dequeue().Element);
            wanted.Add(element);
        }
        wanted.AddRange(rest.Select(item => item.Element));
        Rebuild(list, wanted);
    }

    private static void Rebuild(ApiNode list, List<ApiNode> elements)
    {
        var document = list.Document;
        list.Clear();
        foreach (var element in elements)
        {
            document[element.Index].IsAttached = false;
            list.Append(element);
        }
    }

    private static void CheckAgainstOrder(ApiNode patch, ApiNode order, string? key)
    {
        var places = new ElementPlaces(Snapshot(order), key);
        var place = -1;
        foreach (var element in patch.Elements)
        {
            if (element.Kind == NodeKind.Object && element[Directive].IsDefined)
                continue;
            var next = places.Find(element);
            if (next < place || (next < 0 && order.Count > 0))
            {
                throw ApiStatus.Unknown(
                    $"The order in patch list:\n{GoText.Value(patch)}\n doesn't match $setElementOrder list:\n{GoText.Value(order)}\n").ToException();
            }
            place = next;
        }
    }

    // The elements as they are now; their merge keys do not change while the list is merged.
    private static List<ApiNode> Snapshot(ApiNode list)
    {
        var elements = new List<ApiNode>(list.Count);
        foreach (var element in list.Elements)
            elements.Add(element);
        return elements;
    }

    private static ApiStatusException NoMergeKey(ApiNode element, string key) =>
        ApiStatus.Unknown($"map: {GoText.Value(element)} does not contain declared merge key: {key}").ToException();

    private static ApiStatusException BadDirective(ApiNode directive, ApiNode patch) =>
        ApiStatus.Unknown($"unknown patch type: {Shown(directive)} in map: {GoText.Value(patch)}").ToException();

    // As Go prints with %s what is no string.
    private static string Shown(ApiNode directive) => directive.Kind switch
    {
        NodeKind.Number => $"%!s({(directive.TryGetInt64(out _) ? "int64" : "float64")}={GoText.Value(directive)})",
        NodeKind.True or NodeKind.False => $"%!s(bool={GoText.Value(directive)})",
        _ => GoText.Value(directive),
    };
}
