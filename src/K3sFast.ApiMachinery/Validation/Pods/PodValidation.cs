using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Validation of pods and of the pod templates in workloads.</summary>
internal static partial class PodValidation
{
    private static readonly TypeSchema s_claimType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.PodResourceClaim")!;

    internal const int MaxNameservers = 3;
    internal const int MaxSearchPaths = 32;
    internal const int MaxSearchCharacters = 2048;

    internal static void Create(At at, ApiNode pod)
    {
        MetadataAndSpec(at, pod);
        var spec = pod["spec"u8];
        if (spec["ephemeralContainers"u8].Count > 0)
            at["spec"]["ephemeralContainers"].Forbidden("cannot be set on create");
        if (!spec["nodeName"u8].Utf8.IsEmpty && spec["schedulingGates"u8].Count > 0)
            at["spec"]["nodeName"].Forbidden("cannot be set until all schedulingGates have been cleared");
        PodAnnotations.MatchFields(at["spec"], pod["metadata"u8]["annotations"u8], spec);
    }

    /// <summary>A pod template: labels, annotations and spec.</summary>
    internal static void Template(At at, ApiNode template)
    {
        // Upstream's paths leave out the metadata here.
        ObjectMetaValidation.Labels(at["labels"], template["metadata"u8]["labels"u8]);
        ObjectMetaValidation.Annotations(at["annotations"], template["metadata"u8]["annotations"u8]);
        PodAnnotations.Check(at["annotations"], template["metadata"u8]["annotations"u8], template["spec"u8]);
        Spec(at["spec"], new PodFacts(template["spec"u8], template["metadata"u8], isPod: false));
        PodAnnotations.MatchFields(at["spec"], template["metadata"u8]["annotations"u8], template["spec"u8]);
        if (template["spec"u8]["ephemeralContainers"u8].Count > 0)
            at["spec"]["ephemeralContainers"].Forbidden("ephemeral containers not allowed in pod template");
    }

