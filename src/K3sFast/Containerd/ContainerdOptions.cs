using K3sFast.Configuration;

namespace K3sFast.Containerd;

/// <summary>How containerd is to run for one node. Pure description.</summary>
internal sealed record ContainerdOptions
{
    public required NodePaths Paths { get; init; }
    public required string PauseImage { get; init; }
    /// <summary>Where CNI plugins are looked for; empty: ours.</summary>
    public string CniBinDir { get; init; } = "";
    /// <summary>Where the network's configuration is looked for; empty: ours.</summary>
    public string CniConfDir { get; init; } = "";
    public string Snapshotter { get; init; } = "overlayfs";
    public string DefaultRuntime { get; init; } = "runc";
    public bool NonRootDevices { get; init; }
    public bool IsDebug { get; init; }
    /// <summary>True where the process may not lower oom_score_adj (no CAP_SYS_RESOURCE), as in many sandboxes.</summary>
    public bool RestrictOomScore { get; init; }
    public string ContainerdPath { get; init; } = "containerd";
    /// <summary>Words of PATH for containerd, which looks runc and its shims up there.</summary>
    public string SearchPath { get; init; } = "";
}
