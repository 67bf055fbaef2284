namespace K3sFast.ApiMachinery;

/// <summary>
/// Fields that a (sub)resource's strategy sets back whatever a client sends, so that nobody becomes their owner through it: status through the main
/// resource, spec through status. (pods/resize and pods/ephemeralcontainers set nothing back in this sense upstream, though they keep all but their part.)
/// </summary>
public sealed class ResetFields
{
    private readonly FieldSet? _excluded;

    private ResetFields(FieldSet? excluded) => _excluded = excluded;

    /// <summary>Nothing is set back.</summary>
    public static ResetFields None { get; } = new(null);

    /// <summary>The fields of a resource ("" as subresource) or one of its subresources.</summary>
    public static ResetFields For(ResourceInfo resource, string subresource)
    {
        var paths = (resource.Group, resource.Resource, subresource) switch
        {
            ("certificates.k8s.io", "certificatesigningrequests", "") => (string[])["spec", "status"],
            ("certificates.k8s.io", "certificatesigningrequests", "status") => ["spec", "status.conditions"],
            ("certificates.k8s.io", "certificatesigningrequests", "approval") => ["spec", "status.certificate"],
            ("certificates.k8s.io", "podcertificaterequests", "status") => ["spec"],
            ("certificates.k8s.io", _, _) => [],
            ("", "namespaces", "finalize") => ["status"],
            ("", "pods", "status") => ["spec", "metadata.deletionTimestamp", "metadata.ownerReferences"],
            ("apps", "deployments", "status") => ["spec", "metadata.labels"],
            (_, _, "status") => ResetsMetadata(resource) ? ["metadata", "spec"] : ["spec"],
            (_, _, "") => resource.FindSubresource("status") is null ? [] : ["status"],
            _ => [],
        };
        return paths.Length == 0 ? None : new(FieldSet.Of(paths));
    }

    internal void Apply(FieldSet set)
    {
        if (_excluded is not null)
            set.SubtractRecursive(_excluded);
    }

    private static bool ResetsMetadata(ResourceInfo resource) => (resource.Group, resource.Resource) switch
    {
        ("scheduling.k8s.io", "podgroups") => true,
        ("networking.k8s.io", "servicecidrs") => true,
        ("storage.k8s.io", "volumeattachments") => true,
        ("storagemigration.k8s.io" or "resource.k8s.io" or "internal.apiserver.k8s.io" or "flowcontrol.apiserver.k8s.io"
            or "admissionregistration.k8s.io" or "apiregistration.k8s.io", _) => true,
        _ => false,
    };
}
