using K3sFast.ApiMachinery;
using static K3sFast.ApiServer.PodSecurityVerdict;

namespace K3sFast.ApiServer;

/// <summary>The rules of the restricted standard: what a hardened pod looks like.</summary>
internal static class RestrictedChecks
{
    private static readonly HashSet<string> s_allowedVolumes =
    [
        "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
    ];

    // In the order in which upstream looks at them; a volume has one source.
    private static readonly string[] s_otherVolumes =
    [
        "hostPath", "gcePersistentDisk", "awsElasticBlockStore", "gitRepo", "nfs", "iscsi", "glusterfs", "rbd", "flexVolume", "cinder", "cephfs", "flocker",
        "fc", "azureFile", "vsphereVolume", "quobyte", "azureDisk", "photonPersistentDisk", "portworxVolume", "scaleIO", "storageos",
    ];

    internal static void PrivilegeEscalation(PodSecurityVerdict verdict, ApiNode spec)
    {
        var containers = Offenders(spec, static container => container["securityContext"u8]["allowPrivilegeEscalation"u8].Kind != NodeKind.False);
        if (containers.Count > 0)
            verdict.Add("allowPrivilegeEscalation != false", $"{Containers(containers)} must set securityContext.allowPrivilegeEscalation=false");
    }

    internal static void Capabilities(PodSecurityVerdict verdict, ApiNode spec)
    {
        var added = new SortedSet<string>(StringComparer.Ordinal);
        var keeping = Offenders(spec, static container =>
        {
            foreach (var capability in container["securityContext"u8]["capabilities"u8]["drop"u8].Elements)
            {
                if (capability.Equals("ALL"u8))
                    return false;
            }
            return true;
        });
        var adding = Offenders(spec, container =>
        {
            var isBad = false;
            foreach (var capability in container["securityContext"u8]["capabilities"u8]["add"u8].Elements)
            {
                if (capability.Equals("NET_BIND_SERVICE"u8))
                    continue;
                added.Add(capability.AsString());
                isBad = true;
            }
            return isBad;
        });
        var faults = new List<string>();
        if (keeping.Count > 0)
            faults.Add($"{Containers(keeping)} must set securityContext.capabilities.drop=[\"ALL\"]");
        if (adding.Count > 0)
            faults.Add($"{Containers(adding)} must not include {Quoted(added)} in securityContext.capabilities.add");
        if (faults.Count > 0)
            verdict.Add("unrestricted capabilities", string.Join("; ", faults));
    }

    internal static void Volumes(PodSecurityVerdict verdict, ApiNode spec)
    {
        var volumes = new List<string>();
        var types = new SortedSet<string>(StringComparer.Ordinal);
        foreach (var volume in spec["volumes"u8].Elements)
        {
            if (HasAny(volume, s_allowedVolumes) is not null)
                continue;
            volumes.Add(volume["name"u8].AsString());
            types.Add(HasAny(volume, s_otherVolumes) ?? "unknown");
        }
        if (volumes.Count > 0)
        {
            verdict.Add(
                "restricted volume types",
                $"{Plural(volumes.Count, "volume", "volumes")} {Quoted(volumes)} {Plural(volumes.Count, "uses", "use")} "
                + $"{Plural(types.Count, "restricted volume type", "restricted volume types")} {Quoted(types)}");
        }
    }

    internal static void NonRoot(PodSecurityVerdict verdict, ApiNode spec)
    {
        static NodeKind Wish(ApiNode holder) => holder["securityContext"u8]["runAsNonRoot"u8].Kind;
        var isPodBad = Wish(spec) == NodeKind.False;
        var isPodGood = Wish(spec) == NodeKind.True;
        var bad = Offenders(spec, static container => Wish(container) == NodeKind.False);
        if (isPodBad || bad.Count > 0)
        {
            verdict.Add("runAsNonRoot != true", $"{Setters(isPodBad, bad)} must not set securityContext.runAsNonRoot=false");
            return;
        }
        var silent = isPodGood ? [] : Offenders(spec, static container => Wish(container) <= NodeKind.Null);
        if (silent.Count > 0)
            verdict.Add("runAsNonRoot != true", $"pod or {Containers(silent)} must set securityContext.runAsNonRoot=true");
    }

    internal static void RootUser(PodSecurityVerdict verdict, ApiNode spec)
    {
        static bool IsRoot(ApiNode holder) => holder["securityContext"u8]["runAsUser"u8].TryGetInt64(out var user) && user == 0;
        var isPod = IsRoot(spec);
        var containers = Offenders(spec, IsRoot);
        if (isPod || containers.Count > 0)
            verdict.Add("runAsUser=0", $"{Setters(isPod, containers)} must not set runAsUser=0");
    }

    internal static void Seccomp(PodSecurityVerdict verdict, ApiNode spec)
    {
        var values = new SortedSet<string>(StringComparer.Ordinal);
        var isPodBad = BaselineChecks.IsBadSeccomp(spec, values);
        var isPodGood = !isPodBad && !spec["securityContext"u8]["seccompProfile"u8].IsNullOrUndefined;
        var bad = Offenders(spec, container => BaselineChecks.IsBadSeccomp(container, values));
        if (isPodBad || bad.Count > 0)
        {
            verdict.Add("seccompProfile", $"{Setters(isPodBad, bad)} must not set securityContext.seccompProfile.type to {Quoted(values)}");
            return;
        }
        var silent = isPodGood ? [] : Offenders(spec, static container => container["securityContext"u8]["seccompProfile"u8].IsNullOrUndefined);
        if (silent.Count > 0)
            verdict.Add("seccompProfile", $"pod or {Containers(silent)} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"");
    }

    private static string? HasAny(ApiNode volume, IEnumerable<string> sources)
    {
        foreach (var source in sources)
        {
            if (!volume[System.Text.Encoding.UTF8.GetBytes(source)].IsNullOrUndefined)
                return source;
        }
        return null;
    }
}
