namespace K3sFast.ApiMachinery;

/// <summary>Validation of the kinds that Service addresses are kept in: IPAddress and ServiceCIDR.</summary>
internal static class AddressValidation
{
    private static readonly TypeSchema s_addressSpecType = Schema.BuiltIn.FindType("io.k8s.api.networking.v1.IPAddressSpec")!;
    private static readonly TypeSchema s_cidrSpecType = Schema.BuiltIn.FindType("io.k8s.api.networking.v1.ServiceCIDRSpec")!;

    internal static void Address(At at, ApiNode address)
    {
        var parent = address["spec"u8]["parentRef"u8];
        at = at["spec"]["parentRef"];
        if (parent.Kind != NodeKind.Object)
        {
            at.Required();
            return;
        }
        PodValidation.FormatWhenSet(at["group"], parent["group"u8], Format.Dns1123Subdomain);
        if (parent["resource"u8].Utf8.IsEmpty)
            at["resource"].Required();
        else
            at["resource"].Format(Format.PathSegment, parent["resource"u8]);
        if (parent["name"u8].Utf8.IsEmpty)
            at["name"].Required();
        else
            at["name"].Format(Format.PathSegment, parent["name"u8]);
        PodValidation.FormatWhenSet(at["namespace"], parent["namespace"u8], Format.PathSegment);
    }

    internal static void AddressUpdate(At at, ApiNode address, ApiNode old)
    {
        Address(at, address);
        at["spec"]["parentRef"].ImmutableMember(address["spec"u8], old["spec"u8], "parentRef"u8, s_addressSpecType);
    }

    internal static void ServiceCidr(At at, ApiNode cidr)
    {
        var spec = cidr["spec"u8];
        var cidrs = spec["cidrs"u8];
        at = at["spec"]["cidrs"];
        if (cidrs.Count == 0)
        {
            at.Required("at least one CIDR required");
            return;
        }
        if (cidrs.Count > 2)
        {
            at.InvalidValue(spec, s_cidrSpecType, "may only hold up to 2 values");
            return;
        }
        int i = 0, valid = 0;
        foreach (var value in cidrs.Elements)
            valid += Addresses.Cidr(at[i++], value) ? 1 : 0;
        if (valid == 2 && Addresses.IsIPv6(cidrs[0].AsString()) == Addresses.IsIPv6(cidrs[1].AsString()))
            at.Invalid(cidrs, "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64");
    }

    internal static void ServiceCidrUpdate(At at, ApiNode cidr, ApiNode old)
    {
        ApiNode cidrs = cidr["spec"u8]["cidrs"u8], oldCidrs = old["spec"u8]["cidrs"u8];
        bool becomesDual = oldCidrs.Count == 1 && cidrs.Count == 2;
        if (cidrs.Count != oldCidrs.Count && !becomesDual)
        {
            at["spec"]["cidrs"].InvalidMember(cidr["spec"u8], "cidrs", s_cidrSpecType, "field is immutable");
            return;
        }
        for (int i = 0; i < oldCidrs.Count; i++)
            if (!cidrs[i].Utf8.SequenceEqual(oldCidrs[i].Utf8))
                at["spec"]["cidrs"][i].Invalid(cidrs[i], "field is immutable");
        if (becomesDual)
            ServiceCidr(at, cidr);
    }
}
