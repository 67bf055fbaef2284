using System.Net;
using K3sFast.Network.Proxy;
using K3sFast.Network.Proxy.Ebpf;

namespace K3sFast.Network.Tests.Proxy.Ebpf;

public sealed class SocketStateTests
{
    private const byte Tcp = 6, Udp = 17, Sctp = 132;
    private static readonly IPAddress s_clusterIP = IPAddress.Parse("10.43.0.80");

    private readonly SocketState _state = new();
    private readonly SocketChanges _changes = new();

    [Fact]
    public void Set_ClusterIPOnly_WritesOneFrontendAndASlotForEachEndpoint()
    {
        Set(Port(Tcp, 1, 2, 3));
        var (key, value) = Assert.Single(_changes.Frontends);
        Assert.Equal(SocketEndpoint.Of(s_clusterIP, 80, Tcp), key);
        Assert.Equal((3u, 0u), (value!.Value.Count, value.Value.AffinitySeconds));
        Assert.Equal([0ul, 1ul, 2ul], _changes.Slots.Select(slot => slot.Key.Slot));
        Assert.Empty(_changes.Members);
    }

    [Fact]
    public void Set_OneEndpointOfThousandExchanged_WritesOneSlot()
    {
        int[] all = [.. Enumerable.Range(1, 1000)];
        Set(Port(Tcp, all));
        Set(Port(Tcp, [.. all[1..], 2000]));
        Assert.Equal(1, _changes.Count);
        Assert.Equal(Backend(2000, Tcp), Assert.Single(_changes.Slots).Value);
    }

    [Fact]
    public void Set_OneEndpointOfThousandGone_FillsItsSlotFromTheEnd()
    {
        int[] all = [.. Enumerable.Range(1, 1000)];
        Set(Port(Tcp, all));
        Set(Port(Tcp, all[1..]));
        Assert.Equal(3, _changes.Count);
        var moved = Assert.Single(_changes.Slots);
        Assert.Equal((0ul, Backend(1000, Tcp)), (moved.Key.Slot, moved.Value));
        Assert.Equal(999ul, Assert.Single(_changes.GoneSlots).Slot);
        Assert.Equal(999u, _changes.Frontends.Values.Single()!.Value.Count);
    }

    [Fact]
    public void Set_AnySequenceOfEndpoints_SlotsAreExactlyTheEndpoints()
    {
        var random = new Random(17);
        var kernel = (Frontends: new Dictionary<SocketEndpoint, SocketFrontend>(), Slots: new Dictionary<SlotKey, SocketEndpoint>(), Members: new Dictionary<MemberKey, byte>());
        for (var round = 0; round < 500; round++)
        {
            int[] endpoints = [.. Enumerable.Range(1, 12).Where(_ => random.Next(2) == 0)];
            int[] serving = [.. Enumerable.Range(1, 12).Where(_ => random.Next(2) == 0)];
            var port = Port(random.Next(2) == 0 ? Tcp : Udp, endpoints) with { Affinity = TimeSpan.FromSeconds(random.Next(2)), ServingEndpoints = Endpoints([.. endpoints.Union(serving)]) };
            Set(random.Next(10) == 0 ? [] : [port]);
            Play(kernel);
            var (frontends, slots, members) = _state.Snapshot();
            Assert.Equal(frontends.ToHashSet(), kernel.Frontends.ToHashSet());
            Assert.Equal(slots.ToHashSet(), kernel.Slots.ToHashSet());
            Assert.Equal(members.ToHashSet(), kernel.Members.ToHashSet());
            foreach (var frontend in frontends.Values) Assert.Equal(frontend.Count, (uint)slots.Count(slot => slot.Key.Pool == frontend.Pool));
        }
    }

    [Fact]
    public void Set_ServiceGone_LeavesNothing()
    {
        Set(Port(Udp, 1, 2) with { NodePort = 30080, ExternalIPs = [IPAddress.Parse("203.0.113.9")] });
        Set();
        Assert.Equal(3, _changes.Frontends.Count);
        Assert.All(_changes.Frontends.Values, value => Assert.Null(value));
        Assert.Equal((2, 2, 2), (_changes.GoneSlots.Count, _changes.GoneMembers.Count, _changes.GoneDatagram.Count));
        Assert.Equal((0, 0), (_state.FrontendCount, _state.NodePorts));
    }

