using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Group versions as operation ids and tags name them.</summary>
internal static class ApiNames
{
    /// <summary>RbacAuthorizationV1; CoreV1 for the core group; without a version the group alone.</summary>
    internal static string Id(string group, string version) => Words(Short(group), isUpper: true) + Words(version, isUpper: true);

    /// <summary>rbacAuthorization_v1; core_v1 for the core group; without a version the group alone.</summary>
    internal static string Tag(string group, string version) => version.Length == 0 ? Words(Short(group), isUpper: false) : $"{Words(Short(group), isUpper: false)}_{version}";

    private static string Short(string group) => group.Length == 0 ? "core" : group.EndsWith(".k8s.io", StringComparison.Ordinal) ? group[..^".k8s.io".Length] : group;

    private static string Words(string text, bool isUpper)
    {
        var words = new StringBuilder(text.Length);
        foreach (var c in text)
        {
            if (!char.IsAsciiLetterOrDigit(c))
            {
                isUpper = true;
                continue;
            }
            words.Append(isUpper ? char.ToUpperInvariant(c) : c);
            isUpper = false;
        }
        return words.ToString();
    }
}
