using System.IO.Enumeration;

namespace K3sFast.AddOns.Dns;

/// <summary>
/// The files that a Corefile may name. They are the keys of two ConfigMaps, in the places where k3s mounts them; nothing of the host's is
/// read but its resolvers. Immutable.
/// </summary>
internal sealed class CorefileFiles
{
    internal const string Directory = "/etc/coredns/";
    internal const string CustomDirectory = "/etc/coredns/custom/";
    internal const string ResolvConf = "/etc/resolv.conf";

    private readonly SortedDictionary<string, string> _files = new(StringComparer.Ordinal);

    internal CorefileFiles(IEnumerable<KeyValuePair<string, string>>? main, IEnumerable<KeyValuePair<string, string>>? custom)
    {
        foreach (var (key, text) in main ?? []) _files[Directory + key] = text;
        foreach (var (key, text) in custom ?? []) _files[CustomDirectory + key] = text;
    }

    /// <summary>The file's text, or null. Relative paths start beside the Corefile.</summary>
    internal string? Read(string path) => _files.GetValueOrDefault(Absolute(path));

    /// <summary>The files that a pattern names, in order of their names.</summary>
    internal IEnumerable<KeyValuePair<string, string>> Match(string pattern)
    {
        pattern = Absolute(pattern);
        var folder = pattern[..(pattern.LastIndexOf('/') + 1)];
        var name = pattern[folder.Length..];
        return _files.Where(file => file.Key.StartsWith(folder, StringComparison.Ordinal)
            && file.Key.IndexOf('/', folder.Length) < 0 && FileSystemName.MatchesSimpleExpression(name, file.Key.AsSpan(folder.Length), ignoreCase: false));
    }

    internal bool HasSameContent(CorefileFiles other) => _files.SequenceEqual(other._files);

    private static string Absolute(string path)
    {
        if (path.StartsWith("./", StringComparison.Ordinal)) path = path[2..];
        return path.StartsWith('/') ? path : Directory + path;
    }
}
