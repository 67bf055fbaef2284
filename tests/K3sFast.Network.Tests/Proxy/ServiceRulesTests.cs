using System.Net;
using k8s.Models;
using K3sFast.Interop.NfTables;
using K3sFast.Network.Proxy;

namespace K3sFast.Network.Tests.Proxy;

public sealed class ServiceRulesTests
{
    private const string Node = "192.0.2.1", Outside = "198.51.100.7", Pod = "10.42.0.9", RemotePod = "10.42.1.9";
    private static readonly IPAddress s_local = IPAddress.Parse("10.42.0.5"), s_remote = IPAddress.Parse("10.42.1.5");

    private static readonly NetworkOptions s_options = new()
    {
        NodeName = "node", NodeIPs = [IPAddress.Parse(Node)], CniConfDir = "", CniBinDir = "",
        ClusterCidrs = [IPNetwork.Parse("10.42.0.0/16")], ServiceCidrs = [IPNetwork.Parse("10.43.0.0/16")],
    };

    // service changes | endpoints (l = local, r = remote) | source | destination | port | from the node itself | outcome
    public static TheoryData<string, string, string, string, int, bool, string> Cases => new()
    {
        { "", "r", Pod, "10.43.0.80", 80, false, "to 10.42.1.5:8080" },
        { "", "l", Pod, "10.43.0.80", 80, false, "to 10.42.0.5:8080" },
        { "", "l", "10.42.0.5", "10.43.0.80", 80, false, "to 10.42.0.5:8080 masqueraded" },
        { "", "r", Node, "10.43.0.80", 80, true, "to 10.42.1.5:8080 masqueraded" },
        { "", "r", Outside, "10.43.0.80", 80, false, "to 10.42.1.5:8080 masqueraded" },
        { "", "r", Pod, "10.43.0.80", 81, false, "reject" },
        { "", "r", Pod, "10.43.9.9", 80, false, "drop" },
        { "", "", Pod, "10.43.0.80", 80, false, "reject" },
        { "", "", Node, "10.43.0.80", 80, true, "reject" },
        { "internal", "l", Pod, "10.43.0.80", 80, false, "to 10.42.0.5:8080" },
        { "internal", "r", Pod, "10.43.0.80", 80, false, "drop" },
        { "internal", "", Pod, "10.43.0.80", 80, false, "reject" },
        { "nodeport", "r", Outside, Node, 30080, false, "to 10.42.1.5:8080 masqueraded" },
        { "nodeport", "r", Pod, Node, 30080, false, "to 10.42.1.5:8080 masqueraded" },
        { "nodeport", "r", "127.0.0.1", "127.0.0.1", 30080, true, "to 10.42.1.5:8080 masqueraded" },
        { "nodeport", "r", Outside, "198.51.100.99", 30080, false, "to 198.51.100.99:30080" },
        { "nodeport", "", Outside, Node, 30080, false, "reject" },
        { "nodeport external", "l", Outside, Node, 30080, false, "to 10.42.0.5:8080" },
        { "nodeport external", "lr", Outside, Node, 30080, false, "to 10.42.0.5:8080" },
        { "nodeport external", "r", Outside, Node, 30080, false, "drop" },
        { "nodeport external", "r", Pod, Node, 30080, false, "to 10.42.1.5:8080" },
        { "nodeport external", "r", Node, Node, 30080, true, "to 10.42.1.5:8080 masqueraded" },
        { "nodeport external", "", Outside, Node, 30080, false, "reject" },
        { "external-ip", "r", Outside, "203.0.113.9", 80, false, "to 10.42.1.5:8080 masqueraded" },
        { "external-ip external", "r", Outside, "203.0.113.9", 80, false, "drop" },
        { "external-ip", "", Outside, "203.0.113.9", 80, false, "reject" },
        { "balancer", "l", Outside, "203.0.113.10", 80, false, "to 10.42.0.5:8080 masqueraded" },
        { "balancer ranges", "l", Outside, "203.0.113.10", 80, false, "to 10.42.0.5:8080 masqueraded" },
        { "balancer ranges", "l", "198.51.101.7", "203.0.113.10", 80, false, "drop" },
        { "balancer ranges", "l", "198.51.101.7", Node, 30080, false, "to 10.42.0.5:8080 masqueraded" },
        { "balancer ranges", "", Outside, "203.0.113.10", 80, false, "reject" },
        { "balancer ranges", "", "198.51.101.7", "203.0.113.10", 80, false, "drop" },
        { "balancer own-range", "l", "203.0.113.10", "203.0.113.10", 80, false, "to 10.42.0.5:8080 masqueraded" },
        { "balancer own-range", "l", Outside, "203.0.113.10", 80, false, "drop" },
        { "balancer everybody", "l", Outside, "203.0.113.10", 80, false, "to 10.42.0.5:8080 masqueraded" },
        { "balancer proxied", "l", Outside, "203.0.113.10", 80, false, "to 203.0.113.10:80" },
        { "nodeport =primary", "r", Outside, Node, 30080, false, "to 10.42.1.5:8080 masqueraded" },
        { "nodeport =primary", "r", Outside, "192.0.2.9", 30080, false, "to 192.0.2.9:30080" },
        { "nodeport =primary", "", Outside, "192.0.2.9", 30080, false, "to 192.0.2.9:30080" },
        { "nodeport =primary", "r", "127.0.0.1", "127.0.0.1", 30080, true, "to 127.0.0.1:30080" },
        { "nodeport =network", "r", Outside, "192.0.2.9", 30080, false, "to 10.42.1.5:8080 masqueraded" },
        { "nodeport =network", "r", Outside, "198.18.0.1", 30080, false, "to 198.18.0.1:30080" },
        { "nodeport =network", "r", "127.0.0.1", "127.0.0.1", 30080, true, "to 127.0.0.1:30080" },
        { "nodeport =no-localhost", "r", "127.0.0.1", "127.0.0.1", 30080, true, "to 127.0.0.1:30080" },
        { "nodeport =no-localhost", "r", Outside, Node, 30080, false, "to 10.42.1.5:8080 masqueraded" },
        { "=masquerade-all", "r", Pod, "10.43.0.80", 80, false, "to 10.42.1.5:8080 masqueraded" },
        { "=bit", "r", Outside, "10.43.0.80", 80, false, "to 10.42.1.5:8080 masqueraded" },
        { "=prefix", "r", Outside, "10.43.0.80", 80, false, "to 10.42.1.5:8080 masqueraded" },
        { "=prefix nodeport external", "r", "k3sf0|198.51.100.8", Node, 30080, false, "to 10.42.1.5:8080" },
        { "=bridge nodeport external", "r", "cni0|198.51.100.8", Node, 30080, false, "to 10.42.1.5:8080" },
        { "=bridge nodeport external", "r", "cni01|198.51.100.8", Node, 30080, false, "drop" },
        { "=node-cidr", "r", "10.42.1.9", "10.43.0.80", 80, false, "to 10.42.1.5:8080 masqueraded" },
        { "=node-cidr", "r", Pod, "10.43.0.80", 80, false, "to 10.42.1.5:8080" },
        { "affinity", "lr", Pod, "10.43.0.80", 80, false, "to 10.42.0.5:8080" },
        { "", "r", Pod, Outside, 80, false, "to 198.51.100.7:80 masqueraded" },
        { "", "r", Pod, "224.0.0.1", 80, false, "to 224.0.0.1:80" },
        { "", "r", RemotePod, Pod, 80, false, "to 10.42.0.9:80" },
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public void Packet_ThroughRules_EndsWhereUpstreamSendsIt(string changes, string endpoints, string source, string destination, int port, bool isFromHere, string outcome)
    {
        var trace = new PacketTrace(NftFamily.IPv4, Fragments(changes, endpoints), [Node, "192.0.2.9", "198.18.0.1"]);
        // link|address: it came in by another link than the uplink.
        var parts = source.Split('|');
        var packet = new Packet(parts[^1], destination, 6, (ushort)port, parts.Length > 1 ? parts[0] : isFromHere ? "" : "eth0");

        Assert.Equal(outcome, trace.Send(packet, isFromHere));
    }

    [Fact]
    public void Packet_InvalidStateFromPod_IsDroppedAndFromElsewhereIsNot()
    {
        var trace = new PacketTrace(NftFamily.IPv4, Fragments("", "r"), [Node]);
        Assert.Equal("drop", trace.Send(new Packet(Pod, RemotePod, 6, 80, InputLink: "k3sfabcdefghijk") { State = NftConntrack.Invalid }));
        Assert.Equal("to 10.42.1.9:80", trace.Send(new Packet(Pod, RemotePod, 6, 80) { State = NftConntrack.Invalid }));
    }

    [Fact]
    public void Packet_ToLoopbackFromTheWire_IsDropped()
    {
        var trace = new PacketTrace(NftFamily.IPv4, Fragments("", "r"), [Node]);
        Assert.Equal("drop", trace.Send(new Packet(Outside, "127.0.0.1", 6, 10248)));
        Assert.Equal("to 127.0.0.1:10248", trace.Send(new Packet("127.0.0.1", "127.0.0.1", 6, 10248, InputLink: "lo")));
    }

    [Fact]
    public void Affinity_RememberedClient_OverrulesChance()
    {
        var fragments = Fragments("affinity", "lr");
        var random = 0;
        string Send(string source) => new PacketTrace(NftFamily.IPv4, fragments, [Node], random).Send(new Packet(source, "10.43.0.80", 6, 80));
        Assert.Equal("to 10.42.0.5:8080", Send(Pod));
        random = 1;
        Assert.Equal("to 10.42.1.5:8080", Send(Pod));

        var trace = new PacketTrace(NftFamily.IPv4, fragments, [Node], random);
        for (var i = 0; i < 3; i++) Assert.Equal("to 10.42.1.5:8080", trace.Send(new Packet(Pod, "10.43.0.80", 6, 80)));
    }

    [Fact]
    public void Balancing_EveryRandomNumber_HasItsEndpoint()
    {
        var fragments = Fragments("", "lr");
        Assert.Equal(
            ["to 10.42.0.5:8080", "to 10.42.1.5:8080"],
            Enumerable.Range(0, 2).Select(number => new PacketTrace(NftFamily.IPv4, fragments, [Node], number).Send(new Packet(Pod, "10.43.0.80", 6, 80))));
    }

    [Fact]
    public void Build_EndpointsNoneReady_TerminatingOnesServe()
    {
        var slice = TestServices.Slice("web", 8080, (s_local, "node"), (s_remote, "other"));
        slice.Endpoints[0].Conditions = new V1EndpointConditions { Ready = false, Serving = true, Terminating = true };
        var port = Assert.Single(ServicePorts.Build(TestServices.Service("web", "10.43.0.80", 80), [slice], NftFamily.IPv4, "node"));
        Assert.Equal([s_remote], port.Endpoints.Select(endpoint => endpoint.Address));
        Assert.Equal([s_local], port.LocalEndpoints.Select(endpoint => endpoint.Address));

        slice.Endpoints[1].Conditions = new V1EndpointConditions { Ready = false, Serving = false, Terminating = true };
        port = Assert.Single(ServicePorts.Build(TestServices.Service("web", "10.43.0.80", 80), [slice], NftFamily.IPv4, "node"));
        Assert.Equal([s_local], port.Endpoints.Select(endpoint => endpoint.Address));
    }

    // hints of the endpoints on this node and on another: node:name or zone:name, one letter of endpoints each | the node's zone | who is used
    [Theory]
    [InlineData("", "", "z1", "lr")]
    [InlineData("zone:z1", "zone:z2", "z1", "l")]
    [InlineData("zone:z1", "zone:z2", "z2", "r")]
    [InlineData("zone:z1", "zone:z2", "z3", "lr")]
    [InlineData("zone:z1", "zone:z2", "", "lr")]
    [InlineData("zone:z1", "", "z1", "lr")]
    [InlineData("zone:z1 node:node", "zone:z1 node:other", "z1", "l")]
    [InlineData("zone:z1 node:third", "zone:z1 node:other", "z1", "lr")]
    [InlineData("zone:z2 node:third", "zone:z1 node:other", "z1", "r")]
    [InlineData("zone:z1 node:node", "zone:z1", "z1", "lr")]
    public void Build_Hints_LeaveTheEndpointsThatUpstreamUses(string here, string there, string zone, string used)
    {
        var slice = TestServices.Slice("web", 8080, (s_local, "node"), (s_remote, "other"));
        (slice.Endpoints[0].Hints, slice.Endpoints[1].Hints) = (HintsOf(here), HintsOf(there));
        var port = Assert.Single(ServicePorts.Build(TestServices.Service("web", "10.43.0.80", 80), [slice], NftFamily.IPv4, "node", zone));
        Assert.Equal(used, string.Concat(port.Endpoints.Select(endpoint => endpoint.IsLocal ? "l" : "r")));
        Assert.Equal([s_local], port.LocalEndpoints.Select(endpoint => endpoint.Address));

        // Those that are not ready have no say, and none of them is kept from us when nobody is ready.
        foreach (var endpoint in slice.Endpoints) endpoint.Conditions = new V1EndpointConditions { Ready = false, Serving = true, Terminating = true };
        port = Assert.Single(ServicePorts.Build(TestServices.Service("web", "10.43.0.80", 80), [slice], NftFamily.IPv4, "node", zone));
        Assert.Equal(2, port.Endpoints.Count);
    }

    [Fact]
    public void Build_ExternalIPsNotAllowed_AreNotThere()
    {
        var service = TestServices.Service("web", "10.43.0.80", 80, change: spec => spec.ExternalIPs = ["203.0.113.9"]);
        Assert.Empty(Assert.Single(ServicePorts.Build(service, [], NftFamily.IPv4, "node", allowsExternalIPs: false)).ExternalIPs);
        Assert.Single(Assert.Single(ServicePorts.Build(service, [], NftFamily.IPv4, "node", allowsExternalIPs: true)).ExternalIPs);
    }

    private static V1EndpointHints HintsOf(string text)
    {
        var words = text.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(word => word.Split(':')).ToLookup(word => word[0], word => word[1]);
        return new V1EndpointHints
        {
            ForZones = [.. words["zone"].Select(name => new V1ForZone { Name = name })], ForNodes = [.. words["node"].Select(name => new V1ForNode { Name = name })],
        };
    }

    [Fact]
    public void Build_NotOurs_HasNoPorts()
    {
        Assert.Empty(ServicePorts.Build(TestServices.Service("web", "None", 80), [], NftFamily.IPv4, "node"));
        Assert.Empty(ServicePorts.Build(TestServices.Service("web", "", 80, change: spec => spec.Type = "ExternalName"), [], NftFamily.IPv4, "node"));
        Assert.Empty(ServicePorts.Build(TestServices.Service("web", "10.43.0.80", 80), [], NftFamily.IPv6, "node"));
        var foreign = TestServices.Service("web", "10.43.0.80", 80);
        foreign.Metadata.Labels = new Dictionary<string, string> { ["service.kubernetes.io/service-proxy-name"] = "other" };
        Assert.Empty(ServicePorts.Build(foreign, [], NftFamily.IPv4, "node"));
    }

    private static List<NftFragment> Fragments(string changes, string endpoints)
    {
        var words = changes.Split(' ');
        var service = TestServices.Service("web", "10.43.0.80", 80, change: spec =>
        {
            if (words.Contains("nodeport")) (spec.Type, spec.Ports[0].NodePort) = ("NodePort", 30080);
            if (words.Contains("balancer")) (spec.Type, spec.Ports[0].NodePort) = ("LoadBalancer", 30080);
            if (words.Contains("internal")) spec.InternalTrafficPolicy = "Local";
            if (words.Contains("external")) spec.ExternalTrafficPolicy = "Local";
            if (words.Contains("external-ip")) spec.ExternalIPs = ["203.0.113.9"];
            if (words.Contains("ranges")) spec.LoadBalancerSourceRanges = ["198.51.100.0/24", "2001:db8::/32"];
            if (words.Contains("own-range")) spec.LoadBalancerSourceRanges = ["192.0.2.0/24"];
            if (words.Contains("everybody")) spec.LoadBalancerSourceRanges = ["192.0.2.0/24", "0.0.0.0/0"];
            if (words.Contains("affinity")) spec.SessionAffinity = "ClientIP";
        });
        if (words.Contains("balancer"))
        {
            service.Status = new V1ServiceStatus { LoadBalancer = new V1LoadBalancerStatus { Ingress = [new V1LoadBalancerIngress { Ip = "203.0.113.10", IpMode = words.Contains("proxied") ? "Proxy" : null }] } };
        }
        var entries = endpoints.Select(letter => letter == 'l' ? (s_local, "node") : (s_remote, "other")).ToArray();
        var steps = new PacketSteps(NftFamily.IPv4);
        var fragment = new NftFragment();
        var options = s_options with { Proxy = Proxy(words) };
        IPNetwork[] nodePods = [IPNetwork.Parse("10.42.0.0/24")];
        foreach (var port in ServicePorts.Build(service, [TestServices.Slice("web", 8080, entries)], NftFamily.IPv4, "node"))
        {
            ServiceRules.Add(fragment, steps, port, new LocalTraffic(steps, options, nodePods), s_options.NodeIPs);
        }
        return [BaseRules.Build(NftFamily.IPv4, options, nodePods), fragment];
    }

    private static ProxyOptions Proxy(string[] words) => new()
    {
        IsNodePortPrimaryOnly = words.Contains("=primary"),
        NodePortNetworks = words.Contains("=network") ? [IPNetwork.Parse("192.0.2.0/24")] : [],
        HasLocalhostNodePorts = !words.Contains("=no-localhost"),
        IsMasqueradeAll = words.Contains("=masquerade-all"),
        MasqueradeBit = words.Contains("=bit") ? 31 : 14,
        LocalDetection = words.Contains("=prefix") ? LocalDetection.InterfaceNamePrefix
            : words.Contains("=bridge") ? LocalDetection.BridgeInterface
            : words.Contains("=node-cidr") ? LocalDetection.NodeCidr : LocalDetection.ClusterCidr,
        Interface = words.Contains("=prefix") ? "k3sf" : words.Contains("=bridge") ? "cni0" : "",
    };
}
