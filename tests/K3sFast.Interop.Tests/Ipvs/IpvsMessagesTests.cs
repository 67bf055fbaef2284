using System.Net;
using K3sFast.Interop.Ipvs;
using K3sFast.Interop.Netlink;

namespace K3sFast.Interop.Tests.Ipvs;

public sealed class IpvsMessagesTests
{
    private const ushort Family = 0x1d;
    private static readonly IpvsServer s_server = new(6, new IPEndPoint(IPAddress.Parse("10.43.0.80"), 80), "rr", TimeSpan.FromSeconds(10800));
    private static readonly IpvsServer s_server6 = new(17, new IPEndPoint(IPAddress.Parse("fd00:43::10"), 53), "mh", IsSourceHashed: true);

    [Fact]
    public void AddServer_Written_IsTheWholeServer()
    {
        using var batch = new NetlinkBatch();
        IpvsMessages.AddServer(batch, Family, s_server);
        Assert.Equal(
            "68000000" + "1d00" + "0500" + "01000000" + "00000000"
            + "01" + "01" + "0000" // IPVS_CMD_NEW_SERVICE, version 1
            + "5400" + "0180" // IPVS_CMD_ATTR_SERVICE
            + "0600" + "0100" + "02000000" + "0600" + "0200" + "06000000" // AF_INET, TCP
            + "1400" + "0300" + "0a2b0050000000000000000000000000" + "0600" + "0400" + "00500000"
            + "0700" + "0600" + "72720000" // "rr"
            + "0c00" + "0700" + "01000000ffffffff" // persistent
            + "0800" + "0800" + "302a0000" + "0800" + "0900" + "ffffffff",
            Convert.ToHexStringLower(batch.Written));
    }

    [Fact]
    public void AddDestination_Written_NamesTheServerAndTheDestination()
    {
        using var batch = new NetlinkBatch();
        IpvsMessages.AddDestination(batch, Family, s_server, new IpvsDestination(new IPEndPoint(IPAddress.Parse("10.42.0.5"), 8080)));
        Assert.Equal(
            "8c000000" + "1d00" + "0500" + "01000000" + "00000000"
            + "05" + "01" + "0000" // IPVS_CMD_NEW_DEST
            + "3000" + "0180"
            + "0600" + "0100" + "02000000" + "0600" + "0200" + "06000000"
            + "1400" + "0300" + "0a2b0050000000000000000000000000" + "0600" + "0400" + "00500000"
            + "4800" + "0280" // IPVS_CMD_ATTR_DEST
            + "1400" + "0100" + "0a2a0005000000000000000000000000" + "0600" + "0200" + "1f900000"
            + "0800" + "0300" + "00000000" + "0800" + "0400" + "01000000" + "0800" + "0500" + "00000000" + "0800" + "0600" + "00000000"
            + "0600" + "0b00" + "02000000",
            Convert.ToHexStringLower(batch.Written));
    }

    [Fact]
    public void DeleteServer_Written_IsItsKeyAlone()
    {
        using var batch = new NetlinkBatch();
        IpvsMessages.DeleteServer(batch, Family, s_server);
        Assert.Equal(16 + 4 + 4 + 8 + 8 + 20 + 8, batch.Length);
        Assert.StartsWith("03" + "01" + "0000", Convert.ToHexStringLower(batch.Written[16..]), StringComparison.Ordinal);
    }

    // The kernel answers in the layout of requests.
    [Fact]
    public void Read_WhatWasWritten_IsTheSame()
    {
        foreach (var server in (IpvsServer[])[s_server, s_server6])
        {
            using var batch = new NetlinkBatch();
            IpvsMessages.AddServer(batch, Family, server);
            Assert.Equal(server, IpvsMessages.ReadServer(batch.Written[16..]));
            batch.Clear();
            var destination = new IpvsDestination(new IPEndPoint(server == s_server ? IPAddress.Parse("10.42.0.5") : IPAddress.Parse("fd00:42::5"), 8080), 3);
            IpvsMessages.SetDestination(batch, Family, server, destination);
            Assert.Equal(destination, IpvsMessages.ReadDestination(batch.Written[16..], server == s_server6));
        }
        Assert.Null(IpvsMessages.ReadServer([1, 2, 3]));
        Assert.Null(IpvsMessages.ReadDestination([1, 1, 0, 0, 8, 0, 2, 0x80], false));
    }

    [Fact]
    public void Socket_KernelWithIpvs_KeepsServersAndDestinations()
    {
        if (!Environment.IsPrivilegedProcess) Assert.Skip("needs root: makes network namespaces");
        using var inside = Netlink.RouteSocketTests.Namespaces.Create();
        using var socket = IpvsSocket.TryOpen(inside);
        if (socket is null) Assert.Skip("needs a kernel with CONFIG_IP_VS");
        using var batch = new NetlinkBatch();
        var destination = new IpvsDestination(new IPEndPoint(IPAddress.Parse("10.42.0.5"), 8080));
        IpvsMessages.AddServer(batch, socket.Family, s_server);
        IpvsMessages.AddDestination(batch, socket.Family, s_server, destination);
        socket.Execute(batch);
        Assert.Equal(s_server, Assert.Single(socket.ListServers()));
        Assert.Equal(destination, Assert.Single(socket.ListDestinations(s_server)));
    }
}
