using System.Collections.Concurrent;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>Writes hints into a service's endpoints and tells of it by events. One call at a time for one service; different services at once.</summary>
internal sealed class EndpointHinting(EventRecorder events)
{
    // Of services whose endpoints are shared among zones, by family: why it failed, or "" where it did not
    private readonly ConcurrentDictionary<(ObjectKey Service, string Family), string> _sharing = new();

    /// <summary>Brings the hints of <paramref name="wanted"/> up to date; <paramref name="existing"/> says whom endpoints are for now.</summary>
    internal void Apply(V1Service service, List<EndpointGroup> wanted, List<V1EndpointSlice> existing, Informer<V1Node> nodes)
    {
        if (EndpointHints.WantsNear(service))
        {
            foreach (var endpoint in wanted.SelectMany(static group => group.Endpoints)) endpoint.Hints = EndpointHints.Near(service, endpoint);
        }
        var shares = EndpointHints.WantsShares(service) ? ZoneShares.Of(nodes.List()) : null;
        foreach (var family in ServicePods.Families(service).Select(EndpointSlicePlan.AddressType))
        {
            if (shares is not null) Share(service, family, shares, wanted, existing);
            else if (_sharing.TryRemove((ObjectKey.Of(service), family), out var was) && was.Length == 0) TellDisabled(service, family, "Topology Aware Hints has been disabled");
        }
    }

    internal void Forget(ObjectKey service)
    {
        foreach (var known in _sharing.Keys)
        {
            if (known.Service.Equals(service)) _sharing.TryRemove(known, out _);
        }
    }

    private void Share(V1Service service, string family, ZoneShares shares, List<EndpointGroup> wanted, List<V1EndpointSlice> existing)
    {
        var zones = new Dictionary<string, string>();
        foreach (var endpoint in existing.Where(slice => slice.AddressType == family).SelectMany(static slice => slice.Endpoints ?? []))
        {
            if (endpoint.Hints?.ForZones is [{ } zone]) zones[EndpointSlicePlan.Identity(endpoint)] = zone.Name;
        }
        var endpoints = wanted.Where(group => group.AddressType == family).SelectMany(static group => group.Endpoints).ToList();
        var failure = shares.Assign(endpoints, endpoint => zones.GetValueOrDefault(EndpointSlicePlan.Identity(endpoint))) ?? "";
        var key = (ObjectKey.Of(service), family);
        if (_sharing.TryGetValue(key, out var told) && told == failure) return;
        _sharing[key] = failure;
        if (failure.Length > 0) TellDisabled(service, family, failure);
        else events.Normal(Resources.Services, service, "TopologyAwareHintsEnabled", $"Topology Aware Hints has been enabled, addressType: {family}");
    }

    private void TellDisabled(V1Service service, string family, string why) =>
        events.Warning(Resources.Services, service, "TopologyAwareHintsDisabled", $"{why}, addressType: {family}");
}
