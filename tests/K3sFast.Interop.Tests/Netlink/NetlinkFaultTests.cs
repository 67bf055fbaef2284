using System.Net;
using System.Net.NetworkInformation;
using K3sFast.Interop.Netlink;
using static K3sFast.Interop.Netlink.NetlinkConstants;

namespace K3sFast.Interop.Tests.Netlink;

/// <summary>What the kernel does to who listens too slowly, asks for too much, or asks while things change.</summary>
public sealed class NetlinkFaultTests
{
    // The kernel gives no less than some 2 KB (SOCK_MIN_RCVBUF): two or three acknowledgements.
    private const int TinyQueueBytes = 1;

    [Fact]
    public void Execute_MoreMessagesThanTheUnprivilegedCanBeAnswered_AreAllCarriedOut()
    {
        using var inside = RouteSocketTests.Namespaces.Create();
        // net.core.rmem_default where nobody changed it.
        using var socket = NetlinkSocket.Open(NetlinkProtocol.Route, inside, 212_992 / 2);
        using var batch = new NetlinkBatch();
        batch.SetLinkUp(1);
        for (var i = 0; i < 5000; i++) batch.ReplaceRoute(Route(i));
        batch.SetLinkUp(99);
        for (var i = 5000; i < 6000; i++) batch.ReplaceRoute(Route(i));
        Assert.Equal(("set link up", Errno.ENODEV), Refusal(() => socket.Execute(batch)));
        using var reader = RouteSocket.Open(inside);
        Assert.Equal(6000, reader.ListRoutes(isIPv6: false).Count(static route => route.Protocol == RouteSpec.OwnProtocol));
    }

    [Fact]
    public void Execute_AnswersDoNotFit_SaysSoAndTheSocketIsAsGoodAsNew()
    {
        using var inside = RouteSocketTests.Namespaces.Create();
        using var socket = NetlinkSocket.Open(NetlinkProtocol.Route, inside, TinyQueueBytes);
        using var batch = new NetlinkBatch();
        for (var i = 0; i < 200; i++) batch.SetLinkUp(1);
        for (var round = 0; round < 3; round++)
        {
            var lost = Assert.Throws<KernelException>(() => socket.Execute(batch));
            Assert.Equal(("set link up", Errno.ENOBUFS), (lost.Operation, lost.Errno));
            using var one = new NetlinkBatch();
            one.SetLinkUp(1);
            socket.Execute(one);
        }
    }

    [Fact]
    public async Task Events_MoreThanFit_AreToldAsLostAndThoseAfterThemAreHeard()
    {
        using var inside = RouteSocketTests.Namespaces.Create();
        using var socket = RouteSocket.Open(inside);
        using var events = RouteEvents.Open(inside, 4096);
        using var batch = new NetlinkBatch();
        batch.SetLinkUp(1);
        for (var i = 0; i < 1000; i++) batch.ReplaceRoute(Route(i));
        for (var i = 0; i < 1000; i++) batch.DeleteRoute(Route(i));
        socket.Execute(batch);

        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        deadline.CancelAfter(TimeSpan.FromSeconds(60));
        var seen = new List<RouteEvent>();
        while (!seen.Contains(new RouteEvent(RouteEventKind.Lost, 0))) await events.ReadAsync(seen, deadline.Token);
        // What is asked for from then on is not too late.
        seen.Clear();
        while (!seen.Exists(static change => change.Kind == RouteEventKind.AddressChanged))
        {
            batch.Clear();
            batch.AddAddress(1, IPAddress.Parse("10.9.9.9"), 32);
            batch.DeleteAddress(1, IPAddress.Parse("10.9.9.9"), 32);
            socket.Execute(batch);
            await events.ReadAsync(seen, deadline.Token);
        }
    }

    [Theory]
    [InlineData(NLM_F_DUMP_INTR, 0)]
    [InlineData(0, Errno.EINTR)]
    [InlineData(0, Errno.EAGAIN)]
    public void Dump_Interrupted_IsAskedForAgainAndGivesNothingOfTheFirst(ushort flags, int errno)
    {
        var attempts = 0;
        using var kernel = new ScriptedKernel(_ => ++attempts < 3
            ? [Address("10.0.0.1", flags), errno == 0 ? ScriptedKernel.Done(flags) : ScriptedKernel.Message(NLMSG_DONE, NLM_F_MULTI, BitConverter.GetBytes(-errno))]
            : [Address("10.0.0.2", 0), ScriptedKernel.Done()]);
        using var socket = new RouteSocket(kernel.Socket);
        Assert.Equal("10.0.0.2", Assert.Single(socket.ListAddresses()).Address.ToString());
        Assert.Equal(3, attempts);
    }

    [Fact]
    public void Dump_NeverHoldingStill_IsAnErrorThatSaysSo()
    {
        using var kernel = new ScriptedKernel(static _ => [Address("10.0.0.1", NLM_F_DUMP_INTR), ScriptedKernel.Done(NLM_F_DUMP_INTR)]);
        using var socket = new RouteSocket(kernel.Socket);
        Assert.Equal("list addresses: EBUSY (the table changed during every attempt to read it)", Assert.Throws<KernelException>(() => socket.ListAddresses()).Message);
    }

    [Fact]
    public void Execute_KernelsWordsAndTolerance_GoByTheMessageThatWasRefused()
    {
        using var kernel = new ScriptedKernel(static request => ScriptedKernel.Split(request).Select(static message => ScriptedKernel.Acknowledge(message, BitConverter.ToUInt16(message, 4) switch
        {
            RouteConstants.RTM_DELLINK => Errno.ENODEV,
            RouteConstants.RTM_DELADDR => Errno.EPERM,
            _ => 0,
        })));
        using var socket = new RouteSocket(kernel.Socket);
        using var batch = new NetlinkBatch();
        batch.SetLinkUp(1);
        batch.DeleteLink("gone");
        socket.Execute(batch);
        batch.DeleteAddress(1, IPAddress.Loopback, 8);
        Assert.Equal(("delete address", Errno.EPERM), Refusal(() => socket.Execute(batch)));
        batch.Clear();
        batch.DeleteLink("gone");
        socket.Execute(batch);
    }

    private static byte[] Address(string address, ushort flags)
    {
        using var batch = new NetlinkBatch();
        batch.AddAddress(1, IPAddress.Parse(address), 32);
        return ScriptedKernel.Message(RouteConstants.RTM_NEWADDR, (ushort)(flags | NLM_F_MULTI), batch.Written[16..]);
    }

    private static RouteSpec Route(int i) => new(new IPNetwork(new IPAddress([10, 1, (byte)(i >> 8), (byte)i]), 32), 1, null, RouteScope.Link);

    private static (string Operation, int Errno) Refusal(Action action)
    {
        var refusal = Assert.Throws<KernelException>(action);
        return (refusal.Operation, refusal.Errno);
    }
}
