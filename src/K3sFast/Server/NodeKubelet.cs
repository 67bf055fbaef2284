using System.Net;
using K3sFast.Configuration;
using K3sFast.Kubelet;

namespace K3sFast.Server;

/// <summary>How the kubelet is told about this node: our flags, and of <c>--kubelet-arg</c> what works so far.</summary>
internal static class NodeKubelet
{
    public static KubeletOptions Options(NodeConfig config, ClusterSettings cluster, NodeAccess access, string runtimeSocket, string resolver)
    {
        var arguments = config.KubeletArgs;
        return new()
        {
            NodeName = config.NodeName,
            NodeIPs = config.NodeIPs,
            ExternalIPs = config.NodeExternalIPs,
            Hostname = config.NodeName,
            RootDir = config.Paths.KubeletRoot,
            PodLogsDir = config.Paths.PodLogs,
            ContainerdSocket = runtimeSocket,
            ManifestDir = arguments.Text("pod-manifest-path", config.Paths.PodManifests),
            ClusterDns = cluster.ClusterDns,
            ClusterDomain = cluster.ClusterDomain,
            ResolvConf = arguments.Text("resolv-conf", resolver),
            CgroupRoot = NodeCleanup.CgroupRootOf(config),
            MaxPods = arguments.Number("max-pods", 110, 1, 100_000),
            PodPidsLimit = arguments.Number("pod-max-pids", 0, -1, int.MaxValue) is > 0 and var pids ? pids : 0,
            KubeletVersion = ProductVersion.Text,
            NodeLabels = new Dictionary<string, string>(config.NodeLabels),
            NodeTaints = config.NodeTaints,
            ProviderId = "k3s://" + config.NodeName,
            BindAddress = IPAddress.TryParse(arguments.Text("address"), out var address) ? address : IPAddress.Any,
            Port = arguments.Number("port", 10250, -1, 65535),
            HealthzPort = arguments.Number("healthz-port", 10248, -1, 65535),
            ServingCertificate = access.ServingKubelet,
            ClientCAs = [.. access.ClientAuthorities],
            ContainerLogMaxBytes = arguments.Number("container-log-max-size-bytes", 10 << 20, 1024, int.MaxValue),
            ContainerLogMaxFiles = arguments.Number("container-log-max-files", 5, 2, 1000),
        };
    }
}
