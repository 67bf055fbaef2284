namespace K3sFast.ApiMachinery;

/// <summary>Settings of Services that have no effect, or a successor.</summary>
internal static class ServiceWarnings
{
    internal static void Of(ref WarningList warnings, ApiNode service)
    {
        var spec = service["spec"u8];
        bool isHeadless = spec["type"u8].Equals("ClusterIP"u8) && spec["clusterIP"u8].Equals("None"u8);
        bool isExternalName = spec["type"u8].Equals("ExternalName"u8);
        if (service["metadata"u8]["annotations"u8]["service.kubernetes.io/topology-aware-hints"u8].IsDefined)
            warnings.Add("annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead");
        if (!isHeadless)
            List(ref warnings, "spec.clusterIPs", spec["clusterIPs"u8]);
        if (isHeadless)
        {
            if (!spec["loadBalancerIP"u8].Utf8.IsEmpty)
                warnings.Add("spec.loadBalancerIP is ignored for headless services");
            if (spec["externalIPs"u8].Count > 0)
                warnings.Add("spec.externalIPs is ignored for headless services");
            if (!spec["sessionAffinity"u8].Equals("None"u8))
                warnings.Add("spec.SessionAffinity is ignored for headless services");
        }
        List(ref warnings, "spec.externalIPs", spec["externalIPs"u8]);
        if (spec["externalIPs"u8].Count > 0 && !isHeadless && !isExternalName)
            warnings.Add("spec.externalIPs is deprecated and may no longer be implemented in some clusters");
        if (!spec["loadBalancerIP"u8].Utf8.IsEmpty)
            AddressWarnings.Ip(ref warnings, "spec.loadBalancerIP", spec["loadBalancerIP"u8]);
        int i = 0;
        foreach (var range in spec["loadBalancerSourceRanges"u8].Elements)
            AddressWarnings.Cidr(ref warnings, $"spec.loadBalancerSourceRanges[{i++}]", range);
        if (isExternalName && spec["externalIPs"u8].Count > 0)
            warnings.Add("spec.externalIPs is ignored when spec.type is \"ExternalName\"");
        if (!isExternalName && !spec["externalName"u8].Utf8.IsEmpty)
            warnings.Add("spec.externalName is ignored when spec.type is not \"ExternalName\"");
        if (spec["trafficDistribution"u8].Equals("PreferClose"u8))
            warnings.Add("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"");
    }

    private static void List(ref WarningList warnings, string path, ApiNode addresses)
    {
        int i = 0;
        foreach (var address in addresses.Elements)
            AddressWarnings.Ip(ref warnings, $"{path}[{i++}]", address);
    }
}
