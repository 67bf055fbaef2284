using K3sFast.Interop.Netlink;
using static K3sFast.Interop.NfTables.NftConstants;

namespace K3sFast.Interop.NfTables;

/// <summary>One step of a rule: a pure value that knows how the kernel writes it. Steps run in order until one does not match.</summary>
public abstract record NftExpression
{
    /// <summary>The kernel's name of the expression.</summary>
    internal abstract string Name { get; }

    /// <summary>Writes the attributes of the expression's data.</summary>
    internal abstract void Write(NetlinkBatch batch);

    internal void WriteElement(NetlinkBatch batch)
    {
        var element = batch.BeginNested(NFTA_LIST_ELEM);
        batch.Text(NFTA_EXPR_NAME, Name);
        var data = batch.BeginNested(NFTA_EXPR_DATA);
        Write(batch);
        batch.EndNested(data);
        batch.EndNested(element);
    }

    internal static void WriteValue(NetlinkBatch batch, ushort type, NftData data)
    {
        var nested = batch.BeginNested(type);
        batch.Bytes(NFTA_DATA_VALUE, data.Bytes);
        batch.EndNested(nested);
    }

    internal static void WriteVerdict(NetlinkBatch batch, ushort type, NftVerdict verdict)
    {
        var nested = batch.BeginNested(type);
        var inner = batch.BeginNested(NFTA_DATA_VERDICT);
        batch.U32BigEndian(NFTA_VERDICT_CODE, (uint)verdict.Code);
        if (verdict.Chain is not null) batch.Text(NFTA_VERDICT_CHAIN, verdict.Chain);
        batch.EndNested(inner);
        batch.EndNested(nested);
    }
}

/// <summary>nft_meta_keys.</summary>
public enum NftMetaKey
{
    /// <summary>The packet's mark.</summary>
    Mark = 3,

    /// <summary>Name of the link it came in by; 16 bytes.</summary>
    InputName = 6,

    /// <summary>Name of the link it goes out by; 16 bytes.</summary>
    OutputName = 7,

    /// <summary>IP protocol; 1 byte.</summary>
    TransportProtocol = 16,
}

/// <summary>Loads a property of the packet.</summary>
public sealed record NftMeta(NftMetaKey Key, int Register) : NftExpression
{
    internal override string Name => "meta";

    internal override void Write(NetlinkBatch batch)
    {
        batch.U32BigEndian(NFTA_META_KEY, (uint)Key);
        batch.U32BigEndian(NFTA_META_DREG, NftRegister.Wire(Register));
    }
}

/// <summary>Sets a property of the packet.</summary>
public sealed record NftMetaSet(NftMetaKey Key, int Register) : NftExpression
{
    internal override string Name => "meta";

    internal override void Write(NetlinkBatch batch)
    {
        batch.U32BigEndian(NFTA_META_KEY, (uint)Key);
        batch.U32BigEndian(NFTA_META_SREG, NftRegister.Wire(Register));
    }
}

/// <summary>nft_payload_bases.</summary>
public enum NftPayloadBase
{
    /// <summary>The IP header.</summary>
    Network = 1,

    /// <summary>The TCP, UDP or SCTP header.</summary>
    Transport = 2,
}

/// <summary>Loads bytes of the packet.</summary>
public sealed record NftPayload(NftPayloadBase Base, int Offset, int Length, int Register) : NftExpression
{
    internal override string Name => "payload";

    internal override void Write(NetlinkBatch batch)
    {
        batch.U32BigEndian(NFTA_PAYLOAD_DREG, NftRegister.Wire(Register));
        batch.U32BigEndian(NFTA_PAYLOAD_BASE, (uint)Base);
        batch.U32BigEndian(NFTA_PAYLOAD_OFFSET, (uint)Offset);
        batch.U32BigEndian(NFTA_PAYLOAD_LEN, (uint)Length);
    }
}

