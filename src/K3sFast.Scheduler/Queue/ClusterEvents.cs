namespace K3sFast.Scheduler;

/// <summary>What may happen in the cluster that lets a refused pod fit after all.</summary>
[Flags]
internal enum ClusterEvents
{
    None = 0,
    NodeAdded = 1,
    NodeAllocatable = 2,
    NodeLabels = 4,
    NodeTaints = 8,
    NodeRemoved = 16,
    PodAssigned = 32,
    PodRemoved = 64,
    PodShrunk = 128,
    All = 255,
}
