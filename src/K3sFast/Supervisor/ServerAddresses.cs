using k8s.Models;

namespace K3sFast.Supervisor;

/// <summary>Where the servers of a cluster are, by the slices of Service default/kubernetes.</summary>
internal static class ServerAddresses
{
    /// <summary><c>address:port</c> of each ready endpoint, IPv6 in brackets.</summary>
    public static IEnumerable<string> Of(IEnumerable<V1EndpointSlice> slices)
    {
        foreach (var slice in slices)
        {
            var port = slice.Ports?.FirstOrDefault(static port => port.Name is null or "" or "https")?.Port;
            if (port is null)
                continue;
            foreach (var endpoint in slice.Endpoints ?? [])
            {
                if (endpoint.Conditions?.Ready == false)
                    continue;
                foreach (var address in endpoint.Addresses)
                    yield return address.Contains(':') ? $"[{address}]:{port}" : $"{address}:{port}";
            }
        }
    }
}