    internal static void Spec(At at, in PodFacts facts)
    {
        var spec = facts.Spec;
        if (facts.GracePeriodSeconds is null)
            at["terminationGracePeriodSeconds"].Required();
        var pod = facts with { BrokenVolumes = VolumeValidation.Volumes(at["volumes"], facts) };
        ResourceClaims(at["resourceClaims"], spec["resourceClaims"u8]);
        ContainerValidation.Containers(at["containers"], pod);
        ContainerValidation.InitContainers(at["initContainers"], pod);
        ContainerValidation.EphemeralContainers(at["ephemeralContainers"], pod);
        PodLevelValidation.Check(at["resources"], spec);
        if (spec["hostNetwork"u8].AsBool())
            HostNetworkPorts(at["containers"], spec["containers"u8], pod.IsPod);
        at["restartPolicy"].RequiredOneOf(spec["restartPolicy"u8], ["Always", "OnFailure", "Never"]);
        at["dnsPolicy"].RequiredOneOf(spec["dnsPolicy"u8], ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]);
        ObjectMetaValidation.Labels(at["nodeSelector"], spec["nodeSelector"u8]);
        SecurityContextValidation.Pod(at["securityContext"], spec);
        SchedulingValidation.Affinity(at["affinity"], spec["affinity"u8]);
        DnsConfig(at["dnsConfig"], spec["dnsConfig"u8], spec["dnsPolicy"u8]);
        int i = 0;
        foreach (var gate in spec["readinessGates"u8].Elements)
            at["readinessGates"][i++]["conditionType"].Format(Format.LabelKey, gate["conditionType"u8]);
        SchedulingGates(at["schedulingGates"], spec["schedulingGates"u8]);
        SchedulingValidation.TopologySpread(at["topologySpreadConstraints"], spec["topologySpreadConstraints"u8]);
        WindowsValidation.HostProcess(at, spec);
        HostUsers(at, pod);
        Names(at, spec);
        if (spec["activeDeadlineSeconds"u8].TryGetInt64(out long deadline) && deadline is < 1 or > int.MaxValue)
            at["activeDeadlineSeconds"].Invalid(deadline, $"must be between 1 and {int.MaxValue}, inclusive");
        SchedulingValidation.Tolerations(at["tolerations"], spec["tolerations"u8]);
        HostAliases(at["hostAliases"], spec["hostAliases"u8]);
        if (!spec["preemptionPolicy"u8].IsNullOrUndefined)
            at["preemptionPolicy"].RequiredOneOf(spec["preemptionPolicy"u8], ["PreemptLowerPriority", "Never"]);
        ResourceValidation.Overhead(at["overhead"], spec["overhead"u8]);
        if (spec["os"u8].Kind == NodeKind.Object)
            OperatingSystem(at, spec);
        if (spec["schedulingGroup"u8].Kind == NodeKind.Object)
            SchedulingGroup(at["schedulingGroup"]["podGroupName"], spec["schedulingGroup"u8]["podGroupName"u8]);
        FileKeyVolumes(at, spec);
    }

    private static void OperatingSystem(At at, ApiNode spec)
    {
        var name = spec["os"u8]["name"u8];
        if (name.Utf8.IsEmpty)
            at["os"]["name"].Required();
        else if (name.Equals("linux"u8))
            WindowsValidation.OfLinux(at, spec);
        else if (name.Equals("windows"u8))
            WindowsValidation.OfWindows(at, spec);
        else
            at["os"].NotSupported(name, ["linux", "windows"]);
    }

    private static void SchedulingGroup(At at, ApiNode name)
    {
        if (name.IsNullOrUndefined)
            at.Invalid(default(ApiNode), "must specify one of: `podGroupName`");
        else
            at.Format(Format.Dns1123Subdomain, name);
    }

    // A variable that is read from a file needs a volume that the containers write.
    private static void FileKeyVolumes(At at, ApiNode spec)
    {
        foreach (var (list, i, container) in PodContainers.Of(spec))
        {
            int j = 0;
            foreach (var variable in container["env"u8].Elements)
            {
                var reference = variable["valueFrom"u8]["fileKeyRef"u8];
                var place = at[list][i]["env"][j++]["valueFrom"]["fileKeyRef"]["volumeName"];
                if (reference.Kind != NodeKind.Object)
                    continue;
                var volume = Named(spec["volumes"u8], reference["volumeName"u8].Utf8);
                if (!volume.IsDefined)
                    place.NotFound(reference["volumeName"u8]);
                else if (volume["emptyDir"u8].IsNullOrUndefined)
                    place.Invalid(reference["volumeName"u8], "referenced volume must be of type emptyDir");
            }
        }
    }

    // A token is of the pod's account: without one there is none. Templates may leave the account to admission.
    private static void TokenSources(At at, ApiNode spec)
    {
        if (!spec["serviceAccountName"u8].Utf8.IsEmpty)
            return;
        int i = 0;
        foreach (var volume in spec["volumes"u8].Elements)
        {
            int j = 0;
            foreach (var source in volume["projected"u8]["sources"u8].Elements)
            {
                if (source["serviceAccountToken"u8].Kind == NodeKind.Object)
                    at[i]["projected"]["sources"][j]["serviceAccountToken"].Forbidden("must not be specified when serviceAccountName is not set");
                j++;
            }
            i++;
        }
    }

    private static void MetadataAndSpec(At at, ApiNode pod)
    {
        var spec = pod["spec"u8];
        var annotations = pod["metadata"u8]["annotations"u8];
        PodAnnotations.Check(at["metadata"]["annotations"], annotations, spec);
        Spec(at["spec"], new PodFacts(spec, pod["metadata"u8], isPod: true));
        TokenSources(at["spec"]["volumes"], spec);
        ContainerValidation.ImagesOfPod(at["spec"]["containers"], spec["containers"u8]);
        ContainerValidation.ImagesOfPod(at["spec"]["initContainers"], spec["initContainers"u8]);
    }

    private static void Names(At at, ApiNode spec)
    {
        FormatWhenSet(at["serviceAccountName"], spec["serviceAccountName"u8], Format.Dns1123Subdomain);
        FormatWhenSet(at["nodeName"], spec["nodeName"u8], Format.Dns1123Subdomain);
        FormatWhenSet(at["hostname"], spec["hostname"u8], Format.Dns1123Label);
        FormatWhenSet(at["subdomain"], spec["subdomain"u8], Format.Dns1123Label);
        FormatWhenSet(at["priorityClassName"], spec["priorityClassName"u8], Format.Dns1123Subdomain);
        if (!spec["runtimeClassName"u8].IsNullOrUndefined)
            at["runtimeClassName"].Format(Format.Dns1123Subdomain, spec["runtimeClassName"u8]);
        var hostname = spec["hostnameOverride"u8];
        if (hostname.IsNullOrUndefined)
            return;
        if (spec["setHostnameAsFQDN"u8].AsBool())
            at["hostnameOverride"].Forbidden("may not be specified when setHostnameAsFQDN is true");
        if (spec["hostNetwork"u8].AsBool())
            at["hostnameOverride"].Forbidden("may not be specified when hostNetwork is true");
        if (hostname.Utf8.Length > 64)
            at["hostnameOverride"].TooLong(64);
        at["hostnameOverride"].Format(Format.Dns1123Subdomain, hostname);
    }

    internal static void FormatWhenSet(At at, ApiNode value, Format format)
    {
        if (!value.Utf8.IsEmpty)
            at.Format(format, value);
    }

    private static void HostNetworkPorts(At at, ApiNode containers, bool isPod)
    {
        int i = 0;
        foreach (var container in containers.Elements)
        {
            int p = 0;
            foreach (var port in container["ports"u8].Elements)
            {
                long hostPort = port["hostPort"u8].AsInt64();
                if ((isPod || hostPort != 0) && hostPort != port["containerPort"u8].AsInt64())
                    at[i]["ports"][p]["hostPort"].Invalid(hostPort, "must match `containerPort` when `hostNetwork` is true");
                p++;
            }
            i++;
        }
    }

    private static void HostUsers(At at, in PodFacts pod)
    {
        if (pod.UsesHostUsers)
            return;
        const string Detail = "when `hostUsers` is false";
        if (pod.Spec["hostNetwork"u8].AsBool())
            at["hostNetwork"].Forbidden(Detail);
        if (pod.Spec["hostPID"u8].AsBool())
            at["HostPID"].Forbidden(Detail);
        if (pod.Spec["hostIPC"u8].AsBool())
            at["HostIPC"].Forbidden(Detail);
        foreach (var list in (ReadOnlySpan<string>)["initContainers", "containers", "ephemeralContainers"])
        {
            int i = 0;
            foreach (var container in pod.Spec[Encoding.ASCII.GetBytes(list)].Elements)
            {
                if (container["volumeDevices"u8].Count > 0)
                    at[list][i]["volumeDevices"].Forbidden(Detail);
                i++;
            }
        }
    }

    private static void DnsConfig(At at, ApiNode config, ApiNode policy)
    {
        if (policy.Equals("None"u8))
        {
            if (config.Kind != NodeKind.Object)
            {
                at.Required("must provide `dnsConfig` when `dnsPolicy` is None");
                return;
            }
            if (config["nameservers"u8].Count == 0)
            {
                at["nameservers"].Required("must provide at least one DNS nameserver when `dnsPolicy` is None");
                return;
            }
        }
        var nameservers = config["nameservers"u8];
        var searches = config["searches"u8];
        if (nameservers.Count > MaxNameservers)
            at["nameservers"].Invalid(nameservers, $"must not have more than {MaxNameservers} nameservers");
        int i = 0;
        foreach (var server in nameservers.Elements)
            Addresses.LegacyIP(at["nameservers"][i++], server);
        if (searches.Count > MaxSearchPaths)
            at["searches"].Invalid(searches, $"must not have more than {MaxSearchPaths} search paths");
        int characters = Math.Max(0, searches.Count - 1);
        i = 0;
        foreach (var search in searches.Elements)
        {
            characters += search.Utf8.Length;
            string name = search.AsString();
            if (name != ".")
                at["searches"][i].Format(Format.Dns1123SubdomainWithUnderscore, name.EndsWith('.') ? name[..^1] : name);
            i++;
        }
        if (characters > MaxSearchCharacters)
            at["searches"].Invalid(searches, $"must not have more than {MaxSearchCharacters} characters (including spaces) in the search list");
        i = 0;
        foreach (var option in config["options"u8].Elements)
        {
            if (option["name"u8].Utf8.IsEmpty)
                at["options"][i].Required("must not be empty");
            i++;
        }
    }

    private static void SchedulingGates(At at, ApiNode gates)
    {
        HashSet<string>? seen = null;
        int i = 0;
        foreach (var gate in gates.Elements)
        {
            var place = at[i++];
            place.Format(Format.LabelKey, gate["name"u8]);
            seen ??= [];
            if (!seen.Add(gate["name"u8].AsString()))
                place.Duplicate(gate["name"u8]);
        }
    }

    private static void HostAliases(At at, ApiNode aliases)
    {
        int i = 0;
        foreach (var alias in aliases.Elements)
        {
            Addresses.LegacyIP(at[i]["ip"], alias["ip"u8]);
            int h = 0;
            foreach (var hostname in alias["hostnames"u8].Elements)
                at[i]["hostnames"][h++].Format(Format.Dns1123Subdomain, hostname);
            i++;
        }
    }

    private static void ResourceClaims(At at, ApiNode claims)
    {
        HashSet<string>? seen = null;
        int i = 0;
        foreach (var claim in claims.Elements)
        {
            var place = at[i++];
            var name = claim["name"u8];
            seen ??= [];
            if (name.Utf8.IsEmpty)
                place["name"].Required();
            else if (!seen.Add(name.AsString()))
                place["name"].Duplicate(name);
            else
                place["name"].Format(Format.Dns1123Label, name);
            int sources = (claim["resourceClaimName"u8].IsNullOrUndefined ? 0 : 1) + (claim["resourceClaimTemplateName"u8].IsNullOrUndefined ? 0 : 1);
            if (sources > 1)
                place.InvalidValue(claim, s_claimType, "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified");
            else if (sources == 0)
                place.InvalidValue(claim, s_claimType, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`");
        }
    }
}
