using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>Indexes of the shared pod informer.</summary>
internal static class PodIndex
{
    /// <summary>By the controller's uid; pods without one under <see cref="OrphansOf"/> their namespace.</summary>
    internal const string ByController = "controller";

    /// <summary>By spec.nodeName.</summary>
    internal const string ByNode = "node";

    /// <summary>By namespace.</summary>
    internal const string ByNamespace = "namespace";

    /// <summary>Those that have run to their end, all under "".</summary>
    internal const string Finished = "finished";

    internal static string OrphansOf(string namespaceName) => "orphans/" + namespaceName;

    internal static IEnumerable<string> NodeKeys(V1Pod pod) => string.IsNullOrEmpty(pod.Spec?.NodeName) ? [] : [pod.Spec.NodeName];

    internal static IEnumerable<string> FinishedKeys(V1Pod pod) => PodState.IsTerminal(pod) ? [""] : [];

    internal static IEnumerable<string> NamespaceKeys(V1Pod pod) => [pod.Metadata.NamespaceProperty];
}
