using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// The fields of a Service that follow from each other: clusterIP and clusterIPs, ipFamilies and ipFamilyPolicy; and those that the client may leave out
/// because the stored Service has them. In upstream's order and words.
/// </summary>
internal static class ServiceFields
{
    internal static bool IsExternalName(ApiNode spec) => spec["type"u8].Equals("ExternalName"u8);

    internal static bool IsHeadless(ApiNode spec) => spec["clusterIPs"u8][0].Equals("None"u8);

    internal static bool NeedsNodePorts(ApiNode spec) =>
        spec["type"u8].Equals("NodePort"u8) || spec["type"u8].Equals("LoadBalancer"u8) && spec["allocateLoadBalancerNodePorts"u8].AsBool(fallback: true);

    internal static bool HasNodePorts(ApiNode spec) => spec["type"u8].Equals("NodePort"u8) || spec["type"u8].Equals("LoadBalancer"u8);

    internal static bool NeedsHealthCheck(ApiNode spec) => spec["type"u8].Equals("LoadBalancer"u8) && spec["externalTrafficPolicy"u8].Equals("Local"u8);

    /// <summary>What an update leaves out is what is stored.</summary>
    internal static void KeepAllocated(ApiNode spec, ApiNode old)
    {
        if (!IsExternalName(spec) && !IsExternalName(old))
        {
            if (spec["clusterIP"u8].Utf8.IsEmpty && !old["clusterIP"u8].Utf8.IsEmpty)
                spec.Set("clusterIP"u8, old["clusterIP"u8]);
            if (spec["clusterIPs"u8].Count == 0 && old["clusterIPs"u8].Count > 0)
                spec.Set("clusterIPs"u8, old["clusterIPs"u8]);
        }
        if (HasNodePorts(spec) && HasNodePorts(old))
        {
            // A port keeps its number by its name, unless another port of the new Service has that number now.
            var used = NodePorts.OfPorts(spec).Intersect(NodePorts.OfPorts(old)).ToHashSet();
            foreach (var port in spec["ports"u8].Elements)
            {
                if (port["nodePort"u8].AsInt64() == 0 && NumberOf(old["ports"u8], port["name"u8]) is > 0 and var number && !used.Contains(number))
                    port.Set("nodePort"u8, number);
            }
        }
        if (NeedsHealthCheck(spec) && NeedsHealthCheck(old) && spec["healthCheckNodePort"u8].AsInt64() == 0 && old["healthCheckNodePort"u8].AsInt64() != 0)
            spec.Set("healthCheckNodePort"u8, old["healthCheckNodePort"u8]);
    }

    /// <summary>Clients that know only one of clusterIP and clusterIPs change that one; the other follows.</summary>
    internal static void Normalize(ApiNode spec, ApiNode old)
    {
        ApiNode primary = spec["clusterIP"u8], oldPrimary = old["clusterIP"u8];
        if (!old.IsDefined)
        {
            if (!primary.Utf8.IsEmpty && spec["clusterIPs"u8].Count == 0)
                SetList(spec, "clusterIPs"u8, [primary.AsString()]);
            return;
        }
        var isSamePrimary = primary.Utf8.SequenceEqual(oldPrimary.Utf8);
        if (old["clusterIPs"u8].Count > 0 && spec["clusterIPs"u8].Count == 0 && isSamePrimary)
            spec.Set("clusterIPs"u8, old["clusterIPs"u8]);
        if (isSamePrimary || !IsSameList(spec, old, "clusterIPs"u8))
            return;
        if (primary.Utf8.IsEmpty)
            spec.Remove("clusterIPs"u8);
        else
            SetList(spec, "clusterIPs"u8, [primary.AsString()]);
    }

    /// <summary>Fills ipFamilyPolicy and ipFamilies in, or refuses what does not fit together.</summary>
    /// <param name="service">The new Service; changed in place.</param>
    /// <param name="old">The stored spec; undefined on create.</param>
    /// <param name="configured">The families of this cluster, the default one first.</param>
    internal static void SetFamilies(ApiNode service, ApiNode old, IReadOnlyList<string> configured)
    {
        var spec = service["spec"u8];
        if (IsExternalName(spec) || IsUnchangedPreference(spec, old))
            return;
        var isSelectorless = spec["clusterIP"u8].Equals("None"u8) && spec["selector"u8].Count == 0;
        if (spec["ipFamilyPolicy"u8].IsNullOrUndefined)
            spec.Set("ipFamilyPolicy"u8, old["ipFamilyPolicy"u8] is { Utf8.IsEmpty: false } kept ? kept.AsString() : isSelectorless ? "RequireDualStack" : "SingleStack");
        var name = ObjectText.NameOf(service);
        Refuse(name, Validation.ValidateServiceAddresses(service));
        var policy = spec["ipFamilyPolicy"u8].AsString();
        var errors = new FieldErrorList();
        if (old.IsDefined)
            Reduce(spec, old, policy, errors);
        CheckSingle(spec, policy, errors);
        FamiliesFromAddresses(spec, configured, errors);
        Refuse(name, errors);
        var families = Texts(spec["ipFamilies"u8]);
        if (!isSelectorless)
        {
            if (policy == "RequireDualStack" && configured.Count < 2)
                errors.Invalid("spec.ipFamilyPolicy", policy, "this cluster is not configured for dual-stack services");
            for (var i = 0; i < families.Count; i++)
            {
                if (!configured.Contains(families[i]))
                    errors.Invalid($"spec.ipFamilies[{i}]", families[i], "not configured on this cluster");
            }
            Refuse(name, errors);
        }
        if (families.Count == 0)
            families.Add(configured[0]);
        // Who brings its own endpoints may bring both families, whatever the cluster has.
        if (policy != "SingleStack" && families.Count == 1 && (isSelectorless || configured.Count == 2))
            families.Add(families[0] == "IPv4" ? "IPv6" : "IPv4");
        SetList(spec, "ipFamilies"u8, families);
    }

