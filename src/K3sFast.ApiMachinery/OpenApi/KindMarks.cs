namespace K3sFast.ApiMachinery;

/// <summary>
/// The group versions that a schema's x-kubernetes-group-version-kind names. An object has its own; options and watch events are known to many group
/// versions, and each document names those that concern it.
/// </summary>
internal sealed class KindMarks(IReadOnlyList<(string Group, string Version)> shared)
{
    // Everything upstream ever registered options for; clients that look a kind up by its group version find it here even when nothing else is served there.
    private const string Registered =
        "/v1 admission.k8s.io/v1 admission.k8s.io/v1beta1 admissionregistration.k8s.io/v1 admissionregistration.k8s.io/v1alpha1 admissionregistration.k8s.io/v1beta1 "
        + "apiextensions.k8s.io/v1 apiextensions.k8s.io/v1beta1 apiregistration.k8s.io/v1 apiregistration.k8s.io/v1beta1 apps/v1 apps/v1beta1 apps/v1beta2 "
        + "authentication.k8s.io/v1 authentication.k8s.io/v1alpha1 authentication.k8s.io/v1beta1 authorization.k8s.io/v1 authorization.k8s.io/v1beta1 autoscaling/v1 autoscaling/v2 "
        + "batch/v1 batch/v1beta1 certificates.k8s.io/v1 certificates.k8s.io/v1alpha1 certificates.k8s.io/v1beta1 coordination.k8s.io/v1 coordination.k8s.io/v1alpha2 "
        + "coordination.k8s.io/v1beta1 discovery.k8s.io/v1 discovery.k8s.io/v1beta1 events.k8s.io/v1 events.k8s.io/v1beta1 extensions/v1beta1 "
        + "flowcontrol.apiserver.k8s.io/v1 flowcontrol.apiserver.k8s.io/v1beta1 flowcontrol.apiserver.k8s.io/v1beta2 flowcontrol.apiserver.k8s.io/v1beta3 imagepolicy.k8s.io/v1alpha1 internal.apiserver.k8s.io/v1alpha1 networking.k8s.io/v1 networking.k8s.io/v1beta1 node.k8s.io/v1 node.k8s.io/v1alpha1 node.k8s.io/v1beta1 policy/v1 policy/v1beta1 "
        + "rbac.authorization.k8s.io/v1 rbac.authorization.k8s.io/v1alpha1 rbac.authorization.k8s.io/v1beta1 resource.k8s.io/v1 resource.k8s.io/v1alpha3 resource.k8s.io/v1beta1 resource.k8s.io/v1beta2 scheduling.k8s.io/v1 scheduling.k8s.io/v1alpha2 scheduling.k8s.io/v1beta1 storage.k8s.io/v1 storage.k8s.io/v1alpha1 storage.k8s.io/v1beta1 storagemigration.k8s.io/v1beta1";

    /// <summary>For the one document of version 2.</summary>
    internal static KindMarks OfEverything { get; } = new([.. Registered.Split(' ').Select(static word => (word[..word.IndexOf('/', StringComparison.Ordinal)], word[(word.IndexOf('/', StringComparison.Ordinal) + 1)..]))]);

    /// <summary>For the document of one group version.</summary>
    internal static KindMarks Of(string group, string version) => new(group.Length == 0 ? [("", "v1")] : [("", "v1"), (group, version)]);

    internal IReadOnlyList<(string Group, string Version)> Of(TypeSchema type) =>
        type.Kind is "DeleteOptions" or "WatchEvent" ? shared : [(type.Group, type.Version)];
}
