namespace K3sFast.Client;

/// <summary>A patch and its kind.</summary>
public readonly record struct PatchBody(string ContentType, ReadOnlyMemory<byte> Body)
{
    /// <summary>RFC 6902.</summary>
    public static PatchBody Json(ReadOnlyMemory<byte> body) => new("application/json-patch+json", body);

    /// <summary>RFC 7386.</summary>
    public static PatchBody Merge(ReadOnlyMemory<byte> body) => new("application/merge-patch+json", body);

    /// <summary>Server-side apply of a configuration, which may be JSON; the request's path names the manager.</summary>
    public static PatchBody Apply(ReadOnlyMemory<byte> body) => new("application/apply-patch+yaml", body);

    /// <summary>Kubernetes' strategic merge: lists merge by their keys.</summary>
    public static PatchBody StrategicMerge(ReadOnlyMemory<byte> body) => new("application/strategic-merge-patch+json", body);
}
