using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>DefaultStorageClass: a claim without a class gets the default one, the newest if there are several.</summary>
internal sealed class DefaultStorageClass(ResourceStorage classes) : AdmissionPlugin
{
    internal override void Mutate(AdmissionContext context)
    {
        if (context.Operation != AdmissionOperation.Create || context.Subresource.Length > 0 || !context.Is("", "persistentvolumeclaims"))
            return;
        if (!context.Object["spec"u8]["storageClassName"u8].IsNullOrUndefined
            || context.Object["metadata"u8]["annotations"u8]["volume.beta.kubernetes.io/storage-class"u8].IsDefined)
            return;
        var best = "";
        var created = "";
        foreach (var candidate in classes.All(""))
        {
            using var found = classes.Decode(candidate);
            var annotations = found.Root["metadata"u8]["annotations"u8];
            if (!annotations["storageclass.kubernetes.io/is-default-class"u8].Equals("true"u8)
                && !annotations["storageclass.beta.kubernetes.io/is-default-class"u8].Equals("true"u8))
                continue;
            var time = found.Root["metadata"u8]["creationTimestamp"u8].AsString();
            if (best.Length == 0 || string.CompareOrdinal(time, created) > 0)
                (best, created) = (ObjectText.NameOf(found.Root), time);
        }
        if (best.Length > 0)
            context.Object.GetOrAddObject("spec"u8).Set("storageClassName"u8, best);
    }
}

/// <summary>StorageObjectInUseProtection: claims and volumes carry a finalizer that keeps them while they are used.</summary>
internal sealed class StorageObjectInUseProtection : AdmissionPlugin
{
    internal override void Mutate(AdmissionContext context)
    {
        if (context.Operation != AdmissionOperation.Create || context.Subresource.Length > 0)
            return;
        if (context.Is("", "persistentvolumeclaims"))
            Add(context.Object, "kubernetes.io/pvc-protection"u8);
        else if (context.Is("", "persistentvolumes"))
            Add(context.Object, "kubernetes.io/pv-protection"u8);
    }

    private static void Add(ApiNode obj, ReadOnlySpan<byte> finalizer)
    {
        var finalizers = obj.GetOrAddObject("metadata"u8).GetOrAddArray("finalizers"u8);
        foreach (var existing in finalizers.Elements)
        {
            if (existing.Equals(finalizer))
                return;
        }
        finalizers.AppendString(finalizer);
    }
}

/// <summary>DefaultIngressClass: an ingress without a class gets the default one.</summary>
internal sealed class DefaultIngressClass(ResourceStorage classes) : AdmissionPlugin
{
    internal override void Mutate(AdmissionContext context)
    {
        if (context.Operation != AdmissionOperation.Create || context.Subresource.Length > 0 || !context.Is("networking.k8s.io", "ingresses"))
            return;
        if (!context.Object["spec"u8]["ingressClassName"u8].IsNullOrUndefined
            || context.Object["metadata"u8]["annotations"u8]["kubernetes.io/ingress.class"u8].IsDefined)
            return;
        foreach (var candidate in classes.All(""))
        {
            using var found = classes.Decode(candidate);
            if (!found.Root["metadata"u8]["annotations"u8]["ingressclass.kubernetes.io/is-default-class"u8].Equals("true"u8))
                continue;
            context.Object.GetOrAddObject("spec"u8).Set("ingressClassName"u8, ObjectText.NameOf(found.Root));
            return;
        }
    }
}
