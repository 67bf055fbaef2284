using System.Net;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;
using K3sFast.Network.Overlay;
using K3sFast.Network.Tests.Kernel;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Network.Tests.Overlay;

/// <summary>What peers cost: counted, not timed.</summary>
public sealed class PeerTableTests
{
    private const int Peers = 1000;

    [Fact]
    public void Peers_AThousandJoined_CostLessThanAKilobyteEachAndChangesTheirDifference()
    {
        TestNode.RequirePrivilege();
        using var inside = NetworkNamespace.Create();
        TestLan.Ip(inside, "link set lo up", "link add eth0 type veth peer name other", "link set other up", "link set eth0 up", "address add 192.0.2.1/16 dev eth0");
        using var host = RouteSocket.Open(inside);
        var options = new OverlayOptions { Backend = "vxlan" };
        var backend = new VxlanBackend(host, inside, options, [], "self", isIPv6: false);
        var table = new PeerTable(host, backend, isIPv6: false, NullLogger.Instance);
        var underlay = Underlay.Find(host, "", [IPAddress.Parse("192.0.2.1")], System.Net.Sockets.AddressFamily.InterNetwork)!;
        table.Start(underlay, IPNetwork.Parse("10.32.0.0/24"));

        table.Apply([.. Enumerable.Range(1, Peers).Select(i => ($"n{i}", (OverlayPeer?)Peer(i)))]);
        Assert.Equal(3 * Peers, table.Sent.Messages);
        Assert.InRange(table.Sent.Bytes, 1, Peers * 1024);
        Assert.Equal(Peers, host.ListRoutes(isIPv6: false).Count(route => route.LinkIndex == backend.LinkIndex && route.Gateway is not null));
        Assert.Equal(2 * Peers, host.ListNeighbours(backend.LinkIndex).Count(neighbour => neighbour.IsPermanent));

        // What did not change is not sent; what changed is sent alone.
        var before = table.Sent.Messages;
        table.Apply([.. Enumerable.Range(1, Peers).Select(i => ($"n{i}", (OverlayPeer?)Peer(i)))]);
        Assert.Equal(before, table.Sent.Messages);
        table.Apply([("n5", Peer(5) with { PublicIP = IPAddress.Parse("192.0.99.99") })]);
        Assert.Equal(before + 1, table.Sent.Messages);
        table.Apply([("n6", null)]);
        Assert.Equal(before + 4, table.Sent.Messages);
        Assert.False(table.Verify(underlay));
        Assert.Equal(before + 4, table.Sent.Messages);

        // Half of it deleted by somebody: half of it is sent.
        TestLan.Ip(inside, "route flush root 10.33.0.0/16");
        var routes = host.ListRoutes(isIPv6: false).Count(route => route.LinkIndex == backend.LinkIndex && route.Gateway is not null);
        Assert.True(table.Verify(underlay));
        Assert.Equal(before + 4 + (Peers - 1 - routes), table.Sent.Messages);
        Assert.False(table.Verify(underlay));
    }

    [Fact]
    public void Vxlan_DeviceOfAnotherKind_IsReplacedAndOursIsKept()
    {
        TestNode.RequirePrivilege();
        using var inside = NetworkNamespace.Create();
        TestLan.Ip(inside, "link set lo up", "link add eth0 type veth peer name other", "link set other up", "link set eth0 up", "address add 192.0.2.1/16 dev eth0", "link add flannel.1 type veth peer name another");
        using var host = RouteSocket.Open(inside);
        var underlay = Underlay.Find(host, "", [IPAddress.Parse("192.0.2.1")], System.Net.Sockets.AddressFamily.InterNetwork)!;
        VxlanBackend Backend(ushort port = 8472) => new(host, inside, new OverlayOptions { Backend = "vxlan", Port = port }, [], "self", isIPv6: false);
        Assert.True(Backend().EnsureDevice(underlay, IPNetwork.Parse("10.32.0.0/24")));
        var index = host.FindLink("flannel.1")!.Index;
        Assert.False(Backend().EnsureDevice(underlay, IPNetwork.Parse("10.32.0.0/24")));
        Assert.Equal(index, host.FindLink("flannel.1")!.Index);
        Assert.True(Backend(4789).EnsureDevice(underlay, IPNetwork.Parse("10.32.0.0/24")));
    }

    [Theory]
    [InlineData("""{"VNI":1,"VtepMAC":"02:00:00:00:00:07"}""", true)]
    [InlineData("""{"VtepMAC":"02:00:00:00:00:07"}""", true)]
    [InlineData("""{"VNI":2,"VtepMAC":"02:00:00:00:00:07"}""", false)]
    [InlineData("""{"VNI":1,"VtepMAC":"02:00"}""", false)]
    [InlineData("null", false)]
    [InlineData("{", false)]
    [InlineData("", false)]
    [InlineData("""{"VtepMAC":7}""", false)]
    [InlineData("""{"VNI":"x","VtepMAC":"02:00:00:00:00:07"}""", false)]
    public void Vxlan_DataOfAPeer_IsBelievedWhenItIsOfOurNetwork(string data, bool isGood)
    {
        using var inside = NetworkNamespace.OpenCurrent();
        using var host = RouteSocket.Open();
        Assert.Equal(isGood, new VxlanBackend(host, null, new OverlayOptions { Backend = "vxlan" }, [], "self", isIPv6: false).ReadAddress(data) is not null);
    }

    [Theory]
    [InlineData("""{"PublicKey":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}""", true)]
    [InlineData("""{"PublicKey":"AAAA"}""", false)]
    [InlineData("""{"PublicKey":"*"}""", false)]
    [InlineData("null", false)]
    public void WireGuard_DataOfAPeer_IsAKeyOrNone(string data, bool isGood) => Assert.Equal(isGood, WireGuardBackend.ReadKey(data) is not null);

    private static OverlayPeer Peer(int i) => new(
        $"n{i}", new IPNetwork(new IPAddress([10, (byte)(32 + (i >> 8)), (byte)i, 0]), 24), new IPAddress([192, 0, (byte)(3 + (i >> 8)), (byte)i]),
        $$"""{"VNI":1,"VtepMAC":"02:00:00:00:{{i >> 8:x2}}:{{i & 255:x2}}"}""");
}
