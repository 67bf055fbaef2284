namespace K3sFast.ApiMachinery;

/// <summary>What the rules of containers and volumes need to know of the pod around them.</summary>
internal readonly struct PodFacts
{
    internal PodFacts(ApiNode spec, ApiNode metadata, bool isPod)
    {
        Spec = spec;
        Metadata = metadata;
        IsPod = isPod;
        GracePeriodSeconds = spec["terminationGracePeriodSeconds"u8].TryGetInt64(out long seconds) ? Math.Max(seconds, seconds < 0 ? 1 : 0) : null;
        UsesHostUsers = spec["hostUsers"u8].AsBool(fallback: true);
    }

    internal ApiNode Spec { get; }

    /// <summary>The pod's metadata, or the template's.</summary>
    internal ApiNode Metadata { get; }

    /// <summary>False in a template, which a few rules spare.</summary>
    internal bool IsPod { get; }

    internal long? GracePeriodSeconds { get; }

    internal bool UsesHostUsers { get; }

    /// <summary>Volumes with something wrong: mounts cannot name them. Null when there are none.</summary>
    internal HashSet<string>? BrokenVolumes { get; init; }

    /// <summary>Whether a mount can name that volume.</summary>
    internal bool HasVolume(ReadOnlySpan<byte> name) =>
        ResourceValidation.HasNamed(Spec["volumes"u8], name) && (BrokenVolumes is null || !BrokenVolumes.Contains(System.Text.Encoding.UTF8.GetString(name)));
}
