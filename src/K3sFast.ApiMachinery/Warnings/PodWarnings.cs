using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Odd things in pods and pod templates. Paths are put together when there is something to say.</summary>
internal static class PodWarnings
{
    private static readonly string[] s_lists = ["initContainers", "containers", "ephemeralContainers"];

    private static readonly (string Field, string Shown, string Message)[] s_volumes =
    [
        ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
        ("gitRepo", "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
        ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
        ("flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"),
        ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
        ("quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
        ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
        ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
        ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
    ];

    internal static void OfTemplate(ref WarningList warnings, string path, ApiNode template) => Of(ref warnings, path, template["spec"u8], template["metadata"u8]);

    /// <summary>Everything upstream says of a pod spec; <paramref name="path"/> is empty or ends with a dot.</summary>
    internal static void Of(ref WarningList warnings, string path, ApiNode spec, ApiNode metadata)
    {
        Placement(ref warnings, path, spec);
        var annotations = metadata["annotations"u8];
        if (annotations.Count > 0)
            Annotations(ref warnings, path, annotations);
        Volumes(ref warnings, path, spec["volumes"u8]);
        Doubles(ref warnings, path + "spec.hostAliases", spec["hostAliases"u8], "ip");
        Doubles(ref warnings, path + "spec.imagePullSecrets", spec["imagePullSecrets"u8], "name");
        int i = 0;
        foreach (var secret in spec["imagePullSecrets"u8].Elements)
        {
            if (secret["name"u8].Utf8.IsEmpty)
                warnings.Add($"{path}spec.imagePullSecrets[{i}].name: invalid empty name \"\"");
            i++;
        }
        Fractions(ref warnings, path + "spec.overhead", spec["overhead"u8]);
        if (annotations.Count > 0 && spec["securityContext"u8]["seccompProfile"u8].IsNullOrUndefined && annotations["seccomp.security.alpha.kubernetes.io/pod"u8].IsDefined)
            warnings.Add($"{path}metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use the \"seccompProfile\" field instead");
        foreach (string list in s_lists)
        {
            i = 0;
            foreach (var container in spec[Encoding.ASCII.GetBytes(list)].Elements)
                Container(ref warnings, path, $"{list}[{i++}]", container, spec, annotations);
        }
        PortWarnings.Of(ref warnings, path + "spec.", spec);
        if (spec["terminationGracePeriodSeconds"u8].AsInt64() < 0)
            warnings.Add($"{path}spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1");
        PodAffinity(ref warnings, path + "spec.affinity.podAffinity", spec["affinity"u8]["podAffinity"u8]);
        PodAffinity(ref warnings, path + "spec.affinity.podAntiAffinity", spec["affinity"u8]["podAntiAffinity"u8]);
        i = 0;
        foreach (var server in spec["dnsConfig"u8]["nameservers"u8].Elements)
            AddressWarnings.Ip(ref warnings, $"{path}spec.dnsConfig.nameservers[{i++}]", server);
        i = 0;
        foreach (var alias in spec["hostAliases"u8].Elements)
            AddressWarnings.Ip(ref warnings, $"{path}spec.hostAliases[{i++}].ip", alias["ip"u8]);
    }

    /// <summary>Sizes of a claim that are no whole bytes.</summary>
    internal static void Claim(ref WarningList warnings, string path, ApiNode spec)
    {
        foreach (string list in (ReadOnlySpan<string>)["requests", "limits"])
        {
            var size = spec["resources"u8][Encoding.ASCII.GetBytes(list)]["storage"u8];
            if (IsFraction(size))
                warnings.Add($"{path}.resources.{list}[storage]: fractional byte value {GoText.Quote(size.Utf8)} is invalid, must be an integer");
        }
    }

    private static void Placement(ref WarningList warnings, string path, ApiNode spec)
    {
        foreach (var label in spec["nodeSelector"u8].Members)
            if (DeprecatedLabels.Message(label.Name) is { } message)
                warnings.Add($"{path}spec.nodeSelector[{Encoding.UTF8.GetString(label.Name)}]: {message}");
        var affinity = spec["affinity"u8]["nodeAffinity"u8];
        int i = 0;
        foreach (var term in affinity["requiredDuringSchedulingIgnoredDuringExecution"u8]["nodeSelectorTerms"u8].Elements)
            VolumeWarnings.Term(ref warnings, $"{path}spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[{i++}]", term, checkValues: false);
        i = 0;
        foreach (var term in affinity["preferredDuringSchedulingIgnoredDuringExecution"u8].Elements)
            VolumeWarnings.Term(ref warnings, $"{path}spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[{i++}].preference", term["preference"u8], checkValues: true);
        i = 0;
        foreach (var constraint in spec["topologySpreadConstraints"u8].Elements)
        {
            var key = constraint["topologyKey"u8];
            if (DeprecatedLabels.Message(key.Utf8) is { } message)
                warnings.Add($"{path}spec.topologySpreadConstraints[{i}].topologyKey: {key.AsString()} is {message}");
            if (constraint["labelSelector"u8].IsNullOrUndefined)
                warnings.Add($"{path}spec.topologySpreadConstraints[{i}].labelSelector: a null labelSelector results in matching no pod");
            i++;
        }
    }

    private static void Annotations(ref WarningList warnings, string path, ApiNode annotations)
    {
        foreach (var (key, message) in (ReadOnlySpan<(string, string)>)[
            ("scheduler.alpha.kubernetes.io/critical-pod", "non-functional in v1.16+; use the \"priorityClassName\" field instead"),
            ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
            ("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead")])
            if (annotations[Encoding.ASCII.GetBytes(key)].IsDefined)
                warnings.Add($"{path}metadata.annotations[{key}]: {message}");
    }

    private static void Volumes(ref WarningList warnings, string path, ApiNode volumes)
    {
        int i = 0;
        foreach (var volume in volumes.Elements)
        {
            foreach (var member in volume.Members)
            {
                if (member.Value.Kind != NodeKind.Object)
                    continue;
                foreach (var (field, shown, message) in s_volumes)
                    if (Ascii.Equals(member.Name, field))
                        warnings.Add($"{path}spec.volumes[{i}].{shown}: {(field == "gitRepo" && FeatureGates.Current.IsOn("GitRepoVolumeDriver") ? "deprecated in v1.11" : message)}");
            }
            if (volume["ephemeral"u8]["volumeClaimTemplate"u8].Kind == NodeKind.Object)
                Claim(ref warnings, $"{path}spec.volumes[{i}].ephemeral.volumeClaimTemplate.spec", volume["ephemeral"u8]["volumeClaimTemplate"u8]["spec"u8]);
            i++;
        }
        foreach (var volume in volumes.Elements)
            OverlapWarnings.Of(ref warnings, volume);
    }

    private static void Doubles(ref WarningList warnings, string path, ApiNode list, string field)
    {
        if (list.Count < 2)
            return;
        var seen = new HashSet<string>();
        int i = 0;
        foreach (var item in list.Elements)
        {
            var value = item[Encoding.ASCII.GetBytes(field)];
            if (!seen.Add(value.AsString()))
                warnings.Add($"{path}[{i}].{field}: duplicate {field} {GoText.Quote(value.Utf8)}");
            i++;
        }
    }

    private static void Container(ref WarningList warnings, string path, string place, ApiNode container, ApiNode spec, ApiNode annotations)
    {
        if (annotations.Count > 0)
        {
            string name = container["name"u8].AsString();
            string seccomp = "container.seccomp.security.alpha.kubernetes.io/" + name, appArmor = "container.apparmor.security.beta.kubernetes.io/" + name;
            if (container["securityContext"u8]["seccompProfile"u8].IsNullOrUndefined && annotations[Encoding.UTF8.GetBytes(seccomp)].IsDefined)
                warnings.Add($"{path}metadata.annotations[{seccomp}]: non-functional in v1.27+; use the \"seccompProfile\" field instead");
            if (path.Length > 0 && container["securityContext"u8]["appArmorProfile"u8].IsNullOrUndefined && spec["securityContext"u8]["appArmorProfile"u8].IsNullOrUndefined
                && annotations[Encoding.UTF8.GetBytes(appArmor)].IsDefined)
                warnings.Add($"{path}metadata.annotations[{appArmor}]: deprecated since v1.30; use the \"appArmorProfile\" field instead");
        }
        Fractions(ref warnings, path, place, container["resources"u8]);
        Environment(ref warnings, path, place, container["env"u8]);
    }

    private static void Fractions(ref WarningList warnings, string path, string place, ApiNode resources)
    {
        foreach (string resource in (ReadOnlySpan<string>)["memory", "ephemeral-storage"])
            foreach (string list in (ReadOnlySpan<string>)["limits", "requests"])
                if (resources[Encoding.ASCII.GetBytes(list)][Encoding.ASCII.GetBytes(resource)] is var value && IsFraction(value))
                    warnings.Add($"{path}spec.{place}.resources.{list}[{resource}]: fractional byte value {GoText.Quote(value.Utf8)} is invalid, must be an integer");
    }

    private static void Fractions(ref WarningList warnings, string path, ApiNode amounts)
    {
        foreach (string resource in (ReadOnlySpan<string>)["memory", "ephemeral-storage"])
            if (amounts[Encoding.ASCII.GetBytes(resource)] is var value && IsFraction(value))
                warnings.Add($"{path}[{resource}]: fractional byte value {GoText.Quote(value.Utf8)} is invalid, must be an integer");
    }

    // Quantities are in their canonical form here: only fractions of one end so.
    private static bool IsFraction(ApiNode quantity) => quantity.Utf8 is [.., (byte)'m' or (byte)'u' or (byte)'n'];

    private static void Environment(ref WarningList warnings, string path, string place, ApiNode variables)
    {
        int i = 0;
        // Few are compared with each other, for nothing; many are looked up.
        const int Few = 16;
        var names = variables.Count > Few ? new HashSet<string>(StringComparer.Ordinal) : null;
        foreach (var variable in variables.Elements)
        {
            bool isRepeated = names is null ? HasEarlier(variables, variable, i) : !names.Add(variable["name"u8].AsString());
            if (isRepeated)
            {
                string reference = $"$({variable["name"u8].AsString()})", value = variable["value"u8].AsString();
                if (!variable["valueFrom"u8].IsNullOrUndefined || value == reference || !value.Contains(reference, StringComparison.Ordinal))
                    warnings.Add($"{path}spec.{place}.env[{i}]: hides previous definition of {GoText.Quote(variable["name"u8].Utf8)}, which may be dropped when using apply");
            }
            i++;
        }
    }

    private static bool HasEarlier(ApiNode variables, ApiNode variable, int place)
    {
        foreach (var earlier in variables.Elements)
        {
            if (place-- == 0)
                return false;
            if (earlier["name"u8].Equals(variable["name"u8].Utf8))
                return true;
        }
        return false;
    }

    private static void PodAffinity(ref WarningList warnings, string path, ApiNode affinity)
    {
        int i = 0;
        foreach (var term in affinity["requiredDuringSchedulingIgnoredDuringExecution"u8].Elements)
        {
            if (term["labelSelector"u8].IsNullOrUndefined)
                warnings.Add($"{path}.requiredDuringSchedulingIgnoredDuringExecution[{i}].labelSelector: a null labelSelector results in matching no pod");
            i++;
        }
        i = 0;
        foreach (var term in affinity["preferredDuringSchedulingIgnoredDuringExecution"u8].Elements)
        {
            if (term["podAffinityTerm"u8]["labelSelector"u8].IsNullOrUndefined)
                warnings.Add($"{path}.preferredDuringSchedulingIgnoredDuringExecution[{i}].podAffinityTerm.labelSelector: a null labelSelector results in matching no pod");
            i++;
        }
    }
}
