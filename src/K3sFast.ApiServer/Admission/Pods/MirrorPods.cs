using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Mirror pods show what a kubelet runs from a file: they have no identity, and nothing of the API's secrets.</summary>
internal static class MirrorPods
{
    internal static void Check(AdmissionContext context, ApiNode spec)
    {
        if (!spec["serviceAccountName"u8].Utf8.IsEmpty)
            throw context.Forbid("a mirror pod may not reference service accounts");
        if (spec["imagePullSecrets"u8].Count > 0 || HasSecretVolume(spec) || PodSecurityVerdict.ContainersOf(spec).Any(HasSecretVariable))
            throw context.Forbid("a mirror pod may not reference secrets");
        foreach (var volume in spec["volumes"u8].Elements)
        {
            foreach (var source in volume["projected"u8]["sources"u8].Elements)
            {
                if (!source["serviceAccountToken"u8].IsNullOrUndefined)
                    throw context.Forbid("a mirror pod may not use ServiceAccountToken volume projections");
            }
        }
    }

    private static bool HasSecretVariable(ApiNode container)
    {
        foreach (var variable in container["env"u8].Elements)
        {
            if (!variable["valueFrom"u8]["secretKeyRef"u8].IsNullOrUndefined)
                return true;
        }
        foreach (var source in container["envFrom"u8].Elements)
        {
            if (!source["secretRef"u8].IsNullOrUndefined)
                return true;
        }
        return false;
    }

    private static bool HasSecretVolume(ApiNode spec)
    {
        foreach (var volume in spec["volumes"u8].Elements)
        {
            if (!volume["secret"u8].IsNullOrUndefined || NamesSecret(volume))
                return true;
            foreach (var source in volume["projected"u8]["sources"u8].Elements)
            {
                if (!source["secret"u8].IsNullOrUndefined)
                    return true;
            }
        }
        return false;
    }

    // The drivers of volumes that take a password from a secret.
    private static bool NamesSecret(ApiNode volume) =>
        !volume["azureFile"u8]["secretName"u8].Utf8.IsEmpty || !volume["csi"u8]["nodePublishSecretRef"u8].IsNullOrUndefined
        || !volume["cephfs"u8]["secretRef"u8].IsNullOrUndefined || !volume["cinder"u8]["secretRef"u8].IsNullOrUndefined
        || !volume["flexVolume"u8]["secretRef"u8].IsNullOrUndefined || !volume["rbd"u8]["secretRef"u8].IsNullOrUndefined
        || !volume["iscsi"u8]["secretRef"u8].IsNullOrUndefined || !volume["scaleIO"u8]["secretRef"u8].IsNullOrUndefined
        || !volume["storageos"u8]["secretRef"u8].IsNullOrUndefined;
}