/// <summary>Goes on only if the register equals (or, inverted, does not equal) the value.</summary>
public sealed record NftCompare(int Register, NftData Value, bool IsInverted = false) : NftExpression
{
    internal override string Name => "cmp";

    internal override void Write(NetlinkBatch batch)
    {
        batch.U32BigEndian(NFTA_CMP_SREG, NftRegister.Wire(Register));
        batch.U32BigEndian(NFTA_CMP_OP, IsInverted ? 1u : 0u);
        WriteValue(batch, NFTA_CMP_DATA, Value);
    }
}

/// <summary>Goes on only if the register, as a number in network order, lies between the two, both included.</summary>
public sealed record NftRange(int Register, NftData From, NftData To) : NftExpression
{
    internal override string Name => "range";

    internal override void Write(NetlinkBatch batch)
    {
        batch.U32BigEndian(NFTA_RANGE_SREG, NftRegister.Wire(Register));
        batch.U32BigEndian(NFTA_RANGE_OP, NFT_RANGE_EQ);
        WriteValue(batch, NFTA_RANGE_FROM_DATA, From);
        WriteValue(batch, NFTA_RANGE_TO_DATA, To);
    }
}

/// <summary>Register = (register and mask) xor value; mask and value have the same length.</summary>
public sealed record NftBitwise(int Register, NftData Mask, NftData Xor) : NftExpression
{
    internal override string Name => "bitwise";

    internal override void Write(NetlinkBatch batch)
    {
        batch.U32BigEndian(NFTA_BITWISE_SREG, NftRegister.Wire(Register));
        batch.U32BigEndian(NFTA_BITWISE_DREG, NftRegister.Wire(Register));
        batch.U32BigEndian(NFTA_BITWISE_LEN, (uint)Mask.Bytes.Length);
        WriteValue(batch, NFTA_BITWISE_MASK, Mask);
        WriteValue(batch, NFTA_BITWISE_XOR, Xor);
    }
}

/// <summary>Loads a constant.</summary>
public sealed record NftImmediate(int Register, NftData Value) : NftExpression
{
    internal override string Name => "immediate";

    internal override void Write(NetlinkBatch batch)
    {
        batch.U32BigEndian(NFTA_IMMEDIATE_DREG, NftRegister.Wire(Register));
        WriteValue(batch, NFTA_IMMEDIATE_DATA, Value);
    }
}

/// <summary>Decides.</summary>
public sealed record NftDecide(NftVerdict Verdict) : NftExpression
{
    internal override string Name => "immediate";

    internal override void Write(NetlinkBatch batch)
    {
        // Register 0 is the verdict's.
        batch.U32BigEndian(NFTA_IMMEDIATE_DREG, 0);
        WriteVerdict(batch, NFTA_IMMEDIATE_DATA, Verdict);
    }
}

