using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Validation of what a kubelet or a controller says of a pod, in upstream's order.</summary>
internal static class PodStatusValidation
{
    private const int MaxHealthMessage = 1024;

    private static readonly TypeSchema s_statusType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.PodStatus")!;

    internal static void Check(At at, ApiNode pod, ApiNode old)
    {
        var status = pod["status"u8];
        var oldStatus = old["status"u8];
        var spec = pod["spec"u8];
        var oldSpec = old["spec"u8];
        Conditions(at["conditions"], status["conditions"u8]);
        NominatedNode(at["nominatedNodeName"], status["nominatedNodeName"u8], oldStatus["nominatedNodeName"u8], oldSpec["nodeName"u8]);
        NotNegative(at["observedGeneration"], status["observedGeneration"u8]);
        if (!status["qosClass"u8].Utf8.SequenceEqual(oldStatus["qosClass"u8].Utf8))
            at["qosClass"].Invalid(status["qosClass"u8].AsString(), "field is immutable");
        if (!HasRuleOfAll(oldSpec["initContainers"u8]) && !HasRuleOfAll(oldSpec["containers"u8]))
        {
            Transitions(at["containerStatuses"], status["containerStatuses"u8], oldStatus["containerStatuses"u8], oldSpec["containers"u8], oldSpec);
            Transitions(at["initContainerStatuses"], status["initContainerStatuses"u8], oldStatus["initContainerStatuses"u8], oldSpec["initContainers"u8], oldSpec);
        }
        Transitions(at["ephemeralContainerStatuses"], status["ephemeralContainerStatuses"u8], oldStatus["ephemeralContainerStatuses"u8], default, oldSpec);
        ClaimStatuses(at["resourceClaimStatuses"], status["resourceClaimStatuses"u8], spec["resourceClaims"u8]);
        ExtendedClaimStatus(at["extendedResourceClaimStatus"], status["extendedResourceClaimStatus"u8], spec);
        IPs(at["podIPs"], status, oldStatus, "podIPs"u8);
        if (status["hostIPs"u8].Count > 0 && !status["hostIPs"u8][0]["ip"u8].Utf8.SequenceEqual(status["hostIP"u8].Utf8))
            at["hostIPs"][0]["ip"].Invalid(status["hostIPs"u8][0]["ip"u8].AsString(), "must be equal to `hostIP`");
        IPs(at["hostIPs"], status, oldStatus, "hostIPs"u8);
        bool isWindows = spec["os"u8]["name"u8].Equals("windows"u8);
        Users(at["containerStatuses"], status["containerStatuses"u8], isWindows);
        Users(at["initContainerStatuses"], status["initContainerStatuses"u8], isWindows);
        Users(at["ephemeralContainerStatuses"], status["ephemeralContainerStatuses"u8], isWindows);
        Allocated(at["containerStatuses"], status["containerStatuses"u8], spec["containers"u8]);
        Allocated(at["initContainerStatuses"], status["initContainerStatuses"u8], spec["initContainers"u8]);
        int i = 0;
        foreach (var container in status["ephemeralContainerStatuses"u8].Elements)
        {
            if (container["allocatedResourcesStatus"u8].Count > 0)
                at["ephemeralContainerStatuses"][i]["allocatedResourcesStatus"].Forbidden("must not be specified in container status");
            i++;
        }
    }

    private static void Conditions(At at, ApiNode conditions)
    {
        int i = 0;
        foreach (var condition in conditions.Elements)
        {
            NotNegative(at[i]["observedGeneration"], condition["observedGeneration"u8]);
            var type = condition["type"u8];
            if (!type.Equals("PodScheduled"u8) && !type.Equals("Ready"u8) && !type.Equals("Initialized"u8))
                at[i]["Type"].Format(Format.LabelKey, type);
            i++;
        }
    }

    private static void NotNegative(At at, ApiNode generation)
    {
        if (generation.AsInt64() < 0)
            at.Invalid(generation.AsInt64(), "must be a non-negative integer");
    }

    private static void NominatedNode(At at, ApiNode name, ApiNode old, ApiNode boundTo)
    {
        if (name.Utf8.IsEmpty || name.Utf8.SequenceEqual(old.Utf8))
            return;
        at.Format(Format.Dns1123Subdomain, name);
        if (!boundTo.Utf8.IsEmpty)
            at.Forbidden("may not be set on pods that are already bound to a node");
    }

