using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Labels that isolate workloads, or that the cluster gives meaning to, are not a node's to choose.</summary>
internal static class NodeLabelRules
{
    /// <summary>The labels that differ between the two and that a node may not change, in order.</summary>
    internal static SortedSet<string> Forbidden(ApiNode obj, ApiNode old)
    {
        ApiNode labels = obj["metadata"u8]["labels"u8], before = old["metadata"u8]["labels"u8];
        var forbidden = new SortedSet<string>(StringComparer.Ordinal);
        void Compare(ApiNode from, ApiNode to)
        {
            foreach (var label in from.Members)
            {
                var other = to[label.Name];
                if (other.IsDefined && other.DeepEquals(label.Value))
                    continue;
                var key = Encoding.UTF8.GetString(label.Name);
                if (!IsAllowedLabel(key))
                    forbidden.Add(key);
            }
        }
        Compare(labels, before);
        Compare(before, labels);
        return forbidden;
    }

    private static bool IsAllowedLabel(string key)
    {
        var slash = key.IndexOf('/', StringComparison.Ordinal);
        var domain = slash < 0 ? "" : key[..slash];
        if (domain == "node-restriction.kubernetes.io" || domain.EndsWith(".node-restriction.kubernetes.io", StringComparison.Ordinal))
            return false;
        var isKubernetes = domain is "kubernetes.io" or "k8s.io" || domain.EndsWith(".kubernetes.io", StringComparison.Ordinal)
            || domain.EndsWith(".k8s.io", StringComparison.Ordinal);
        if (!isKubernetes)
            return true;
        return domain is "kubelet.kubernetes.io" or "node.kubernetes.io"
            || domain.EndsWith(".kubelet.kubernetes.io", StringComparison.Ordinal) || domain.EndsWith(".node.kubernetes.io", StringComparison.Ordinal)
            || key is "kubernetes.io/hostname" or "kubernetes.io/arch" or "kubernetes.io/os" or "beta.kubernetes.io/arch" or "beta.kubernetes.io/os"
                or "beta.kubernetes.io/instance-type" or "topology.kubernetes.io/region" or "topology.kubernetes.io/zone"
                or "failure-domain.beta.kubernetes.io/region" or "failure-domain.beta.kubernetes.io/zone";
    }
}
