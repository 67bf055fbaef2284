using System.Net;
using K3sFast.Interop.NfTables;

namespace K3sFast.Network.Proxy;

/// <summary>
/// The steps that our rules are made of, for one address family. Registers: a key starts at 0, so that address, protocol and port lie side by
/// side as sets want them; what a lookup found starts at <see cref="FoundRegister"/>.
/// </summary>
internal readonly record struct PacketSteps(NftFamily Family)
{
    /// <summary>Where what a lookup found is put: behind the longest key.</summary>
    internal const int FoundRegister = 8;

    // IFNAMSIZ of linux/if.h
    private const int InterfaceNameLength = 16;

    internal bool IsIPv6 => Family == NftFamily.IPv6;
    internal NftType AddressType => NftType.Address(Family);

    // RFC 791 §3.1: source at 12, destination at 16; RFC 8200 §3: 8 and 24.
    private int SourceOffset => IsIPv6 ? 8 : 12;
    private int DestinationOffset => IsIPv6 ? 24 : 16;
    private int AddressLength => IsIPv6 ? 16 : 4;
    internal int AddressRegisters => AddressLength / 4;

    /// <summary>address . protocol . port of the destination, from register 0.</summary>
    internal NftExpression[] LoadDestinationKey() => [LoadDestination(0), .. LoadPortKey(AddressRegisters)];

    /// <summary>protocol . port of the destination.</summary>
    internal static NftExpression[] LoadPortKey(int register) =>
    [
        new NftMeta(NftMetaKey.TransportProtocol, register),
        // TCP, UDP and SCTP all have the destination port at 2.
        new NftPayload(NftPayloadBase.Transport, 2, 2, register + 1),
    ];

    internal NftExpression LoadSource(int register) => new NftPayload(NftPayloadBase.Network, SourceOffset, AddressLength, register);

    internal NftExpression LoadDestination(int register) => new NftPayload(NftPayloadBase.Network, DestinationOffset, AddressLength, register);

    internal NftExpression[] SourceIs(IPNetwork network, bool isInverted = false) => [LoadSource(0), .. Within(network, isInverted)];

    internal NftExpression[] DestinationIs(IPNetwork network, bool isInverted = false) => [LoadDestination(0), .. Within(network, isInverted)];

    internal NftExpression[] DestinationIsLocal() => [new NftAddressKind(IsSource: false, 0), new NftCompare(0, NftData.OfHost(NftAddressKind.Local))];

    internal NftExpression[] SourceIsLocal() => [new NftAddressKind(IsSource: true, 0), new NftCompare(0, NftData.OfHost(NftAddressKind.Local))];

    internal static NftExpression[] ConnectionIs(uint stateBits) =>
    [
        new NftConntrack(NftConntrackKey.State, 0),
        new NftBitwise(0, NftData.OfHost(stateBits), NftData.OfHost(0)),
        new NftCompare(0, NftData.OfHost(0), IsInverted: true),
    ];

    /// <summary>The packet came in by a link whose name starts with <paramref name="prefix"/>.</summary>
    internal static NftExpression[] InputStartsWith(string prefix, bool isInverted = false) =>
        [new NftMeta(NftMetaKey.InputName, 0), new NftCompare(0, new NftData(System.Text.Encoding.ASCII.GetBytes(prefix)), isInverted)];

    /// <summary>The packet came in by exactly this link (or, inverted, by another).</summary>
    internal static NftExpression[] InputIs(string name, bool isInverted = false)
    {
        var padded = new byte[InterfaceNameLength];
        System.Text.Encoding.ASCII.GetBytes(name, padded);
        return [new NftMeta(NftMetaKey.InputName, 0), new NftCompare(0, new NftData(padded), isInverted)];
    }

    /// <summary>Translates the destination to a constant.</summary>
    internal NftExpression[] TranslateTo(IPAddress address, ushort port) =>
    [
        new NftImmediate(0, NftData.Of(address)),
        new NftImmediate(AddressRegisters, NftData.OfPort(port)),
        new NftTranslate(Family, IsSource: false, 0, AddressRegisters),
    ];

    /// <summary>Translates the destination to what a lookup left in the registers from <paramref name="register"/>: address . port.</summary>
    internal NftExpression TranslateToRegisters(int register) => new NftTranslate(Family, IsSource: false, register, register + AddressRegisters);

    private static NftExpression[] Within(IPNetwork network, bool isInverted)
    {
        var address = network.BaseAddress.GetAddressBytes();
        if (network.PrefixLength == address.Length * 8) return [new NftCompare(0, new NftData(address), isInverted)];
        var mask = new byte[address.Length];
        for (var bit = 0; bit < network.PrefixLength; bit++) mask[bit / 8] |= (byte)(0x80 >> (bit % 8));
        return [new NftBitwise(0, new NftData(mask), new NftData(new byte[mask.Length])), new NftCompare(0, new NftData(address), isInverted)];
    }
}
