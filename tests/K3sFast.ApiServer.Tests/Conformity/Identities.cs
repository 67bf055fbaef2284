namespace K3sFast.ApiServer.Tests.Conformity;

/// <summary>The users that requests are sent by, with their groups; what they may do is written in the files that use them.</summary>
internal static class Identities
{
    internal const string Anonymous = "anonymous";

    private static readonly Dictionary<string, string[]> s_groups = new(StringComparer.Ordinal)
    {
        ["admin"] = ["system:masters"],
        ["alice"] = [],
        ["bob"] = ["developers"],
        ["carol"] = ["auditors", "developers"],
        ["system:node:n1"] = ["system:nodes"],
        ["system:kube-scheduler"] = [],
        ["system:kube-controller-manager"] = [],
    };

    internal static string[] GroupsOf(string user) => s_groups.TryGetValue(user, out var groups) ? groups : throw new FormatException($"nobody is called {user}");
}
