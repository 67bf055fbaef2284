using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Validation of the annotations that mean something to a pod: of the mirror, deletion cost, tolerations of old, seccomp and AppArmor.</summary>
internal static class PodAnnotations
{
    internal const string AppArmorPrefix = "container.apparmor.security.beta.kubernetes.io/";
    private const string SeccompPrefix = "container.seccomp.security.alpha.kubernetes.io/";
    private const string Tolerations = "scheduler.alpha.kubernetes.io/tolerations";
    private const string SeccompPod = "seccomp.security.alpha.kubernetes.io/pod";

    internal static void Check(At at, ApiNode annotations, ApiNode spec)
    {
        if (annotations.Count == 0)
            return;
        var mirror = annotations["kubernetes.io/config.mirror"u8];
        if (mirror.IsDefined && spec["nodeName"u8].Utf8.IsEmpty)
            at.Key("kubernetes.io/config.mirror").Invalid(mirror, "must set spec.nodeName if mirror pod annotation is set");
        if (!annotations["scheduler.alpha.kubernetes.io/tolerations"u8].Utf8.IsEmpty)
            OldTolerations(at, annotations["scheduler.alpha.kubernetes.io/tolerations"u8]);
        var cost = annotations["controller.kubernetes.io/pod-deletion-cost"u8];
        if (cost.IsDefined && !IsDeletionCost(cost.AsString()))
            at.Key("controller.kubernetes.io/pod-deletion-cost").Invalid(cost, "must be a 32bit integer");
        if (annotations["seccomp.security.alpha.kubernetes.io/pod"u8] is { IsDefined: true } profile)
            Seccomp(at[SeccompPod], profile);
        foreach (var annotation in annotations.Members)
            if (annotation.Name.StartsWith("container.seccomp.security.alpha.kubernetes.io/"u8))
                Seccomp(at.Field(annotation), annotation.Value);
        foreach (var annotation in annotations.Members)
            if (annotation.Name.StartsWith("container.apparmor.security.beta.kubernetes.io/"u8))
                AppArmor(at.Key(annotation), Encoding.UTF8.GetString(annotation.Name[AppArmorPrefix.Length..]), annotation.Value, spec);
    }

    /// <summary>Annotations and fields that say the same thing must say it alike.</summary>
    internal static void MatchFields(At at, ApiNode annotations, ApiNode spec)
    {
        if (annotations.Count == 0)
            return;
        var podSeccomp = spec["securityContext"u8]["seccompProfile"u8];
        if (podSeccomp.Kind == NodeKind.Object && annotations["seccomp.security.alpha.kubernetes.io/pod"u8] is { IsDefined: true } ofPod)
            Match(at["securityContext"]["seccompProfile"], "seccomp", ofPod.AsString(), podSeccomp, "runtime/default", "docker/default");
        foreach (var (list, i, container) in PodContainers.Of(spec))
        {
            var profile = container["securityContext"u8]["seccompProfile"u8];
            var annotation = annotations[Encoding.UTF8.GetBytes(SeccompPrefix + container["name"u8].AsString())];
            if (profile.Kind == NodeKind.Object && annotation.IsDefined)
                Match(at[list][i]["securityContext"]["seccompProfile"], "seccomp", annotation.AsString(), profile, "runtime/default", "docker/default");
        }
        if (spec["os"u8]["name"u8].Equals("windows"u8))
            return;
        var podAppArmor = spec["securityContext"u8]["appArmorProfile"u8];
        foreach (var (list, i, container) in PodContainers.Of(spec))
        {
            var profile = container["securityContext"u8]["appArmorProfile"u8];
            profile = profile.Kind == NodeKind.Object ? profile : podAppArmor;
            var annotation = annotations[Encoding.UTF8.GetBytes(AppArmorPrefix + container["name"u8].AsString())];
            if (profile.Kind == NodeKind.Object && annotation.IsDefined)
                Match(at[list][i]["securityContext"]["appArmorProfile"], "apparmor", annotation.AsString(), profile, "runtime/default", "runtime/default");
        }
    }

    private static void Match(At at, string what, string annotation, ApiNode profile, string byDefault, string byDefaultOfOld)
    {
        const string Local = "localhost/";
        switch (profile["type"u8].AsString())
        {
            case "Unconfined" when annotation != "unconfined":
            case "RuntimeDefault" when annotation != byDefault && annotation != byDefaultOfOld:
            case "Localhost" when !annotation.StartsWith(Local, StringComparison.Ordinal):
                at["type"].Forbidden($"{what} type in annotation and field must match");
                break;
            case "Localhost" when profile["localhostProfile"u8].IsNullOrUndefined || annotation[Local.Length..] != profile["localhostProfile"u8].AsString():
                at["localhostProfile"].Forbidden($"{what} profile in annotation and field must match");
                break;
        }
    }

    private static void OldTolerations(At at, ApiNode annotation)
    {
        using var document = JsonCodec.TryDecode(annotation.Utf8, null, DecodeOptions.Default, null, out string? problem, out _);
        if (document is null)
            at.Invalid(Tolerations, problem!);
        else if (document.Root.Kind == NodeKind.Array)
            SchedulingValidation.Tolerations(at[Tolerations], document.Root);
        else if (document.Root.Kind != NodeKind.Null)
            at.Invalid(Tolerations, $"json: cannot unmarshal {NameOf(document.Root.Kind)} into Go value of type []core.Toleration");
    }

    private static string NameOf(NodeKind kind) => kind switch { NodeKind.Object => "object", NodeKind.String => "string", NodeKind.Number => "number", _ => "bool" };

    private static void Seccomp(At at, ApiNode profile)
    {
        string name = profile.AsString();
        if (name is "runtime/default" or "docker/default" or "unconfined")
            return;
        if (!name.StartsWith("localhost/", StringComparison.Ordinal))
        {
            at.Invalid(profile, "must be a valid seccomp profile");
            return;
        }
        string path = name["localhost/".Length..];
        if (path.StartsWith('/'))
            at.Invalid(path, "must be a relative path");
        if (Paths.HasBackstep(Encoding.UTF8.GetBytes(path)))
            at.Invalid(path, "must not contain '..'");
    }

    private static void AppArmor(At at, string container, ApiNode profile, ApiNode spec)
    {
        bool isFound = false;
        foreach (var (_, _, candidate) in PodContainers.Of(spec))
            isFound |= candidate["name"u8].AsString() == container;
        if (!isFound)
            at.Invalid(container, "container not found");
        string name = profile.AsString();
        if (name is not ("" or "runtime/default" or "unconfined") && !name.StartsWith("localhost/", StringComparison.Ordinal))
            at.Invalid(profile, $"invalid AppArmor profile name: {GoText.Quote(name)}");
    }

    // As Go's ParseInt, without the plus sign and leading zeros that it would take.
    private static bool IsDeletionCost(string text) =>
        int.TryParse(text, System.Globalization.NumberStyles.AllowLeadingSign, System.Globalization.CultureInfo.InvariantCulture, out int value) && value.ToString() == text;
}
