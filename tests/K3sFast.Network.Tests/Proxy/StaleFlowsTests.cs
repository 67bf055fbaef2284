using System.Net;
using K3sFast.Interop.Conntrack;
using K3sFast.Network.Proxy;

namespace K3sFast.Network.Tests.Proxy;

public sealed class StaleFlowsTests
{
    private static readonly IPAddress s_client = IPAddress.Parse("10.42.0.9"), s_service = IPAddress.Parse("10.43.0.10");
    private static readonly IPAddress s_old = IPAddress.Parse("10.42.0.2"), s_new = IPAddress.Parse("10.42.0.3");

    [Fact]
    public void Collect_EndpointsOnlyAdded_TouchesNoFlow()
    {
        var destinations = new List<StaleFlows.Destination>();
        StaleFlows.Collect([Port(s_old)], [Port(s_old, s_new)], destinations);
        StaleFlows.Collect([Port(s_old) with { Protocol = 6 }], [Port() with { Protocol = 6 }], destinations);
        Assert.Empty(destinations);
    }

    [Fact]
    public void IsStale_ByWhatChanged_NamesTheFlowsThatMustGo()
    {
        Assert.True(After([Port(s_old)], [Port(s_new)], Flow(s_old, 5353)));
        Assert.False(After([Port(s_old)], [Port(s_new)], Flow(s_new, 5353)));
        Assert.True(After([Port(s_old)], [], Flow(s_old, 5353)));
        Assert.True(After([Port(s_old)], [Port()], Flow(s_old, 5353)));
        // Sent into the void while nobody was there.
        Assert.True(After([Port()], [Port(s_new)], Flow(s_service, 53)));
        Assert.True(After([], [Port(s_new)], Flow(s_service, 53)));
        Assert.False(After([], [Port(s_new)], new ConntrackEntry(
            new(s_client, IPAddress.Parse("8.8.8.8"), 17, 4000, 53), new(IPAddress.Parse("8.8.8.8"), s_client, 17, 53, 4000))));
    }

    private static bool After(List<ServicePort> before, List<ServicePort> after, ConntrackEntry flow)
    {
        var destinations = new List<StaleFlows.Destination>();
        StaleFlows.Collect(before, after, destinations);
        return StaleFlows.IsStale(flow, destinations.Where(destination => destination.Port == flow.Original.DestinationPort));
    }

    private static ConntrackEntry Flow(IPAddress from, ushort port) => new(new(s_client, s_service, 17, 4000, 53), new(from, s_client, 17, port, 4000));

    private static ServicePort Port(params IPAddress[] endpoints) => new()
    {
        Namespace = "kube-system", Name = "dns", Protocol = 17, Port = 53, ClusterIP = s_service, Endpoints = [.. endpoints.Select(address => new Endpoint(address, 5353, true))],
        ServingEndpoints = [.. endpoints.Select(address => new Endpoint(address, 5353, true))],
    };
}
