using System.Globalization;
using K3sFast.Kubelet.Cri;

namespace K3sFast.Kubelet.Pods;

/// <summary>A sandbox as the runtime knows it. IPs are empty for host network and for stopped sandboxes.</summary>
internal sealed record SandboxRecord(string Id, uint Attempt, bool IsReady, DateTime CreatedAt, IReadOnlyList<string> IPs);

/// <summary>A container as the runtime knows it, with what its labels and annotations tell.</summary>
internal sealed record ContainerRecord
{
    public required string Id { get; init; }
    public required string Name { get; init; }
    public required string SandboxId { get; init; }
    public required ContainerState State { get; init; }
    public required string Hash { get; init; }
    public int RestartCount { get; init; }
    public DateTime CreatedAt { get; init; }
    public DateTime StartedAt { get; init; }
    public DateTime FinishedAt { get; init; }
    public int ExitCode { get; init; }
    public string Reason { get; init; } = "";
    public string Message { get; init; } = "";
    public string Image { get; init; } = "";
    public string ImageRef { get; init; } = "";
    public string LogPath { get; init; } = "";
    public string TerminationMessagePath { get; init; } = "";
    public string TerminationMessagePolicy { get; init; } = "";

    /// <summary>Where the termination message file lies on the host; "" = none.</summary>
    public string TerminationMessageHostPath { get; init; } = "";
    public long? GracePeriodSeconds { get; init; }

    public bool IsRunning => State == ContainerState.ContainerRunning;
    public bool IsExited => State == ContainerState.ContainerExited;

    /// <summary>The ID in the form that the API shows.</summary>
    public string QualifiedId => "containerd://" + Id;

    public static ContainerRecord From(ContainerStatus status, string sandboxId)
    {
        var annotations = status.Annotations;
        var path = Text(annotations, CriLabels.TerminationMessagePath);
        var hostPath = "";
        foreach (var mount in status.Mounts)
        {
            if (path.Length > 0 && mount.ContainerPath == path) hostPath = mount.HostPath;
        }
        return new ContainerRecord
        {
            Id = status.Id,
            Name = Text(status.Labels, CriLabels.ContainerName, status.Metadata?.Name ?? ""),
            SandboxId = sandboxId,
            State = status.State,
            Hash = Text(annotations, CriLabels.ContainerHash),
            RestartCount = int.TryParse(Text(annotations, CriLabels.RestartCount), NumberStyles.None, CultureInfo.InvariantCulture, out var count) ? count : 0,
            CreatedAt = Time(status.CreatedAt),
            StartedAt = Time(status.StartedAt),
            FinishedAt = Time(status.FinishedAt),
            ExitCode = status.ExitCode,
            Reason = status.Reason,
            Message = status.Message,
            Image = status.Image?.Image ?? "",
            ImageRef = status.ImageRef,
            LogPath = status.LogPath,
            TerminationMessagePath = path,
            TerminationMessagePolicy = Text(annotations, CriLabels.TerminationMessagePolicy),
            TerminationMessageHostPath = hostPath,
            GracePeriodSeconds =
                long.TryParse(Text(annotations, CriLabels.TerminationGracePeriod), NumberStyles.None, CultureInfo.InvariantCulture, out var grace) ? grace : null,
        };
    }

    private static string Text(IDictionary<string, string> values, string name, string fallback = "") => values.TryGetValue(name, out var value) ? value : fallback;

    // The runtime's times are nanoseconds since 1970; 0 = never.
    internal static DateTime Time(long nanoseconds) => nanoseconds <= 0 ? default : DateTime.UnixEpoch.AddTicks(nanoseconds / 100);
}

/// <summary>All that the runtime knows about one pod: sandboxes and containers, newest first. Immutable.</summary>
internal sealed record PodRuntime(IReadOnlyList<SandboxRecord> Sandboxes, IReadOnlyList<ContainerRecord> Containers)
{
    public static PodRuntime Empty { get; } = new([], []);

    public SandboxRecord? Sandbox => Sandboxes.Count > 0 ? Sandboxes[0] : null;

    /// <summary>The newest container of that name, or null.</summary>
    public ContainerRecord? Latest(string name)
    {
        foreach (var container in Containers)
        {
            if (container.Name == name) return container;
        }
        return null;
    }

    /// <summary>The newest container of that name that has ended and is not <paramref name="current"/>, or null.</summary>
    public ContainerRecord? PreviousExited(string name, ContainerRecord? current)
    {
        foreach (var container in Containers)
        {
            if (container.Name == name && container.Id != current?.Id && container.IsExited) return container;
        }
        return null;
    }

    public bool HasRunning
    {
        get
        {
            foreach (var container in Containers)
            {
                if (container.IsRunning) return true;
            }
            return false;
        }
    }
}
