using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Which object of a class kind is the default one: of those that say so the newest, by name among equals.</summary>
internal static class DefaultClass
{
    internal static string? Find(ResourceStorage classes, params ReadOnlySpan<string> annotations)
    {
        string? best = null;
        var created = "";
        foreach (var candidate in classes.All(""))
        {
            using var found = classes.Decode(candidate);
            if (!SaysSo(found.Root, annotations))
                continue;
            var time = found.Root["metadata"u8]["creationTimestamp"u8].AsString();
            // They come in order of names, so that of two of the same time the first stays.
            if (best is null || string.CompareOrdinal(time, created) > 0)
                (best, created) = (ObjectText.NameOf(found.Root), time);
        }
        return best;
    }

    private static bool SaysSo(ApiNode candidate, ReadOnlySpan<string> annotations)
    {
        foreach (var annotation in annotations)
        {
            if (candidate["metadata"u8]["annotations"u8][System.Text.Encoding.UTF8.GetBytes(annotation)].Equals("true"u8))
                return true;
        }
        return false;
    }
}

/// <summary>DefaultStorageClass: a claim without a class gets the default one.</summary>
internal sealed class DefaultStorageClass(ResourceStorage classes) : AdmissionPlugin
{
    internal override void Mutate(AdmissionContext context)
    {
        if (!context.IsCreate || context.Subresource.Length > 0 || !context.Is("", "persistentvolumeclaims"))
            return;
        if (!context.Object["spec"u8]["storageClassName"u8].IsNullOrUndefined
            || context.Object["metadata"u8]["annotations"u8]["volume.beta.kubernetes.io/storage-class"u8].IsDefined)
            return;
        if (DefaultClass.Find(classes, "storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class") is { } name)
            context.Object.GetOrAddObject("spec"u8).Set("storageClassName"u8, name);
    }
}

/// <summary>StorageObjectInUseProtection: claims and volumes carry a finalizer that keeps them while they are used.</summary>
internal sealed class StorageObjectInUseProtection : AdmissionPlugin
{
    internal override void Mutate(AdmissionContext context)
    {
        if (!context.IsCreate || context.Subresource.Length > 0)
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

/// <summary>PersistentVolumeClaimResize: a claim grows only when it is bound and its class allows it.</summary>
internal sealed class PersistentVolumeClaimResize(ResourceStorage classes) : AdmissionPlugin
{
    internal override void Validate(AdmissionContext context)
    {
        if (context.Operation != AdmissionOperation.Update || context.Subresource.Length > 0 || !context.Is("", "persistentvolumeclaims"))
            return;
        if (SizeOf(context.Object) <= SizeOf(context.OldObject))
            return;
        if (!context.OldObject["status"u8]["phase"u8].Equals("Bound"u8))
            throw context.Forbid("Only bound persistent volume claims can be expanded");
        if (!AllowsResize(context))
            throw context.Forbid("only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize");
    }

    private bool AllowsResize(AdmissionContext context)
    {
        var name = ClassOf(context.Object);
        if (name.Length == 0 || name != ClassOf(context.OldObject))
            return false;
        using var stored = classes.Get("", name);
        if (stored is null)
            return false;
        using var found = classes.Decode(stored);
        return found.Root["allowVolumeExpansion"u8].AsBool();
    }

    private static string ClassOf(ApiNode claim)
    {
        var annotated = claim["metadata"u8]["annotations"u8]["volume.beta.kubernetes.io/storage-class"u8];
        return (annotated.IsDefined ? annotated : claim["spec"u8]["storageClassName"u8]).AsString();
    }

    private static Quantity SizeOf(ApiNode claim) => ResourceAmounts.Read(claim["spec"u8]["resources"u8]["requests"u8]).GetValueOrDefault("storage");
}

/// <summary>DefaultIngressClass: an ingress without a class gets the default one.</summary>
internal sealed class DefaultIngressClass(ResourceStorage classes) : AdmissionPlugin
{
    internal override void Mutate(AdmissionContext context)
    {
        if (!context.IsCreate || context.Subresource.Length > 0 || !context.Is("networking.k8s.io", "ingresses"))
            return;
        if (!context.Object["spec"u8]["ingressClassName"u8].IsNullOrUndefined
            || context.Object["metadata"u8]["annotations"u8]["kubernetes.io/ingress.class"u8].IsDefined)
            return;
        if (DefaultClass.Find(classes, "ingressclass.kubernetes.io/is-default-class") is { } name)
            context.Object.GetOrAddObject("spec"u8).Set("ingressClassName"u8, name);
    }
}
