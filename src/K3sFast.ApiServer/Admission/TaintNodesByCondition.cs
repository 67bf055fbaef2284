namespace K3sFast.ApiServer;

/// <summary>TaintNodesByCondition: a node that registers is not ready until somebody has seen it ready.</summary>
internal sealed class TaintNodesByCondition : AdmissionPlugin
{
    internal override void Mutate(AdmissionContext context)
    {
        if (!context.IsCreate || context.Subresource.Length > 0 || !context.Is("", "nodes"))
            return;
        var taints = context.Object.GetOrAddObject("spec"u8).GetOrAddArray("taints"u8);
        foreach (var taint in taints.Elements)
        {
            if (taint["key"u8].Equals("node.kubernetes.io/not-ready"u8) && taint["effect"u8].Equals("NoSchedule"u8))
                return;
        }
        var added = taints.AppendObject();
        added.Set("key"u8, "node.kubernetes.io/not-ready"u8);
        added.Set("effect"u8, "NoSchedule"u8);
    }
}