    [Fact]
    public void Set_LocalPolicies_ChangeTheClusterIPOnly()
    {
        Set(Port(Tcp, 1, 2) with { IsInternalLocal = true, IsExternalLocal = true, NodePort = 30080, LocalEndpoints = Endpoints(1) });
        Assert.Equal(1u, _changes.Frontends[SocketEndpoint.Of(s_clusterIP, 80, Tcp)]!.Value.Count);
        Assert.Equal(2u, _changes.Frontends[SocketEndpoint.OfNode(isIPv6: false, 30080, Tcp)]!.Value.Count);
    }

    [Fact]
    public void Set_NoEndpointAnywhere_RefusesAndNoneHere_IsLeftToPackets()
    {
        Set(Port(Tcp));
        Assert.Equal(0u, _changes.Frontends.Values.Single()!.Value.Count);
        Assert.False(SocketState.NeedsRules(Port(Tcp), hasTraffic: false));
        // Who comes from outside gets his refusal from a rule.
        Assert.True(SocketState.NeedsRules(Port(Tcp), hasTraffic: true));
        var silent = Port(Tcp, 1) with { IsInternalLocal = true };
        Set(silent);
        Assert.Null(_changes.Frontends.Values.Single());
        Assert.True(SocketState.NeedsRules(silent, hasTraffic: true));
    }

    [Fact]
    public void Set_WhatOnlyPacketsKnow_IsLeftToThem()
    {
        Set(Port(Sctp, 1));
        Assert.Empty(_changes.Frontends);
        Assert.True(SocketState.NeedsRules(Port(Sctp, 1), hasTraffic: true));
        // Who may use a balancer's address is told by his own, which a socket does not have yet.
        var guarded = Port(Tcp, 1) with { LoadBalancerIPs = [IPAddress.Parse("203.0.113.10")], LoadBalancerSources = [IPNetwork.Parse("198.51.100.0/24")] };
        Set(guarded);
        Assert.Equal([SocketEndpoint.Of(s_clusterIP, 80, Tcp)], _changes.Frontends.Keys);
        Assert.True(SocketState.NeedsRules(guarded, hasTraffic: true));
    }

    [Fact]
    public void Set_TwoServicesClaimOneAddress_TheFirstHasItUntilItGoes()
    {
        var port = Port(Tcp, 1) with { ExternalIPs = [IPAddress.Parse("203.0.113.9")] };
        var key = SocketEndpoint.Of(IPAddress.Parse("203.0.113.9"), 80, Tcp);
        _state.Set("4/default/one", [port], _changes);
        var first = _changes.Frontends[key];
        _changes.Clear();
        _state.Set("4/default/two", [port with { ClusterIP = IPAddress.Parse("10.43.0.81") }], _changes);
        Assert.DoesNotContain(key, _changes.Frontends.Keys);
        _changes.Clear();
        _state.Set("4/default/one", [], _changes);
        Assert.NotNull(_changes.Frontends[key]);
        Assert.NotEqual(first, _changes.Frontends[key]);
        _changes.Clear();
        _state.Set("4/default/two", [], _changes);
        Assert.Null(_changes.Frontends[key]);
    }

    private void Set(params ServicePort[] ports)
    {
        _changes.Clear();
        _state.Set("4/default/web", ports, _changes);
    }

    private void Play((Dictionary<SocketEndpoint, SocketFrontend> Frontends, Dictionary<SlotKey, SocketEndpoint> Slots, Dictionary<MemberKey, byte> Members) kernel)
    {
        foreach (var (key, value) in _changes.Members) kernel.Members[key] = value;
        foreach (var (key, value) in _changes.Slots) kernel.Slots[key] = value;
        foreach (var (key, value) in _changes.Frontends)
        {
            if (value is { } frontend) kernel.Frontends[key] = frontend;
            else kernel.Frontends.Remove(key);
        }
        foreach (var key in _changes.GoneSlots) kernel.Slots.Remove(key);
        foreach (var key in _changes.GoneMembers) kernel.Members.Remove(key);
    }

    private static IPAddress Address(int number) => new([10, 42, (byte)(number >> 8), (byte)number]);

    private static SocketEndpoint Backend(int number, byte protocol) => SocketEndpoint.Of(Address(number), 8080, protocol);

    private static Endpoint[] Endpoints(params int[] numbers) => [.. numbers.Select(number => new Endpoint(Address(number), 8080, IsLocal: true))];

    private static ServicePort Port(byte protocol, params int[] endpoints) => new()
    {
        Namespace = "default", Name = "web", Protocol = protocol, Port = 80, ClusterIP = s_clusterIP, Endpoints = Endpoints(endpoints),
    };
}
