using System.Buffers.Binary;
using System.Net;

namespace K3sFast.Interop.NfTables;

/// <summary>linux/netfilter.h: what a table sees.</summary>
public enum NftFamily : byte
{
    /// <summary>IPv4 and IPv6 (NFPROTO_INET).</summary>
    Inet = 1,

    /// <summary>IPv4.</summary>
    IPv4 = 2,

    /// <summary>IPv6.</summary>
    IPv6 = 10,
}

/// <summary>Bytes that compare by value: a set element's key, a constant in a rule. Never changed after construction.</summary>
public readonly struct NftData(params byte[] bytes) : IEquatable<NftData>
{
    private readonly byte[] _bytes = bytes;

    /// <summary>The bytes.</summary>
    public ReadOnlySpan<byte> Bytes => _bytes;

    /// <summary>An address in network order.</summary>
    public static NftData Of(IPAddress address) => new(address.GetAddressBytes());

    /// <summary>A number in the machine's order: marks, states, generated numbers.</summary>
    public static NftData OfHost(uint value) => new(BitConverter.GetBytes(value));

    /// <summary>A port in network order.</summary>
    public static NftData OfPort(ushort port) => new((byte)(port >> 8), (byte)port);

    /// <summary>Values side by side, each filled up to 4 bytes: how the kernel concatenates.</summary>
    public static NftData Concat(params ReadOnlySpan<NftData> parts)
    {
        var length = 0;
        foreach (var part in parts) length += (part._bytes.Length + 3) & ~3;
        var bytes = new byte[length];
        var at = 0;
        foreach (var part in parts)
        {
            part._bytes.CopyTo(bytes, at);
            at += (part._bytes.Length + 3) & ~3;
        }
        return new NftData(bytes);
    }

    /// <inheritdoc/>
    public bool Equals(NftData other) => (_bytes ?? []).AsSpan().SequenceEqual(other._bytes);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is NftData other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode()
    {
        var hash = new HashCode();
        hash.AddBytes(_bytes);
        return hash.ToHashCode();
    }

    /// <inheritdoc/>
    public override string ToString() => Convert.ToHexStringLower(_bytes ?? []);

    /// <summary>Equal bytes.</summary>
    public static bool operator ==(NftData left, NftData right) => left.Equals(right);

    /// <summary>Different bytes.</summary>
    public static bool operator !=(NftData left, NftData right) => !left.Equals(right);
}

/// <summary>What becomes of a packet: linux/netfilter.h and nf_tables.h (nft_verdicts).</summary>
public enum NftVerdictCode
{
    /// <summary>Thrown away.</summary>
    Drop = 0,

    /// <summary>Done with this base chain.</summary>
    Accept = 1,

    /// <summary>To another chain, and back when it ends.</summary>
    Jump = -3,

    /// <summary>To another chain for good.</summary>
    Goto = -4,

    /// <summary>Back to the calling chain.</summary>
    Return = -5,
}

/// <summary>A verdict and, for jump and goto, its chain.</summary>
public readonly record struct NftVerdict(NftVerdictCode Code, string? Chain = null)
{
    /// <summary>Throw away.</summary>
    public static NftVerdict Drop => new(NftVerdictCode.Drop);

    /// <summary>Done with this base chain.</summary>
    public static NftVerdict Accept => new(NftVerdictCode.Accept);

    /// <summary>Go to a chain for good.</summary>
    public static NftVerdict Goto(string chain) => new(NftVerdictCode.Goto, chain);

    /// <summary>Go to a chain and come back.</summary>
    public static NftVerdict Jump(string chain) => new(NftVerdictCode.Jump, chain);
}

/// <summary>
/// A type of set keys and data. The kernel only knows lengths; the numbers are libnftables' (include/datatype.h of nftables), so that
/// <c>nft list</c> can print what we make. A concatenation has 6 bits per part.
/// </summary>
public readonly record struct NftType(uint Id, int Length)
{
    /// <summary>An IPv4 address.</summary>
    public static NftType IPv4Address => new(7, 4);

    /// <summary>An IPv6 address.</summary>
    public static NftType IPv6Address => new(8, 16);

    /// <summary>An IP protocol's number.</summary>
    public static NftType Protocol => new(12, 1);

    /// <summary>A port.</summary>
    public static NftType Port => new(13, 2);

    /// <summary>A plain number of 4 bytes.</summary>
    public static NftType Number => new(4, 4);

    /// <summary>A number of 4 bytes that may be part of a concatenation: nft knows no other such type.</summary>
    public static NftType Mark => new(19, 4);

    /// <summary>A verdict (data only).</summary>
    public static NftType Verdict => new(NftConstants.NFT_DATA_VERDICT, 16);

    /// <summary>The address type of a family.</summary>
    public static NftType Address(NftFamily family) => family == NftFamily.IPv6 ? IPv6Address : IPv4Address;

    /// <summary>Types side by side.</summary>
    public static NftType Concat(params ReadOnlySpan<NftType> parts)
    {
        var (id, length) = (0u, 0);
        foreach (var part in parts) (id, length) = ((id << 6) | part.Id, length + ((part.Length + 3) & ~3));
        return new NftType(id, length);
    }
}

/// <summary>An element of a set or map.</summary>
/// <param name="Key">The key.</param>
/// <param name="Data">What a map says for it; default = nothing (a set) or a verdict.</param>
/// <param name="Verdict">What a verdict map says for it.</param>
/// <param name="ExpirationMs">In a set with a timeout: it leaves after this long; 0 = after the set's.</param>
public readonly record struct NftElement(NftData Key, NftData Data = default, NftVerdict? Verdict = null, ulong ExpirationMs = 0);

/// <summary>Number of a 4-byte register: 0 to 15. A 16-byte value fills four.</summary>
public static class NftRegister
{
    // NFT_REG32_00; below it are the verdict register and the four old 16-byte ones.
    private const uint First = 8;

    internal static uint Wire(int register) => First + (uint)register;

}