    // A rule that restarts every container lets each of them leave its end.
    private static bool HasRuleOfAll(ApiNode containers)
    {
        foreach (var container in containers.Elements)
            foreach (var rule in container["restartPolicyRules"u8].Elements)
                if (rule["action"u8].Equals("RestartAllContainers"u8))
                    return true;
        return false;
    }

    // A container that will not be restarted stays ended.
    private static void Transitions(At at, ApiNode statuses, ApiNode old, ApiNode containers, ApiNode spec)
    {
        int i = 0;
        foreach (var before in old.Elements)
        {
            var terminated = before["state"u8]["terminated"u8];
            if (terminated.Kind == NodeKind.Object && HasLeft(statuses, before["name"u8].Utf8)
                && !MayRestart(Named(containers, before["name"u8].Utf8), spec, terminated["exitCode"u8].AsInt64()))
                at[i]["state"].Forbidden("may not be transitioned to non-terminated state");
            i++;
        }
    }

    private static bool HasLeft(ApiNode statuses, ReadOnlySpan<byte> name)
    {
        foreach (var status in statuses.Elements)
            if (status["name"u8].Equals(name) && status["state"u8]["terminated"u8].Kind != NodeKind.Object)
                return true;
        return false;
    }

    private static bool MayRestart(ApiNode container, ApiNode spec, long exitCode)
    {
        if (!container.IsDefined)
            return false;
        foreach (var rule in container["restartPolicyRules"u8].Elements)
            if (rule["action"u8].Equals("Restart"u8) && IsAbout(rule["exitCodes"u8], exitCode))
                return true;
        var policy = container["restartPolicy"u8].IsNullOrUndefined ? spec["restartPolicy"u8] : container["restartPolicy"u8];
        return policy.Equals("Always"u8) || policy.Equals("OnFailure"u8) && exitCode != 0;
    }

    private static bool IsAbout(ApiNode exitCodes, long exitCode)
    {
        bool isAmong = false;
        foreach (var value in exitCodes["values"u8].Elements)
            isAmong |= value.AsInt64() == exitCode;
        return exitCodes["operator"u8].Equals("In"u8) && isAmong || exitCodes["operator"u8].Equals("NotIn"u8) && !isAmong;
    }

    private static void ClaimStatuses(At at, ApiNode statuses, ApiNode claims)
    {
        var seen = new HashSet<string>();
        int i = 0;
        foreach (var status in statuses.Elements)
        {
            var place = at[i++];
            string name = status["name"u8].AsString();
            if (!Named(claims, status["name"u8].Utf8).IsDefined)
                place["name"].Invalid(name, "must match the name of an entry in `spec.resourceClaims`");
            if (!seen.Add(name))
                place["name"].Duplicate(name);
            if (!status["resourceClaimName"u8].IsNullOrUndefined)
                place["resourceClaimName"].Format(Format.Dns1123Subdomain, status["resourceClaimName"u8]);
        }
    }

    private static void ExtendedClaimStatus(At at, ApiNode status, ApiNode spec)
    {
        if (status.Kind != NodeKind.Object)
            return;
        if (status["requestMappings"u8].Count == 0)
            at["requestMappings"].Required("at least one request mapping is required");
        var seen = new HashSet<(string, string, string)>();
        int i = 0;
        foreach (var mapping in status["requestMappings"u8].Elements)
        {
            var place = at["requestMappings"][i++];
            var name = mapping["containerName"u8];
            var resource = mapping["resourceName"u8];
            var container = Named(spec["containers"u8], name.Utf8) is { IsDefined: true } main ? main : Named(spec["initContainers"u8], name.Utf8);
            if (!container.IsDefined)
                place["containerName"].Invalid(name.AsString(), "must match the name of an entry in spec.initContainers.name or spec.containers.name");
            else if (!container["resources"u8]["requests"u8][resource.Utf8].IsDefined)
                place["resourceName"].Invalid(resource.AsString(), "must match the extended resource name of an entry in spec.initContainers.resources.requests or spec.containers.resources.requests");
            // The request's place is the list's in upstream.
            at["requestName"].Format(Format.Dns1123Label, mapping["requestName"u8]);
            if (seen.Add((name.AsString(), resource.AsString(), mapping["requestName"u8].AsString())))
                continue;
            place["containerName"].Duplicate(name.AsString());
            place["resourceName"].Duplicate(resource.AsString());
            place["requestName"].Duplicate(mapping["requestName"u8].AsString());
        }
        at["resourceClaimName"].RequiredText(status["resourceClaimName"u8]);
        if (!status["resourceClaimName"u8].Utf8.IsEmpty)
            at["resourceClaimName"].Format(Format.Dns1123Subdomain, status["resourceClaimName"u8]);
    }

