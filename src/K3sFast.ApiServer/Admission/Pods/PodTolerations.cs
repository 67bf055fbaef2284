using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Lists of tolerations as admission works with them: merged so that none is covered by another, and held against a whitelist.</summary>
internal static class PodTolerations
{
    /// <summary>Adds tolerations to a pod's; of two of which one tolerates all that the other does, the wider stays.</summary>
    internal static void Merge(ApiNode spec, IReadOnlyList<ApiNode> added)
    {
        var all = new List<ApiNode>();
        foreach (var own in spec["tolerations"u8].Elements)
            all.Add(own);
        all.AddRange(added);
        using var merged = new ApiObject();
        var kept = merged.Root.GetOrAddArray("tolerations"u8);
        for (var i = 0; i < all.Count; i++)
        {
            if (!IsRedundant(all, i, kept))
                kept.Append(all[i]);
        }
        if (kept.Count > 0)
            spec.Set("tolerations"u8, kept);
    }

    /// <summary>True when each toleration is covered by one of the whitelist, or one of the two is empty.</summary>
    internal static bool AreWithin(ApiNode tolerations, IReadOnlyList<ApiNode> whitelist)
    {
        if (whitelist.Count == 0)
            return true;
        foreach (var toleration in tolerations.Elements)
        {
            if (!whitelist.Any(allowed => Covers(allowed, toleration)))
                return false;
        }
        return true;
    }

    private static bool IsRedundant(List<ApiNode> all, int index, ApiNode kept)
    {
        foreach (var earlier in kept.Elements)
        {
            if (Covers(earlier, all[index]))
                return true;
        }
        for (var later = index + 1; later < all.Count; later++)
        {
            if (!all[index].DeepEquals(all[later]) && Covers(all[later], all[index]))
                return true;
        }
        return false;
    }

    private static bool Covers(ApiNode wide, ApiNode narrow)
    {
        if (wide.DeepEquals(narrow))
            return true;
        var exists = wide["operator"u8].Equals("Exists"u8);
        if (!Same(narrow["key"u8], wide["key"u8]) && !(wide["key"u8].Utf8.IsEmpty && exists))
            return false;
        if (!Same(narrow["effect"u8], wide["effect"u8]) && !wide["effect"u8].Utf8.IsEmpty)
            return false;
        if (wide["effect"u8].Equals("NoExecute"u8) && wide["tolerationSeconds"u8].TryGetInt64(out var most)
            && (!narrow["tolerationSeconds"u8].TryGetInt64(out var seconds) || seconds > most))
            return false;
        if (exists)
            return true;
        var isEqual = wide["operator"u8].Utf8.IsEmpty || wide["operator"u8].Equals("Equal"u8);
        return isEqual && narrow["operator"u8].Equals("Equal"u8) && Same(narrow["value"u8], wide["value"u8]);
    }

    private static bool Same(ApiNode a, ApiNode b) => a.Utf8.SequenceEqual(b.Utf8);
}
