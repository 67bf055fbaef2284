using System.Net;
using System.Net.Sockets;
using K3sFast.Client;
using K3sFast.Client.Testing;
using k8s.Models;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.AddOns.Dns.Tests;

/// <summary>Which servers the cluster's name service leads to: those of nodes that are there and of API servers that live.</summary>
public sealed class DnsEndpointTests : DnsServerTest
{
    [Fact]
    public async Task SeveralServers_EachHasItsSlice_AndEndpointsNameAllThatAreReady()
    {
        await Api.Client.CreateAsync(Resources.Nodes, Node("node1", "127.0.0.1"), Stop.Token);
        await Api.Client.CreateAsync(Resources.Nodes, Node("node2", "127.0.0.2"), Stop.Token);
        await StartAsync();
        await StartAsync("node2", "127.0.0.2");
        await EndpointsAreAsync("127.0.0.1", "127.0.0.2");
        var node = await Api.Client.GetAsync(Resources.Nodes, null, "node2", Stop.Token);
        node.Status.Conditions = [new V1NodeCondition { Type = "Ready", Status = "Unknown" }];
        await Api.Client.UpdateStatusAsync(Resources.Nodes, node, Stop.Token);
        await UntilAsync(
            () => Api.Client.FindAsync(Resources.EndpointSlices, "kube-system", "kube-dns-node2", Stop.Token), slice => slice.Endpoints[0].Conditions.Ready == false);
    }

    [Fact]
    public async Task ServerSilent_IsNotAskedAnyMore_LongBeforeItsNodeIsMissed()
    {
        await ListServersAsync("192.0.2.1", "192.0.2.2");
        await StartAsync(server: "192.0.2.1");
        await StartAsync("node2", "127.0.0.2", server: "192.0.2.2");
        await EndpointsAreAsync("127.0.0.1", "127.0.0.2");
        await ListServersAsync("192.0.2.1");
        await EndpointsAreAsync("127.0.0.1");
        await UntilAsync(
            () => Api.Client.FindAsync(Resources.EndpointSlices, "kube-system", "kube-dns-node2", Stop.Token), slice => slice.Endpoints[0].Conditions.Ready == false);
        await ListServersAsync("192.0.2.1", "192.0.2.2");
        await EndpointsAreAsync("127.0.0.1", "127.0.0.2");
        // None is listed: all are asked, for an answer may come all the same.
        await ListServersAsync("192.0.2.9");
        await UntilAsync(
            () => Api.Client.FindAsync(Resources.EndpointSlices, "kube-system", "kube-dns-node2", Stop.Token), slice => slice.Endpoints[0].Conditions.Ready == true);
        await EndpointsAreAsync("127.0.0.1", "127.0.0.2");
    }

    [Fact]
    public async Task ServerWithoutNode_ServesOnceThereIsAnother_AndIsForgottenWhenSilent()
    {
        await ListServersAsync("192.0.2.1", "192.0.2.2");
        using var power = CancellationTokenSource.CreateLinkedTokenSource(Stop.Token);
        var alone = await NewServerAsync("control", "127.0.0.2", "192.0.2.2", awaitsNodes: true);
        var running = alone.RunAsync(power.Token);
        Assert.False(alone.Listening.IsCompleted);
        await StartAsync(server: "192.0.2.1");
        var at = await alone.Listening.WaitAsync(Stop.Token);
        await EndpointsAreAsync("127.0.0.1", "127.0.0.2");
        Assert.Equal(["127.0.0.1"], (await AskAsync(at, "node1", DnsType.A)).Data(DnsType.A));
        await power.CancelAsync();
        await running;
        await ListServersAsync("192.0.2.1");
        await UntilAsync(
            async () => await Api.Client.FindAsync(Resources.EndpointSlices, "kube-system", "kube-dns-control", Stop.Token) is null ? "gone" : null, _ => true);
        await EndpointsAreAsync("127.0.0.1");
    }

    [Fact]
    public async Task ReachedThroughPodNetwork_BindsAndPublishesWhatTheNodeHasThere_OnceItHas()
    {
        var node = Node("node1", "192.0.2.1");
        await Api.Client.CreateAsync(Resources.Nodes, node, Stop.Token);
        var server = await NewServerAsync("node1", "192.0.2.1", null, awaitsNodes: false, isReachedThroughPodNetwork: true);
        _ = server.RunAsync(Stop.Token);
        Assert.False(server.Listening.IsCompleted);
        node = await Api.Client.GetAsync(Resources.Nodes, null, "node1", Stop.Token);
        // An address that this host has, as the link between nodes would bear it.
        node.Spec = new V1NodeSpec { PodCIDR = "127.0.0.1/32", PodCIDRs = ["127.0.0.1/32"] };
        await Api.Client.UpdateAsync(Resources.Nodes, node, Stop.Token);
        var at = await server.Listening.WaitAsync(Stop.Token);
        Assert.Equal("127.0.0.1", at.Address.ToString());
        Assert.Equal(["192.0.2.1"], (await AskAsync(at, "node1", DnsType.A)).Data(DnsType.A));
        await EndpointsAreAsync("127.0.0.1");
    }

    // The API servers that live, as they keep it themselves.
    private async Task ListServersAsync(params string[] addresses)
    {
        var slice = new V1EndpointSlice
        {
            Metadata = new V1ObjectMeta
            {
                Name = "kubernetes", NamespaceProperty = "default", Labels = new Dictionary<string, string> { ["kubernetes.io/service-name"] = "kubernetes" },
            },
            AddressType = "IPv4",
            Endpoints = [.. addresses.Select(address => new V1Endpoint { Addresses = [address], Conditions = new V1EndpointConditions { Ready = true } })],
        };
        if (await Api.Client.FindAsync(Resources.EndpointSlices, "default", "kubernetes", Stop.Token) is null) await Api.Client.CreateAsync(Resources.EndpointSlices, slice, Stop.Token);
        else await Api.Client.UpdateAsync(Resources.EndpointSlices, slice, Stop.Token);
    }

    private Task<V1Endpoints> EndpointsAreAsync(params string[] wanted) => UntilAsync(
        () => Api.Client.FindAsync(Resources.Endpoints, "kube-system", "kube-dns", Stop.Token),
        endpoints => endpoints.Subsets.SelectMany(subset => subset.Addresses).Select(address => address.Ip).SequenceEqual(wanted));
}
