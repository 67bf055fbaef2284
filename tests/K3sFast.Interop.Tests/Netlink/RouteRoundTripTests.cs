using System.Net;
using System.Net.NetworkInformation;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;

namespace K3sFast.Interop.Tests.Netlink;

/// <summary>Each rtnetlink message, sent to a kernel: what it made of it, attribute by attribute, as ip, tc and bridge see it and as we read it ourselves.</summary>
public sealed class RouteRoundTripTests : IDisposable
{
    private static readonly PhysicalAddress s_mac = PhysicalAddress.Parse("02-00-00-00-00-01"), s_otherMac = PhysicalAddress.Parse("02-00-00-00-00-02");

    private readonly NetworkNamespace _inside = RouteSocketTests.Namespaces.Create(), _other = RouteSocketTests.Namespaces.Create();
    private readonly RouteSocket _socket;
    private readonly int _link;

    public RouteRoundTripTests()
    {
        _socket = RouteSocket.Open(_inside);
        Send(batch => batch.SetLinkUp(1), batch => batch.AddVeth(new VethSpec("up", s_mac, "far", s_otherMac, _other, 1500)));
        using var far = RouteSocket.Open(_other);
        using (var batch = new NetlinkBatch())
        {
            batch.SetLinkUp(far.FindLink("far")!.Index);
            far.Execute(batch);
        }
        _link = _socket.FindLink("up")!.Index;
        Send(batch => batch.AddAddress(_link, IPAddress.Parse("192.0.2.1"), 24), batch => batch.AddAddress(_link, IPAddress.Parse("2001:db8::1"), 64));
    }

    public void Dispose()
    {
        _socket.Dispose();
        _inside.Dispose();
        _other.Dispose();
    }

