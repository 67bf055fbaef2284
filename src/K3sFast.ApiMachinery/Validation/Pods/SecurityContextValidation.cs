namespace K3sFast.ApiMachinery;

/// <summary>Validation of the security contexts of containers and pods.</summary>
internal static class SecurityContextValidation
{
    private static readonly TypeSchema s_containerType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.SecurityContext")!;
    private static readonly TypeSchema s_seccompType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.SeccompProfile")!;

    private const int MaxSysctlLength = 253;
    private const int MaxProfileLength = 4095; // PATH_MAX less its terminator

    internal static void Container(At at, ApiNode context, bool usesHostUsers)
    {
        if (context.Kind != NodeKind.Object)
            return;
        Id(at["runAsUser"], context["runAsUser"u8]);
        Id(at["runAsGroup"], context["runAsGroup"u8]);
        var procMount = context["procMount"u8];
        at["procMount"].OptionalOneOf(procMount, ["Default", "Unmasked"]);
        if (usesHostUsers && procMount.Equals("Unmasked"u8))
            at["procMount"].Invalid(procMount, "`hostUsers` must be false to use `Unmasked`");
        Seccomp(at["seccompProfile"], context["seccompProfile"u8]);
        if (context["allowPrivilegeEscalation"u8].Kind == NodeKind.False)
        {
            if (context["privileged"u8].AsBool())
                at.InvalidValue(context, s_containerType, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
            foreach (var capability in context["capabilities"u8]["add"u8].Elements)
                if (capability.Equals("CAP_SYS_ADMIN"u8))
                    at.InvalidValue(context, s_containerType, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
        }
        WindowsValidation.Options(at["windowsOptions"], context["windowsOptions"u8]);
        AppArmor(at["appArmorProfile"], context["appArmorProfile"u8]);
    }

    internal static void Pod(At at, ApiNode spec)
    {
        var context = spec["securityContext"u8];
        if (context.Kind != NodeKind.Object)
            return;
        Id(at["fsGroup"], context["fsGroup"u8]);
        Id(at["runAsUser"], context["runAsUser"u8]);
        Id(at["runAsGroup"], context["runAsGroup"u8]);
        int i = 0;
        foreach (var group in context["supplementalGroups"u8].Elements)
            Id(at["supplementalGroups"][i++], group);
        if (spec["shareProcessNamespace"u8].AsBool() && spec["hostPID"u8].AsBool())
            at["shareProcessNamespace"].Invalid(spec["shareProcessNamespace"u8], "ShareProcessNamespace and HostPID cannot both be enabled");
        Sysctls(at["sysctls"], context["sysctls"u8], spec);
        at["fsGroupChangePolicy"].OptionalOneOf(context["fsGroupChangePolicy"u8], ["Always", "OnRootMismatch"]);
        Seccomp(at["seccompProfile"], context["seccompProfile"u8]);
        WindowsValidation.Options(at["windowsOptions"], context["windowsOptions"u8]);
        AppArmor(at["appArmorProfile"], context["appArmorProfile"u8]);
        at["supplementalGroupsPolicy"].OptionalOneOf(context["supplementalGroupsPolicy"u8], ["Merge", "Strict"]);
        at["seLinuxChangePolicy"].OptionalOneOf(context["seLinuxChangePolicy"u8], FeatureGates.Current.IsOn("SELinuxMount") ? ["MountOption", "Recursive"] : ["Recursive"]);
    }

    private static void Id(At at, ApiNode id) => at.InRange(id, 0, int.MaxValue);

    private static void Seccomp(At at, ApiNode profile)
    {
        if (profile.Kind != NodeKind.Object)
            return;
        var local = profile["localhostProfile"u8];
        at["type"].RequiredOneOf(profile["type"u8], ["Localhost", "RuntimeDefault", "Unconfined"], "type is required when seccompProfile is set");
        if (profile["type"u8].Equals("Localhost"u8))
        {
            if (local.IsNullOrUndefined)
                at["localhostProfile"].Required("must be set when seccomp type is Localhost");
            else
                Paths.Descending(at["localhostProfile"], local);
        }
        else if (!local.IsNullOrUndefined)
        {
            at["localhostProfile"].InvalidValue(profile, s_seccompType, "can only be set when seccomp type is Localhost");
        }
    }

    internal static void AppArmor(At at, ApiNode profile)
    {
        if (profile.Kind != NodeKind.Object)
            return;
        var local = profile["localhostProfile"u8];
        var type = profile["type"u8];
        at["type"].RequiredOneOf(type, ["Localhost", "RuntimeDefault", "Unconfined"], "type is required when appArmorProfile is set");
        if (!type.Equals("Localhost"u8))
        {
            if (!local.IsNullOrUndefined)
                at["localhostProfile"].Invalid(local, "can only be set when AppArmor type is Localhost");
            return;
        }
        string name = local.AsString();
        if (name.Trim().Length == 0)
            at["localhostProfile"].Required("must be set when AppArmor type is Localhost");
        else if (name.Trim().Length != name.Length)
            at["localhostProfile"].Invalid(local, "must not be padded with whitespace");
        if (local.Utf8.Length > MaxProfileLength)
            at["localhostProfile"].TooLong(MaxProfileLength);
    }

    private static void Sysctls(At at, ApiNode sysctls, ApiNode spec)
    {
        HashSet<string>? seen = null;
        int i = 0;
        foreach (var sysctl in sysctls.Elements)
        {
            var place = at[i++]["name"];
            var name = sysctl["name"u8];
            seen ??= [];
            if (name.Utf8.IsEmpty)
                place.Required();
            else if (!IsSysctlName(name.Utf8))
                place.Invalid(name, $"must have at most {MaxSysctlLength} characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$");
            else if (!seen.Add(name.AsString()))
                place.Duplicate(name);
            string dotted = name.AsString().Replace('/', '.');
            if (spec["hostNetwork"u8].AsBool() && dotted.StartsWith("net.", StringComparison.Ordinal))
                place.Invalid(name, "may not be specified when 'hostNetwork' is true");
            if (spec["hostIPC"u8].AsBool() && (dotted.StartsWith("kernel.shm", StringComparison.Ordinal) || dotted.StartsWith("kernel.msg", StringComparison.Ordinal)
                || dotted == "kernel.sem" || dotted.StartsWith("fs.mqueue.", StringComparison.Ordinal)))
                place.Invalid(name, "may not be specified when 'hostIPC' is true");
        }
    }

    private static bool IsSysctlName(ReadOnlySpan<byte> name)
    {
        if (name.Length > MaxSysctlLength)
            return false;
        bool isStart = true;
        byte last = 0;
        foreach (byte value in name)
        {
            bool isSeparator = value is (byte)'.' or (byte)'/';
            bool isInner = value is (byte)'-' or (byte)'_';
            if (!isSeparator && !isInner && !(value is >= (byte)'a' and <= (byte)'z' or >= (byte)'0' and <= (byte)'9'))
                return false;
            if ((isStart && (isSeparator || isInner)) || (isSeparator && last is (byte)'-' or (byte)'_' && isSeparator))
                return false;
            isStart = isSeparator;
            last = value;
        }
        return !isStart && last is not ((byte)'-' or (byte)'_');
    }
}
