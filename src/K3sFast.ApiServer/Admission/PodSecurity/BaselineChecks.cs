using K3sFast.ApiMachinery;
using static K3sFast.ApiServer.PodSecurityVerdict;

namespace K3sFast.ApiServer;

/// <summary>The rules of the baseline standard: no known way out of the container. <c>minor</c> is the release whose rules count.</summary>
internal static class BaselineChecks
{
    private static readonly HashSet<string> s_capabilities =
    [
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    ];

    // Sysctls that are namespaced and safe, each with the release since which the standard knows it.
    private static readonly Dictionary<string, int> s_sysctls = new()
    {
        ["kernel.shm_rmid_forced"] = 0,
        ["net.ipv4.ip_local_port_range"] = 0,
        ["net.ipv4.tcp_syncookies"] = 0,
        ["net.ipv4.ping_group_range"] = 0,
        ["net.ipv4.ip_unprivileged_port_start"] = 0,
        ["net.ipv4.ip_local_reserved_ports"] = 27,
        ["net.ipv4.tcp_keepalive_time"] = 29,
        ["net.ipv4.tcp_fin_timeout"] = 29,
        ["net.ipv4.tcp_keepalive_intvl"] = 29,
        ["net.ipv4.tcp_keepalive_probes"] = 29,
        ["net.ipv4.tcp_rmem"] = 32,
        ["net.ipv4.tcp_wmem"] = 32,
    };

    internal static void AppArmor(PodSecurityVerdict verdict, ApiNode metadata, ApiNode spec)
    {
        var values = new SortedSet<string>(StringComparer.Ordinal);
        var isPodBad = IsBadProfile(spec["securityContext"u8]["appArmorProfile"u8], values);
        var containers = Offenders(spec, container => IsBadProfile(container["securityContext"u8]["appArmorProfile"u8], values));
        var annotations = new List<string>();
        foreach (var annotation in metadata["annotations"u8].Members)
        {
            var value = annotation.Value.AsString();
            if (annotation.Name.StartsWith("container.apparmor.security.beta.kubernetes.io/"u8) && value.Length > 0 && value != "runtime/default"
                && !value.StartsWith("localhost/", StringComparison.Ordinal))
                annotations.Add($"{Text(annotation.Name)}={GoText.Quote(value)}");
        }
        var bad = values.ToList();
        var setters = new List<string>();
        if (isPodBad || containers.Count > 0)
            setters.Add(Setters(isPodBad, containers));
        if (annotations.Count > 0)
        {
            annotations.Sort(StringComparer.Ordinal);
            bad.AddRange(annotations);
            setters.Add(Plural(annotations.Count, "annotation", "annotations"));
        }
        if (setters.Count > 0)
        {
            verdict.Add(
                Plural(bad.Count, "forbidden AppArmor profile", "forbidden AppArmor profiles"),
                $"{string.Join(" and ", setters)} must not set AppArmor profile type to {Quoted(bad)}");
        }
    }

    internal static void Capabilities(PodSecurityVerdict verdict, ApiNode spec)
    {
        var added = new SortedSet<string>(StringComparer.Ordinal);
        var containers = Offenders(spec, container =>
        {
            var isBad = false;
            foreach (var capability in container["securityContext"u8]["capabilities"u8]["add"u8].Elements)
            {
                var name = capability.AsString();
                if (s_capabilities.Contains(name))
                    continue;
                added.Add(name);
                isBad = true;
            }
            return isBad;
        });
        if (containers.Count > 0)
            verdict.Add("non-default capabilities", $"{Containers(containers)} must not include {Quoted(added)} in securityContext.capabilities.add");
    }

    internal static void HostNamespaces(PodSecurityVerdict verdict, ApiNode spec)
    {
        var used = new List<string>();
        if (spec["hostNetwork"u8].AsBool())
            used.Add("hostNetwork=true");
        if (spec["hostPID"u8].AsBool())
            used.Add("hostPID=true");
        if (spec["hostIPC"u8].AsBool())
            used.Add("hostIPC=true");
        if (used.Count > 0)
            verdict.Add("host namespaces", string.Join(", ", used));
    }

