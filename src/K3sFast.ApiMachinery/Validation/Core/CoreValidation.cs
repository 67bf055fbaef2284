using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Validation of the core kinds around pods: namespaces, nodes, endpoints, limits, quotas, events.</summary>
internal static class CoreValidation
{
    private static readonly TypeSchema s_addressType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.NodeAddress")!;

    internal static void Namespace(At at, ApiNode ns)
    {
        foreach (var finalizer in ns["spec"u8]["finalizers"u8].Elements)
        {
            at["spec"]["finalizers"].Format(Format.LabelKey, finalizer);
            ObjectMetaValidation.StandardFinalizer(at["spec"]["finalizers"], finalizer);
        }
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

    internal static void NamespaceFinalize(At at, ApiNode ns, ApiNode old, string subresource)
    {
        int i = 0;
        foreach (var finalizer in ns["spec"u8]["finalizers"u8].Elements)
        {
            var place = at["spec"]["finalizers"][i++];
            place.Format(Format.LabelKey, finalizer);
            ObjectMetaValidation.StandardFinalizer(place, finalizer);
        }
    }

    internal static void Node(At at, ApiNode node)
    {
        SchedulingValidation.Taints(at["metadata"]["taints"], node["spec"u8]["taints"u8]);
        NodeResources(at["status"], node["status"u8]);
        PodCidrs(at["spec"]["podCIDRs"], node["spec"u8]["podCIDRs"u8]);
    }

    internal static void NodeUpdate(At at, ApiNode node, ApiNode old)
    {
        var spec = node["spec"u8];
        var oldSpec = old["spec"u8];
        PodCidrs(at["spec"]["podCIDRs"], spec["podCIDRs"u8]);
        NodeResources(at["status"], node["status"u8]);
        if (oldSpec["podCIDRs"u8].Count > 0 && !(spec["podCIDRs"u8].IsDefined && spec["podCIDRs"u8].DeepEquals(oldSpec["podCIDRs"u8])))
            at["spec"]["podCIDRs"].Forbidden("node updates may not change podCIDR except from \"\" to valid");
        if (!oldSpec["providerID"u8].Utf8.IsEmpty && !oldSpec["providerID"u8].Utf8.SequenceEqual(spec["providerID"u8].Utf8))
            at["spec"]["providerID"].Forbidden("node updates may not change providerID except from \"\" to valid");
        // Twice, as upstream's two layers do.
        SchedulingValidation.Taints(at["metadata"]["taints"], spec["taints"u8]);
        SchedulingValidation.Taints(at["metadata"]["taints"], spec["taints"u8]);
        if (!oldSpec["externalID"u8].Utf8.SequenceEqual(spec["externalID"u8].Utf8))
            at["spec"]["externalID"].Forbidden("may not be updated");
        int i = 0;
        var seen = new HashSet<(string Type, string Address)>();
        foreach (var address in node["status"u8]["addresses"u8].Elements)
        {
            if (!seen.Add((address["type"u8].AsString(), address["address"u8].AsString())))
                at["status"]["addresses"][i].DuplicateValue(address, s_addressType);
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
                if (!port["appProtocol"u8].IsNullOrUndefined)
                    portPlace["appProtocol"].Format(Format.LabelKey, port["appProtocol"u8].AsString());
            }
        }
    }

    internal static void EndpointsUpdate(At at, ApiNode endpoints, ApiNode old) => Endpoints(at, endpoints);

    internal static void PodTemplate(At at, ApiNode template) => PodValidation.Template(at["template"], template["template"u8]);

    internal static void PodTemplateUpdate(At at, ApiNode template, ApiNode old) => PodTemplate(at, template);

    internal static bool SameList(ApiNode a, ApiNode b) => a.Count == b.Count && (a.Count == 0 || a.DeepEquals(b));

    private static void PodCidrs(At at, ApiNode cidrs)
    {
        int i = 0, valid = 0;
        foreach (var cidr in cidrs.Elements)
            valid += Addresses.Cidr(at[i++], cidr) ? 1 : 0;
        if (valid < 2)
            return;
        if (cidrs.Count > 2 || Addresses.IsIPv6(cidrs[0].AsString()) == Addresses.IsIPv6(cidrs[1].AsString()))
            at.Invalid(cidrs, "may specify no more than one CIDR for each IP family");
    }

    private static void NodeResources(At at, ApiNode status)
    {
        foreach (string list in (ReadOnlySpan<string>)["capacity", "allocatable"])
            foreach (var value in status[Encoding.ASCII.GetBytes(list)].Members)
                ResourceValidation.QuantityValue(at[list].Field(value), value.Name, value.Value);
    }

    private static void EndpointAddresses(At at, ApiNode addresses)
    {
        int i = 0;
        foreach (var address in addresses.Elements)
        {
            Addresses.LegacyIP(at[i]["ip"], address["ip"u8]);
            PodValidation.FormatWhenSet(at[i]["hostname"], address["hostname"u8], Format.Dns1123Label);
            if (!address["nodeName"u8].IsNullOrUndefined)
                at[i]["nodeName"].Format(Format.Dns1123Subdomain, address["nodeName"u8].AsString());
            // What is no address is told twice.
            if (Addresses.Parse(address["ip"u8].AsString()) is null)
                at[i]["ip"].Invalid(address["ip"u8], "must be a valid IP address");
            else
                Addresses.Reachable(at[i]["ip"], address["ip"u8].AsString());
            i++;
        }
    }
}
