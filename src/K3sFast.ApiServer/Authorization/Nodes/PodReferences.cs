using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>What a pod's spec names in its namespace, read off its JSON.</summary>
internal static class PodReferences
{
    internal static void VisitSecrets(ApiNode spec, Action<ApiNode> visit)
    {
        foreach (var secret in spec["imagePullSecrets"u8].Elements)
            visit(secret["name"u8]);
        foreach (var volume in spec["volumes"u8].Elements)
        {
            visit(volume["secret"u8]["secretName"u8]);
            foreach (var source in volume["projected"u8]["sources"u8].Elements)
                visit(source["secret"u8]["name"u8]);
            // The other sources with credentials name them secretRef or nodePublishSecretRef; Azure files have a plain name.
            visit(volume["azureFile"u8]["secretName"u8]);
            foreach (var member in volume.Members)
            {
                visit(member.Value["secretRef"u8]["name"u8]);
                visit(member.Value["nodePublishSecretRef"u8]["name"u8]);
            }
        }
        VisitContainers(spec, "secretRef"u8, "secretKeyRef"u8, visit);
    }

    internal static void VisitConfigMaps(ApiNode spec, Action<ApiNode> visit)
    {
        foreach (var volume in spec["volumes"u8].Elements)
        {
            visit(volume["configMap"u8]["name"u8]);
            foreach (var source in volume["projected"u8]["sources"u8].Elements)
                visit(source["configMap"u8]["name"u8]);
        }
        VisitContainers(spec, "configMapRef"u8, "configMapKeyRef"u8, visit);
    }

    private static void VisitContainers(ApiNode spec, ReadOnlySpan<byte> fromName, ReadOnlySpan<byte> keyName, Action<ApiNode> visit)
    {
        foreach (var kind in spec.Members)
        {
            if (!kind.Name.EndsWith("ontainers"u8))
                continue;
            foreach (var container in kind.Value.Elements)
            {
                foreach (var source in container["envFrom"u8].Elements)
                    visit(source[fromName]["name"u8]);
                foreach (var variable in container["env"u8].Elements)
                    visit(variable["valueFrom"u8][keyName]["name"u8]);
            }
        }
    }
}
