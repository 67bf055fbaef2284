using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Validation of resource names and quantities: requests, limits, capacities, quotas.</summary>
internal static class ResourceValidation
{
    /// <summary>Requests and limits of a container.</summary>
    internal static void Requirements(At at, ApiNode resources, ApiNode podClaims)
    {
        if (resources.Kind != NodeKind.Object)
            return;
        Amounts(at, resources, isOfPod: false);
        Claims(at["claims"], resources["claims"u8], podClaims);
    }

    /// <summary>Requests and limits of a container or, with fewer resources, of a whole pod.</summary>
    internal static void Amounts(At at, ApiNode resources, bool isOfPod)
    {
        var limits = resources["limits"u8];
        var requests = resources["requests"u8];
        bool hasCpuOrMemory = false, hasHugePages = false;
        foreach (var limit in limits.Members)
        {
            Amount(at["limits"].Key(limit), limit, isOfPod);
            hasCpuOrMemory |= IsCpuOrMemory(limit.Name);
            if (!limit.Name.StartsWith("hugepages-"u8))
                continue;
            hasHugePages = true;
            WholePages(at["limits"].Key(limit), limit);
        }
        foreach (var request in requests.Members)
        {
            Amount(at["requests"].Key(request), request, isOfPod);
            hasCpuOrMemory |= IsCpuOrMemory(request.Name);
            CompareWithLimit(at, request, limits);
            if (!request.Name.StartsWith("hugepages-"u8))
                continue;
            hasHugePages = true;
            WholePages(at["requests"].Key(request), request);
        }
        if (hasHugePages && !hasCpuOrMemory)
            at.Forbidden("HugePages require cpu or memory");
    }

    private static void CompareWithLimit(At at, in ApiMember request, ApiNode limits)
    {
        var limit = limits[request.Name];
        bool mayOvercommit = MayOvercommit(request.Name);
        if (limit.IsNullOrUndefined)
        {
            if (!mayOvercommit)
                at["limits"].Required("Limit must be set for non overcommitable resources");
            return;
        }
        if (!Quantity.TryParse(request.Value.Utf8, out var asked) || !Quantity.TryParse(limit.Utf8, out var allowed))
            return;
        int order = asked.CompareTo(allowed);
        if (order != 0 && !mayOvercommit)
            at["requests"].Invalid(asked.ToString(), $"must be equal to {Encoding.UTF8.GetString(request.Name)} limit of {allowed}");
        else if (order > 0)
            at["requests"].Invalid(asked.ToString(), $"must be less than or equal to {Encoding.UTF8.GetString(request.Name)} limit of {allowed}");
    }

    // A page cannot be cut.
    private static void WholePages(At at, in ApiMember amount)
    {
        if (!Quantity.TryParse(amount.Value.Utf8, out var value))
            return;
        bool isSize = Quantity.TryParse(amount.Name["hugepages-".Length..], out var page) && page.Sign > 0 && page.MilliValue % 1000 == 0;
        if (!isSize || value.Value % page.Value != 0)
            at.Invalid(value.ToString(), $"{value} is not positive integer multiple of {Encoding.UTF8.GetString(amount.Name)}");
    }

    internal static void Claims(At at, ApiNode claims, ApiNode podClaims)
    {
        int i = 0;
        foreach (var claim in claims.Elements)
        {
            var place = at[i++];
            if (claim["name"u8].Utf8.IsEmpty)
                place.Required();
            else if (!HasNamed(podClaims, claim["name"u8].Utf8))
                place.NotFound(claim["name"u8], podClaims.Count == 0
                    ? "must be one of the names in pod.spec.resourceClaims which is empty"
                    : "must be one of the names in pod.spec.resourceClaims: "
                        + NamesOf(podClaims));
        }
    }

    private static string NamesOf(ApiNode podClaims)
    {
        var names = new List<string>();
        foreach (var claim in podClaims.Elements)
        {
            string name = claim["name"u8].AsString();
            if (!names.Contains(name))
                names.Add(name);
        }
        return string.Join(", ", names);
    }

    /// <summary>What a runtime class adds to each pod; upstream's path says limits.</summary>
    internal static void Overhead(At at, ApiNode overhead)
    {
        foreach (var member in overhead.Members)
            ContainerResource(at["limits"].Key(member), member);
    }

    /// <summary>A quantity that may not be negative, and is whole for resources that are counted.</summary>
    internal static void QuantityValue(At at, ReadOnlySpan<byte> resource, ApiNode value)
    {
        if (!Quantity.TryParse(value.Utf8, out var quantity))
            return;
        if (quantity.CompareTo(default) < 0)
            at.Invalid(quantity.ToString(), "must be greater than or equal to 0");
        if (IsCounted(resource) && quantity.ToString().EndsWith('m'))
            at.Invalid(quantity.ToString(), "must be an integer");
    }

    /// <summary>A quantity that may not be negative.</summary>
    internal static void NonNegative(At at, ApiNode value)
    {
        if (!value.IsNullOrUndefined && Quantity.TryParse(value.Utf8, out var quantity) && quantity.CompareTo(default) < 0)
            at.Invalid(quantity.ToString(), "must be greater than or equal to 0");
    }

    /// <summary>A quantity that is more than zero.</summary>
    internal static void Positive(At at, ApiNode value)
    {
        if (!value.IsNullOrUndefined && Quantity.TryParse(value.Utf8, out var quantity) && quantity.CompareTo(default) <= 0)
            at.Invalid(quantity.ToString(), "must be greater than zero");
    }

