namespace K3sFast.Interop.Namespaces;

/// <summary>Network namespaces as /proc shows them.</summary>
public static class NamespacePaths
{
    /// <summary>The namespace of whoever looks.</summary>
    public const string Own = "/proc/thread-self/ns/net";

    /// <summary>The number of a namespace, by which the kernel names it: of <c>net:[4026531840]</c>, 4026531840.</summary>
    /// <exception cref="IOException">The path is no namespace, or may not be looked at.</exception>
    public static string NameOf(string path) =>
        new FileInfo(path).LinkTarget is { } target && target.StartsWith("net:[", StringComparison.Ordinal) ? target["net:[".Length..^1] : throw new IOException($"{path} is no network namespace");

    /// <summary>A path of each network namespace that a process lives in; it holds as long as that process does.</summary>
    public static IEnumerable<string> All()
    {
        var seen = new HashSet<string>();
        foreach (var directory in Directory.EnumerateDirectories("/proc"))
        {
            if (!char.IsAsciiDigit(Path.GetFileName(directory)[0])) continue;
            var path = directory + "/ns/net";
            if (TryNameOf(path) is { } name && seen.Add(name)) yield return path;
        }
    }

    private static string? TryNameOf(string path)
    {
        try
        {
            return NameOf(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
