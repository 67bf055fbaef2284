using System.Net;
using System.Net.NetworkInformation;
using K3sFast.Interop.Netlink;

namespace K3sFast.Interop.Tests.Netlink;

public sealed class GenericNetlinkTests
{
    [Fact]
    public void WireGuardDevice_Written_HasKeyAndPort()
    {
        using var batch = new NetlinkBatch();
        WireGuardSocket.WriteDevice(batch, 0x21, 7, Enumerable.Repeat((byte)0xab, 32).ToArray(), 51820);

        Assert.Equal(
            "48000000" + "2100" + "0500" + "01000000" + "00000000"
            + "01" + "01" + "0000" // WG_CMD_SET_DEVICE, version 1
            + "0800" + "0100" + "07000000" // WGDEVICE_A_IFINDEX
            + "2400" + "0300" + string.Concat(Enumerable.Repeat("ab", 32)) // WGDEVICE_A_PRIVATE_KEY
            + "0600" + "0600" + "6cca0000", // WGDEVICE_A_LISTEN_PORT
            Convert.ToHexStringLower(batch.Written));
    }

    [Fact]
    public void WireGuardPeer_Written_HasEndpointAsTheKernelKeepsItAndItsNetworks()
    {
        using var batch = new NetlinkBatch();
        var key = Enumerable.Repeat((byte)0xcd, 32).ToArray();
        WireGuardSocket.WritePeer(batch, 0x21, 7, new WireGuardPeer(key, new IPEndPoint(IPAddress.Parse("192.0.2.9"), 51820), [IPNetwork.Parse("10.42.9.0/24")], 25), isRemoved: false);

        Assert.Equal(
            "8c000000" + "2100" + "0500" + "01000000" + "00000000" + "01010000"
            + "0800" + "0100" + "07000000"
            + "7000" + "0880" // WGDEVICE_A_PEERS
            + "6c00" + "0080"
            + "2400" + "0100" + string.Concat(Enumerable.Repeat("cd", 32)) // WGPEER_A_PUBLIC_KEY
            + "0800" + "0300" + "02000000" // WGPEER_F_REPLACE_ALLOWEDIPS
            + "1400" + "0400" + "0200" + "ca6c" + "c0000209" + "0000000000000000" // struct sockaddr_in
            + "0600" + "0500" + "19000000"
            + "2000" + "0980" // WGPEER_A_ALLOWEDIPS
            + "1c00" + "0080"
            + "0600" + "0100" + "02000000" + "0800" + "0200" + "0a2a0900" + "0500" + "0300" + "18000000",
            Convert.ToHexStringLower(batch.Written));
    }

    [Fact]
    public void WireGuardPeer_Removed_IsItsKeyAlone()
    {
        using var batch = new NetlinkBatch();
        WireGuardSocket.WritePeer(batch, 0x21, 7, new WireGuardPeer(new byte[32], new IPEndPoint(IPAddress.Parse("192.0.2.9"), 51820), [], 25), isRemoved: true);
        Assert.Equal(16 + 4 + 8 + 4 + 4 + 36 + 8, batch.Length);
        Assert.EndsWith("0800" + "0300" + "01000000", Convert.ToHexStringLower(batch.Written));
    }

    [Fact]
    public void SetFeature_Off_NamesTheBitWithoutAValue()
    {
        using var batch = new NetlinkBatch();
        EthtoolSocket.WriteSetFeature(batch, 0x15, 3, "tso", isOn: false);
        Assert.Equal(
            "34000000" + "1500" + "0500" + "01000000" + "00000000"
            + "0c" + "01" + "0000" // ETHTOOL_MSG_FEATURES_SET
            + "0c00" + "0180" + "0800" + "0100" + "03000000" // header: link 3
            + "1400" + "0380" + "1000" + "0380" + "0c00" + "0180" + "0800" + "0200" + "74736f00",
            Convert.ToHexStringLower(batch.Written));
    }

