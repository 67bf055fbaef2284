using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Validation of the resources that a pod asks for as a whole: of known kinds, and no less than its containers need.</summary>
internal static class PodLevelValidation
{
    internal static void Check(At at, ApiNode spec)
    {
        var resources = spec["resources"u8];
        if (resources.Kind != NodeKind.Object)
            return;
        if (spec["os"u8]["name"u8].Equals("windows"u8))
        {
            at.Forbidden("may not be set for a windows pod");
            return;
        }
        if (!resources["claims"u8].IsNullOrUndefined)
            at["claims"].Forbidden("claims may not be set for Resources at pod-level");
        ResourceValidation.Amounts(at, resources, isOfPod: true);
        ResourceValidation.Claims(at["claims"], resources["claims"u8], spec["resourceClaims"u8]);
        Sums(at["requests"], spec, resources["requests"u8], "requests", onlyPages: false);
        Sums(at["limits"], spec, resources["limits"u8], "limits", onlyPages: true);
        Limits(at, spec["containers"u8], resources["limits"u8]);
    }

    private static void Sums(At at, ApiNode spec, ApiNode amounts, string list, bool onlyPages)
    {
        foreach (var amount in amounts.Members)
        {
            if (onlyPages && !amount.Name.StartsWith("hugepages-"u8) || ContainerSum.Of(spec, Encoding.ASCII.GetBytes(list), amount.Name) is not { } sum)
                continue;
            if (Quantity.TryParse(amount.Value.Utf8, out var whole) && Quantity.Parse(sum).CompareTo(whole) > 0)
                at.Key(amount).Invalid(whole.ToString(), $"must be greater than or equal to aggregate container {list} of {sum}");
        }
    }

    private static void Limits(At at, ApiNode containers, ApiNode limits)
    {
        int i = 0;
        foreach (var container in containers.Elements)
        {
            foreach (var limit in container["resources"u8]["limits"u8].Members)
                if (Quantity.TryParse(limits[limit.Name].Utf8, out var whole) && Quantity.TryParse(limit.Value.Utf8, out var part) && part.CompareTo(whole) > 0)
                    at["containers"][i].Key(limit)["limits"].Invalid(part.ToString(), $"must be less than or equal to pod limits of {whole}");
            i++;
        }
    }
}
