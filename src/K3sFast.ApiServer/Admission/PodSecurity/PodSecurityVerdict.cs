using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>What a pod does against a standard, in the order of upstream's checks: baseline by name, then restricted by name.</summary>
internal sealed class PodSecurityVerdict
{
    private readonly List<(string Reason, string Detail)> _violations = [];

    internal bool IsAllowed => _violations.Count == 0;

    /// <summary>The rules that are broken, by name.</summary>
    internal string Reasons => string.Join(", ", _violations.Select(static violation => violation.Reason));

    /// <summary>The rules that are broken, each with who breaks it.</summary>
    internal string Details => string.Join(", ", _violations.Select(static violation => $"{violation.Reason} ({violation.Detail})"));

    internal void Add(string reason, string detail) => _violations.Add((reason, detail));

    /// <summary>"container "a"" or "containers "a", "b"".</summary>
    internal static string Containers(IReadOnlyCollection<string> names) => $"{Plural(names.Count, "container", "containers")} {Quoted(names)}";

    /// <summary>Who sets something bad: the pod, its containers, or both.</summary>
    internal static string Setters(bool isPod, IReadOnlyCollection<string> containers)
    {
        if (containers.Count == 0)
            return isPod ? "pod" : "";
        return isPod ? $"pod and {Containers(containers)}" : Containers(containers);
    }

    internal static string Quoted(IEnumerable<string> items) => $"\"{string.Join("\", \"", items)}\"";

    internal static string Plural(int count, string one, string many) => count == 1 ? one : many;

    /// <summary>All containers of a pod: init containers, containers, ephemeral ones.</summary>
    internal static IEnumerable<ApiNode> ContainersOf(ApiNode spec)
    {
        foreach (var container in spec["initContainers"u8].Elements)
            yield return container;
        foreach (var container in spec["containers"u8].Elements)
            yield return container;
        foreach (var container in spec["ephemeralContainers"u8].Elements)
            yield return container;
    }

    /// <summary>The names of the containers for which the predicate holds.</summary>
    internal static List<string> Offenders(ApiNode spec, Func<ApiNode, bool> isBad)
    {
        var names = new List<string>();
        foreach (var container in ContainersOf(spec))
        {
            if (isBad(container))
                names.Add(container["name"u8].AsString());
        }
        return names;
    }

    internal static bool IsWindows(ApiNode spec) => spec["os"u8]["name"u8].Equals("windows"u8);

    /// <summary>Root in a user namespace is nobody outside.</summary>
    internal static bool HasUserNamespace(ApiNode spec) => spec["hostUsers"u8].Kind == NodeKind.False;

    internal static string Text(ReadOnlySpan<byte> utf8) => Encoding.UTF8.GetString(utf8);
}
