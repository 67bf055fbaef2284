namespace K3sFast.ApiMachinery;

public static partial class RestStrategy
{
    /// <summary>
    /// Clears what no longer applies when a service changes its type, where it may have been set automatically and the client did not
    /// also try to change it (then validation refuses it).
    /// </summary>
    private static void DropFieldsOfOldServiceType(ApiNode service, ApiNode old)
    {
        var spec = service["spec"u8];
        var oldSpec = old["spec"u8];
        if (NeedsClusterIP(oldSpec) && !NeedsClusterIP(spec))
        {
            if (Same(spec, oldSpec, "clusterIP"u8) && Same(spec, oldSpec, "clusterIPs"u8))
            {
                spec.Remove("clusterIP"u8);
                spec.Remove("clusterIPs"u8);
            }
            if (Same(spec, oldSpec, "ipFamilies"u8))
                spec.Remove("ipFamilies"u8);
            if (Same(spec, oldSpec, "ipFamilyPolicy"u8))
                spec.Remove("ipFamilyPolicy"u8);
        }
        if (NeedsNodePortByType(oldSpec) && !NeedsNodePortByType(spec) && SameNodePorts(spec["ports"u8], oldSpec["ports"u8]))
            foreach (var port in spec["ports"u8].Elements)
                port.Remove("nodePort"u8);
        if (NeedsHealthCheckPort(oldSpec) && !NeedsHealthCheckPort(spec) && Same(spec, oldSpec, "healthCheckNodePort"u8))
            spec.Remove("healthCheckNodePort"u8);
        if (IsType(oldSpec, "LoadBalancer"u8) && !IsType(spec, "LoadBalancer"u8))
        {
            if (!oldSpec["allocateLoadBalancerNodePorts"u8].IsNullOrUndefined && Same(spec, oldSpec, "allocateLoadBalancerNodePorts"u8))
                spec.Remove("allocateLoadBalancerNodePorts"u8);
            if (Same(spec, oldSpec, "loadBalancerClass"u8))
                spec.Remove("loadBalancerClass"u8);
        }
        if (IsExternallyAccessible(oldSpec) && !IsExternallyAccessible(spec) && Same(spec, oldSpec, "externalTrafficPolicy"u8))
            spec.Remove("externalTrafficPolicy"u8);
        if (!IsType(spec, "LoadBalancer"u8))
        {
            var status = service.GetOrAddObject("status"u8);
            status.Remove("loadBalancer"u8);
            status.GetOrAddObject("loadBalancer"u8);
        }
    }

    private static bool IsType(ApiNode spec, ReadOnlySpan<byte> type) => spec["type"u8].Equals(type);

    private static bool NeedsClusterIP(ApiNode spec) => IsType(spec, "ClusterIP"u8) || NeedsNodePortByType(spec);

    private static bool NeedsNodePortByType(ApiNode spec) => IsType(spec, "NodePort"u8) || IsType(spec, "LoadBalancer"u8);

    private static bool NeedsHealthCheckPort(ApiNode spec) => IsType(spec, "LoadBalancer"u8) && spec["externalTrafficPolicy"u8].Equals("Local"u8);

    private static bool IsExternallyAccessible(ApiNode spec) =>
        NeedsNodePortByType(spec) || IsType(spec, "ClusterIP"u8) && spec["externalIPs"u8].Count > 0;

    private static bool Same(ApiNode a, ApiNode b, ReadOnlySpan<byte> name) =>
        a[name].IsNullOrUndefined && b[name].IsNullOrUndefined || a[name].IsDefined && b[name].IsDefined && a[name].DeepEquals(b[name]);

    private static bool SameNodePorts(ApiNode ports, ApiNode oldPorts)
    {
        foreach (var port in ports.Elements)
        {
            if (!port["nodePort"u8].TryGetInt64(out long number) || number == 0)
                continue;
            bool known = false;
            foreach (var oldPort in oldPorts.Elements)
                known |= oldPort["nodePort"u8].TryGetInt64(out long oldNumber) && oldNumber == number;
            if (!known)
                return false;
        }
        return true;
    }
}
