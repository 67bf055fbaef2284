using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>
/// How the endpoints of a service are shared among zones: each zone gets as many as its part of all processors, so that no endpoint carries much
/// more than its share of clients. An endpoint is for its own zone where that fits. Immutable.
/// </summary>
internal sealed class ZoneShares
{
    // An endpoint may get a fifth more than its share of the clients (upstream's threshold).
    private const double Overload = 0.2;

    private const string ControlPlaneLabel = "node-role.kubernetes.io/control-plane";
    private const string MasterLabel = "node-role.kubernetes.io/master";

    private readonly SortedDictionary<string, double> _parts;

    private ZoneShares(SortedDictionary<string, double> parts)
    {
        _parts = parts;
    }

    /// <summary>Reads zones and processors of the ready nodes. Those that serve the control plane do not count.</summary>
    internal static ZoneShares Of(IEnumerable<V1Node> nodes)
    {
        var processors = new SortedDictionary<string, double>(StringComparer.Ordinal);
        foreach (var node in nodes)
        {
            if (!Counts(node)) continue;
            var amount = Processors(node);
            // One node that does not tell would make everybody's part wrong.
            if (ZoneOf(node) is not { Length: > 0 } zone || amount <= 0) return new ZoneShares([]);
            processors[zone] = processors.GetValueOrDefault(zone) + amount;
        }
        if (processors.Count < 2) return new ZoneShares([]);
        var all = processors.Values.Sum();
        var parts = new SortedDictionary<string, double>(StringComparer.Ordinal);
        foreach (var (zone, amount) in processors) parts[zone] = amount / all;
        return new ZoneShares(parts);
    }

    /// <summary>What of a node the shares follow.</summary>
    internal static bool IsRelevant(V1Node old, V1Node node) =>
        Counts(old) != Counts(node) || ZoneOf(old) != ZoneOf(node) || Processors(old) != Processors(node);

    /// <summary>
    /// Writes hints into <paramref name="endpoints"/>. <paramref name="current"/> tells the zone that an endpoint is for now; while that gives every
    /// zone enough, it stays. On failure no endpoint has a hint.
    /// </summary>
    /// <returns>Null, or why it cannot be done, in upstream's words.</returns>
    internal string? Assign(IReadOnlyList<V1Endpoint> endpoints, Func<V1Endpoint, string?> current)
    {
        foreach (var endpoint in endpoints) endpoint.Hints = null;
        if (_parts.Count == 0) return "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes";
        var ready = endpoints.Where(static endpoint => endpoint.Conditions?.Ready == true)
            .OrderBy(static endpoint => endpoint.Addresses[0], StringComparer.Ordinal).ThenBy(static endpoint => endpoint.TargetRef?.Uid, StringComparer.Ordinal).ToList();
        var sizes = $"({ready.Count} endpoints, {_parts.Count} zones)";
        if (ready.Count < _parts.Count) return $"Insufficient number of endpoints {sizes}";
        var minima = _parts.ToDictionary(static part => part.Key, part => (int)Math.Ceiling(part.Value * ready.Count / (1 + Overload)));
        var spare = ready.Count - minima.Values.Sum();
        if (spare < 0) return $"Unable to allocate minimum required endpoints to each zone without exceeding overload threshold {sizes}";
        if (ready.Exists(static endpoint => string.IsNullOrEmpty(endpoint.Zone))) return "One or more endpoints do not have a zone specified";
        var zones = ready.ConvertAll(endpoint => current(endpoint) is { } zone && _parts.ContainsKey(zone) ? zone : endpoint.Zone);
        var counts = Count(zones);
        if (minima.Any(minimum => counts.GetValueOrDefault(minimum.Key) is var count && (count < minimum.Value || count > minimum.Value + spare)))
        {
            zones = Balance(ready.ConvertAll(static endpoint => endpoint.Zone), minima);
        }
        for (var i = 0; i < ready.Count; i++) ready[i].Hints = new V1EndpointHints { ForZones = [new V1ForZone { Name = zones[i] }] };
        return null;
    }

    // Endpoints of zones that have more than their part go to those that have less, as few as possible.
    private List<string> Balance(List<string> zones, Dictionary<string, int> minima)
    {
        var counts = Count(zones);
        var surplus = new SortedDictionary<string, double>(StringComparer.Ordinal);
        foreach (var (zone, part) in _parts) surplus[zone] = counts.GetValueOrDefault(zone) - Math.Max(part * zones.Count, minima[zone]);
        while (true)
        {
            var giver = surplus.MaxBy(static entry => entry.Value);
            var taker = surplus.MinBy(static entry => entry.Value);
            var lack = -taker.Value;
            // Half an endpoint too many here or too few there is as near as whole ones come.
            if (giver.Value < 0.5 || lack < 0.5 || (giver.Value < 1 && lack < 1)) return zones;
            zones[zones.IndexOf(giver.Key)] = taker.Key;
            surplus[giver.Key]--;
            surplus[taker.Key]++;
        }
    }

    private static Dictionary<string, int> Count(List<string> zones) =>
        zones.GroupBy(static zone => zone).ToDictionary(static group => group.Key, static group => group.Count());

    private static bool Counts(V1Node node) =>
        NodeTaints.IsReady(node) && node.Metadata.Labels?.ContainsKey(ControlPlaneLabel) != true && node.Metadata.Labels?.ContainsKey(MasterLabel) != true;

    private static string? ZoneOf(V1Node node) =>
        node.Metadata.Labels is { } labels && labels.TryGetValue(EndpointSlicePlan.ZoneLabel, out var zone) ? zone : null;

    private static double Processors(V1Node node) =>
        node.Status?.Allocatable is { } resources && resources.TryGetValue("cpu", out var amount) ? (double)amount.ToDecimal() : 0;
}
