using System.Globalization;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>How much a pod may ask for, loosest first.</summary>
internal enum PodSecurityLevel : byte
{
    Privileged,
    Baseline,
    Restricted,
}

/// <summary>A level as a release of Kubernetes defined it: <see cref="Minor"/> of v1.N, or <see cref="Latest"/>.</summary>
internal readonly record struct PodSecurityStandard(PodSecurityLevel Level, int Minor)
{
    internal const int Latest = int.MaxValue;

    internal string VersionText => Minor == Latest ? "latest" : string.Create(CultureInfo.InvariantCulture, $"v1.{Minor}");

    internal string LevelText => Level switch { PodSecurityLevel.Privileged => "privileged", PodSecurityLevel.Baseline => "baseline", _ => "restricted" };

    public override string ToString() => $"{LevelText}:{VersionText}";
}

/// <summary>What a namespace demands of its pods: refused, noted in the audit log, warned of.</summary>
internal readonly record struct PodSecurityPolicy(PodSecurityStandard Enforce, PodSecurityStandard Audit, PodSecurityStandard Warn)
{
    internal const string LabelPrefix = "pod-security.kubernetes.io/";

    private const string LevelError = "must be one of privileged, baseline, restricted";
    private const string VersionError = "must be \"latest\" or \"v1.x\"";

    internal static PodSecurityPolicy Privileged { get; } = new(
        new(PodSecurityLevel.Privileged, PodSecurityStandard.Latest), new(PodSecurityLevel.Privileged, PodSecurityStandard.Latest),
        new(PodSecurityLevel.Privileged, PodSecurityStandard.Latest));

    internal bool IsFullyPrivileged =>
        Enforce.Level == PodSecurityLevel.Privileged && Audit.Level == PodSecurityLevel.Privileged && Warn.Level == PodSecurityLevel.Privileged;

    /// <summary>
    /// The policy that a namespace's labels make of <paramref name="defaults"/>. Labels that make no sense are told in <paramref name="errors"/>; enforce
    /// then falls to the strictest, audit and warn to the loosest level.
    /// </summary>
    internal static PodSecurityPolicy Of(ApiNode labels, PodSecurityPolicy defaults, FieldErrorList errors)
    {
        if (labels.Count == 0)
            return defaults;
        var enforce = Read(labels, "enforce", defaults.Enforce, PodSecurityLevel.Restricted, errors, out var hasEnforceLevel, out _);
        var audit = Read(labels, "audit", defaults.Audit, PodSecurityLevel.Privileged, errors, out _, out _);
        var hasWarnLevel = labels["pod-security.kubernetes.io/warn"u8].IsDefined;
        var warn = Read(labels, "warn", defaults.Warn, PodSecurityLevel.Privileged, errors, out _, out var hasWarnVersion);
        // Who enforces more than he warns of warns of what he enforces.
        if (!hasWarnLevel && hasEnforceLevel && enforce.Level > warn.Level)
            warn = new PodSecurityStandard(enforce.Level, hasWarnVersion ? warn.Minor : enforce.Minor);
        return new PodSecurityPolicy(enforce, audit, warn);
    }

    internal static bool TryParseLevel(string text, out PodSecurityLevel level)
    {
        (level, var isKnown) = text switch
        {
            "privileged" => (PodSecurityLevel.Privileged, true),
            "baseline" => (PodSecurityLevel.Baseline, true),
            "restricted" => (PodSecurityLevel.Restricted, true),
            _ => (PodSecurityLevel.Restricted, false),
        };
        return isKnown;
    }

    internal static bool TryParseVersion(string text, out int minor)
    {
        minor = PodSecurityStandard.Latest;
        if (text == "latest")
            return true;
        if (!text.StartsWith("v1.", StringComparison.Ordinal) || text.Length > 4 && text[3] == '0'
            || !int.TryParse(text.AsSpan(3), NumberStyles.None, CultureInfo.InvariantCulture, out var parsed))
            return false;
        minor = parsed;
        return true;
    }

    internal static void CheckLevel(string field, string value, FieldErrorList errors)
    {
        if (!TryParseLevel(value, out _))
            errors.Invalid(field, value, LevelError);
    }

    internal static void CheckVersion(string field, string value, FieldErrorList errors)
    {
        if (!TryParseVersion(value, out _))
            errors.Invalid(field, value, VersionError);
    }

    private static PodSecurityStandard Read(
        ApiNode labels, string mode, PodSecurityStandard start, PodSecurityLevel onError, FieldErrorList errors, out bool hasLevel, out bool hasVersion)
    {
        var (level, minor) = start;
        hasLevel = false;
        var levelLabel = LabelPrefix + mode;
        var given = labels[System.Text.Encoding.UTF8.GetBytes(levelLabel)];
        if (given.IsDefined)
        {
            hasLevel = TryParseLevel(given.AsString(), out level);
            if (!hasLevel)
                level = onError;
            CheckLevel($"metadata.labels[{levelLabel}]", given.AsString(), errors);
        }
        var versionLabel = $"{levelLabel}-version";
        var version = labels[System.Text.Encoding.UTF8.GetBytes(versionLabel)];
        hasVersion = version.IsDefined;
        if (hasVersion)
        {
            TryParseVersion(version.AsString(), out minor);
            CheckVersion($"metadata.labels[{versionLabel}]", version.AsString(), errors);
        }
        return new PodSecurityStandard(level, minor);
    }
}