    [Fact]
    public void Veth_BothEnds_AreAsAsked()
    {
        Send(batch => batch.AddVeth(new VethSpec("a0", s_mac, "b0", s_otherMac, _other, 1234)));
        Witness.Has(Links(_inside), """{"ifname":"a0","mtu":1234,"address":"02:00:00:00:00:01","linkinfo":{"info_kind":"veth"}}""");
        Assert.Contains("UP", Flags("a0"));
        Witness.Has(Links(_other), """{"ifname":"b0","mtu":1234,"address":"02:00:00:00:00:02","operstate":"DOWN"}""");
        Send(batch => batch.SetLinkMtu(_socket.FindLink("a0")!.Index, 1400));
        Witness.Has(Links(_inside), """{"ifname":"a0","mtu":1400}""");
        Send(batch => batch.DeleteLink("a0"));
        Assert.Null(_socket.FindLink("a0"));
        Assert.DoesNotContain("b0", Witness.Run(_other, "ip", "link"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("192.0.2.1", "local")]
    [InlineData("2001:db8::1", "local6")]
    public void Vxlan_EveryAttribute_IsAsAsked(string local, string attribute)
    {
        Send(batch => batch.AddVxlan(new VxlanSpec("vx1", s_mac, 4711, 8472, _link, IPAddress.Parse(local), 1430)));
        Witness.Has(Links(_inside), $$$$"""
            {"ifname":"vx1","mtu":1430,"address":"02:00:00:00:00:01","linkinfo":{"info_kind":"vxlan","info_data":{"id":4711,"link":"up","{{{{attribute}}}}":"{{{{local}}}}","port":8472,"learning":false}}}
            """);
        Assert.Contains("UP", Flags("vx1"));
        Assert.Equal(new VxlanInfo(4711, 8472, _link, IPAddress.Parse(local), IsLearning: false), _socket.FindLink("vx1")!.Vxlan);
    }

    [Theory]
    [InlineData("dummy")]
    [InlineData("ifb")]
    [InlineData("wireguard")]
    public void Device_OfEveryKind_IsAsAsked(string kind)
    {
        try
        {
            Send(batch =>
            {
                if (kind == "dummy") batch.AddDummy("x0", s_mac, 1300);
                else if (kind == "ifb") batch.AddIntermediate("x0", 1300);
                else batch.AddWireGuard("x0", 1300);
            });
        }
        catch (KernelException e) when (e.Errno == Errno.EOPNOTSUPP)
        {
            Assert.Skip($"needs a kernel with {kind} devices");
        }
        Witness.Has(Links(_inside), $$$"""{"ifname":"x0","mtu":1300,"linkinfo":{"info_kind":"{{{kind}}}" } }""");
        Assert.Contains("UP", Flags("x0"));
    }

    [Theory]
    [InlineData("10.42.0.5", 24)]
    [InlineData("fd00:42::5", 64)]
    public void Address_AddedAndDeleted_IsAsAsked(string address, int prefixLength)
    {
        Send(batch => batch.AddAddress(_link, IPAddress.Parse(address), prefixLength));
        var family = address.Contains(':', StringComparison.Ordinal) ? "inet6" : "inet";
        // Usable at once: nobody is asked whether he has it.
        Witness.Has(Addresses(), $$"""{"family":"{{family}}","local":"{{address}}","prefixlen":{{prefixLength}},"scope":"global"}""");
        Assert.Null(Addresses().First(found => (string?)found!["local"] == address)!["tentative"]);
        Assert.Contains(new AddressInfo(_link, IPAddress.Parse(address), prefixLength), _socket.ListAddresses());
        // A second time is fine, both ways.
        Send(batch => batch.AddAddress(_link, IPAddress.Parse(address), prefixLength), batch => batch.DeleteAddress(_link, IPAddress.Parse(address), prefixLength), batch => batch.DeleteAddress(_link, IPAddress.Parse(address), prefixLength));
        Assert.DoesNotContain(_socket.ListAddresses(), found => found.Address.Equals(IPAddress.Parse(address)));
    }

    [Fact]
    public void Routes_EveryAttribute_AreAsAsked()
    {
        RouteSpec[] specs =
        [
            new(IPNetwork.Parse("10.42.0.5/32"), _link, null, RouteScope.Link),
            new(IPNetwork.Parse("10.42.1.0/24"), _link, IPAddress.Parse("10.42.1.0")) { IsOnLink = true, PreferredSource = IPAddress.Parse("192.0.2.1"), Table = 1000, Metric = 5, Protocol = 4 },
            new(IPNetwork.Parse("0.0.0.0/0"), _link, IPAddress.Parse("192.0.2.254")),
            new(IPNetwork.Parse("10.43.0.0/16"), 0) { Type = RouteType.Unreachable },
            new(IPNetwork.Parse("10.44.0.0/16"), 0) { Type = RouteType.Blackhole, Table = 100 },
            new(IPNetwork.Parse("fd00:42:0:1::/64"), _link, IPAddress.Parse("fd00:42:0:1::")) { IsOnLink = true, Metric = 7 },
            new(IPNetwork.Parse("::/0"), _link, IPAddress.Parse("2001:db8::fe")),
        ];
        Send([.. specs.Select(spec => (Action<NetlinkBatch>)(batch => batch.ReplaceRoute(spec)))]);

        var (four, six) = (Witness.List(_inside, "ip -j -d route show table all"), Witness.List(_inside, "ip -j -d -6 route show table all"));
        Witness.Has(four, """{"type":"unicast","dst":"10.42.0.5","dev":"up","protocol":"107","scope":"link","flags":[]}""");
        Witness.Has(four, """{"type":"unicast","dst":"10.42.1.0/24","gateway":"10.42.1.0","dev":"up","table":"1000","protocol":"static","prefsrc":"192.0.2.1","metric":5,"flags":["onlink"]}""");
        Witness.Has(four, """{"type":"unicast","dst":"default","gateway":"192.0.2.254","dev":"up","protocol":"107","scope":"global"}""");
        Witness.Has(four, """{"type":"unreachable","dst":"10.43.0.0/16","protocol":"107"}""");
        Witness.Has(four, """{"type":"blackhole","dst":"10.44.0.0/16","table":"100"}""");
        Witness.Has(six, """{"type":"unicast","dst":"fd00:42:0:1::/64","gateway":"fd00:42:0:1::","dev":"up","protocol":"107","metric":7,"flags":["onlink"]}""");
        Witness.Has(six, """{"type":"unicast","dst":"default","gateway":"2001:db8::fe","dev":"up","protocol":"107"}""");

        var read = _socket.ListRoutes(isIPv6: false).Concat(_socket.ListRoutes(isIPv6: true)).ToList();
        foreach (var spec in specs)
        {
            Assert.Contains(read, route => route.Destination.Equals(spec.Destination) && (route.LinkIndex == spec.LinkIndex || spec.Type != RouteType.Unicast) && Equals(route.Gateway, spec.Gateway)
                && route.Protocol == spec.Protocol && route.Table == spec.Table && route.Type == spec.Type && route.Scope == spec.Scope && (spec.Metric == 0 || route.Metric == spec.Metric));
        }
        Send([.. specs.Concat(specs).Select(spec => (Action<NetlinkBatch>)(batch => batch.DeleteRoute(spec)))]);
        read = [.. _socket.ListRoutes(isIPv6: false), .. _socket.ListRoutes(isIPv6: true)];
        foreach (var spec in specs) Assert.DoesNotContain(read, route => route.Destination.Equals(spec.Destination) && route.Table == spec.Table);
    }

    [Fact]
    public void Neighbours_AndForwardingEntries_AreAsAsked()
    {
        Send(batch => batch.AddVxlan(new VxlanSpec("vx1", s_mac, 1, 8472, _link, IPAddress.Parse("192.0.2.1"), 1430)));
        var device = _socket.FindLink("vx1")!.Index;
        NeighbourSpec[] specs =
        [
            new(device, IPAddress.Parse("10.42.1.0"), s_otherMac), new(device, IPAddress.Parse("fd00:42:0:1::"), s_otherMac), new(device, IPAddress.Parse("192.0.2.9"), s_otherMac) { IsForwardingEntry = true },
        ];
        Send([.. specs.Select(spec => (Action<NetlinkBatch>)(batch => batch.ReplaceNeighbour(spec)))]);
        Witness.Has(Witness.List(_inside, "ip -j neigh show dev vx1"), """{"dst":"10.42.1.0","lladdr":"02:00:00:00:00:02","state":["PERMANENT"]}""");
        Witness.Has(Witness.List(_inside, "ip -j -6 neigh show dev vx1"), """{"dst":"fd00:42:0:1::","lladdr":"02:00:00:00:00:02","state":["PERMANENT"]}""");
        Witness.Has(Witness.List(_inside, "bridge -j fdb show dev vx1"), """{"mac":"02:00:00:00:00:02","dst":"192.0.2.9","flags":["self"],"state":"permanent"}""");
        Assert.Equal(specs, _socket.ListNeighbours(device).Where(static found => found.IsPermanent).Select(static found => found.Spec));
        Send([.. specs.Concat(specs).Select(spec => (Action<NetlinkBatch>)(batch => batch.DeleteNeighbour(spec)))]);
        Assert.DoesNotContain(_socket.ListNeighbours(device), static found => found.IsPermanent);
    }

    [Theory]
    [InlineData(false, 100)]
    [InlineData(true, 1000)]
    public void Rules_EveryAttribute_AreAsAsked(bool isIPv6, int table)
    {
        var spec = new RuleSpec(isIPv6, 77, 0x4000, 0xff00, table);
        List<string> Rules() => [.. Witness.List(_inside, isIPv6 ? "ip -j -6 rule" : "ip -j rule").Select(static rule => rule!.ToJsonString())];
        try
        {
            Send(batch => batch.AddRule(spec), batch => batch.AddRule(spec));
        }
        catch (KernelException e) when (e.Errno is Errno.EOPNOTSUPP or Errno.EAFNOSUPPORT)
        {
            Assert.Skip("needs a kernel with policy routing");
        }
        var rule = Assert.Single(Rules(), static rule => rule.Contains("\"priority\":77", StringComparison.Ordinal));
        Witness.Has([System.Text.Json.Nodes.JsonNode.Parse(rule)], $$"""{"priority":77,"src":"all","fwmark":"0x4000","fwmask":"0xff00","table":"{{table}}"}""");
        Send(batch => batch.DeleteRule(spec), batch => batch.DeleteRule(spec));
        Assert.DoesNotContain(Rules(), static text => text.Contains("\"priority\":77", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(1_250_000ul, 65536u)]
    [InlineData(5_000_000_000ul, 131072u)]
    public void TokenBucket_RateAndBurst_AreAsAsked(ulong bytesPerSecond, uint burst)
    {
        if (!TrySend(batch => batch.ReplaceTokenBucket(_link, bytesPerSecond, burst))) Assert.Skip("needs a kernel with CONFIG_NET_SCH_TBF");
        var queues = Witness.List(_inside, "tc -j qdisc show dev up");
        Witness.Has(queues, $$"""{"kind":"tbf","handle":"1:","root":true}""");
        var options = queues.First(static queue => (string?)queue!["kind"] == "tbf")!["options"]!;
        Assert.Equal(bytesPerSecond, (ulong)options["rate"]!);
        // The kernel keeps the burst as the time that it takes at that rate, and tc reads it in microseconds.
        Assert.InRange((double)options["burst"]!, burst - (bytesPerSecond * 1e-6) - 1, burst + 1);
        // Again is another rate, not another queue.
        Send(batch => batch.ReplaceTokenBucket(_link, bytesPerSecond / 2, burst));
        Assert.Equal(bytesPerSecond / 2, (ulong)Assert.Single(Witness.List(_inside, "tc -j qdisc show dev up"))!["options"]!["rate"]!);
    }

    [Fact]
    public void Redirect_OfWhatComesIn_LeadsToTheOtherDevice()
    {
        if (!TrySend(batch => batch.AddIntermediate("x0", 1500)) || !TrySend(batch => batch.RedirectIngress(_link, _socket.FindLink("x0")!.Index))) Assert.Skip("needs a kernel with ifb, clsact, u32 and mirred");
        Witness.Has(Witness.List(_inside, "tc -j qdisc show dev up"), """{"kind":"clsact","handle":"ffff:","parent":"ffff:fff1"}""");
        // tc 6.1 prints u32's keys as what is no JSON.
        var filters = Witness.Run(_inside, "tc", "filter", "show", "dev", "up", "ingress");
        Assert.Equal("u32", Assert.Single(_socket.ListFilters(_link).Select(static filter => filter.Kind).Distinct()));
        foreach (var words in (string[])["protocol all pref 1 u32", "terminal flowid", "match 00000000/00000000 at 0", "mirred (Egress Redirect to device x0) stolen"]) Assert.Contains(words, filters, StringComparison.Ordinal);
        Send(batch => batch.DeleteClassifier(_link));
        Assert.Empty(_socket.ListFilters(_link));
        Assert.DoesNotContain("clsact", Witness.Run(_inside, "tc", "qdisc", "show", "dev", "up"), StringComparison.Ordinal);
        Send(batch => batch.AddClassifier(_link), batch => batch.AddClassifier(_link));
        Witness.Has(Witness.List(_inside, "tc -j qdisc show dev up"), """{"kind":"clsact","handle":"ffff:","parent":"ffff:fff1"}""");
    }

    private string Flags(string link) => Links(_inside).First(found => (string?)found!["ifname"] == link)!["flags"]!.ToJsonString();

    private static System.Text.Json.Nodes.JsonArray Links(NetworkNamespace inside) => Witness.List(inside, "ip -j -d link show");

    private System.Text.Json.Nodes.JsonArray Addresses() => [.. Witness.List(_inside, "ip -j address show dev up")[0]!["addr_info"]!.AsArray().Select(static entry => entry!.DeepClone())];

    private bool TrySend(Action<NetlinkBatch> write)
    {
        try
        {
            Send(write);
            return true;
        }
        catch (KernelException e) when (e.Errno is Errno.EOPNOTSUPP or Errno.ENOENT)
        {
            return false;
        }
    }

    private void Send(params Action<NetlinkBatch>[] writes)
    {
        using var batch = new NetlinkBatch();
        foreach (var write in writes) write(batch);
        _socket.Execute(batch);
    }
}
