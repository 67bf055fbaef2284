using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Holds a pod (or a pod template) against a standard: which rules the standard has, by level and release.</summary>
internal static class PodSecurityEvaluator
{
    // The release in which a rule came, or replaced an older one.
    private const int SeccompField = 19;
    private const int RestrictedCapabilities = 22;
    private const int RootUser = 23;
    private const int WindowsExempt = 25;
    private const int HostProbes = 34;
    private const int UserNamespaces = 35;
    private const int EscalationField = 8;

    internal static PodSecurityVerdict Evaluate(PodSecurityStandard standard, ApiNode metadata, ApiNode spec)
    {
        var verdict = new PodSecurityVerdict();
        if (standard.Level == PodSecurityLevel.Privileged)
            return verdict;
        var isRestricted = standard.Level == PodSecurityLevel.Restricted;
        EvaluateBaseline(verdict, metadata, spec, standard.Minor, isRestricted);
        if (isRestricted)
            EvaluateRestricted(verdict, spec, standard.Minor);
        return verdict;
    }

    // A stricter rule of the restricted standard takes the place of the baseline's.
    private static void EvaluateBaseline(PodSecurityVerdict verdict, ApiNode metadata, ApiNode spec, int minor, bool isRestricted)
    {
        BaselineChecks.AppArmor(verdict, metadata, spec);
        if (!isRestricted || minor < RestrictedCapabilities)
            BaselineChecks.Capabilities(verdict, spec);
        BaselineChecks.HostNamespaces(verdict, spec);
        if (!isRestricted)
            BaselineChecks.HostPaths(verdict, spec);
        BaselineChecks.HostPorts(verdict, spec);
        if (minor >= HostProbes)
            BaselineChecks.HostProbes(verdict, spec);
        BaselineChecks.Privileged(verdict, spec);
        if (minor < UserNamespaces || !isRestricted && !PodSecurityVerdict.HasUserNamespace(spec))
            BaselineChecks.ProcMount(verdict, spec);
        BaselineChecks.SeLinux(verdict, spec, minor);
        if (minor < SeccompField)
            BaselineChecks.SeccompAnnotations(verdict, metadata, spec);
        else if (!isRestricted)
            BaselineChecks.Seccomp(verdict, spec);
        BaselineChecks.Sysctls(verdict, spec, minor);
        BaselineChecks.HostProcess(verdict, spec);
    }

    private static void EvaluateRestricted(PodSecurityVerdict verdict, ApiNode spec, int minor)
    {
        var isExempt = minor >= WindowsExempt && PodSecurityVerdict.IsWindows(spec);
        var mayBeRoot = minor >= UserNamespaces && PodSecurityVerdict.HasUserNamespace(spec);
        if (minor >= EscalationField && !isExempt)
            RestrictedChecks.PrivilegeEscalation(verdict, spec);
        if (minor >= RestrictedCapabilities && !isExempt)
            RestrictedChecks.Capabilities(verdict, spec);
        if (minor >= UserNamespaces)
            BaselineChecks.ProcMount(verdict, spec);
        RestrictedChecks.Volumes(verdict, spec);
        if (!mayBeRoot)
            RestrictedChecks.NonRoot(verdict, spec);
        if (minor >= RootUser && !mayBeRoot)
            RestrictedChecks.RootUser(verdict, spec);
        if (minor >= SeccompField && !isExempt)
            RestrictedChecks.Seccomp(verdict, spec);
    }
}
