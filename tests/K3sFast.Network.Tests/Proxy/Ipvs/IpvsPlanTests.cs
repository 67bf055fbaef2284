using System.Net;
using k8s.Models;
using K3sFast.Interop.NfTables;
using K3sFast.Network.Proxy;
using K3sFast.Network.Proxy.Ipvs;

namespace K3sFast.Network.Tests.Proxy.Ipvs;

public sealed class IpvsPlanTests
{
    private const string Node = "192.0.2.1", Outside = "198.51.100.7", Pod = "10.42.0.9";
    private const uint Marked = 1 << 14;
    private static readonly IPAddress s_local = IPAddress.Parse("10.42.0.5"), s_remote = IPAddress.Parse("10.42.1.5");

    private static readonly NetworkOptions s_options = new()
    {
        NodeName = "node", NodeIPs = [IPAddress.Parse(Node)], CniConfDir = "", CniBinDir = "", ClusterCidrs = [IPNetwork.Parse("10.42.0.0/16")], ServiceCidrs = [IPNetwork.Parse("10.43.0.0/16")],
    };

    [Fact]
    public void Of_PoliciesAndPlaces_AreServersWithTheirDestinations()
    {
        var servers = IpvsPlan.Of(Ports("Local"), [IPAddress.Parse(Node), IPAddress.Parse("2001:db8::1")], "rr");

        Assert.Equal(["10.43.0.80:80", "192.0.2.1:30080", "203.0.113.10:80", "203.0.113.9:80"], servers.Keys.Select(static place => place.Address.ToString()).Order());
        Assert.Equal(["10.42.0.5:8080", "10.42.1.5:8080"], Destinations("10.43.0.80:80"));
        foreach (var external in (string[])["192.0.2.1:30080", "203.0.113.10:80", "203.0.113.9:80"]) Assert.Equal(["10.42.0.5:8080"], Destinations(external));
        Assert.All(servers.Values, static entry => Assert.Equal(("rr", TimeSpan.FromSeconds(10800), false), (entry.Server.Scheduler, entry.Server.Persistence, entry.Server.IsSourceHashed)));
        Assert.True(IpvsPlan.Of(Ports("Cluster"), [], "mh").Values.All(static entry => entry.Server.IsSourceHashed && entry.Destinations.Count == 2));

        IEnumerable<string> Destinations(string place) => servers[(6, IPEndPoint.Parse(place))].Destinations.Select(static destination => destination.ToString()).Order();
    }

    // source | destination | port | policy | marked for masquerading | dropped
    [Theory]
    [InlineData(Pod, "10.43.0.80", 80, "Cluster", false, false)]
    [InlineData(Outside, "10.43.0.80", 80, "Cluster", true, false)]
    [InlineData(Outside, "203.0.113.9", 80, "Cluster", true, false)]
    [InlineData(Pod, "203.0.113.9", 80, "Cluster", true, false)]
    [InlineData(Outside, "203.0.113.9", 80, "Local", false, false)]
    [InlineData(Outside, Node, 30080, "Cluster", true, false)]
    [InlineData(Outside, Node, 30080, "Local", false, false)]
    [InlineData(Outside, Node, 22, "Cluster", false, false)]
    [InlineData("198.51.100.8", "203.0.113.10", 80, "Cluster", true, false)]
    [InlineData("198.51.101.8", "203.0.113.10", 80, "Cluster", true, true)]
    public void Rules_Packet_IsMarkedOrDroppedBeforeTheServerGetsIt(string source, string destination, int port, string policy, bool isMarked, bool isDropped)
    {
        var steps = new PacketSteps(NftFamily.IPv4);
        var fragment = BaseRules.Build(NftFamily.IPv4, s_options with { IsServiceProxyEnabled = false });
        IpvsRules.Extend(steps, s_options, new LocalTraffic(steps, s_options, []), fragment);
        var service = IpvsRules.Build(steps, Ports(policy), s_options.NodeIPs)!;
        // The addresses of Services are the node's own.
        var trace = new PacketTrace(NftFamily.IPv4, [fragment, service], [Node, "10.43.0.80", "203.0.113.9", "203.0.113.10"]);
        var packet = new Packet(source, destination, 6, (ushort)port);

        Assert.Equal(isDropped ? "drop" : $"to {destination}:{port}", trace.Send(packet));
        Assert.Equal(isMarked, (packet.Mark & Marked) != 0);
    }

    private static List<ServicePort> Ports(string policy)
    {
        var service = TestServices.Service("web", "10.43.0.80", 80, change: spec =>
        {
            (spec.Type, spec.Ports[0].NodePort, spec.ExternalTrafficPolicy, spec.SessionAffinity) = ("LoadBalancer", 30080, policy, "ClientIP");
            (spec.ExternalIPs, spec.LoadBalancerSourceRanges) = (["203.0.113.9"], ["198.51.100.0/24"]);
        });
        service.Status = new V1ServiceStatus { LoadBalancer = new V1LoadBalancerStatus { Ingress = [new V1LoadBalancerIngress { Ip = "203.0.113.10" }] } };
        return ServicePorts.Build(service, [TestServices.Slice("web", 8080, (s_local, "node"), (s_remote, "other"))], NftFamily.IPv4, "node");
    }
}
