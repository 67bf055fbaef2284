using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace K3sFast.Network.Proxy.Ebpf;

// Keys and values of the maps of native/bpf/traffic.c, byte for byte; those that it shares are in SocketEntries.cs.

/// <summary>struct outside_frontend: 40 bytes.</summary>
/// <param name="Service">Number of the service port; clients' affinities and sources are noted under it.</param>
/// <param name="Pool">Number of the endpoints for who is outside.</param>
/// <param name="PodsPool">Number of the endpoints for pods.</param>
/// <param name="Count">How many endpoints in <paramref name="Pool"/>.</param>
/// <param name="PodsCount">How many in <paramref name="PodsPool"/>.</param>
/// <param name="AffinitySeconds">A client stays for so long; 0 = no affinity.</param>
/// <param name="Flags">What else holds.</param>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct OutsideFrontend(ulong Service, ulong Pool, ulong PodsPool, uint Count, uint PodsCount, uint AffinitySeconds, OutsideFlags Flags);

/// <summary>Flags of an <see cref="OutsideFrontend"/>.</summary>
[Flags]
internal enum OutsideFlags : uint
{
    None = 0,

    /// <summary>The node speaks for the client.</summary>
    Masquerades = 1,

    /// <summary>Only some sources may come in.</summary>
    HasSources = 2,

    /// <summary>No endpoint means silence, so that a load balancer tries another node.</summary>
    IsSilent = 4,
}

/// <summary>struct source_key: 28 bytes. Bits of the service's number and of the network.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 4)]
internal readonly record struct SourceKey(uint Length, ulong Service, SocketAddress Network)
{
    internal static SourceKey Of(ulong service, IPNetwork network) =>
        new(64 + (uint)network.PrefixLength + (network.BaseAddress.AddressFamily == AddressFamily.InterNetwork ? 96u : 0), service, SocketAddress.Of(network.BaseAddress));
}

/// <summary>struct network: 40 bytes.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct PodRange(SocketAddress Address, SocketAddress Mask, uint IsKnown, uint MasqueradesAll)
{
    internal static PodRange Of(IPNetwork? network, bool masqueradesAll)
    {
        if (network is not { } known) return new PodRange(default, default, 0, masqueradesAll ? 1u : 0);
        Span<byte> mask = stackalloc byte[16];
        mask.Clear();
        var bits = known.PrefixLength + (known.BaseAddress.AddressFamily == AddressFamily.InterNetwork ? 96 : 0);
        for (var bit = 0; bit < bits; bit++) mask[bit / 8] |= (byte)(0x80 >> (bit % 8));
        return new PodRange(SocketAddress.Of(known.BaseAddress), SocketAddress.Of(mask), 1, masqueradesAll ? 1u : 0);
    }
}

/// <summary>struct flow: 40 bytes.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct TrafficFlow(SocketAddress Source, SocketAddress Destination, ushort SourcePort, ushort DestinationPort, ushort Protocol, ushort Direction);

/// <summary>struct translation: 40 bytes.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct TrafficTranslation(SocketAddress Address, ushort Port, ushort ClientPort, uint Flags, ulong Pool, ulong UsedNanoseconds);

/// <summary>struct settings of traffic.c: 40 bytes.</summary>
/// <param name="LinkHeader">Bytes before the network header: 14 for Ethernet, none for a tunnel.</param>
/// <param name="Mark">Bit of the mark that asks for masquerading.</param>
/// <param name="Unanswered">Seconds that a TCP connection without an answer is kept.</param>
/// <param name="Established">One that was answered.</param>
/// <param name="HalfEnded">One that one side has ended.</param>
/// <param name="Ended">One that both have.</param>
/// <param name="Reset">One that was reset.</param>
/// <param name="Datagram">A UDP flow without an answer.</param>
/// <param name="DatagramStream">One with answers.</param>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct TrafficSettings(
    uint LinkHeader, uint Mark, uint Unanswered, uint Established, uint HalfEnded, uint Ended, uint Reset, uint Datagram, uint DatagramStream, uint Zero = 0)
{
    /// <summary>Ethernet's header.</summary>
    internal const uint Ethernet = 14;

    // linux: net/netfilter/nf_conntrack_proto_tcp.c and _udp.c, their defaults.
    private const uint FiveDays = 5 * 24 * 3600, TwoMinutes = 120, Minute = 60;

    // Flags of a translation.
    private const uint Answered = 1, ClientEnded = 8, ServerEnded = 16, WasReset = 32;
    private const ushort Udp = 17;

    /// <summary>True for what the programs no longer go by.</summary>
    internal bool IsOver(in TrafficFlow flow, in TrafficTranslation translation, ulong nowNanoseconds)
    {
        var flags = translation.Flags;
        bool Is(uint flag) => (flags & flag) != 0;
        var seconds = flow.Protocol == Udp ? (Is(Answered) ? DatagramStream : Datagram)
            : Is(WasReset) ? Reset
            : Is(ClientEnded) && Is(ServerEnded) ? Ended
            : Is(ClientEnded) || Is(ServerEnded) ? HalfEnded
            : Is(Answered) ? Established : Unanswered;
        // Two clocks of one source, read at two places.
        return nowNanoseconds > translation.UsedNanoseconds && nowNanoseconds - translation.UsedNanoseconds > seconds * 1_000_000_000ul;
    }

    /// <summary>What the flags ask for, else what the kernel's own connection tracking does.</summary>
    internal static TrafficSettings Of(ProxyOptions options)
    {
        uint Seconds(string name, uint otherwise) =>
            options.ConntrackSettings.TryGetValue("net/netfilter/nf_conntrack_" + name, out var text) && uint.TryParse(text, out var seconds) && seconds > 0 ? seconds : otherwise;
        return new TrafficSettings(
            Ethernet, 1u << options.MasqueradeBit, TwoMinutes, Seconds("tcp_timeout_established", FiveDays), Seconds("tcp_timeout_close_wait", Minute), TwoMinutes, 10,
            Seconds("udp_timeout", 30), Seconds("udp_timeout_stream", TwoMinutes));
    }
}
