using System.Net;
using System.Net.NetworkInformation;
using K3sFast.Interop.Conntrack;
using K3sFast.Interop.Netlink;

namespace K3sFast.Interop.Tests.Netlink;

public sealed class NetlinkBatchTests
{
    [Fact]
    public void DeleteLink_Written_IsHeaderIfinfoAndPaddedName()
    {
        using var batch = new NetlinkBatch();
        batch.DeleteLink("k3sfabc");

        Assert.Equal(
            "2c000000" + "1100" + "0500" + "01000000" + "00000000" // length 44, RTM_DELLINK, REQUEST|ACK, sequence 1
            + "00000000" + "00000000" + "00000000" + "00000000" // ifinfomsg
            + "0c00" + "0300" + "6b33736661626300", // IFLA_IFNAME "k3sfabc\0"
            Convert.ToHexStringLower(batch.Written));
    }

    [Fact]
    public void ReplaceRoute_HostRoute_HasDestinationLinkAndOwnProtocol()
    {
        using var batch = new NetlinkBatch();
        batch.ReplaceRoute(new RouteSpec(IPNetwork.Parse("10.42.0.5/32"), 7, null, RouteScope.Link));

        Assert.Equal(
            "2c000000" + "1800" + "0505" + "01000000" + "00000000" // RTM_NEWROUTE, REQUEST|ACK|REPLACE|CREATE
            + "02200000" + "fe6bfd01" + "00000000" // AF_INET /32, table main, protocol 107, scope link, unicast
            + "0800" + "0100" + "0a2a0005" // RTA_DST
            + "0800" + "0400" + "07000000", // RTA_OIF
            Convert.ToHexStringLower(batch.Written));
    }

    [Fact]
    public void ReplaceNeighbour_MacOfSixBytes_IsPadded()
    {
        using var batch = new NetlinkBatch();
        batch.ReplaceNeighbour(new NeighbourSpec(3, IPAddress.Parse("169.254.1.1"), PhysicalAddress.Parse("EE-EE-EE-EE-EE-EE")));

        Assert.Equal(
            "30000000" + "1c00" + "0505" + "01000000" + "00000000"
            + "02000000" + "03000000" + "8000" + "00" + "00" // AF_INET, link 3, NUD_PERMANENT
            + "0800" + "0100" + "a9fe0101"
            + "0a00" + "0200" + "eeeeeeeeeeee0000",
            Convert.ToHexStringLower(batch.Written));
    }

    [Fact]
    public void ConntrackDelete_Written_NamesTheOriginalTuple()
    {
        using var batch = new NetlinkBatch();
        ConntrackTable.WriteDelete(batch, new ConntrackTuple(IPAddress.Parse("10.42.0.2"), IPAddress.Parse("10.43.0.10"), 17, 4000, 53));

        Assert.Equal(
            "48000000" + "0201" + "0500" + "01000000" + "00000000" // IPCTNL_MSG_CT_DELETE
            + "02000000" // AF_INET
            + "3400" + "0180" // CTA_TUPLE_ORIG
            + "1400" + "0180" + "0800" + "0100" + "0a2a0002" + "0800" + "0200" + "0a2b000a"
            + "1c00" + "0280" + "0500" + "0100" + "11000000" + "0600" + "0200" + "0fa00000" + "0600" + "0300" + "00350000",
            Convert.ToHexStringLower(batch.Written));
    }

    [Fact]
    public void Batch_SeveralMessages_AreNumberedAndAligned()
    {
        using var batch = new NetlinkBatch();
        for (var i = 0; i < 1000; i++) batch.DeleteLink(new string('x', 1 + (i % 15)));

        Assert.Equal(1000, batch.Count);
        var rest = batch.Written;
        var expected = 1u;
        while (rest.Length > 0)
        {
            Assert.Equal(expected++, BitConverter.ToUInt32(rest[8..]));
            var length = (int)BitConverter.ToUInt32(rest);
            rest = rest[((length + 3) & ~3)..];
        }
        Assert.Equal(1001u, expected);
    }

    [Fact]
    public void Batch_Reused_AllocatesNothing()
    {
        using var batch = new NetlinkBatch();
        var route = new RouteSpec(IPNetwork.Parse("10.42.0.5/32"), 7);
        void Write()
        {
            batch.Clear();
            batch.ReplaceRoute(route);
            batch.DeleteLink("k3sfabc");
        }
        for (var i = 0; i < 100; i++) Write();

        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++) Write();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public void Attributes_TruncatedOrLying_EndTheWalk()
    {
        foreach (var hex in (string[])["", "04", "0300", "03000100", "ffff0100", "08000100aabb"])
        {
            var attributes = new NetlinkAttributes(Convert.FromHexString(hex));
            Assert.False(attributes.Next(), hex);
        }
        var last = new NetlinkAttributes(Convert.FromHexString("0500010042"));
        Assert.True(last.Next());
        Assert.Equal(0x42, last.U8);
        Assert.False(last.Next());
    }
}
