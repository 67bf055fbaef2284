namespace K3sFast.ApiMachinery;

/// <summary>The quality of service class of a pod, from its requests and limits of cpu and memory.</summary>
internal static class PodQuality
{
    /// <summary>Guaranteed: every container has limits for both, equal to its requests. BestEffort: nothing asked for. Burstable: all else.</summary>
    /// <remarks>Requests never exceed limits in a valid pod, so comparing container by container is comparing the sums, as upstream does.</remarks>
    internal static ReadOnlySpan<byte> ClassOf(ApiNode podSpec)
    {
        var tally = new Tally { IsGuaranteed = true };
        var podLevel = podSpec["resources"u8];
        if (podLevel.Kind == NodeKind.Object)
        {
            tally.Count(podLevel, requiresLimits: podLevel["limits"u8].Count > 0);
        }
        else
        {
            foreach (var container in podSpec["containers"u8].Elements)
                tally.Count(container["resources"u8], requiresLimits: true);
            foreach (var container in podSpec["initContainers"u8].Elements)
                tally.Count(container["resources"u8], requiresLimits: true);
        }
        return !tally.AsksForAnything ? "BestEffort"u8 : tally.IsGuaranteed ? "Guaranteed"u8 : "Burstable"u8;
    }

    private struct Tally
    {
        internal bool AsksForAnything;
        internal bool IsGuaranteed;

        internal void Count(ApiNode resources, bool requiresLimits)
        {
            Count(resources, "cpu"u8, requiresLimits);
            Count(resources, "memory"u8, requiresLimits);
        }

        private void Count(ApiNode resources, ReadOnlySpan<byte> name, bool requiresLimits)
        {
            bool hasRequest = IsPositive(resources["requests"u8][name], out var request);
            bool hasLimit = IsPositive(resources["limits"u8][name], out var limit);
            AsksForAnything |= hasRequest || hasLimit;
            if (hasRequest != hasLimit || hasRequest && request.CompareTo(limit) != 0 || !hasLimit && requiresLimits)
                IsGuaranteed = false;
        }

        private static bool IsPositive(ApiNode value, out Quantity quantity)
        {
            quantity = default;
            return !value.IsNullOrUndefined && Quantity.TryParse(value.Utf8, out quantity) && quantity.CompareTo(default) > 0;
        }
    }
}
