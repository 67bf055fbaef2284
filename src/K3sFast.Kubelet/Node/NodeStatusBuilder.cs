using K3sFast.Kubelet.Cri;
using k8s.Models;

namespace K3sFast.Kubelet.Node;

/// <summary>The Node object of this machine: metadata at registration, status at each look. Pure, but for the clock it is given.</summary>
internal static class NodeStatusBuilder
{
    // Upstream's bounds on the images list: enough for scoring, small enough for the object.
    private const int MaxImages = 50;
    private const int MaxNamesPerImage = 5;

    public static V1Node Registration(KubeletOptions options)
    {
        var architecture = MachineInfo.Architecture;
        var labels = new Dictionary<string, string>
        {
            ["beta.kubernetes.io/arch"] = architecture,
            ["beta.kubernetes.io/os"] = "linux",
            ["kubernetes.io/arch"] = architecture,
            ["kubernetes.io/hostname"] = options.NodeName,
            ["kubernetes.io/os"] = "linux",
            ["node.kubernetes.io/instance-type"] = "k3s",
            ["beta.kubernetes.io/instance-type"] = "k3s",
        };
        foreach (var (name, value) in options.NodeLabels) labels[name] = value;
        var annotations = new Dictionary<string, string> { ["volumes.kubernetes.io/controller-managed-attach-detach"] = "true" };
        foreach (var (name, value) in options.NodeAnnotations) annotations[name] = value;
        return new V1Node
        {
            Metadata = new V1ObjectMeta { Name = options.NodeName, Labels = labels, Annotations = annotations },
            Spec = new V1NodeSpec
            {
                ProviderID = options.ProviderId.Length > 0 ? options.ProviderId : $"k3s://{options.NodeName}",
                Taints = options.NodeTaints.Count > 0 ? [.. options.NodeTaints.Select(ParseTaint)] : null,
            },
        };
    }

    public static V1NodeStatus Build(
        KubeletOptions options, MachineInfo machine, VersionResponse runtime, IReadOnlyList<Image> images, string? notReady, V1NodeStatus? previous, DateTime now)
    {
        var status = new V1NodeStatus
        {
            Capacity = Quantities(machine.Capacity),
            Allocatable = Quantities(machine.Allocatable),
            Addresses =
            [
                .. options.NodeIPs.Select(static ip => new V1NodeAddress { Type = "InternalIP", Address = ip.ToString() }),
                .. options.ExternalIPs.Select(static ip => new V1NodeAddress { Type = "ExternalIP", Address = ip.ToString() }),
            ],
            DaemonEndpoints = new V1NodeDaemonEndpoints { KubeletEndpoint = new V1DaemonEndpoint { Port = options.Port } },
            NodeInfo = new V1NodeSystemInfo
            {
                Architecture = MachineInfo.Architecture,
                OperatingSystem = "linux",
                BootID = machine.BootId,
                MachineID = machine.MachineId,
                SystemUUID = machine.SystemUuid,
                KernelVersion = machine.KernelVersion,
                OsImage = machine.OsImage,
                ContainerRuntimeVersion = $"{runtime.RuntimeName}://{runtime.RuntimeVersion}",
                KubeletVersion = options.KubeletVersion,
                KubeProxyVersion = "",
            },
            Images = Images(images),
            Conditions =
            [
                Condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
                Condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
                Condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
                notReady is null
                    ? Condition("Ready", "True", "KubeletReady", "kubelet is posting ready status")
                    : Condition("Ready", "False", "KubeletNotReady", notReady),
            ],
        };
        status.Addresses.Add(new V1NodeAddress { Type = "Hostname", Address = options.Hostname.Length > 0 ? options.Hostname : options.NodeName });
        foreach (var condition in status.Conditions)
        {
            var old = previous?.Conditions?.FirstOrDefault(candidate => candidate.Type == condition.Type);
            condition.LastHeartbeatTime = now;
            condition.LastTransitionTime = old?.Status == condition.Status && old.LastTransitionTime is { } since ? since : now;
        }
        return status;
    }

    /// <summary>True when the two say the same, but for the time of the look.</summary>
    public static bool IsSame(V1NodeStatus a, V1NodeStatus b)
    {
        if (a.Conditions.Count != b.Conditions.Count || a.Images.Count != b.Images.Count) return false;
        for (var i = 0; i < a.Conditions.Count; i++)
        {
            if (a.Conditions[i].Status != b.Conditions[i].Status || a.Conditions[i].Message != b.Conditions[i].Message) return false;
        }
        for (var i = 0; i < a.Images.Count; i++)
        {
            if (a.Images[i].SizeBytes != b.Images[i].SizeBytes || !a.Images[i].Names.SequenceEqual(b.Images[i].Names)) return false;
        }
        return a.Addresses.Select(address => address.Address).SequenceEqual(b.Addresses.Select(address => address.Address));
    }

    private static V1NodeCondition Condition(string type, string status, string reason, string message) =>
        new() { Type = type, Status = status, Reason = reason, Message = message };

    private static List<V1ContainerImage> Images(IReadOnlyList<Image> images) =>
    [
        .. images.OrderByDescending(image => image.Size).ThenBy(image => image.Id, StringComparer.Ordinal).Take(MaxImages).Select(image => new V1ContainerImage
        {
            Names = [.. image.RepoDigests.Concat(image.RepoTags).Take(MaxNamesPerImage)],
            SizeBytes = (long)image.Size,
        }),
    ];

    private static Dictionary<string, ResourceQuantity> Quantities(Dictionary<string, decimal> values)
    {
        var quantities = new Dictionary<string, ResourceQuantity>();
        foreach (var (name, value) in values)
        {
            var text = name is "memory" or "ephemeral-storage" && value % 1024 == 0
                ? string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{value / 1024:0}Ki")
                : value.ToString("0.###", System.Globalization.CultureInfo.InvariantCulture);
            quantities[name] = new ResourceQuantity(text);
        }
        return quantities;
    }

    // key=value:effect or key:effect
    private static V1Taint ParseTaint(string text)
    {
        var colon = text.LastIndexOf(':');
        var effect = colon < 0 ? "NoSchedule" : text[(colon + 1)..];
        var pair = (colon < 0 ? text : text[..colon]).Split('=', 2);
        return new V1Taint { Key = pair[0], Value = pair.Length > 1 && pair[1].Length > 0 ? pair[1] : null, Effect = effect };
    }
}
