using k8s.Models;

namespace K3sFast.Client.Selection;

/// <summary>Which taints a pod puts up with. Stateless.</summary>
public static class Tolerations
{
    public const string NoSchedule = "NoSchedule";
    public const string PreferNoSchedule = "PreferNoSchedule";
    public const string NoExecute = "NoExecute";

    /// <summary>An empty effect stands for all effects; an empty key with operator Exists for all keys; Exists ignores the value.</summary>
    public static bool Tolerates(V1Toleration toleration, V1Taint taint)
    {
        if (!string.IsNullOrEmpty(toleration.Effect) && toleration.Effect != taint.Effect) return false;
        if (!string.IsNullOrEmpty(toleration.Key) && toleration.Key != taint.Key) return false;
        return toleration.OperatorProperty switch
        {
            "Exists" => true,
            null or "" or "Equal" => !string.IsNullOrEmpty(toleration.Key) && (toleration.Value ?? "") == (taint.Value ?? ""),
            _ => false,
        };
    }

    public static bool Tolerates(IList<V1Toleration>? tolerations, V1Taint taint)
    {
        if (tolerations is null) return false;
        for (var i = 0; i < tolerations.Count; i++)
        {
            if (Tolerates(tolerations[i], taint)) return true;
        }
        return false;
    }

    /// <summary>The first taint that keeps a pod away (NoSchedule or NoExecute) and is not tolerated, or null.</summary>
    public static V1Taint? FindUntolerated(IList<V1Taint>? taints, IList<V1Toleration>? tolerations)
    {
        if (taints is null) return null;
        for (var i = 0; i < taints.Count; i++)
        {
            if (taints[i].Effect is NoSchedule or NoExecute && !Tolerates(tolerations, taints[i])) return taints[i];
        }
        return null;
    }
}
