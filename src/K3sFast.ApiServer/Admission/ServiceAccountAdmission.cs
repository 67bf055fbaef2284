using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Gives each new pod its service account: the name, the token volume with its mounts, and the image pull secrets.</summary>
internal sealed class ServiceAccountAdmission(ResourceStorage accounts) : AdmissionPlugin
{
    private const string MountPath = "/var/run/secrets/kubernetes.io/serviceaccount";
    private const string VolumePrefix = "kube-api-access-";

    // One hour and a little, so that upstream's clients can tell tokens that the server chose the life of.
    private const int TokenSeconds = 3607;

    internal override void Mutate(AdmissionContext context)
    {
        if (context.Operation != AdmissionOperation.Create || context.Subresource.Length > 0 || !context.Is("", "pods"))
            return;
        var pod = context.Object;
        var spec = pod.GetOrAddObject("spec"u8);
        // Mirror pods show what a kubelet runs from a file; they have no identity.
        if (pod["metadata"u8]["annotations"u8]["kubernetes.io/config.mirror"u8].IsDefined)
        {
            if (!spec["serviceAccountName"u8].Utf8.IsEmpty)
                throw context.Forbid("a mirror pod may not reference service accounts");
            return;
        }
        if (spec["serviceAccountName"u8].Utf8.IsEmpty)
            spec.Set("serviceAccountName"u8, "default"u8);
        var name = spec["serviceAccountName"u8].AsString();
        spec.Set("serviceAccount"u8, name);
        using var stored = accounts.Get(context.Namespace, name)
            ?? throw context.Forbid($"error looking up service account {context.Namespace}/{name}: serviceaccount {GoText.Quote(name)} not found");
        using var account = accounts.Decode(stored);
        if (ShouldMount(spec, account.Root))
            MountToken(spec);
        if (spec["imagePullSecrets"u8].Count == 0)
        {
            foreach (var secret in account.Root["imagePullSecrets"u8].Elements)
                spec.GetOrAddArray("imagePullSecrets"u8).AppendObject().Set("name"u8, secret["name"u8].Utf8);
        }
    }

    private static bool ShouldMount(ApiNode spec, ApiNode account)
    {
        var own = spec["automountServiceAccountToken"u8];
        return own.IsNullOrUndefined ? account["automountServiceAccountToken"u8].AsBool(fallback: true) : own.AsBool();
    }

    private static void MountToken(ApiNode spec)
    {
        string? volume = null;
        foreach (var existing in spec["volumes"u8].Elements)
        {
            if (existing["name"u8].AsString().StartsWith(VolumePrefix, StringComparison.Ordinal))
                volume = existing["name"u8].AsString();
        }
        var isNeeded = MountInto(spec["initContainers"u8], ref volume);
        isNeeded |= MountInto(spec["containers"u8], ref volume);
        if (isNeeded)
            AddVolume(spec.GetOrAddArray("volumes"u8), volume!);
    }

    // True when a container got a mount of a volume that does not exist yet.
    private static bool MountInto(ApiNode containers, ref string? volume)
    {
        var isAdded = false;
        foreach (var container in containers.Elements)
        {
            var hasMount = false;
            foreach (var mount in container["volumeMounts"u8].Elements)
                hasMount |= mount["mountPath"u8].AsString().TrimEnd('/') == MountPath;
            if (hasMount)
                continue;
            volume ??= ObjectText.GenerateName(VolumePrefix);
            var added = container.GetOrAddArray("volumeMounts"u8).AppendObject();
            added.Set("name"u8, volume);
            added.Set("readOnly"u8, true);
            added.Set("mountPath"u8, MountPath);
            isAdded = true;
        }
        return isAdded;
    }

    private static void AddVolume(ApiNode volumes, string name)
    {
        foreach (var existing in volumes.Elements)
        {
            if (existing["name"u8].AsString() == name)
                return;
        }
        var volume = volumes.AppendObject();
        volume.Set("name"u8, name);
        var projected = volume.GetOrAddObject("projected"u8);
        var sources = projected.GetOrAddArray("sources"u8);
        var token = sources.AppendObject().GetOrAddObject("serviceAccountToken"u8);
        token.Set("expirationSeconds"u8, TokenSeconds);
        token.Set("path"u8, "token"u8);
        var authority = sources.AppendObject().GetOrAddObject("configMap"u8);
        authority.Set("name"u8, "kube-root-ca.crt"u8);
        var item = authority.GetOrAddArray("items"u8).AppendObject();
        item.Set("key"u8, "ca.crt"u8);
        item.Set("path"u8, "ca.crt"u8);
        var field = sources.AppendObject().GetOrAddObject("downwardAPI"u8).GetOrAddArray("items"u8).AppendObject();
        field.Set("path"u8, "namespace"u8);
        var reference = field.GetOrAddObject("fieldRef"u8);
        reference.Set("apiVersion"u8, "v1"u8);
        reference.Set("fieldPath"u8, "metadata.namespace"u8);
        projected.Set("defaultMode"u8, 420);
    }
}
