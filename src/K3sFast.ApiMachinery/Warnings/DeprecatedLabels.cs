using System.Collections.Frozen;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Labels of nodes that have a successor.</summary>
internal static class DeprecatedLabels
{
    private static readonly FrozenDictionary<string, string> s_messages = new Dictionary<string, string>
    {
        ["beta.kubernetes.io/arch"] = "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
        ["beta.kubernetes.io/os"] = "deprecated since v1.14; use \"kubernetes.io/os\" instead",
        ["failure-domain.beta.kubernetes.io/region"] = "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
        ["failure-domain.beta.kubernetes.io/zone"] = "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
        ["beta.kubernetes.io/instance-type"] = "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
        ["app.kubernetes.io/created-by"] = "deprecated since v1.9",
        ["scheduler.alpha.kubernetes.io/preferAvoidPods"] = "deprecated since v1.22; use Taints and Tolerations instead",
        ["node-role.kubernetes.io/master"] = "use \"node-role.kubernetes.io/control-plane\" instead",
    }.ToFrozenDictionary();

    /// <summary>What to use instead; null for labels that are fine.</summary>
    internal static string? Message(ReadOnlySpan<byte> key)
    {
        // All of them have a domain of Kubernetes.
        if (key.IndexOf("kubernetes.io/"u8) < 0 || key.Length > 64)
            return null;
        return s_messages.GetValueOrDefault(Encoding.UTF8.GetString(key));
    }
}
