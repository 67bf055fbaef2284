using System.Net;

namespace K3sFast.Network.Proxy.Userspace;

/// <summary>Chooses endpoints for clients of one place: in turn, or the one that a client had before.</summary>
/// <remarks>Any thread.</remarks>
internal sealed class EndpointChooser(TimeProvider time, Func<IPAddress, bool> isInside)
{
    // As many clients as the other back ends remember.
    private const int MaxClients = 65536;

    private readonly Lock _gate = new();
    private readonly Dictionary<IPAddress, (Endpoint Endpoint, long Since)> _clients = [];
    private int _turn = -1;

    /// <summary>The endpoints for a client, best first; empty = he may not come in, or nobody is there for him.</summary>
    internal IReadOnlyList<Endpoint> Choose(RelaySpec spec, IPAddress client)
    {
        if (spec.Sources.Count > 0 && !spec.Sources.Any(source => source.Contains(client))) return [];
        var endpoints = isInside(client) ? spec.Inside : spec.Outside;
        if (endpoints.Count == 0) return [];
        lock (_gate)
        {
            var start = ++_turn % endpoints.Count;
            if (spec.Affinity > TimeSpan.Zero && _clients.TryGetValue(client, out var known) && time.GetElapsedTime(known.Since) < spec.Affinity)
            {
                for (var i = 0; i < endpoints.Count; i++)
                {
                    if (endpoints[i].Address.Equals(known.Endpoint.Address) && endpoints[i].Port == known.Endpoint.Port) start = i;
                }
            }
            return [.. endpoints.Skip(start), .. endpoints.Take(start)];
        }
    }

    /// <summary>A client was served by an endpoint: he stays with it.</summary>
    internal void Remember(RelaySpec spec, IPAddress client, Endpoint endpoint)
    {
        if (spec.Affinity <= TimeSpan.Zero) return;
        lock (_gate)
        {
            if (_clients.Count >= MaxClients && !_clients.ContainsKey(client)) ForgetOld(spec.Affinity);
            if (_clients.Count < MaxClients || _clients.ContainsKey(client)) _clients[client] = (endpoint, time.GetTimestamp());
        }
    }

    private void ForgetOld(TimeSpan affinity)
    {
        foreach (var (client, (_, since)) in _clients)
        {
            if (time.GetElapsedTime(since) >= affinity) _clients.Remove(client);
        }
    }
}
