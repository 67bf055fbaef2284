namespace K3sFast.Interop.NfTables;

/// <summary>linux/netfilter/nf_tables.h, linux/netfilter/nfnetlink.h, linux/netfilter/nf_nat.h</summary>
internal static class NftConstants
{
    internal const byte NFNL_SUBSYS_NFTABLES = 10;
    internal const ushort NFNL_MSG_BATCH_BEGIN = 0x10, NFNL_MSG_BATCH_END = 0x11;

    internal const byte NFT_MSG_NEWTABLE = 0, NFT_MSG_GETTABLE = 1, NFT_MSG_DELTABLE = 2, NFT_MSG_NEWCHAIN = 3, NFT_MSG_GETCHAIN = 4, NFT_MSG_DELCHAIN = 5,
        NFT_MSG_NEWRULE = 6, NFT_MSG_GETRULE = 7, NFT_MSG_DELRULE = 8, NFT_MSG_NEWSET = 9, NFT_MSG_DELSET = 11, NFT_MSG_NEWSETELEM = 12, NFT_MSG_GETSETELEM = 13, NFT_MSG_DELSETELEM = 14, NFT_MSG_GETGEN = 16;

    internal const ushort NFTA_LIST_ELEM = 1, NFTA_GEN_ID = 1;
    internal const ushort NFTA_TABLE_NAME = 1, NFTA_TABLE_HANDLE = 4;
    internal const ushort NFTA_CHAIN_TABLE = 1, NFTA_CHAIN_NAME = 3, NFTA_CHAIN_HOOK = 4, NFTA_CHAIN_POLICY = 5, NFTA_CHAIN_TYPE = 7, NFTA_CHAIN_USERDATA = 12;
    internal const ushort NFTA_HOOK_HOOKNUM = 1, NFTA_HOOK_PRIORITY = 2;
    internal const ushort NFTA_RULE_TABLE = 1, NFTA_RULE_CHAIN = 2, NFTA_RULE_EXPRESSIONS = 4;
    internal const ushort NFTA_SET_TABLE = 1, NFTA_SET_NAME = 2, NFTA_SET_FLAGS = 3, NFTA_SET_KEY_TYPE = 4, NFTA_SET_KEY_LEN = 5, NFTA_SET_DATA_TYPE = 6,
        NFTA_SET_DATA_LEN = 7, NFTA_SET_DESC = 9, NFTA_SET_ID = 10, NFTA_SET_TIMEOUT = 11, NFTA_SET_USERDATA = 13;
    internal const ushort NFTA_SET_DESC_SIZE = 1;
    internal const uint NFT_SET_ANONYMOUS = 1, NFT_SET_CONSTANT = 2, NFT_SET_MAP = 8, NFT_SET_TIMEOUT = 0x10, NFT_SET_EVAL = 0x20;
    internal const ushort NFTA_SET_ELEM_LIST_TABLE = 1, NFTA_SET_ELEM_LIST_SET = 2, NFTA_SET_ELEM_LIST_ELEMENTS = 3, NFTA_SET_ELEM_LIST_SET_ID = 4;
    internal const ushort NFTA_SET_ELEM_KEY = 1, NFTA_SET_ELEM_DATA = 2, NFTA_SET_ELEM_EXPIRATION = 5;
    internal const ushort NFTA_DATA_VALUE = 1, NFTA_DATA_VERDICT = 2, NFTA_VERDICT_CODE = 1, NFTA_VERDICT_CHAIN = 2;
    internal const uint NFT_DATA_VERDICT = 0xffffff00;
    internal const ushort NFTA_EXPR_NAME = 1, NFTA_EXPR_DATA = 2;

    internal const ushort NFTA_IMMEDIATE_DREG = 1, NFTA_IMMEDIATE_DATA = 2;
    internal const ushort NFTA_BITWISE_SREG = 1, NFTA_BITWISE_DREG = 2, NFTA_BITWISE_LEN = 3, NFTA_BITWISE_MASK = 4, NFTA_BITWISE_XOR = 5;
    internal const ushort NFTA_CMP_SREG = 1, NFTA_CMP_OP = 2, NFTA_CMP_DATA = 3;
    internal const ushort NFTA_RANGE_SREG = 1, NFTA_RANGE_OP = 2, NFTA_RANGE_FROM_DATA = 3, NFTA_RANGE_TO_DATA = 4;
    internal const uint NFT_RANGE_EQ = 0;
    internal const ushort NFTA_LOOKUP_SET = 1, NFTA_LOOKUP_SREG = 2, NFTA_LOOKUP_DREG = 3, NFTA_LOOKUP_SET_ID = 4, NFTA_LOOKUP_FLAGS = 5;
    internal const uint NFT_LOOKUP_F_INV = 1;
    internal const ushort NFTA_DYNSET_SET_NAME = 1, NFTA_DYNSET_OP = 3, NFTA_DYNSET_SREG_KEY = 4, NFTA_DYNSET_TIMEOUT = 6;
    internal const uint NFT_DYNSET_OP_UPDATE = 1;
    internal const ushort NFTA_PAYLOAD_DREG = 1, NFTA_PAYLOAD_BASE = 2, NFTA_PAYLOAD_OFFSET = 3, NFTA_PAYLOAD_LEN = 4;
    internal const ushort NFTA_META_DREG = 1, NFTA_META_KEY = 2, NFTA_META_SREG = 3;
    internal const ushort NFTA_CT_DREG = 1, NFTA_CT_KEY = 2;
    internal const ushort NFTA_LIMIT_RATE = 1, NFTA_LIMIT_UNIT = 2, NFTA_LIMIT_BURST = 3, NFTA_LIMIT_TYPE = 4;
    internal const ushort NFTA_LOG_GROUP = 1, NFTA_LOG_PREFIX = 2;
    internal const ushort NFTA_REJECT_TYPE = 1, NFTA_REJECT_ICMP_CODE = 2;
    internal const uint NFT_REJECT_ICMP_UNREACH = 0;
    internal const ushort NFTA_NAT_TYPE = 1, NFTA_NAT_FAMILY = 2, NFTA_NAT_REG_ADDR_MIN = 3, NFTA_NAT_REG_PROTO_MIN = 5;
    internal const uint NFT_NAT_SNAT = 0, NFT_NAT_DNAT = 1;
    internal const ushort NFTA_MASQ_FLAGS = 1;
    internal const uint NF_NAT_RANGE_PROTO_RANDOM_FULLY = 0x10;
    internal const ushort NFTA_REDIR_REG_PROTO_MIN = 1;
    internal const ushort NFTA_NG_DREG = 1, NFTA_NG_MODULUS = 2, NFTA_NG_TYPE = 3;
    internal const uint NFT_NG_RANDOM = 1;
    internal const ushort NFTA_FIB_DREG = 1, NFTA_FIB_RESULT = 2, NFTA_FIB_FLAGS = 3;

    internal static ushort MessageType(byte message) => (ushort)((NFNL_SUBSYS_NFTABLES << 8) | message);
}