    internal static List<string> Texts(ApiNode list)
    {
        var texts = new List<string>();
        foreach (var element in list.Elements)
            texts.Add(element.AsString());
        return texts;
    }

    internal static void SetList(ApiNode spec, ReadOnlySpan<byte> name, IReadOnlyList<string> values)
    {
        var list = spec.GetOrAddArray(name);
        list.Clear();
        foreach (var value in values)
            list.AppendString(Encoding.UTF8.GetBytes(value));
    }

    internal static void Refuse(string name, FieldErrorList errors)
    {
        if (errors.Count > 0)
            throw ApiStatus.Invalid("", "Service", name, errors).ToException();
    }

    private static long NumberOf(ApiNode ports, ApiNode name)
    {
        long number = 0;
        foreach (var port in ports.Elements)
        {
            if (port["name"u8].Utf8.SequenceEqual(name.Utf8))
                number = port["nodePort"u8].AsInt64();
        }
        return number;
    }

    // A Service that prefers two families and is written back as it is stays as it is, also where the cluster has gained a family since.
    private static bool IsUnchangedPreference(ApiNode spec, ApiNode old) =>
        old.IsDefined && spec["ipFamilyPolicy"u8].Equals("PreferDualStack"u8) && spec["type"u8].DeepEquals(old["type"u8]) && !IsExternalName(spec)
        && (old["ipFamilyPolicy"u8].IsNullOrUndefined || old["ipFamilyPolicy"u8].Equals("PreferDualStack"u8))
        && IsSameList(spec, old, "clusterIPs"u8) && IsSameList(spec, old, "ipFamilies"u8);

    private static bool IsSameList(ApiNode a, ApiNode b, ReadOnlySpan<byte> name) => a[name].Count == b[name].Count && (a[name].Count == 0 || a[name].DeepEquals(b[name]));

    private static void Reduce(ApiNode spec, ApiNode old, string policy, FieldErrorList errors)
    {
        if (policy == "SingleStack")
        {
            if (IsSameList(spec, old, "clusterIPs"u8) && spec["clusterIPs"u8].Count > 1)
                SetList(spec, "clusterIPs"u8, [spec["clusterIPs"u8][0].AsString()]);
            if (IsSameList(spec, old, "ipFamilies"u8) && spec["ipFamilies"u8].Count > 1)
                SetList(spec, "ipFamilies"u8, [spec["ipFamilies"u8][0].AsString()]);
            return;
        }
        if (spec["clusterIPs"u8].Count > 0 && spec["clusterIPs"u8].Count < old["clusterIPs"u8].Count)
            errors.Invalid("spec.ipFamilyPolicy", policy, "must be 'SingleStack' to release the secondary cluster IP");
        if (spec["ipFamilies"u8].Count > 0 && spec["ipFamilies"u8].Count < old["ipFamilies"u8].Count)
            errors.Invalid("spec.ipFamilyPolicy", policy, "must be 'SingleStack' to release the secondary IP family");
    }

    private static void CheckSingle(ApiNode spec, string policy, FieldErrorList errors)
    {
        if (policy != "SingleStack")
            return;
        if (spec["clusterIPs"u8].Count == 2)
            errors.Invalid("spec.ipFamilyPolicy", policy, "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified");
        if (spec["ipFamilies"u8].Count == 2)
            errors.Invalid("spec.ipFamilyPolicy", policy, "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified");
    }

    private static void FamiliesFromAddresses(ApiNode spec, IReadOnlyList<string> configured, FieldErrorList errors)
    {
        var addresses = Texts(spec["clusterIPs"u8]);
        for (var i = 0; i < addresses.Count && addresses[i] != "None"; i++)
        {
            var family = addresses[i].Contains(':', StringComparison.Ordinal) ? "IPv6" : "IPv4";
            if (i < spec["ipFamilies"u8].Count)
                continue;
            if (configured.Contains(family))
                spec.GetOrAddArray("ipFamilies"u8).AppendString(Encoding.UTF8.GetBytes(family));
            else
                errors.Invalid($"spec.clusterIPs[{i}]", spec["clusterIPs"u8], $"{family} is not configured on this cluster");
        }
    }
}
