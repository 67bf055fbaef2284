using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>PodSecurityConfiguration of pod-security.admission.config.k8s.io: what counts where a namespace says nothing, and who is exempt.</summary>
internal sealed record PodSecurityConfiguration
{
    internal PodSecurityPolicy Defaults { get; private init; } = PodSecurityPolicy.Privileged;

    internal IReadOnlySet<string> Namespaces { get; private init; } = new HashSet<string>();

    internal IReadOnlySet<string> Users { get; private init; } = new HashSet<string>();

    internal IReadOnlySet<string> RuntimeClasses { get; private init; } = new HashSet<string>();

    /// <summary>Reads the configuration; undefined is the default one.</summary>
    /// <exception cref="ApiServerStartException">Not that kind, or a value that makes no sense.</exception>
    internal static PodSecurityConfiguration Read(ApiNode configuration)
    {
        if (!configuration.IsDefined)
            return new PodSecurityConfiguration();
        AdmissionConfiguration.CheckKind(
            configuration, "PodSecurity", "PodSecurityConfiguration", "pod-security.admission.config.k8s.io/v1", "pod-security.admission.config.k8s.io/v1beta1",
            "pod-security.admission.config.k8s.io/v1alpha1");
        var errors = new FieldErrorList();
        var defaults = configuration["defaults"u8];
        var made = new PodSecurityConfiguration
        {
            Defaults = new PodSecurityPolicy(
                Standard(defaults["enforce"u8], defaults["enforce-version"u8], "enforce", errors),
                Standard(defaults["audit"u8], defaults["audit-version"u8], "audit", errors),
                Standard(defaults["warn"u8], defaults["warn-version"u8], "warn", errors)),
            Namespaces = Names(configuration["exemptions"u8]["namespaces"u8], "exemptions.namespaces", errors),
            Users = Names(configuration["exemptions"u8]["usernames"u8], "exemptions.usernames", errors),
            RuntimeClasses = Names(configuration["exemptions"u8]["runtimeClasses"u8], "exemptions.runtimeClasses", errors),
        };
        return errors.Count == 0 ? made : throw new ApiServerStartException($"PodSecurity invalid: {errors}");
    }

    private static PodSecurityStandard Standard(ApiNode level, ApiNode version, string mode, FieldErrorList errors)
    {
        var levelText = level.Utf8.IsEmpty ? "privileged" : level.AsString();
        var versionText = version.Utf8.IsEmpty ? "latest" : version.AsString();
        PodSecurityPolicy.CheckLevel($"defaults.{mode}", levelText, errors);
        PodSecurityPolicy.CheckVersion($"defaults.{mode}-version", versionText, errors);
        PodSecurityPolicy.TryParseLevel(levelText, out var parsed);
        PodSecurityPolicy.TryParseVersion(versionText, out var minor);
        return new PodSecurityStandard(parsed, minor);
    }

    private static HashSet<string> Names(ApiNode list, string field, FieldErrorList errors)
    {
        var names = new HashSet<string>(StringComparer.Ordinal);
        var index = 0;
        foreach (var element in list.Elements)
        {
            var name = element.AsString();
            if (name.Length == 0)
                errors.Invalid($"{field}[{index}]", name, field.EndsWith("usernames", StringComparison.Ordinal) ? "username must not be empty" : "must not be empty");
            else if (!names.Add(name))
                errors.Duplicate($"{field}[{index}]", name);
            index++;
        }
        return names;
    }
}
