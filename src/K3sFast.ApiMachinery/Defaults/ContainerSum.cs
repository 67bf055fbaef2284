namespace K3sFast.ApiMachinery;

/// <summary>The sum over a pod's containers of one resource in requests or limits, counting init containers as they run: one after the other.</summary>
internal static class ContainerSum
{
    /// <summary>
    /// Main containers and sidecars run together; an ordinary init container runs with the sidecars started before it. Null when no
    /// container names the resource.
    /// </summary>
    internal static string? Of(ApiNode podSpec, ReadOnlySpan<byte> list, ReadOnlySpan<byte> resource)
    {
        bool isNamed = false;
        var running = default(Quantity);
        foreach (var container in podSpec["containers"u8].Elements)
            running = Add(running, container, list, resource, ref isNamed);
        var sidecars = default(Quantity);
        var starting = default(Quantity);
        foreach (var container in podSpec["initContainers"u8].Elements)
        {
            var together = Add(sidecars, container, list, resource, ref isNamed);
            if (container["restartPolicy"u8].Equals("Always"u8))
            {
                running = Add(running, container, list, resource, ref isNamed);
                sidecars = together;
            }
            if (together.CompareTo(starting) > 0)
                starting = together;
        }
        return !isNamed ? null : (starting.CompareTo(running) > 0 ? starting : running).ToString();
    }

    private static Quantity Add(Quantity sum, ApiNode container, ReadOnlySpan<byte> list, ReadOnlySpan<byte> resource, ref bool isNamed)
    {
        var value = container["resources"u8][list][resource];
        if (value.IsNullOrUndefined || !Quantity.TryParse(value.Utf8, out var quantity))
            return sum;
        isNamed = true;
        return sum + quantity;
    }
}
