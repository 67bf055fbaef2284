using System.Text;
using System.Text.RegularExpressions;

namespace K3sFast.ApiMachinery;

/// <summary>What a pod may say when it names its operating system, and the options that only Windows has.</summary>
internal static partial class WindowsValidation
{
    private const int MaxCredentialKib = 64;
    private const int MaxDomain = 256; // of a DNS name, exclusive
    private const int MaxUser = 104;   // sAMAccountName and local names

    private static readonly string[] s_podSettings =
    [
        "securityContext.appArmorProfile", "securityContext.seLinuxOptions", "hostUsers", "hostPID", "hostIPC", "securityContext.seccompProfile", "securityContext.fsGroup",
        "securityContext.fsGroupChangePolicy", "securityContext.sysctls", "shareProcessNamespace", "securityContext.runAsUser", "securityContext.runAsGroup",
        "securityContext.supplementalGroups", "securityContext.supplementalGroupsPolicy", "securityContext.seLinuxChangePolicy",
    ];

    private static readonly string[] s_containerSettings =
    [
        "appArmorProfile", "seLinuxOptions", "seccompProfile", "capabilities", "readOnlyRootFilesystem", "privileged", "allowPrivilegeEscalation", "procMount", "runAsUser", "runAsGroup",
    ];

    internal static void OfLinux(At at, ApiNode spec)
    {
        const string Detail = "windows options cannot be set for a linux pod";
        if (!spec["securityContext"u8]["windowsOptions"u8].IsNullOrUndefined)
            at["securityContext"]["windowsOptions"].Forbidden(Detail);
        foreach (var (list, i, container) in PodContainers.Of(spec))
            if (!container["securityContext"u8]["windowsOptions"u8].IsNullOrUndefined)
                at[list][i]["securityContext"]["windowsOptions"].Forbidden(Detail);
    }

    internal static void OfWindows(At at, ApiNode spec)
    {
        const string Detail = "cannot be set for a windows pod";
        foreach (string setting in s_podSettings)
        {
            int dot = setting.IndexOf('.');
            var value = dot < 0 ? spec[Encoding.ASCII.GetBytes(setting)] : spec["securityContext"u8][Encoding.ASCII.GetBytes(setting[(dot + 1)..])];
            // The host's namespaces are no pointers upstream, and no sysctls are none.
            bool isSet = setting switch { "hostPID" or "hostIPC" => value.AsBool(), "securityContext.sysctls" => value.Count > 0, _ => !value.IsNullOrUndefined };
            if (isSet)
                (dot < 0 ? at[setting] : at["securityContext"][setting[(dot + 1)..]]).Forbidden(Detail);
        }
        foreach (var (list, i, container) in PodContainers.Of(spec))
            foreach (string setting in s_containerSettings)
                if (!container["securityContext"u8][Encoding.ASCII.GetBytes(setting)].IsNullOrUndefined)
                    at[list][i]["securityContext"][setting].Forbidden(Detail);
    }

    /// <summary>Containers that run on the host do so together and in its network.</summary>
    internal static void HostProcess(At at, ApiNode spec)
    {
        var ofPod = spec["securityContext"u8]["windowsOptions"u8]["hostProcess"u8];
        int count = 0, onHost = 0;
        foreach (var (list, i, container) in PodContainers.Of(spec))
        {
            count++;
            var own = container["securityContext"u8]["windowsOptions"u8]["hostProcess"u8];
            if (!own.IsNullOrUndefined && !ofPod.IsNullOrUndefined && own.AsBool() != ofPod.AsBool())
                at[list][i]["securityContext"]["windowsOptions"]["hostProcess"].Invalid(
                    own, $"pod hostProcess value must be identical if both are specified, was {(ofPod.AsBool() ? "true" : "false")}");
            if (own.IsNullOrUndefined ? ofPod.AsBool() : own.AsBool())
                onHost++;
        }
        if (onHost == 0)
            return;
        if (onHost != count)
            at.Invalid("", "If pod contains any hostProcess containers then all containers must be HostProcess containers");
        if (!spec["hostNetwork"u8].AsBool())
            at.Check.Errors.AddRaw(FieldErrorType.Invalid, at["hostNetwork"].ToString(), "false", "hostNetwork must be true if pod contains any hostProcess containers");
    }

    internal static void Options(At at, ApiNode options)
    {
        if (options.Kind != NodeKind.Object)
            return;
        var name = options["gmsaCredentialSpecName"u8];
        if (!name.IsNullOrUndefined)
            at["gmsaCredentialSpecName"].Format(Format.Dns1123Subdomain, name);
        var credential = options["gmsaCredentialSpec"u8];
        if (!credential.IsNullOrUndefined && credential.Utf8.IsEmpty)
            at["gmsaCredentialSpec"].Invalid(credential, "gmsaCredentialSpec cannot be an empty string");
        else if (credential.Utf8.Length > MaxCredentialKib * 1024)
            at["gmsaCredentialSpec"].Invalid(credential, $"gmsaCredentialSpec size must be under {MaxCredentialKib} KiB");
        if (!options["runAsUserName"u8].IsNullOrUndefined)
            UserName(at["runAsUserName"], options["runAsUserName"u8].AsString());
    }

    private static void UserName(At at, string name)
    {
        string[] parts = name.Split('\\');
        if (name.Length == 0)
            at.Invalid(name, "runAsUserName cannot be an empty string");
        else if (name.Any(char.IsControl))
            at.Invalid(name, "runAsUserName cannot contain control characters");
        else if (parts.Length > 2)
            at.Invalid(name, "runAsUserName cannot contain more than one backslash");
        else
            DomainAndUser(at, name, parts.Length == 2 ? parts[0] : null, parts[^1]);
    }

    private static void DomainAndUser(At at, string name, string? domain, string user)
    {
        if (domain is not null && Encoding.UTF8.GetByteCount(domain) >= MaxDomain)
            at.Invalid(name, $"runAsUserName's Domain length must be under {MaxDomain} characters");
        if (domain is not null && !NetBios().IsMatch(domain) && !Formats.Is(Format.Dns1123Subdomain, Encoding.UTF8.GetBytes(domain)))
            at.Invalid(name, "runAsUserName's Domain doesn't match the NetBios nor the DNS format");
        if (user.Length == 0)
            at.Invalid(name, "runAsUserName's User cannot be empty");
        else if (Encoding.UTF8.GetByteCount(user) > MaxUser)
            at.Invalid(name, $"runAsUserName's User length must not be longer than {MaxUser} characters");
        if (user.Length > 0 && user.All(static c => c is '.' or ' '))
            at.Invalid(name, "runAsUserName's User cannot contain only periods or spaces");
        if (user.AsSpan().IndexOfAny("\"/\\:;|=,+*?<>@[]") >= 0)
            at.Invalid(name, "runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
    }

    [GeneratedRegex("""^[^\\/:\*\?"<>|\.][^\\/:\*\?"<>|]{0,14}$""", RegexOptions.CultureInvariant)]
    private static partial Regex NetBios();
}
