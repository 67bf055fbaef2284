using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Validation of the core kinds around pods: namespaces, nodes, endpoints, limits, quotas, events.</summary>
internal static class CoreValidation
{
    internal static void Namespace(At at, ApiNode ns)
    {
        foreach (var finalizer in ns["spec"u8]["finalizers"u8].Elements)
            at["spec"]["finalizers"].Format(Format.LabelKey, finalizer);
    }

    internal static void NamespaceStatus(At at, ApiNode ns, ApiNode old)
    {
        bool isDeleted = !ns["metadata"u8]["deletionTimestamp"u8].IsNullOrUndefined;
        var phase = ns["status"u8]["phase"u8];
        if (!isDeleted && !phase.Equals("Active"u8))
            at["status"]["Phase"].Invalid(phase.AsString(), "may only be 'Active' if `deletionTimestamp` is empty");
        else if (isDeleted && !phase.Equals("Terminating"u8))
            at["status"]["Phase"].Invalid(phase.AsString(), "may only be 'Terminating' if `deletionTimestamp` is not empty");
    }

    internal static void NamespaceFinalize(At at, ApiNode ns, ApiNode old, string subresource) => Namespace(at, ns);

    internal static void Node(At at, ApiNode node)
    {
        SchedulingValidation.Taints(at["metadata"]["taints"], node["spec"u8]["taints"u8]);
        NodeResources(at["status"], node["status"u8]);
        int i = 0;
        foreach (var cidr in node["spec"u8]["podCIDRs"u8].Elements)
            Addresses.Cidr(at["spec"]["podCIDRs"][i++], cidr);
    }

    internal static void NodeUpdate(At at, ApiNode node, ApiNode old)
    {
        var spec = node["spec"u8];
        var oldSpec = old["spec"u8];
        NodeResources(at["status"], node["status"u8]);
        if (oldSpec["podCIDRs"u8].Count > 0 && !(spec["podCIDRs"u8].IsDefined && spec["podCIDRs"u8].DeepEquals(oldSpec["podCIDRs"u8])))
            at["spec"]["podCIDRs"].Forbidden("node updates may not change podCIDR except from \"\" to valid");
        if (!oldSpec["providerID"u8].Utf8.IsEmpty && !oldSpec["providerID"u8].Utf8.SequenceEqual(spec["providerID"u8].Utf8))
            at["spec"]["providerID"].Forbidden("node updates may not change providerID except from \"\" to valid");
        SchedulingValidation.Taints(at["metadata"]["taints"], spec["taints"u8]);
        int i = 0;
        foreach (var address in node["status"u8]["addresses"u8].Elements)
        {
            int j = 0;
            foreach (var other in node["status"u8]["addresses"u8].Elements)
            {
                if (j++ == i)
                    break;
                if (!other.DeepEquals(address))
                    continue;
                at["status"]["addresses"][i].Duplicate(address);
                break;
            }
            i++;
        }
    }

    internal static void Endpoints(At at, ApiNode endpoints)
    {
        int i = 0;
        foreach (var subset in endpoints["subsets"u8].Elements)
        {
            var place = at["subsets"][i++];
            if (subset["addresses"u8].Count + subset["notReadyAddresses"u8].Count == 0)
                place.Required("must specify `addresses` or `notReadyAddresses`");
            EndpointAddresses(place["addresses"], subset["addresses"u8]);
            EndpointAddresses(place["notReadyAddresses"], subset["notReadyAddresses"u8]);
            int p = 0;
            foreach (var port in subset["ports"u8].Elements)
            {
                var portPlace = place["ports"][p++];
                if (port["name"u8].Utf8.IsEmpty)
                {
                    if (subset["ports"u8].Count > 1)
                        portPlace["name"].Required();
                }
                else
                {
                    portPlace["name"].Format(Format.Dns1123Label, port["name"u8]);
                }
                portPlace["port"].InRange(port["port"u8], 1, 65535, optional: false);
                portPlace["protocol"].RequiredOneOf(port["protocol"u8], ["SCTP", "TCP", "UDP"]);
                PodValidation.FormatWhenSet(portPlace["appProtocol"], port["appProtocol"u8], Format.LabelKey);
            }
        }
    }

    internal static void EndpointsUpdate(At at, ApiNode endpoints, ApiNode old) => Endpoints(at, endpoints);

