namespace K3sFast.ApiMachinery;

public static partial class Validation
{
    /// <summary>
    /// What clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy of a Service must be before addresses can be allocated. ExternalName Services have none.
    /// </summary>
    public static FieldErrorList ValidateServiceAddresses(ApiNode service)
    {
        var check = Check.Rent();
        var spec = service["spec"u8];
        if (!spec["type"u8].Equals("ExternalName"u8))
            ServiceAddresses(check.Root["spec"], spec);
        return check.Finish();
    }

    private static void ServiceAddresses(At at, ApiNode spec)
    {
        ApiNode primary = spec["clusterIP"u8], all = spec["clusterIPs"u8], families = spec["ipFamilies"u8];
        if (!primary.Utf8.IsEmpty && all.Count == 0)
            at["clusterIPs"].Required();
        else if (!primary.Utf8.IsEmpty && !all[0].Utf8.SequenceEqual(primary.Utf8))
            at["clusterIPs"].Invalid(all, "first value must match `clusterIP`");
        else if (primary.Utf8.IsEmpty && all.Count > 0)
            at["clusterIPs"].Invalid(all, "must be empty when `clusterIP` is not specified");
        for (int i = 0; i < families.Count; i++)
        {
            if (!families[i].Equals("IPv4"u8) && !families[i].Equals("IPv6"u8))
                at["ipFamilies"][i].NotSupported(families[i], ["IPv4", "IPv6"]);
            for (int j = 0; j < i; j++)
            {
                if (!families[j].DeepEquals(families[i]))
                    continue;
                at["ipFamilies"][i].Duplicate(families[i]);
                break;
            }
        }
        var policy = spec["ipFamilyPolicy"u8];
        if (!policy.IsNullOrUndefined && policy.AsString() is not ("SingleStack" or "PreferDualStack" or "RequireDualStack"))
            at["ipFamilyPolicy"].NotSupported(policy, ["PreferDualStack", "RequireDualStack", "SingleStack"]);
        if (!AreAddresses(at, all))
            return;
        bool isHeadless = all.Count > 0 && all[0].Equals("None"u8);
        if (all.Count > 1 && (all.Count > 2 || Addresses.IsIPv6(all[0].AsString()) == Addresses.IsIPv6(all[1].AsString())))
            at["clusterIPs"].Invalid(all, "may specify no more than one IP for each IP family");
        for (int i = 0; !isHeadless && i < Math.Min(all.Count, families.Count); i++)
        {
            string family = families[i].AsString(), ip = all[i].AsString();
            if (family is "IPv4" or "IPv6" && family == "IPv6" != Addresses.IsIPv6(ip))
                at["clusterIPs"][i].Invalid(ip, $"expected an {family} value as indicated by `ipFamilies[{i}]`");
        }
    }

    private static bool AreAddresses(At at, ApiNode all)
    {
        bool areValid = true;
        for (int i = 0; i < all.Count; i++)
        {
            if (i > 0 || !all[i].Equals("None"u8))
            {
                areValid &= Addresses.LegacyIP(at["clusterIPs"][i], all[i]);
            }
            else if (all.Count > 1)
            {
                areValid = false;
                at["clusterIPs"].Invalid(all, "'None' must be the first and only value");
            }
        }
        if (all.Count > 2)
            at["clusterIPs"].Invalid(all, "may only hold up to 2 values");
        return areValid;
    }
}
