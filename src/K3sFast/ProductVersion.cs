using System.Reflection;
using System.Runtime.InteropServices;

namespace K3sFast;

/// <summary>What this build calls itself.</summary>
internal static class ProductVersion
{
    /// <summary><c>v&lt;Kubernetes&gt;+k3sfast&lt;n&gt;</c>.</summary>
    public static string Text { get; } =
        typeof(ProductVersion).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "v0.0.0";

    /// <summary>The commit that this was built of; "unknown" when it was built outside of a repository.</summary>
    public static string Commit { get; } = Fact("Commit", "unknown");

    /// <summary>When that commit was made, RFC 3339.</summary>
    public static string Date { get; } = Fact("CommitDate", "1970-01-01T00:00:00Z");

    /// <summary>The two lines of <c>k3sfast --version</c>.</summary>
    public static string Lines => $"k3sfast version {Text}\n{RuntimeInformation.FrameworkDescription.ToLowerInvariant()} {RuntimeInformation.RuntimeIdentifier}";

    private static string Fact(string key, string fallback)
    {
        foreach (var fact in typeof(ProductVersion).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>())
        {
            if (fact.Key == key && fact.Value is { Length: > 0 } value)
                return value;
        }
        return fallback;
    }
}
