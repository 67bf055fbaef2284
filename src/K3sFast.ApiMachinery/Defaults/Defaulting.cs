namespace K3sFast.ApiMachinery;

/// <summary>
/// Defaulting as upstream's generated and hand-written defaulters do it: what `kubectl get -o yaml` shows beyond what was sent.
/// Literal rules are data (<see cref="DefaultsTable"/>), rules that look at other fields are code (<see cref="DefaultingRules"/>).
/// Values that need the cluster (addresses, node ports, service accounts, priorities) belong to admission and are not set here.
/// </summary>
public static class Defaulting
{
    /// <summary>Fills in defaults of a decoded object of this resource's kind, in place.</summary>
    /// <remarks>Any thread for any object, one thread per object. Idempotent. No strings; allocates nothing beyond the tree's own growth.</remarks>
    public static void Apply(ApiNode root, ResourceInfo resource) => Apply(root, resource.Type);

    /// <summary>Fills in defaults of a decoded object of this type: top-level kinds that are no resource (TokenRequest, DeleteOptions) and templates.</summary>
    public static void Apply(ApiNode root, TypeSchema? type)
    {
        if (type is not null && root.Kind == NodeKind.Object)
            DefaultsPlan.For(type)?.Apply(root);
    }

    /// <summary>Fills in what follows from what was made after the object was decoded: a namespace's label from its name, a job's labels from those that tie its pods to it.</summary>
    public static void Complete(ApiNode root, ResourceInfo resource)
    {
        if (resource is { Group: "", Resource: "namespaces" })
            DefaultingRules.Namespace(root);
        else if (resource is { Group: "batch", Resource: "jobs" })
            DefaultingRules.JobLabels(root);
    }
}