    [Fact]
    public void SetFeature_OnAVxlanDevice_IsReadBack()
    {
        using var inside = RouteSocketTests.Namespaces.Create();
        using var socket = RouteSocket.Open(inside);
        using var ethtool = EthtoolSocket.TryOpen(inside);
        if (ethtool is null) Assert.Skip("the kernel has no netlink family ethtool");
        using var batch = new NetlinkBatch();
        batch.SetLinkUp(1);
        batch.AddVxlan(new VxlanSpec("vx1", PhysicalAddress.Parse("02-00-00-00-00-03"), 1, 8472, 1, IPAddress.Loopback, 1450));
        socket.Execute(batch);
        var link = socket.FindLink("vx1")!;

        ethtool.SetFeature(link.Index, "tx-checksum-ip-generic", isOn: false);
        Assert.DoesNotContain("tx-checksum-ip-generic", ethtool.ListActiveFeatures(link.Index));
        ethtool.SetFeature(link.Index, "tx-checksum-ip-generic", isOn: true);
        Assert.Contains("tx-checksum-ip-generic", ethtool.ListActiveFeatures(link.Index));
        Assert.Contains("no-such-feature", Assert.Throws<KernelException>(() => ethtool.SetFeature(link.Index, "no-such-feature", isOn: true)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Vxlan_Made_IsDescribedAndItsNeighboursAreListed()
    {
        using var inside = RouteSocketTests.Namespaces.Create();
        using var socket = RouteSocket.Open(inside);
        using var batch = new NetlinkBatch();
        batch.SetLinkUp(1);
        batch.AddVxlan(new VxlanSpec("vx1", PhysicalAddress.Parse("02-00-00-00-00-03"), 5, 8472, 1, IPAddress.Loopback, 1450));
        socket.Execute(batch);
        var link = socket.FindLink("vx1")!;
        Assert.Equal(new VxlanInfo(5, 8472, 1, IPAddress.Loopback, IsLearning: false), link.Vxlan);

        NeighbourSpec[] wanted =
        [
            new(link.Index, IPAddress.Parse("10.42.1.0"), PhysicalAddress.Parse("02-00-00-00-00-09")),
            new(link.Index, IPAddress.Parse("fd00:42:0:1::"), PhysicalAddress.Parse("02-00-00-00-00-0a")),
            new(link.Index, IPAddress.Parse("192.0.2.9"), PhysicalAddress.Parse("02-00-00-00-00-09")) { IsForwardingEntry = true },
        ];
        batch.Clear();
        foreach (var spec in wanted) batch.ReplaceNeighbour(spec);
        socket.Execute(batch);
        Assert.Equal(wanted, socket.ListNeighbours(link.Index).Where(found => found.IsPermanent).Select(found => found.Spec));
    }

    [Fact]
    public async Task Events_WhatSomebodyDeletes_IsTold()
    {
        using var inside = RouteSocketTests.Namespaces.Create();
        using var socket = RouteSocket.Open(inside);
        using var other = RouteSocketTests.Namespaces.Create();
        using var events = RouteEvents.Open(inside);
        using var batch = new NetlinkBatch();
        batch.SetLinkUp(1);
        batch.AddVeth(new VethSpec("d0", PhysicalAddress.Parse("02-00-00-00-00-03"), "d0", PhysicalAddress.Parse("02-00-00-00-00-04"), other, 1500));
        socket.Execute(batch);
        var link = socket.FindLink("d0")!.Index;
        var route = new RouteSpec(IPNetwork.Parse("10.9.0.0/16"), link, null, RouteScope.Link);
        var neighbour = new NeighbourSpec(link, IPAddress.Parse("10.9.0.1"), PhysicalAddress.Parse("02-00-00-00-00-09"));
        batch.Clear();
        batch.ReplaceRoute(route);
        batch.ReplaceNeighbour(neighbour);
        batch.DeleteRoute(route);
        batch.DeleteNeighbour(neighbour);
        batch.DeleteLink("d0");
        socket.Execute(batch);

        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        deadline.CancelAfter(TimeSpan.FromSeconds(60));
        var seen = new List<RouteEvent>();
        RouteEventKind[] wanted = [RouteEventKind.LinkChanged, RouteEventKind.RouteDeleted, RouteEventKind.NeighbourDeleted, RouteEventKind.LinkDeleted];
        while (!wanted.All(kind => seen.Contains(new RouteEvent(kind, link)))) await events.ReadAsync(seen, deadline.Token);
    }

    [Fact]
    public async Task Events_AddressesThatLinksGetByThemselves_AreNotTold()
    {
        using var inside = RouteSocketTests.Namespaces.Create();
        using var socket = RouteSocket.Open(inside);
        using var other = RouteSocketTests.Namespaces.Create();
        using var peer = RouteSocket.Open(other);
        using var events = RouteEvents.Open(inside);
        using var batch = new NetlinkBatch();
        batch.AddVeth(new VethSpec("d0", PhysicalAddress.Parse("02-00-00-00-00-03"), "d0", PhysicalAddress.Parse("02-00-00-00-00-04"), other, 1500));
        socket.Execute(batch);
        var link = socket.FindLink("d0")!.Index;
        foreach (var (end, index) in ((RouteSocket, int)[])[(socket, link), (peer, peer.FindLink("d0")!.Index)])
        {
            batch.Clear();
            batch.SetLinkUp(index);
            end.Execute(batch);
        }
        // Its coming is told when it is known that nobody else has it; what is added then is told after that.
        Assert.True(SpinWait.SpinUntil(() => socket.ListAddresses().Any(address => address.LinkIndex == link && address.Address.IsIPv6LinkLocal), TimeSpan.FromSeconds(60)));
        batch.Clear();
        batch.DeleteAddress(link, socket.ListAddresses().First(address => address.LinkIndex == link).Address, 64);
        batch.AddAddress(link, IPAddress.Parse("10.9.0.1"), 16);
        socket.Execute(batch);
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        deadline.CancelAfter(TimeSpan.FromSeconds(60));
        var seen = new List<RouteEvent>();
        var told = new RouteEvent(RouteEventKind.AddressChanged, link);
        while (!seen.Contains(told)) await events.ReadAsync(seen, deadline.Token);
        Assert.Equal(1, seen.Count(change => change == told));
    }

    [Fact]
    public void Events_TruncatedOrLying_EndTheWalk()
    {
        foreach (var hex in (string[])["", "10", "10000000190000000000000000000000", "ffffffff190000000000000000000000", "00000000190000000000000000000000"])
        {
            var events = new List<RouteEvent>();
            RouteEvents.Parse(Convert.FromHexString(hex), events);
            Assert.Empty(events);
        }
    }
}