    internal static void HostPaths(PodSecurityVerdict verdict, ApiNode spec)
    {
        var volumes = new List<string>();
        foreach (var volume in spec["volumes"u8].Elements)
        {
            if (!volume["hostPath"u8].IsNullOrUndefined)
                volumes.Add(volume["name"u8].AsString());
        }
        if (volumes.Count > 0)
            verdict.Add("hostPath volumes", $"{Plural(volumes.Count, "volume", "volumes")} {Quoted(volumes)}");
    }

    internal static void HostPorts(PodSecurityVerdict verdict, ApiNode spec)
    {
        var ports = new SortedSet<string>(StringComparer.Ordinal);
        var containers = Offenders(spec, container =>
        {
            var isBad = false;
            foreach (var port in container["ports"u8].Elements)
            {
                if (port["hostPort"u8].AsInt64() == 0)
                    continue;
                ports.Add(port["hostPort"u8].AsString());
                isBad = true;
            }
            return isBad;
        });
        if (containers.Count > 0)
        {
            verdict.Add(
                "hostPort",
                $"{Containers(containers)} {Plural(containers.Count, "uses", "use")} {Plural(ports.Count, "hostPort", "hostPorts")} {string.Join(", ", ports)}");
        }
    }

    internal static void HostProbes(PodSecurityVerdict verdict, ApiNode spec)
    {
        var hosts = new SortedSet<string>(StringComparer.Ordinal);
        var containers = new SortedSet<string>(Offenders(spec, container =>
        {
            var isBad = NamesHost(container["livenessProbe"u8], hosts);
            isBad |= NamesHost(container["readinessProbe"u8], hosts);
            isBad |= NamesHost(container["startupProbe"u8], hosts);
            isBad |= NamesHost(container["lifecycle"u8]["postStart"u8], hosts);
            isBad |= NamesHost(container["lifecycle"u8]["preStop"u8], hosts);
            return isBad;
        }), StringComparer.Ordinal);
        if (containers.Count > 0)
        {
            verdict.Add(
                "probe or lifecycle host",
                $"{Containers(containers)} {Plural(containers.Count, "uses", "use")} "
                + $"{Plural(hosts.Count, "probe or lifecycle host", "probe or lifecycle hosts")} {Quoted(hosts)}");
        }
    }

    internal static void Privileged(PodSecurityVerdict verdict, ApiNode spec)
    {
        var containers = Offenders(spec, static container => container["securityContext"u8]["privileged"u8].AsBool());
        if (containers.Count > 0)
            verdict.Add("privileged", $"{Containers(containers)} must not set securityContext.privileged=true");
    }

    internal static void ProcMount(PodSecurityVerdict verdict, ApiNode spec)
    {
        var types = new SortedSet<string>(StringComparer.Ordinal);
        var containers = Offenders(spec, container =>
        {
            var type = container["securityContext"u8]["procMount"u8];
            if (type.IsNullOrUndefined || type.Equals("Default"u8))
                return false;
            types.Add(type.AsString());
            return true;
        });
        if (containers.Count > 0)
            verdict.Add("procMount", $"{Containers(containers)} must not set securityContext.procMount to {Quoted(types)}");
    }

    internal static void SeLinux(PodSecurityVerdict verdict, ApiNode spec, int minor)
    {
        var types = new SortedSet<string>(StringComparer.Ordinal);
        bool hasUser = false, hasRole = false;
        bool IsBad(ApiNode holder)
        {
            var options = holder["securityContext"u8]["seLinuxOptions"u8];
            if (options.IsNullOrUndefined)
                return false;
            var type = options["type"u8].AsString();
            var isTypeBad = type is not ("" or "container_t" or "container_init_t" or "container_kvm_t") && !(type == "container_engine_t" && minor >= 31);
            if (isTypeBad)
                types.Add(type);
            bool setsUser = !options["user"u8].Utf8.IsEmpty, setsRole = !options["role"u8].Utf8.IsEmpty;
            hasUser |= setsUser;
            hasRole |= setsRole;
            return isTypeBad || setsUser || setsRole;
        }
        var isPodBad = IsBad(spec);
        var containers = Offenders(spec, IsBad);
        if (!isPodBad && containers.Count == 0)
            return;
        var faults = new List<string>();
        if (types.Count > 0)
            faults.Add($"{Plural(types.Count, "type", "types")} {Quoted(types)}");
        if (hasUser)
            faults.Add("user may not be set");
        if (hasRole)
            faults.Add("role may not be set");
        verdict.Add("seLinuxOptions", $"{Setters(isPodBad, containers)} set forbidden securityContext.seLinuxOptions: {string.Join("; ", faults)}");
    }

