using System.Net;
using k8s.Models;

namespace K3sFast.Network.Tests.Proxy;

/// <summary>Services and slices as the API would hand them out.</summary>
internal static class TestServices
{
    internal static V1Service Service(string name, string clusterIP, int port, string protocol = "TCP", Action<V1ServiceSpec>? change = null)
    {
        var spec = new V1ServiceSpec
        {
            Type = "ClusterIP",
            ClusterIP = clusterIP,
            ClusterIPs = [clusterIP],
            Ports = [new V1ServicePort { Port = port, Protocol = protocol, Name = "main" }],
        };
        change?.Invoke(spec);
        return new V1Service { Metadata = new V1ObjectMeta { Name = name, NamespaceProperty = "default" }, Spec = spec };
    }

    internal static V1EndpointSlice Slice(string service, int port, params (IPAddress Address, string Node)[] endpoints) =>
        Slice(service, port, "TCP", endpoints);

    internal static V1EndpointSlice Slice(string service, int port, string protocol, params (IPAddress Address, string Node)[] endpoints) => new()
    {
        Metadata = new V1ObjectMeta
        {
            Name = service + "-abc", NamespaceProperty = "default", Labels = new Dictionary<string, string> { ["kubernetes.io/service-name"] = service },
        },
        AddressType = endpoints.Length > 0 && endpoints[0].Address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6 ? "IPv6" : "IPv4",
        Ports = [new Discoveryv1EndpointPort { Name = "main", Port = port, Protocol = protocol }],
        Endpoints = [.. endpoints.Select(endpoint => new V1Endpoint
        {
            Addresses = [endpoint.Address.ToString()], NodeName = endpoint.Node, Conditions = new V1EndpointConditions { Ready = true, Serving = true, Terminating = false },
        })],
    };
}
