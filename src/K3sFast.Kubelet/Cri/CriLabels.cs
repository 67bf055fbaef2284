namespace K3sFast.Kubelet.Cri;

/// <summary>
/// Labels and annotations on sandboxes and containers: upstream's names, so that a node can change from one kubelet to the other and
/// tools that read them (crictl, log shippers, cAdvisor) find what they know.
/// </summary>
internal static class CriLabels
{
    public const string PodName = "io.kubernetes.pod.name";
    public const string PodNamespace = "io.kubernetes.pod.namespace";
    public const string PodUid = "io.kubernetes.pod.uid";
    public const string ContainerName = "io.kubernetes.container.name";

    public const string ContainerHash = "io.kubernetes.container.hash";
    public const string RestartCount = "io.kubernetes.container.restartCount";
    public const string TerminationMessagePath = "io.kubernetes.container.terminationMessagePath";
    public const string TerminationMessagePolicy = "io.kubernetes.container.terminationMessagePolicy";
    public const string DeletionGracePeriod = "io.kubernetes.pod.deletionGracePeriod";
    public const string TerminationGracePeriod = "io.kubernetes.pod.terminationGracePeriod";
    public const string PreStopHandler = "io.kubernetes.container.preStopHandler";
    public const string Ports = "io.kubernetes.container.ports";

    /// <summary>Source of a pod: "api" or "file".</summary>
    public const string ConfigSource = "kubernetes.io/config.source";

    /// <summary>Hash of a static pod's manifest.</summary>
    public const string ConfigHash = "kubernetes.io/config.hash";

    /// <summary>On a mirror pod: the hash of the static pod that it mirrors.</summary>
    public const string ConfigMirror = "kubernetes.io/config.mirror";

    /// <summary>When the pod was first seen.</summary>
    public const string ConfigSeen = "kubernetes.io/config.seen";
}