    private static void IPs(At at, ApiNode status, ApiNode oldStatus, ReadOnlySpan<byte> field)
    {
        var addresses = status[field];
        int i = 0;
        foreach (var address in addresses.Elements)
        {
            if (!HasAddress(oldStatus[field], address["ip"u8].Utf8))
                Addresses.LegacyIP(at[i], address["ip"u8]);
            i++;
        }
        if (addresses.Count < 2)
            return;
        i = 0;
        bool hasFour = false;
        bool hasSix = false;
        bool isParsed = true;
        foreach (var address in addresses.Elements)
        {
            string text = address["ip"u8].AsString();
            if (Addresses.Parse(text) is null)
            {
                at.Internal($"failed to check for dual stack with error:invalid IP[{i}]: {text}");
                isParsed = false;
                break;
            }
            hasSix |= Addresses.IsIPv6(text);
            hasFour |= !Addresses.IsIPv6(text);
            i++;
        }
        if (!isParsed || !hasFour || !hasSix || addresses.Count > 2)
            at.InvalidMember(status, Encoding.UTF8.GetString(field), s_statusType, "may specify no more than one IP for each IP family");
    }

    private static bool HasAddress(ApiNode addresses, ReadOnlySpan<byte> ip)
    {
        foreach (var address in addresses.Elements)
            if (address["ip"u8].Equals(ip))
                return true;
        return false;
    }

    private static void Users(At at, ApiNode statuses, bool isWindows)
    {
        int i = 0;
        foreach (var status in statuses.Elements)
        {
            var linux = status["user"u8]["linux"u8];
            var place = at[i++]["user"]["linux"];
            if (linux.Kind != NodeKind.Object)
                continue;
            if (isWindows)
            {
                place.Forbidden("cannot be set for a windows pod");
                continue;
            }
            place["uid"].InRange(linux["uid"u8], 0, int.MaxValue);
            place["gid"].InRange(linux["gid"u8], 0, int.MaxValue);
            int j = 0;
            foreach (var group in linux["supplementalGroups"u8].Elements)
                place["supplementalGroups"][j++].InRange(group, 0, int.MaxValue);
        }
    }

    private static void Allocated(At at, ApiNode statuses, ApiNode containers)
    {
        int i = 0;
        foreach (var status in statuses.Elements)
        {
            var place = at[i++]["allocatedResourcesStatus"];
            var container = Named(containers, status["name"u8].Utf8);
            int j = 0;
            foreach (var allocated in status["allocatedResourcesStatus"u8].Elements)
            {
                if (container.IsDefined)
                    AllocatedName(place[j]["name"], allocated["name"u8].AsString(), container["resources"u8]);
                Health(place[j++]["resources"], allocated["resources"u8]);
            }
        }
    }

    private static void AllocatedName(At at, string name, ApiNode resources)
    {
        if (!name.StartsWith("claim:", StringComparison.Ordinal))
        {
            if (!resources["requests"u8][Encoding.UTF8.GetBytes(name)].IsDefined)
                at.Invalid(name, "must match one of the container's resource requests");
            return;
        }
        foreach (var claim in resources["claims"u8].Elements)
        {
            string request = claim["request"u8].AsString();
            if (name == "claim:" + claim["name"u8].AsString() + (request.Length > 0 ? "/" + request : ""))
                return;
        }
        at.Invalid(name, "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty");
    }

    private static void Health(At at, ApiNode resources)
    {
        var seen = new HashSet<string>();
        int i = 0;
        foreach (var resource in resources.Elements)
        {
            var place = at[i++];
            place["health"].OneOf(resource["health"u8], ["Healthy", "Unhealthy", "Unknown"]);
            var message = resource["message"u8];
            if (!message.IsNullOrUndefined && message.Utf8.IsEmpty)
                place["message"].Required("must be non-empty if specified");
            else if (message.Utf8.Length > MaxHealthMessage)
                place["message"].TooLong(MaxHealthMessage);
            if (!seen.Add(resource["resourceID"u8].AsString()))
                place["resourceID"].Duplicate(resource["resourceID"u8].AsString());
        }
    }

    private static ApiNode Named(ApiNode list, ReadOnlySpan<byte> name)
    {
        foreach (var element in list.Elements)
            if (element["name"u8].Equals(name))
                return element;
        return default;
    }
}
