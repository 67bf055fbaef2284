namespace K3sFast.ApiMachinery;

/// <summary>
/// Carries the ownership of a workload's replicas to its scale subresource and back: who owns <c>spec.replicas</c> of the workload owns
/// <c>spec.replicas</c> of the Scale, and who takes it there takes it from the workload's managers.
/// </summary>
public static class ScaleFields
{
    private const string ScaleVersion = "autoscaling/v1";
    private const string Replicas = "spec.replicas";

    /// <summary>Writes into a Scale's metadata who of the workload's managers owns the replicas.</summary>
    public static void WriteToScale(ApiNode workload, ApiNode scale)
    {
        using var parents = ManagedEntries.ReadOrEmpty(workload["metadata"u8]["managedFields"u8]);
        using var scales = new ManagedEntries();
        foreach (var entry in parents.Items)
        {
            if (entry.Fields.Contains(Replicas))
                scales.Add(new ManagedEntry(entry.Manager, entry.IsApply, ScaleVersion, entry.Subresource, FieldSet.Of(Replicas)) { Time = entry.Time });
        }
        scales.WriteTo(scale.GetOrAddObject("metadata"u8));
    }

    /// <summary>Writes into the workload's metadata what became of the Scale's managers.</summary>
    /// <param name="workload">The workload; its managedFields are those before the write.</param>
    /// <param name="scale">The Scale after the write.</param>
    /// <param name="apiVersion">The version of the workload that the request is under.</param>
    public static void WriteToWorkload(ApiNode workload, ApiNode scale, string apiVersion)
    {
        using var parents = ManagedEntries.ReadOrEmpty(workload["metadata"u8]["managedFields"u8]);
        using var scales = ManagedEntries.ReadOrEmpty(scale["metadata"u8]["managedFields"u8]);
        using var replicas = FieldSet.Of(Replicas);
        var kept = new HashSet<ManagedEntry>();
        foreach (var entry in parents.Items)
        {
            if (!entry.Fields.Contains(Replicas))
                continue;
            var same = scales.Find(entry.Manager, entry.IsApply, ScaleVersion, entry.Subresource);
            if (same is null)
                entry.Fields.Subtract(replicas);
            else
                kept.Add(same);
        }
        scales.RemoveAll(kept.Contains);
        parents.RemoveEmpty();
        foreach (var entry in scales.Items)
        {
            if (entry.Fields.Contains(Replicas))
                // As upstream, whose new owners by way of a scale have no time.
                parents.Add(new ManagedEntry(entry.Manager, entry.IsApply, apiVersion, entry.Subresource, FieldSet.Of(Replicas)));
        }
        parents.WriteTo(workload.GetOrAddObject("metadata"u8));
    }
}
