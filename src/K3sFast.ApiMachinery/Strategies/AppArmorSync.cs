using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>
/// AppArmor profiles were annotations before they were fields: a new pod that has only the annotation gets the field, so that everybody reads one place.
/// </summary>
public static class AppArmorSync
{
    /// <summary>Copies profiles from annotations to containers that have none; says for each that annotations are deprecated.</summary>
    /// <param name="pod">The new pod.</param>
    /// <param name="warn">Takes a warning for the client.</param>
    public static void Apply(ApiNode pod, Action<string> warn)
    {
        var annotations = pod["metadata"u8]["annotations"u8];
        var spec = pod["spec"u8];
        if (annotations.Count == 0 || spec["os"u8]["name"u8].Equals("windows"u8))
            return;
        foreach (var (_, _, container) in PodContainers.Of(spec))
        {
            string key = PodAnnotations.AppArmorPrefix + container["name"u8].AsString();
            var annotation = annotations[Encoding.UTF8.GetBytes(key)];
            if (!annotation.IsDefined || !container["securityContext"u8]["appArmorProfile"u8].IsNullOrUndefined)
                continue;
            var profile = ProfileOf(pod, annotation.AsString());
            if (profile.IsDefined && profile.DeepEquals(spec["securityContext"u8]["appArmorProfile"u8]))
                continue;
            if (profile.IsDefined)
                container.GetOrAddObject("securityContext"u8).Set("appArmorProfile"u8, profile);
            warn($"metadata.annotations[{key}]: deprecated since v1.30; use the \"appArmorProfile\" field instead");
        }
    }

    // Undefined for what no field can say.
    private static ApiNode ProfileOf(ApiNode pod, string annotation)
    {
        const string Local = "localhost/";
        string? type = annotation switch
        {
            "unconfined" => "Unconfined",
            "runtime/default" => "RuntimeDefault",
            _ => annotation.Length > Local.Length && annotation.StartsWith(Local, StringComparison.Ordinal) ? "Localhost" : null,
        };
        if (type is null)
            return default;
        var profile = pod.Document.NewObject();
        profile.Set("type"u8, type);
        if (type == "Localhost")
            profile.Set("localhostProfile"u8, annotation[Local.Length..]);
        var check = Check.Rent();
        SecurityContextValidation.AppArmor(check.Root, profile);
        return check.Finish().Count == 0 ? profile : default;
    }
}
