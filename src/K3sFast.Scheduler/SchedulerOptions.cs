namespace K3sFast.Scheduler;

/// <summary>How the scheduler works. Immutable.</summary>
public sealed record SchedulerOptions
{
    /// <summary>The pods that are ours: those with this spec.schedulerName.</summary>
    public string SchedulerName { get; init; } = "default-scheduler";

    /// <summary>Wait after a pod's first failure to be placed; doubled each time (upstream: 1 s).</summary>
    public TimeSpan FirstBackoff { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Longest wait between two tries that an event asked for (upstream: 10 s).</summary>
    public TimeSpan LastBackoff { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Share of nodes that is looked at per pod; 0 = upstream's adaptive share (all up to 100 nodes, at least 5 %).</summary>
    public int PercentageOfNodesToScore { get; init; }

    /// <summary>Bindings under way at once.</summary>
    public int MaxBindings { get; init; } = 64;
}
