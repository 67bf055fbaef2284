using K3sFast.Client;
using K3sFast.Kubelet.Cgroups;
using K3sFast.Kubelet.Containers;
using K3sFast.Kubelet.Cri;
using K3sFast.Kubelet.Node;
using K3sFast.Kubelet.Probes;
using K3sFast.Kubelet.Status;
using K3sFast.Kubelet.Volumes;
using Microsoft.Extensions.Logging;

namespace K3sFast.Kubelet.Pods;

/// <summary>What every pod worker works with. One instance per node agent.</summary>
internal sealed class PodServices
{
    public required KubeletOptions Options { get; init; }
    public required ApiClient Client { get; init; }
    public required CriClient Cri { get; init; }
    public required PodRuntimeReader Reader { get; init; }
    public required ContainerRunner Runner { get; init; }
    public required ImageManager Images { get; init; }
    public required VolumeManager Volumes { get; init; }
    public required TokenManager Tokens { get; init; }
    public required ObjectWatches Objects { get; init; }
    public required PodCgroups Cgroups { get; init; }
    public required StatusManager Statuses { get; init; }
    public required EventRecorder Events { get; init; }
    public required Prober Prober { get; init; }
    public required MachineInfo Machine { get; init; }
    public required TimeProvider Time { get; init; }
    public required ILogger Logger { get; init; }

    /// <summary>Restart back-off of containers, by pod UID, container and hash.</summary>
    public required BackOffTable RestartBackOff { get; init; }

    /// <summary>Why pods without host network cannot start; null = they can.</summary>
    public required Func<string?> NetworkProblem { get; init; }

    /// <summary>Something was asked of the runtime: its answer shall be looked for soon.</summary>
    public required Action ExpectChanges { get; init; }

    /// <summary>IPs of the node as pods see them.</summary>
    public IReadOnlyList<string> HostIPs => _hostIPs ??= [.. Options.NodeIPs.Select(ip => ip.ToString())];

    private IReadOnlyList<string>? _hostIPs;
}