    /// <summary>The name of a resource anywhere: one of upstream's own, or one with a domain.</summary>
    internal static bool Name(At at, ReadOnlySpan<byte> name)
    {
        string text = Encoding.UTF8.GetString(name);
        if (!Formats.Is(Format.LabelKey, name))
        {
            at.Format(Format.LabelKey, text);
            return false;
        }
        if (name.IndexOf((byte)'/') >= 0 || IsStandard(name))
            return true;
        at.Invalid(text, "must be a standard resource type or fully qualified");
        return false;
    }

    /// <summary>The name of something that a quota bounds.</summary>
    internal static void QuotaName(At at, ReadOnlySpan<byte> name)
    {
        string text = Encoding.UTF8.GetString(name);
        Name(at, name);
        if (name.IndexOf((byte)'/') < 0 && !IsStandardQuota(name))
            at.Invalid(text, "must be a standard resource for quota");
    }

    /// <summary>The resources without a domain that a quota can bound.</summary>
    internal static bool IsStandardQuota(ReadOnlySpan<byte> name) => IsStandard(name) && !name.SequenceEqual("storage"u8) && !name.StartsWith("count/"u8);

    /// <summary>What the containers of pods ask for in time and memory.</summary>
    internal static bool IsComputeQuota(ReadOnlySpan<byte> name)
    {
        if (name.StartsWith("requests."u8))
            name = name["requests.".Length..];
        else if (name.StartsWith("limits."u8))
            name = name["limits.".Length..];
        return IsCpuOrMemory(name);
    }

    internal static bool IsCpuOrMemory(ReadOnlySpan<byte> name) => name.SequenceEqual("cpu"u8) || name.SequenceEqual("memory"u8);

    /// <summary>Resources that a node may promise more of than it has: upstream's own but huge pages.</summary>
    internal static bool MayOvercommit(ReadOnlySpan<byte> name) => IsNative(name) && !name.StartsWith("hugepages-"u8);

    internal static bool HasNamed(ApiNode list, ReadOnlySpan<byte> name) =>
        list.PlaceOf("name"u8, name, out var element) >= 0 && element["name"u8].Kind == NodeKind.String;

    private static void Amount(At at, in ApiMember member, bool isOfPod)
    {
        if (!isOfPod)
            ContainerResource(at, member);
        else
        {
            if (Name(at, member.Name) && !IsCpuOrMemory(member.Name) && !member.Name.StartsWith("hugepages-"u8))
                at.Check.Errors.NotSupported(at.ToString(), Encoding.UTF8.GetString(member.Name), "cpu", "hugepages-", "memory");
            QuantityValue(at, member.Name, member.Value);
        }
    }

    private static void ContainerResource(At at, in ApiMember member)
    {
        var name = member.Name;
        if (!IsCpuOrMemory(name))
            ContainerResourceName(at, name);
        QuantityValue(at, name, member.Value);
    }

    /// <summary>The name of a resource that a container may ask for.</summary>
    internal static void ContainerName(At at, ReadOnlySpan<byte> name)
    {
        if (!IsCpuOrMemory(name))
            ContainerResourceName(at, name);
    }

    private static void ContainerResourceName(At at, ReadOnlySpan<byte> name)
    {
        Name(at, name);
        if (name.IndexOf((byte)'/') < 0)
        {
            if (!name.SequenceEqual("ephemeral-storage"u8) && !name.StartsWith("hugepages-"u8))
                at.Invalid(Encoding.UTF8.GetString(name), "must be a standard resource for containers");
        }
        else if (!IsNative(name) && !IsExtended(name))
        {
            at.Invalid(Encoding.UTF8.GetString(name), "doesn't follow extended resource name standard");
        }
    }

    /// <summary>No domain, or one of upstream's.</summary>
    internal static bool IsNative(ReadOnlySpan<byte> name) => name.IndexOf((byte)'/') < 0 || name.IndexOf("kubernetes.io/"u8) >= 0;

    /// <summary>A resource of somebody else's that nodes count.</summary>
    internal static bool IsExtended(ReadOnlySpan<byte> name) =>
        !IsNative(name) && !name.StartsWith("requests."u8) && Formats.Is(Format.LabelKey, Encoding.UTF8.GetBytes("requests." + Encoding.UTF8.GetString(name)));

    private static bool IsCounted(ReadOnlySpan<byte> name) => IsObjectCount(name) || !IsNative(name);

    private static bool IsObjectCount(ReadOnlySpan<byte> name) =>
        name.SequenceEqual("pods"u8) || name.SequenceEqual("services"u8) || name.SequenceEqual("replicationcontrollers"u8) || name.SequenceEqual("resourcequotas"u8)
        || name.SequenceEqual("secrets"u8) || name.SequenceEqual("configmaps"u8) || name.SequenceEqual("persistentvolumeclaims"u8)
        || name.SequenceEqual("services.nodeports"u8) || name.SequenceEqual("services.loadbalancers"u8);

    private static bool IsStandard(ReadOnlySpan<byte> name)
    {
        if (IsObjectCount(name) || name.StartsWith("hugepages-"u8) || name.StartsWith("requests.hugepages-"u8) || name.StartsWith("count/"u8)
            || name.SequenceEqual("storage"u8) || name.SequenceEqual("requests.storage"u8))
            return true;
        if (name.StartsWith("requests."u8))
            name = name["requests.".Length..];
        else if (name.StartsWith("limits."u8))
            name = name["limits.".Length..];
        return IsCpuOrMemory(name) || name.SequenceEqual("ephemeral-storage"u8);
    }
}
