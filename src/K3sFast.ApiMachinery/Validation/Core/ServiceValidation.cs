namespace K3sFast.ApiMachinery;

/// <summary>Validation of services, after addresses and node ports have been allocated.</summary>
internal static class ServiceValidation
{
    private const int MaxAffinitySeconds = 86400;

    internal static void Service(At at, ApiNode service)
    {
        var spec = service["spec"u8];
        at = at["spec"];
        bool isHeadless = IsHeadless(spec);
        bool isLoadBalancer = spec["type"u8].Equals("LoadBalancer"u8);
        bool isExternalName = spec["type"u8].Equals("ExternalName"u8);
        bool isNodePort = spec["type"u8].Equals("NodePort"u8);
        if (spec["ports"u8].Count == 0 && !isHeadless && !isExternalName)
            at["ports"].Required();
        if (isHeadless && (isLoadBalancer || isNodePort))
            at["clusterIPs"][0].Invalid("None", $"may not be set to 'None' for {spec["type"u8].AsString()} services");
        if (isExternalName)
            ExternalName(at, spec);
        Ports(at["ports"], spec["ports"u8], isClusterIP: spec["type"u8].Equals("ClusterIP"u8));
        ObjectMetaValidation.Labels(at["selector"], spec["selector"u8]);
        at["sessionAffinity"].RequiredOneOf(spec["sessionAffinity"u8], ["ClientIP", "None"]);
        Affinity(at["sessionAffinityConfig"], spec);
        if (!isExternalName)
            ClusterIPs(at, spec, isHeadless);
        int i = 0;
        foreach (var ip in spec["externalIPs"u8].Elements)
            Addresses.Endpoint(at["externalIPs"][i++], ip);
        at["type"].RequiredOneOf(spec["type"u8], ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]);
        LoadBalancer(at, spec, isLoadBalancer);
        TrafficPolicies(at, spec, isExternal: isLoadBalancer || isNodePort || spec["type"u8].Equals("ClusterIP"u8) && spec["externalIPs"u8].Count > 0, isLoadBalancer);
        at["trafficDistribution"].OptionalOneOf(spec["trafficDistribution"u8], ["PreferClose", "PreferSameZone", "PreferSameNode"]);
    }

    internal static void ServiceUpdate(At at, ApiNode service, ApiNode old)
    {
        var spec = service["spec"u8];
        var oldSpec = old["spec"u8];
        bool bothHaveIPs = !spec["type"u8].Equals("ExternalName"u8) && !oldSpec["type"u8].Equals("ExternalName"u8);
        var before = First(oldSpec["clusterIPs"u8]);
        var now = First(spec["clusterIPs"u8]);
        if (bothHaveIPs && !before.Utf8.IsEmpty && !before.Utf8.SequenceEqual(now.Utf8))
            at["spec"]["clusterIPs"][0].Invalid(spec["clusterIPs"u8], now.Utf8.IsEmpty ? "primary clusterIP can not be unset" : "may not change once set");
        if (spec["healthCheckNodePort"u8].AsInt64() != oldSpec["healthCheckNodePort"u8].AsInt64() && oldSpec["healthCheckNodePort"u8].AsInt64() != 0
            && spec["type"u8].Equals("LoadBalancer"u8) && spec["externalTrafficPolicy"u8].Equals("Local"u8))
            at["spec"]["healthCheckNodePort"].Forbidden("field is immutable");
        if (spec["type"u8].Equals("LoadBalancer"u8) && oldSpec["type"u8].Equals("LoadBalancer"u8) && !spec["loadBalancerClass"u8].Utf8.SequenceEqual(oldSpec["loadBalancerClass"u8].Utf8))
            at["spec"]["loadBalancerClass"].Invalid(spec["loadBalancerClass"u8], "may not change once set");
        Service(at, service);
    }

    private static bool IsHeadless(ApiNode spec) => First(spec["clusterIPs"u8]).Equals("None"u8) || spec["clusterIP"u8].Equals("None"u8);

    private static ApiNode First(ApiNode array)
    {
        foreach (var element in array.Elements)
            return element;
        return default;
    }

    private static void ExternalName(At at, ApiNode spec)
    {
        const string Detail = "may not be set for ExternalName services";
        if (spec["clusterIPs"u8].Count > 0)
            at["clusterIPs"].Forbidden(Detail);
        if (spec["ipFamilies"u8].Count > 0)
            at["ipFamilies"].Forbidden(Detail);
        if (!spec["ipFamilyPolicy"u8].IsNullOrUndefined)
            at["ipFamilyPolicy"].Forbidden(Detail);
        string name = spec["externalName"u8].AsString();
        name = name.EndsWith('.') ? name[..^1] : name;
        if (name.Length == 0)
            at["externalName"].Required();
        else
            at["externalName"].Format(Format.Dns1123Subdomain, name);
    }

    private static void Ports(At at, ApiNode ports, bool isClusterIP)
    {
        var names = new HashSet<string>(StringComparer.Ordinal);
        HashSet<(string Protocol, long Port)> numbers = [], nodePorts = [];
        int i = 0;
        foreach (var port in ports.Elements)
        {
            var place = at[i];
            var name = port["name"u8];
            if (name.Utf8.IsEmpty)
            {
                if (ports.Count > 1)
                    place["name"].Required();
            }
            else
            {
                place["name"].Format(Format.Dns1123Label, name);
            }
            place["port"].InRange(port["port"u8], 1, 65535, optional: false);
            place["protocol"].RequiredOneOf(port["protocol"u8], ["SCTP", "TCP", "UDP"]);
            ContainerValidation.PortNumberOrName(place["targetPort"], port["targetPort"u8]);
            if (!port["appProtocol"u8].IsNullOrUndefined)
                place["appProtocol"].Format(Format.LabelKey, port["appProtocol"u8]);
            if (isClusterIP && port["nodePort"u8].AsInt64() != 0)
                place["nodePort"].Forbidden("may not be used when `type` is 'ClusterIP'");
            string protocol = port["protocol"u8].AsString();
            long number = port["port"u8].AsInt64(), nodePort = port["nodePort"u8].AsInt64();
            if (!name.Utf8.IsEmpty && !names.Add(name.AsString()))
                place["name"].Duplicate(name);
            if (nodePort != 0 && !nodePorts.Add((protocol, nodePort)))
                place["nodePort"].Duplicate(port["nodePort"u8]);
            if (!numbers.Add((protocol, number)))
                at.Check.Errors.AddRaw(FieldErrorType.Duplicate, place.ToString(),
                    $$"""{"Name":"","Protocol":{{GoText.Quote(port["protocol"u8].Utf8)}},"AppProtocol":null,"Port":{{number}},"TargetPort":0,"NodePort":0}""", "");
            i++;
        }
    }

    private static void Affinity(At at, ApiNode spec)
    {
        var config = spec["sessionAffinityConfig"u8];
        if (spec["sessionAffinity"u8].Equals("ClientIP"u8))
        {
            if (config.Kind != NodeKind.Object)
            {
                at.Required("when session affinity type is ClientIP");
                return;
            }
            var seconds = config["clientIP"u8]["timeoutSeconds"u8];
            if (seconds.IsNullOrUndefined)
                at["clientIP"]["timeoutSeconds"].Required("when session affinity type is ClientIP");
            else if (seconds.AsInt64() is <= 0 or > MaxAffinitySeconds)
                at["clientIP"]["timeoutSeconds"].Invalid(seconds.AsInt64(), $"must be greater than 0 and less than {MaxAffinitySeconds}");
        }
        else if (spec["sessionAffinity"u8].Equals("None"u8) && !config.IsNullOrUndefined)
        {
            at.Forbidden("must not be set when session affinity is None");
        }
    }

    private static void ClusterIPs(At at, ApiNode spec, bool isHeadless)
    {
        var primary = spec["clusterIP"u8];
        var all = spec["clusterIPs"u8];
        if (!primary.Utf8.IsEmpty && all.Count == 0)
            at["clusterIPs"].Required();
        else if (!primary.Utf8.IsEmpty && !First(all).Utf8.SequenceEqual(primary.Utf8))
            at["clusterIPs"].Invalid(all, "first value must match `clusterIP`");
        else if (primary.Utf8.IsEmpty && all.Count > 0)
            at["clusterIPs"].Invalid(all, "must be empty when `clusterIP` is not specified");
        int i = 0;
        foreach (var family in spec["ipFamilies"u8].Elements)
            at["ipFamilies"][i++].OneOf(family, ["IPv4", "IPv6"]);
        at["ipFamilyPolicy"].OptionalOneOf(spec["ipFamilyPolicy"u8], ["PreferDualStack", "RequireDualStack", "SingleStack"]);
        if (isHeadless)
        {
            if (all.Count > 1)
                at["clusterIPs"].Invalid(all, "'None' must be the first and only value");
            return;
        }
        i = 0;
        foreach (var ip in all.Elements)
        {
            if (Addresses.LegacyIP(at["clusterIPs"][i], ip) && spec["ipFamilies"u8].Count > i)
            {
                string family = spec["ipFamilies"u8][i].AsString();
                if (family == "IPv4" == Addresses.IsIPv6(ip.AsString()))
                    at["clusterIPs"][i].Invalid(ip, $"expected an {family} value as indicated by `ipFamilies[{i}]`");
            }
            i++;
        }
        if (all.Count > 2)
            at["clusterIPs"].Invalid(all, "may only hold up to 2 values");
    }

    private static void LoadBalancer(At at, ApiNode spec, bool isLoadBalancer)
    {
        var ranges = spec["loadBalancerSourceRanges"u8];
        if (ranges.Count > 0)
        {
            if (!isLoadBalancer)
                at["LoadBalancerSourceRanges"].Forbidden("may only be used when `type` is 'LoadBalancer'");
            int i = 0;
            foreach (var range in ranges.Elements)
                Addresses.Cidr(at["LoadBalancerSourceRanges"][i++], range);
        }
        if (!isLoadBalancer && !spec["allocateLoadBalancerNodePorts"u8].IsNullOrUndefined)
            at["allocateLoadBalancerNodePorts"].Forbidden("may only be used when `type` is 'LoadBalancer'");
        if (spec["loadBalancerClass"u8].IsNullOrUndefined)
            return;
        at["loadBalancerClass"].Format(Format.LabelKey, spec["loadBalancerClass"u8]);
        if (!isLoadBalancer)
            at["loadBalancerClass"].Forbidden("may only be used when `type` is 'LoadBalancer'");
    }

    internal static void ServiceStatus(At at, ApiNode service, ApiNode old)
    {
        at = at["status"]["loadBalancer"]["ingress"];
        var entries = service["status"u8]["loadBalancer"u8]["ingress"u8];
        if (entries.Count > 0 && !service["spec"u8]["type"u8].Equals("LoadBalancer"u8))
        {
            at.Forbidden("may only be used when `spec.type` is 'LoadBalancer'");
            return;
        }
        int i = 0;
        foreach (var entry in entries.Elements)
        {
            var place = at[i++];
            var mode = entry["ipMode"u8];
            bool hasAddress = !entry["ip"u8].Utf8.IsEmpty;
            if (hasAddress)
                Addresses.LegacyIP(place["ip"], entry["ip"u8]);
            if (mode.IsNullOrUndefined && hasAddress)
                place["ipMode"].Required("must be specified when `ip` is set");
            else if (!mode.IsNullOrUndefined && !hasAddress)
                place["ipMode"].Forbidden("may not be specified when `ip` is not set");
            else
                place["ipMode"].OptionalOneOf(mode, ["Proxy", "VIP"]);
            PodValidation.FormatWhenSet(place["hostname"], entry["hostname"u8], Format.Dns1123Subdomain);
            if (Addresses.Parse(entry["hostname"u8].AsString()) is not null)
                place["hostname"].Invalid(entry["hostname"u8], "must be a DNS name, not an IP address");
        }
    }

    private static void TrafficPolicies(At at, ApiNode spec, bool isExternal, bool isLoadBalancer)
    {
        var external = spec["externalTrafficPolicy"u8];
        if (isExternal)
            at["externalTrafficPolicy"].RequiredOneOf(external, ["Cluster", "Local"]);
        else if (!external.Utf8.IsEmpty)
            at["externalTrafficPolicy"].Invalid(external, "may only be set for externally-accessible services");
        var health = spec["healthCheckNodePort"u8];
        if (isLoadBalancer && external.Equals("Local"u8))
        {
            if (health.AsInt64() == 0)
                at["healthCheckNodePort"].Required();
            else
                at["healthCheckNodePort"].InRange(health, 1, 65535);
        }
        else if (health.AsInt64() != 0)
        {
            at["healthCheckNodePort"].Invalid(health.AsInt64(), "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
        }
        var inner = spec["internalTrafficPolicy"u8];
        if (inner.IsNullOrUndefined)
        {
            if (isLoadBalancer || spec["type"u8].Equals("NodePort"u8) || spec["type"u8].Equals("ClusterIP"u8))
                at["internalTrafficPolicy"].Required();
        }
        else
        {
            at["internalTrafficPolicy"].OneOf(inner, ["Cluster", "Local"]);
        }
    }
}
