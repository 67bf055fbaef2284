namespace K3sFast.ApiMachinery;

/// <summary>Takes fields and elements out of an object in place. What is emptied by that stays as an empty container.</summary>
internal static class FieldRemoval
{
    public static void Remove(ApiNode target, FieldSet fields, TypeSchema type) => RemoveMembers(target, fields, FieldSet.Root, TypedPlace.Top(type));

    /// <summary>
    /// Makes every declared field that has a path below it a member, as structured-merge-diff does before it computes with sets that stand for
    /// values: who owns <c>spec.replicas</c> holds <c>spec</c>, but who owns a label does not hold the map of labels.
    /// </summary>
    public static void AddNamedFields(FieldSet fields, TypeSchema type) => AddNamedFields(fields, FieldSet.Root, TypedPlace.Top(type));

    /// <summary>Makes the owner of parts of what the schema treats as a whole the owner of the whole.</summary>
    public static void CollapseAtomic(FieldSet fields, TypeSchema type) => CollapseAtomic(fields, FieldSet.Root, TypedPlace.Top(type));

    private static void CollapseAtomic(FieldSet fields, int node, in TypedPlace place)
    {
        StackGuard.Enter();
        for (var child = fields.FirstChild(node); child != 0; child = fields.NextSibling(child))
        {
            if (fields.FirstChild(child) == 0)
                continue;
            var inner = PlaceBelow(place, fields.ElementOf(child));
            if (inner.IsAtomic)
                fields.MakeLeaf(child);
            else
                CollapseAtomic(fields, child, inner);
        }
    }

    private static TypedPlace PlaceBelow(in TypedPlace place, ReadOnlySpan<byte> element) =>
        element[0] == PathElement.Field ? place.Member(element[2..]) : place.Kind == PlaceKind.List ? place.Element : TypedPlace.Free;

    private static void RemoveMembers(ApiNode target, FieldSet fields, int node, in TypedPlace place)
    {
        StackGuard.Enter();
        if (place.IsAtomic)
        {
            target.Clear();
            return;
        }
        for (var child = fields.FirstChild(node); child != 0; child = fields.NextSibling(child))
        {
            var element = fields.ElementOf(child);
            if (element[0] != PathElement.Field)
                continue;
            var member = target[element[2..]];
            if (!member.IsDefined)
                continue;
            if (fields.IsMember(child))
                target.Remove(element[2..]);
            else
                Descend(member, fields, child, place.Member(element[2..]));
        }
    }

    private static void Descend(ApiNode value, FieldSet fields, int node, in TypedPlace place)
    {
        if (fields.FirstChild(node) == 0)
            return;
        if (value.Kind == NodeKind.Object)
            RemoveMembers(value, fields, node, place);
        else if (value.Kind == NodeKind.Array && place.Kind == PlaceKind.List && !place.IsAtomic)
            RemoveElements(value, fields, node, place);
    }

    private static void RemoveElements(ApiNode list, FieldSet fields, int node, in TypedPlace place)
    {
        var index = new ListIndex();
        index.Build(list, isExact: true, place);
        // By the set's paths, so that a long list costs a lookup for each and no search.
        var isGone = new bool[index.Count];
        for (var child = fields.FirstChild(node); child != 0; child = fields.NextSibling(child))
        {
            var first = index.Find(fields.ElementOf(child));
            for (var i = first; i >= 0 && i < index.Count; i = index.NextOf(i, first))
            {
                isGone[i] = fields.IsMember(child);
                if (!isGone[i])
                    Descend(index.ElementAt(i), fields, child, place.Element);
            }
        }
        if (Array.IndexOf(isGone, true) < 0)
            return;
        list.Clear();
        for (var i = 0; i < index.Count; i++)
        {
            if (isGone[i])
                continue;
            list.Document[index.ElementAt(i).Index].IsAttached = false;
            list.Append(index.ElementAt(i));
        }
    }

    private static void AddNamedFields(FieldSet fields, int node, in TypedPlace place)
    {
        StackGuard.Enter();
        for (var child = fields.FirstChild(node); child != 0; child = fields.NextSibling(child))
        {
            if (fields.FirstChild(child) == 0)
                continue;
            var element = fields.ElementOf(child);
            if (element[0] == PathElement.Field && place.Kind == PlaceKind.Message && place.Type!.TryGetField(element[2..], out _))
                fields.SetMember(child);
            AddNamedFields(fields, child, PlaceBelow(place, element));
        }
    }
}