/// <summary>
/// Looks a key up in a set or map; goes on only if it is there (or, inverted, is not). A map's data goes to a register, a verdict map's verdict is
/// carried out.
/// </summary>
/// <param name="Set">Name of a set of the table; ignored with <paramref name="Anonymous"/>.</param>
/// <param name="Register">Where the key starts.</param>
/// <param name="DataRegister">Where a map's data goes; null = a set or a verdict map.</param>
/// <param name="Anonymous">A set that lives and dies with the rule.</param>
/// <param name="IsVerdictMap">The set maps to verdicts.</param>
/// <param name="IsInverted">Match what is not in the set.</param>
public sealed record NftLookup(string Set, int Register, int? DataRegister = null, NftAnonymousMap? Anonymous = null, bool IsVerdictMap = false, bool IsInverted = false)
    : NftExpression
{
    internal override string Name => "lookup";

    internal override void Write(NetlinkBatch batch) => Write(batch, Set, 0);

    internal void Write(NetlinkBatch batch, string set, uint setId)
    {
        batch.Text(NFTA_LOOKUP_SET, set);
        if (setId != 0) batch.U32BigEndian(NFTA_LOOKUP_SET_ID, setId);
        batch.U32BigEndian(NFTA_LOOKUP_SREG, NftRegister.Wire(Register));
        if (IsVerdictMap) batch.U32BigEndian(NFTA_LOOKUP_DREG, 0);
        else if (DataRegister is { } data) batch.U32BigEndian(NFTA_LOOKUP_DREG, NftRegister.Wire(data));
        if (IsInverted) batch.U32BigEndian(NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
    }
}

/// <summary>Adds the key to a set, or gives the one that is there its whole time again.</summary>
public sealed record NftRemember(string Set, int Register, TimeSpan Timeout) : NftExpression
{
    internal override string Name => "dynset";

    internal override void Write(NetlinkBatch batch)
    {
        batch.U32BigEndian(NFTA_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
        batch.U32BigEndian(NFTA_DYNSET_SREG_KEY, NftRegister.Wire(Register));
        batch.Text(NFTA_DYNSET_SET_NAME, Set);
        batch.U64BigEndian(NFTA_DYNSET_TIMEOUT, (ulong)Timeout.TotalMilliseconds);
    }
}

/// <summary>nft_ct_keys.</summary>
public enum NftConntrackKey
{
    /// <summary>State bits: see <see cref="NftConntrack"/>.</summary>
    State = 0,

    /// <summary>Status bits (IPS_*).</summary>
    Status = 2,
}

/// <summary>Loads a property of the connection.</summary>
public sealed record NftConntrack(NftConntrackKey Key, int Register) : NftExpression
{
    /// <summary>State bits (linux/netfilter/nf_tables.h, nf_conntrack_common.h): 1 &lt;&lt; (state + 1), invalid is 1.</summary>
    public const uint Invalid = 1, Established = 2, Related = 4, New = 8;

    /// <summary>IPS_DST_NAT: the destination was translated.</summary>
    public const uint DestinationTranslated = 32;

    internal override string Name => "ct";

    internal override void Write(NetlinkBatch batch)
    {
        batch.U32BigEndian(NFTA_CT_KEY, (uint)Key);
        batch.U32BigEndian(NFTA_CT_DREG, NftRegister.Wire(Register));
    }
}

/// <summary>Loads a random number below <paramref name="Modulus"/>, in the machine's order.</summary>
public sealed record NftRandom(int Register, int Modulus) : NftExpression
{
    internal override string Name => "numgen";

    internal override void Write(NetlinkBatch batch)
    {
        batch.U32BigEndian(NFTA_NG_DREG, NftRegister.Wire(Register));
        batch.U32BigEndian(NFTA_NG_MODULUS, (uint)Modulus);
        batch.U32BigEndian(NFTA_NG_TYPE, NFT_NG_RANDOM);
    }
}

/// <summary>Loads what kind of address the packet's source or destination is to this host (RTN_*).</summary>
public sealed record NftAddressKind(bool IsSource, int Register) : NftExpression
{
    /// <summary>RTN_LOCAL: one of this host's own.</summary>
    public const uint Local = 2;

    internal override string Name => "fib";

    internal override void Write(NetlinkBatch batch)
    {
        // NFTA_FIB_F_SADDR 1, NFTA_FIB_F_DADDR 2; NFT_FIB_RESULT_ADDRTYPE 3
        batch.U32BigEndian(NFTA_FIB_FLAGS, IsSource ? 1u : 2u);
        batch.U32BigEndian(NFTA_FIB_RESULT, 3);
        batch.U32BigEndian(NFTA_FIB_DREG, NftRegister.Wire(Register));
    }
}

/// <summary>Loads the number of the link that the way back to the packet's source leads through, if that is the one it came in by; otherwise 0.</summary>
public sealed record NftWayBack(int Register) : NftExpression
{
    internal override string Name => "fib";

    internal override void Write(NetlinkBatch batch)
    {
        // NFTA_FIB_F_SADDR 1, NFTA_FIB_F_IIF 8; NFT_FIB_RESULT_OIF 1
        batch.U32BigEndian(NFTA_FIB_FLAGS, 9);
        batch.U32BigEndian(NFTA_FIB_RESULT, 1);
        batch.U32BigEndian(NFTA_FIB_DREG, NftRegister.Wire(Register));
    }
}

/// <summary>Translates the destination (or the source) to what the registers hold; decides.</summary>
public sealed record NftTranslate(NftFamily Family, bool IsSource, int AddressRegister, int? PortRegister) : NftExpression
{
    internal override string Name => "nat";

    internal override void Write(NetlinkBatch batch)
    {
        batch.U32BigEndian(NFTA_NAT_TYPE, IsSource ? NFT_NAT_SNAT : NFT_NAT_DNAT);
        batch.U32BigEndian(NFTA_NAT_FAMILY, (uint)Family);
        batch.U32BigEndian(NFTA_NAT_REG_ADDR_MIN, NftRegister.Wire(AddressRegister));
        if (PortRegister is { } port) batch.U32BigEndian(NFTA_NAT_REG_PROTO_MIN, NftRegister.Wire(port));
    }
}

/// <summary>Gives the packet this host's own address as source, with a port that nobody can foresee; decides.</summary>
public sealed record NftMasquerade : NftExpression
{
    internal override string Name => "masq";

    internal override void Write(NetlinkBatch batch) => batch.U32BigEndian(NFTA_MASQ_FLAGS, NF_NAT_RANGE_PROTO_RANDOM_FULLY);
}

/// <summary>Sends the packet to this host, to the port in the register; decides.</summary>
public sealed record NftRedirect(int PortRegister) : NftExpression
{
    internal override string Name => "redir";

    internal override void Write(NetlinkBatch batch) => batch.U32BigEndian(NFTA_REDIR_REG_PROTO_MIN, NftRegister.Wire(PortRegister));
}

/// <summary>Throws the packet away and tells the sender "port unreachable"; decides.</summary>
public sealed record NftReject(NftFamily Family) : NftExpression
{
    internal override string Name => "reject";

    internal override void Write(NetlinkBatch batch)
    {
        batch.U32BigEndian(NFTA_REJECT_TYPE, NFT_REJECT_ICMP_UNREACH);
        // RFC 792: code 3; RFC 4443 §3.1: code 4.
        batch.U8(NFTA_REJECT_ICMP_CODE, Family == NftFamily.IPv6 ? (byte)4 : (byte)3);
    }
}

/// <summary>Goes on for at most so many packets per second (or other <paramref name="Seconds"/>), with a burst.</summary>
public sealed record NftLimit(int Packets, int Burst, int Seconds = 1) : NftExpression
{
    internal override string Name => "limit";

    internal override void Write(NetlinkBatch batch)
    {
        batch.U64BigEndian(NFTA_LIMIT_RATE, (ulong)Packets);
        batch.U64BigEndian(NFTA_LIMIT_UNIT, (ulong)Seconds);
        batch.U32BigEndian(NFTA_LIMIT_BURST, (uint)Burst);
        batch.U32BigEndian(NFTA_LIMIT_TYPE, 0);
    }
}

/// <summary>Hands the packet to who listens on a group of netfilter's log (ulogd, tcpdump -i nflog:N) with some words, of at most <see cref="MaxPrefixBytes"/>.</summary>
public sealed record NftLog(ushort Group, string Prefix) : NftExpression
{
    /// <summary>NF_LOG_PREFIXLEN of linux/netfilter/nf_log.h, less the final zero.</summary>
    public const int MaxPrefixBytes = 127;

    internal override string Name => "log";

    internal override void Write(NetlinkBatch batch)
    {
        batch.U16BigEndian(NFTA_LOG_GROUP, Group);
        batch.Text(NFTA_LOG_PREFIX, Prefix);
    }
}

/// <summary>Counts packets and bytes.</summary>
public sealed record NftCounter : NftExpression
{
    internal override string Name => "counter";

    internal override void Write(NetlinkBatch batch)
    {
    }
}