    internal static void LimitRange(At at, ApiNode range)
    {
        var seen = new HashSet<string>();
        int i = 0;
        foreach (var limit in range["spec"u8]["limits"u8].Elements)
        {
            var place = at["spec"]["limits"][i++];
            string type = limit["type"u8].AsString();
            if (!seen.Add(type))
                place["type"].Duplicate(limit["type"u8]);
            if (type == "Pod")
            {
                if (limit["default"u8].Count > 0)
                    place["default"].Forbidden("may not be specified when `type` is 'Pod'");
                if (limit["defaultRequest"u8].Count > 0)
                    place["defaultRequest"].Forbidden("may not be specified when `type` is 'Pod'");
            }
            if (type == "PersistentVolumeClaim" && !limit["min"u8]["storage"u8].IsDefined && !limit["max"u8]["storage"u8].IsDefined)
                place.Required("either minimum or maximum storage value is required, but neither was provided");
            NotAbove(place["min"], limit["min"u8], limit["max"u8], "min value {0} is greater than max value {1}");
            NotAbove(place["defaultRequest"], limit["min"u8], limit["defaultRequest"u8], "min value {0} is greater than default request value {1}");
            NotAbove(place["defaultRequest"], limit["defaultRequest"u8], limit["max"u8], "default request value {0} is greater than max value {1}");
            NotAbove(place["defaultRequest"], limit["defaultRequest"u8], limit["default"u8], "default request value {0} is greater than default limit value {1}");
            NotAbove(place["default"], limit["min"u8], limit["default"u8], "min value {0} is greater than default value {1}");
            NotAbove(place["default"], limit["default"u8], limit["max"u8], "default value {0} is greater than max value {1}");
        }
    }

    internal static void LimitRangeUpdate(At at, ApiNode range, ApiNode old) => LimitRange(at, range);

    internal static void ResourceQuota(At at, ApiNode quota)
    {
        foreach (var hard in quota["spec"u8]["hard"u8].Members)
        {
            var place = at["spec"]["hard"].Key(hard);
            ResourceValidation.Name(place, hard.Name);
            ResourceValidation.QuantityValue(place, hard.Name, hard.Value);
        }
        int i = 0;
        foreach (var scope in quota["spec"u8]["scopes"u8].Elements)
            at["spec"]["scopes"][i++].OneOf(scope, ["BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass", "Terminating", "VolumeAttributesClass"]);
    }

    internal static void ResourceQuotaUpdate(At at, ApiNode quota, ApiNode old)
    {
        ResourceQuota(at, quota);
        if (!SameList(quota["spec"u8]["scopes"u8], old["spec"u8]["scopes"u8]))
            at["spec"]["scopes"].Invalid(quota["spec"u8]["scopes"u8], "field is immutable");
    }

    internal static void ResourceQuotaStatus(At at, ApiNode quota, ApiNode old)
    {
        foreach (string list in (ReadOnlySpan<string>)["hard", "used"])
        {
            foreach (var value in quota["status"u8][Encoding.ASCII.GetBytes(list)].Members)
            {
                var place = at["status"][list].Key(value);
                ResourceValidation.Name(place, value.Name);
                ResourceValidation.QuantityValue(place, value.Name, value.Value);
            }
        }
    }

    internal static void PodTemplate(At at, ApiNode template) => PodValidation.Template(at["template"], template["template"u8]);

    internal static void PodTemplateUpdate(At at, ApiNode template, ApiNode old) => PodTemplate(at, template);

    internal static bool SameList(ApiNode a, ApiNode b) => a.Count == b.Count && (a.Count == 0 || a.DeepEquals(b));

    private static void NodeResources(At at, ApiNode status)
    {
        foreach (string list in (ReadOnlySpan<string>)["capacity", "allocatable"])
            foreach (var value in status[Encoding.ASCII.GetBytes(list)].Members)
                ResourceValidation.NonNegative(at[list].Key(value), value.Value);
    }

    private static void EndpointAddresses(At at, ApiNode addresses)
    {
        int i = 0;
        foreach (var address in addresses.Elements)
        {
            PodValidation.FormatWhenSet(at[i]["hostname"], address["hostname"u8], Format.Dns1123Label);
            PodValidation.FormatWhenSet(at[i]["nodeName"], address["nodeName"u8], Format.Dns1123Subdomain);
            Addresses.Endpoint(at[i]["ip"], address["ip"u8]);
            i++;
        }
    }

    private static void NotAbove(At at, ApiNode low, ApiNode high, string words)
    {
        foreach (var value in low.Members)
        {
            var bound = high[value.Name];
            if (bound.IsNullOrUndefined || !Quantity.TryParse(value.Value.Utf8, out var lowValue) || !Quantity.TryParse(bound.Utf8, out var highValue) || lowValue.CompareTo(highValue) <= 0)
                continue;
            at.Key(value).Invalid(lowValue.ToString(), string.Format(System.Globalization.CultureInfo.InvariantCulture, words, lowValue, highValue));
        }
    }
}
