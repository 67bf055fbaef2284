namespace K3sFast.Containerd;

/// <summary>Docker's image names in containerd's full form.</summary>
internal static class ImageName
{
    /// <summary><c>busybox</c> becomes <c>docker.io/library/busybox:latest</c>, as distribution/reference normalizes.</summary>
    public static string Normalize(string name)
    {
        var slash = name.IndexOf('/');
        var first = slash < 0 ? "" : name[..slash];
        // The first part is a registry only when it could be a host: a dot, a port, or localhost.
        var hasDomain = first.Contains('.', StringComparison.Ordinal) || first.Contains(':', StringComparison.Ordinal) || first == "localhost";
        var full = hasDomain ? name : slash < 0 ? "docker.io/library/" + name : "docker.io/" + name;
        var isTagged = full.Contains('@', StringComparison.Ordinal) || full.IndexOf(':', full.LastIndexOf('/')) >= 0;
        return isTagged ? full : full + ":latest";
    }
}
