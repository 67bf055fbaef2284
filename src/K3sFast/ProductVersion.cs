using System.Reflection;
using System.Runtime.InteropServices;

namespace K3sFast;

/// <summary>What this build calls itself.</summary>
internal static class ProductVersion
{
    /// <summary><c>v&lt;Kubernetes&gt;+k3sfast&lt;n&gt;</c>.</summary>
    public static string Text { get; } =
        typeof(ProductVersion).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "v0.0.0";

    /// <summary>The two lines of <c>k3sfast --version</c>.</summary>
    public static string Lines => $"k3sfast version {Text}\n{RuntimeInformation.FrameworkDescription.ToLowerInvariant()} {RuntimeInformation.RuntimeIdentifier}";
}
