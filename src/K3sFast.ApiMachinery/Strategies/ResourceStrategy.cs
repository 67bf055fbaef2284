using System.Runtime.CompilerServices;

namespace K3sFast.ApiMachinery;

/// <summary>Which change makes an object's metadata.generation grow.</summary>
internal enum GenerationRule : byte
{
    /// <summary>The kind has no generation.</summary>
    None,

    /// <summary>1 from creation on, never more.</summary>
    Constant,
    Spec,
    SpecOrAnnotations,
    Template,
    Webhooks,

    /// <summary>Anything but metadata, or labels (EndpointSlice).</summary>
    ContentOrLabels,

    /// <summary>Anything but metadata and status (custom resources).</summary>
    Content,

    /// <summary>spec, but creation leaves it at 0 (CSIDriver).</summary>
    SpecFromZero,
}

/// <summary>What an update of the status subresource may change in metadata.</summary>
internal enum StatusMetadata : byte
{
    /// <summary>Anything a main update may.</summary>
    Open,

    /// <summary>Nothing but managedFields: labels, annotations, finalizers and owner references are those stored.</summary>
    Reset,
}

/// <summary>
/// The facts of one resource that its registry strategy knows upstream, as data. Rows not listed are the common case: no
/// generation, unconditional update allowed, create on update refused.
/// </summary>
internal sealed record ResourceStrategy(GenerationRule Generation, bool CreateOnUpdate, bool UnconditionalUpdate, StatusMetadata StatusMetadata, bool IsCustom)
{
    private static readonly ConditionalWeakTable<ResourceInfo, ResourceStrategy> s_byResource = [];

    internal bool HasStatus { get; private init; }

    internal static ResourceStrategy For(ResourceInfo resource) =>
        s_byResource.TryGetValue(resource, out var known) ? known : s_byResource.GetValue(resource, static r => Make(r));

    private static ResourceStrategy Make(ResourceInfo resource)
    {
        bool hasStatus = resource.Subresources.Any(static sub => sub.Name == "status");
        bool isBuiltIn = ReferenceEquals(Schema.BuiltIn.FindResource(resource.GroupUtf8, resource.VersionUtf8, resource.ResourceUtf8), resource);
        var made = isBuiltIn
            ? new ResourceStrategy(GenerationOf(resource), CreatesOnUpdate(resource), AllowsUnconditionalUpdate(resource), StatusMetadataOf(resource), false)
            : new ResourceStrategy(GenerationRule.Content, false, false, StatusMetadata.Reset, true);
        return made with { HasStatus = hasStatus };
    }

    private static GenerationRule GenerationOf(ResourceInfo resource) => (resource.Group, resource.Resource) switch
    {
        ("", "pods" or "replicationcontrollers") => GenerationRule.Spec,
        ("", "podtemplates") => GenerationRule.Template,
        ("admissionregistration.k8s.io", "mutatingwebhookconfigurations" or "validatingwebhookconfigurations") => GenerationRule.Webhooks,
        ("admissionregistration.k8s.io", _) => GenerationRule.Spec,
        ("apiextensions.k8s.io", "customresourcedefinitions") => GenerationRule.Spec,
        ("apps", "deployments") => GenerationRule.SpecOrAnnotations,
        ("apps", "daemonsets" or "replicasets" or "statefulsets") => GenerationRule.Spec,
        ("batch", _) => GenerationRule.Spec,
        ("discovery.k8s.io", "endpointslices") => GenerationRule.ContentOrLabels,
        ("flowcontrol.apiserver.k8s.io", _) => GenerationRule.Spec,
        ("networking.k8s.io", "ingresses" or "ingressclasses" or "networkpolicies") => GenerationRule.Spec,
        ("policy", "poddisruptionbudgets") => GenerationRule.Spec,
        ("resource.k8s.io", "deviceclasses" or "resourceslices" or "devicetaintrules") => GenerationRule.Spec,
        ("scheduling.k8s.io", "priorityclasses") => GenerationRule.Constant,
        ("storage.k8s.io", "csidrivers") => GenerationRule.SpecFromZero,
        _ => GenerationRule.None,
    };

    private static bool CreatesOnUpdate(ResourceInfo resource) => (resource.Group, resource.Resource) switch
    {
        ("", "services" or "endpoints" or "events" or "limitranges") => true,
        ("events.k8s.io", "events") => true,
        ("rbac.authorization.k8s.io", _) => true,
        ("coordination.k8s.io", _) => true,
        ("node.k8s.io", "runtimeclasses") => true,
        _ => false,
    };

    private static bool AllowsUnconditionalUpdate(ResourceInfo resource) => (resource.Group, resource.Resource) switch
    {
        ("node.k8s.io", "runtimeclasses") => false,
        ("coordination.k8s.io", _) => false,
        ("storagemigration.k8s.io" or "internal.apiserver.k8s.io", _) => false,
        ("certificates.k8s.io", "podcertificaterequests" or "clustertrustbundles") => false,
        ("storage.k8s.io", "csidrivers" or "csistoragecapacities" or "volumeattachments" or "csinodes") => false,
        ("resource.k8s.io", "resourcepoolstatusrequests") => false,
        ("apiextensions.k8s.io" or "apiregistration.k8s.io", _) => false,
        ("admissionregistration.k8s.io", _) => false,
        _ => true,
    };

    private static StatusMetadata StatusMetadataOf(ResourceInfo resource) => (resource.Group, resource.Resource) switch
    {
        ("certificates.k8s.io", "podcertificaterequests") => StatusMetadata.Reset,
        ("scheduling.k8s.io", "podgroups") => StatusMetadata.Reset,
        ("networking.k8s.io", "servicecidrs") => StatusMetadata.Reset,
        ("storagemigration.k8s.io" or "internal.apiserver.k8s.io", _) => StatusMetadata.Reset,
        ("resource.k8s.io", _) => StatusMetadata.Reset,
        ("storage.k8s.io", "volumeattachments") => StatusMetadata.Reset,
        ("admissionregistration.k8s.io", _) => StatusMetadata.Reset,
        ("flowcontrol.apiserver.k8s.io", _) => StatusMetadata.Reset,
        ("apiextensions.k8s.io" or "apiregistration.k8s.io", _) => StatusMetadata.Reset,
        _ => StatusMetadata.Open,
    };
}
