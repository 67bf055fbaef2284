using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Pods of an account that is annotated so use only the secrets that the account names.</summary>
internal static class MountableSecrets
{
    internal static void Check(AdmissionContext context, ApiNode spec, ApiNode account, bool isEphemeral)
    {
        var name = ObjectText.NameOf(account);
        var allowed = Names(account["secrets"u8]);
        if (isEphemeral)
        {
            CheckContainers(context, spec["ephemeralContainers"u8], "ephemeral container", allowed, name, isStatus: false);
            return;
        }
        foreach (var volume in spec["volumes"u8].Elements)
        {
            var secret = volume["secret"u8]["secretName"u8].AsString();
            if (!volume["secret"u8].IsNullOrUndefined && !allowed.Contains(secret))
                throw context.Forbid($"volume with secret.secretName=\"{secret}\" is not allowed because service account {name} does not reference that secret");
        }
        CheckContainers(context, spec["initContainers"u8], "init container", allowed, name, isStatus: true);
        CheckContainers(context, spec["containers"u8], "container", allowed, name, isStatus: true);
        var pulling = Names(account["imagePullSecrets"u8]);
        var index = 0;
        foreach (var secret in spec["imagePullSecrets"u8].Elements)
        {
            if (!pulling.Contains(secret["name"u8].AsString()))
            {
                throw context.Forbid(
                    $"imagePullSecrets[{index}].name=\"{secret["name"u8].AsString()}\" is not allowed because service account {name} does not reference that imagePullSecret");
            }
            index++;
        }
    }

    // Upstream refuses ephemeral containers with a bare error, which clients see as 500.
    private static void CheckContainers(AdmissionContext context, ApiNode containers, string kind, HashSet<string> allowed, string account, bool isStatus)
    {
        foreach (var container in containers.Elements)
        {
            var name = container["name"u8].AsString();
            foreach (var variable in container["env"u8].Elements)
            {
                var reference = variable["valueFrom"u8]["secretKeyRef"u8];
                if (!reference.IsNullOrUndefined && !allowed.Contains(reference["name"u8].AsString()))
                    throw Refuse($"{kind} {name} with envVar {variable["name"u8].AsString()} referencing", reference);
            }
            foreach (var source in container["envFrom"u8].Elements)
            {
                if (!source["secretRef"u8].IsNullOrUndefined && !allowed.Contains(source["secretRef"u8]["name"u8].AsString()))
                    throw Refuse($"{kind} {name} with envFrom referencing", source["secretRef"u8]);
            }
        }

        ApiStatusException Refuse(string what, ApiNode reference)
        {
            var why = $"{what} secret.secretName=\"{reference["name"u8].AsString()}\" is not allowed because service account {account} does not reference that secret";
            return isStatus ? context.Forbid(why) : ApiStatus.Unknown(why).ToException();
        }
    }

    private static HashSet<string> Names(ApiNode references)
    {
        var names = new HashSet<string>(StringComparer.Ordinal);
        foreach (var reference in references.Elements)
            names.Add(reference["name"u8].AsString());
        return names;
    }
}