    /// <summary>Before 1.19 seccomp profiles were annotations.</summary>
    internal static void SeccompAnnotations(PodSecurityVerdict verdict, ApiNode metadata, ApiNode spec)
    {
        var forbidden = new SortedSet<string>(StringComparer.Ordinal);
        void Check(string name)
        {
            var annotation = metadata["annotations"u8][System.Text.Encoding.UTF8.GetBytes(name)];
            if (!annotation.IsDefined)
                return;
            var value = annotation.AsString();
            if (value is not ("runtime/default" or "docker/default") && !value.StartsWith("localhost/", StringComparison.Ordinal))
                forbidden.Add($"{name}={GoText.Quote(value)}");
        }
        Check("seccomp.security.alpha.kubernetes.io/pod");
        foreach (var container in ContainersOf(spec))
            Check("container.seccomp.security.alpha.kubernetes.io/" + container["name"u8].AsString());
        if (forbidden.Count > 0)
            verdict.Add("seccompProfile", $"forbidden {Plural(forbidden.Count, "annotation", "annotations")} {string.Join(", ", forbidden)}");
    }

    internal static void Seccomp(PodSecurityVerdict verdict, ApiNode spec)
    {
        var values = new SortedSet<string>(StringComparer.Ordinal);
        var isPodBad = IsBadSeccomp(spec, values);
        var containers = Offenders(spec, container => IsBadSeccomp(container, values));
        if (isPodBad || containers.Count > 0)
            verdict.Add("seccompProfile", $"{Setters(isPodBad, containers)} must not set securityContext.seccompProfile.type to {Quoted(values)}");
    }

    internal static void Sysctls(PodSecurityVerdict verdict, ApiNode spec, int minor)
    {
        var forbidden = new List<string>();
        foreach (var sysctl in spec["securityContext"u8]["sysctls"u8].Elements)
        {
            var name = sysctl["name"u8].AsString();
            if (!s_sysctls.TryGetValue(name, out var since) || since > minor)
                forbidden.Add(name);
        }
        if (forbidden.Count > 0)
            verdict.Add("forbidden sysctls", string.Join(", ", forbidden));
    }

    internal static void HostProcess(PodSecurityVerdict verdict, ApiNode spec)
    {
        static bool IsSet(ApiNode holder) => holder["securityContext"u8]["windowsOptions"u8]["hostProcess"u8].AsBool();
        var isPod = IsSet(spec);
        var containers = Offenders(spec, IsSet);
        if (isPod || containers.Count > 0)
            verdict.Add("hostProcess", $"{Setters(isPod, containers)} must not set securityContext.windowsOptions.hostProcess=true");
    }

    /// <summary>True, with the value noted, when a seccomp profile is set to something else than the runtime's or a file's.</summary>
    internal static bool IsBadSeccomp(ApiNode holder, SortedSet<string> values)
    {
        var profile = holder["securityContext"u8]["seccompProfile"u8];
        if (profile.IsNullOrUndefined || profile["type"u8].Equals("Localhost"u8) || profile["type"u8].Equals("RuntimeDefault"u8))
            return false;
        values.Add(profile["type"u8].AsString());
        return true;
    }

    private static bool IsBadProfile(ApiNode profile, SortedSet<string> values)
    {
        if (profile.IsNullOrUndefined || profile["type"u8].Equals("RuntimeDefault"u8) || profile["type"u8].Equals("Localhost"u8))
            return false;
        values.Add(profile["type"u8].AsString());
        return true;
    }

    private static bool NamesHost(ApiNode handler, SortedSet<string> hosts)
    {
        var isBad = false;
        foreach (var host in (ReadOnlySpan<ApiNode>)[handler["httpGet"u8]["host"u8], handler["tcpSocket"u8]["host"u8]])
        {
            if (host.Utf8.IsEmpty)
                continue;
            hosts.Add(host.AsString());
            isBad = true;
        }
        return isBad;
    }
}
