namespace K3sFast.ApiMachinery;

/// <summary>
/// Lays an applied configuration over an object in place: fields that it names get its values, elements of keyed lists and sets are united in
/// structured-merge-diff's order, everything else stays.
/// </summary>
internal static class ConfigMerge
{
    /// <summary>Merges the configuration (checked before, untouched) into the target.</summary>
    public static void Merge(ApiNode target, ApiNode config, TypeSchema type) => MergeObject(target, config, TypedPlace.Top(type));

    private static void MergeObject(ApiNode target, ApiNode config, in TypedPlace place)
    {
        StackGuard.Enter();
        foreach (var member in config.Members)
        {
            var current = target[member.Name];
            var inner = place.Member(member.Name);
            if (!current.IsDefined || !MergeInto(current, member.Value, inner))
                target.Set(member.Name, member.Value);
        }
    }

    // False when the configuration's value replaces the current one. Nothing (null, or empty) takes nothing away from a container that has content.
    private static bool MergeInto(ApiNode current, ApiNode config, in TypedPlace place)
    {
        if (place.IsAtomic || place.Kind == PlaceKind.Scalar)
            return false;
        var kind = place.Kind == PlaceKind.List ? NodeKind.Array : NodeKind.Object;
        var isContainer = current.Kind == kind && current.Count > 0;
        if (config.Kind == NodeKind.Null || (config.Kind == kind && config.Count == 0))
            return isContainer;
        if (!isContainer || config.Kind != kind)
            return false;
        if (kind == NodeKind.Object)
            MergeObject(current, config, place);
        else
            MergeList(current, config, place);
        return true;
    }

    // Elements of both lists come in the configuration's order; the target's other elements keep their place between the common ones.
    private static void MergeList(ApiNode target, ApiNode config, in TypedPlace place)
    {
        ListIndex ours = new(), theirs = new();
        ours.Build(target, isExact: true, place);
        theirs.Build(config, isExact: true, place);
        var shared = new Queue<int>();
        for (var i = 0; i < theirs.Count; i++)
        {
            if (ours.Find(theirs.PathOf(i)) >= 0)
                shared.Enqueue(i);
        }
        var merged = new List<ApiNode>(ours.Count + theirs.Count);
        var isTaken = new bool[theirs.Count];
        int left = 0, right = 0;
        while (left < ours.Count || right < theirs.Count)
        {
            if (left < ours.Count)
            {
                var twin = theirs.Find(ours.PathOf(left));
                if (right < theirs.Count && twin == right)
                {
                    merged.Add(Take(ours, theirs, right, isTaken, place));
                    left++;
                    right++;
                    shared.TryDequeue(out _);
                    continue;
                }
                if (twin < 0)
                {
                    merged.Add(ours.ElementAt(left++));
                    continue;
                }
                // A common element whose turn comes later is taken with the configuration's.
                if (right < theirs.Count && shared.TryPeek(out var wanted) && wanted != twin)
                {
                    left++;
                    continue;
                }
                if (isTaken[twin])
                    left++;
            }
            if (right < theirs.Count)
            {
                if (shared.TryPeek(out var next) && next == right)
                    shared.Dequeue();
                merged.Add(Take(ours, theirs, right++, isTaken, place));
            }
        }
        var document = target.Document;
        target.Clear();
        foreach (var element in merged)
        {
            if (ReferenceEquals(element.Document, document))
                document[element.Index].IsAttached = false;
            target.Append(element);
        }
    }

    private static ApiNode Take(ListIndex ours, ListIndex theirs, int index, bool[] isTaken, in TypedPlace place)
    {
        isTaken[index] = true;
        var config = theirs.ElementAt(index);
        var twin = ours.Find(theirs.PathOf(index));
        // Where the target has the element more than once, none of them is the one to merge with.
        if (twin < 0 || ours.IsRepeated(twin))
            return config;
        var current = ours.ElementAt(twin);
        return MergeInto(current, config, place.Element) ? current : config;
    }
}
