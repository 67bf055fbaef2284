using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// ServiceAccount: gives each new pod its service account, the token volume with its mounts, and the image pull secrets; mirror pods have no identity,
/// and accounts that say so lend only the secrets that they name.
/// </summary>
internal sealed class ServiceAccountAdmission(ResourceStorage accounts, TimeProvider clock) : AdmissionPlugin
{
    private const string MountPath = "/var/run/secrets/kubernetes.io/serviceaccount";
    private const string VolumePrefix = "kube-api-access-";
    private const string DefaultName = "default";

    // One hour and a little, so that upstream's clients can tell tokens that the server chose the life of.
    private const int TokenSeconds = 3607;

    // A namespace has its default account a moment after it is made; who cannot wait for it is made to, as upstream does.
    private const int MaxTries = 10;
    private static readonly TimeSpan s_retry = TimeSpan.FromMilliseconds(150);

    internal override async ValueTask MutateAsync(AdmissionContext context, CancellationToken cancel)
    {
        if (!context.IsPod || !context.IsCreate)
            return;
        if (IsMirror(context.Object))
        {
            MirrorPods.Check(context, context.Object["spec"u8]);
            return;
        }
        var spec = context.Object.GetOrAddObject("spec"u8);
        if (spec["serviceAccountName"u8].Utf8.IsEmpty)
            spec.Set("serviceAccountName"u8, DefaultName);
        var name = spec["serviceAccountName"u8].AsString();
        spec.Set("serviceAccount"u8, name);
        using var account = await FindAsync(context, name, cancel).ConfigureAwait(false);
        if (ShouldMount(spec, account.Root))
            MountToken(spec);
        if (spec["imagePullSecrets"u8].Count == 0)
        {
            foreach (var secret in account.Root["imagePullSecrets"u8].Elements)
                spec.GetOrAddArray("imagePullSecrets"u8).AppendObject().Set("name"u8, secret["name"u8].Utf8);
        }
        // What the account does not allow is said before anything that is wrong with the pod.
        CheckSecrets(context, spec, account.Root, isEphemeral: false);
    }

    internal override void Validate(AdmissionContext context)
    {
        var isEphemeral = context.Subresource == "ephemeralcontainers" && context.Operation == AdmissionOperation.Update && context.Is("", "pods");
        if (!isEphemeral && (!context.IsPod || !context.IsCreate))
            return;
        var spec = context.Object["spec"u8];
        if (!isEphemeral && IsMirror(context.Object))
        {
            MirrorPods.Check(context, spec);
            return;
        }
        var name = spec["serviceAccountName"u8].AsString();
        if (name.Length == 0)
            throw context.Forbid($"no service account specified for pod {context.Namespace}/{context.Name}");
        using var account = Find(context.Namespace, name) ?? throw NotFound(context, name);
        CheckSecrets(context, spec, account.Root, isEphemeral);
    }

    private static void CheckSecrets(AdmissionContext context, ApiNode spec, ApiNode account, bool isEphemeral)
    {
        if (account["metadata"u8]["annotations"u8]["kubernetes.io/enforce-mountable-secrets"u8].AsString() is "true" or "True" or "TRUE" or "t" or "T" or "1")
            MountableSecrets.Check(context, spec, account, isEphemeral);
    }

    private static bool IsMirror(ApiNode pod) => pod["metadata"u8]["annotations"u8]["kubernetes.io/config.mirror"u8].IsDefined;

    private async ValueTask<ApiObject> FindAsync(AdmissionContext context, string name, CancellationToken cancel)
    {
        for (var tries = 1; ; tries++)
        {
            if (Find(context.Namespace, name) is { } account)
                return account;
            if (tries == MaxTries || name != DefaultName)
                throw NotFound(context, name);
            await Task.Delay(s_retry, clock, cancel).ConfigureAwait(false);
        }
    }

    private ApiObject? Find(string ns, string name)
    {
        using var stored = accounts.Get(ns, name);
        return stored is null ? null : accounts.Decode(stored);
    }

    private static ApiStatusException NotFound(AdmissionContext context, string name) =>
        context.Forbid($"error looking up service account {context.Namespace}/{name}: serviceaccount {GoText.Quote(name)} not found");

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
