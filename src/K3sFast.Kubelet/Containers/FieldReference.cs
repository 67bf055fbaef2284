using System.Globalization;
using System.Text;
using K3sFast.Kubelet.Pods;
using k8s.Models;

namespace K3sFast.Kubelet.Containers;

/// <summary>Values of the downward API: fields of the pod, and resources of its containers.</summary>
internal static class FieldReference
{
    /// <summary>
    /// A field of the pod as text. Fields of the running pod (addresses) come from <paramref name="podIPs"/> and <paramref name="hostIPs"/>.
    /// </summary>
    /// <exception cref="ContainerException">No such field.</exception>
    public static string OfPod(V1Pod pod, string path, IReadOnlyList<string> podIPs, IReadOnlyList<string> hostIPs)
    {
        if (TrySubscript(path, out var map, out var key))
        {
            return map switch
            {
                "metadata.annotations" => pod.Annotation(key) ?? "",
                "metadata.labels" => pod.Metadata.Labels is { } labels && labels.TryGetValue(key, out var value) ? value : "",
                _ => throw ContainerException.Config($"fieldPath \"{path}\" does not support subscript"),
            };
        }
        return path switch
        {
            "metadata.name" => pod.Metadata.Name,
            "metadata.namespace" => pod.Metadata.NamespaceProperty,
            "metadata.uid" => pod.Metadata.Uid,
            "metadata.labels" => FormatMap(pod.Metadata.Labels),
            "metadata.annotations" => FormatMap(pod.Metadata.Annotations),
            "spec.nodeName" => pod.Spec.NodeName ?? "",
            "spec.serviceAccountName" => pod.Spec.ServiceAccountName ?? "",
            "status.hostIP" => hostIPs.Count > 0 ? hostIPs[0] : "",
            "status.hostIPs" => string.Join(',', hostIPs),
            "status.podIP" => podIPs.Count > 0 ? podIPs[0] : "",
            "status.podIPs" => string.Join(',', podIPs),
            _ => throw ContainerException.Config($"unsupported fieldPath: {path}"),
        };
    }

    /// <summary>
    /// A container's request or limit, in units of the divisor and rounded up. A limit that is not set is what the node has to give.
    /// </summary>
    /// <exception cref="ContainerException">No such container or resource.</exception>
    public static string OfResource(V1Pod pod, V1ResourceFieldSelector selector, string? defaultContainer, IReadOnlyDictionary<string, decimal> nodeAllocatable)
    {
        var name = string.IsNullOrEmpty(selector.ContainerName) ? defaultContainer : selector.ContainerName;
        V1Container? container = null;
        foreach (var candidate in PodContainer.Of(pod))
        {
            if (candidate.Name == name) container = candidate.Spec;
        }
        if (container is null) throw ContainerException.Config($"container \"{name}\" not found");
        var divisor = selector.Divisor?.ToDecimal() ?? 0;
        if (divisor == 0) divisor = 1;
        var (kind, resource) = selector.Resource.Split('.', 2) is [var first, var second] ? (first, second) : ("", selector.Resource);
        if (kind is not ("limits" or "requests")) throw ContainerException.Config($"unsupported container resource : {selector.Resource}");
        decimal amount;
        if (kind == "requests") amount = container.Resources?.Requests.Amount(resource) ?? 0;
        else amount = container.Resources?.Limits.Has(resource) == true ? container.LimitOf(resource) : nodeAllocatable.GetValueOrDefault(resource);
        return decimal.Ceiling(amount / divisor).ToString("0", CultureInfo.InvariantCulture);
    }

    // One key="value" line per entry, sorted; the value quoted like a Go string.
    private static string FormatMap(IDictionary<string, string>? map)
    {
        if (map is null || map.Count == 0) return "";
        var text = new StringBuilder();
        foreach (var (key, value) in map.OrderBy(entry => entry.Key, StringComparer.Ordinal))
        {
            if (text.Length > 0) text.Append('\n');
            text.Append(key).Append('=');
            AppendQuoted(text, value);
        }
        return text.ToString();
    }

    private static void AppendQuoted(StringBuilder text, string value)
    {
        text.Append('"');
        foreach (var rune in value.EnumerateRunes())
        {
            switch (rune.Value)
            {
                case '"': text.Append("\\\""); break;
                case '\\': text.Append("\\\\"); break;
                case '\n': text.Append("\\n"); break;
                case '\r': text.Append("\\r"); break;
                case '\t': text.Append("\\t"); break;
                case '\a': text.Append("\\a"); break;
                case '\b': text.Append("\\b"); break;
                case '\f': text.Append("\\f"); break;
                case '\v': text.Append("\\v"); break;
                case < 0x20 or 0x7f: text.Append(CultureInfo.InvariantCulture, $"\\x{rune.Value:x2}"); break;
                default: text.Append(rune.ToString()); break;
            }
        }
        text.Append('"');
    }

    private static bool TrySubscript(string path, out string map, out string key)
    {
        (map, key) = ("", "");
        var open = path.IndexOf("['", StringComparison.Ordinal);
        if (open < 0 || !path.EndsWith("']", StringComparison.Ordinal)) return false;
        (map, key) = (path[..open], path[(open + 2)..^2]);
        return true;
    }
}
