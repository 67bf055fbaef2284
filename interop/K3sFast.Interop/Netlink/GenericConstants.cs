namespace K3sFast.Interop.Netlink;

/// <summary>linux/genetlink.h, linux/ethtool_netlink.h, linux/wireguard.h</summary>
internal static class GenericConstants
{
    internal const ushort GENL_ID_CTRL = 0x10, CTRL_ATTR_FAMILY_ID = 1, CTRL_ATTR_FAMILY_NAME = 2;
    internal const byte CTRL_CMD_GETFAMILY = 3;

    internal const byte ETHTOOL_MSG_FEATURES_GET = 11, ETHTOOL_MSG_FEATURES_SET = 12, ETHTOOL_GENL_VERSION = 1;
    internal const ushort ETHTOOL_A_FEATURES_HEADER = 1, ETHTOOL_A_FEATURES_WANTED = 3, ETHTOOL_A_FEATURES_ACTIVE = 4, ETHTOOL_A_HEADER_DEV_INDEX = 1;
    internal const ushort ETHTOOL_A_BITSET_BITS = 3, ETHTOOL_A_BITSET_BITS_BIT = 1, ETHTOOL_A_BITSET_BIT_NAME = 2, ETHTOOL_A_BITSET_BIT_VALUE = 3;

    internal const byte WG_CMD_GET_DEVICE = 0, WG_CMD_SET_DEVICE = 1, WG_GENL_VERSION = 1;
    internal const ushort WGDEVICE_A_IFINDEX = 1, WGDEVICE_A_PRIVATE_KEY = 3, WGDEVICE_A_PUBLIC_KEY = 4, WGDEVICE_A_LISTEN_PORT = 6, WGDEVICE_A_PEERS = 8;
    internal const ushort WGPEER_A_PUBLIC_KEY = 1, WGPEER_A_PRESHARED_KEY = 2, WGPEER_A_FLAGS = 3, WGPEER_A_ENDPOINT = 4, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL = 5, WGPEER_A_ALLOWEDIPS = 9;
    internal const ushort WGALLOWEDIP_A_FAMILY = 1, WGALLOWEDIP_A_IPADDR = 2, WGALLOWEDIP_A_CIDR_MASK = 3;
    internal const uint WGPEER_F_REMOVE_ME = 1, WGPEER_F_REPLACE_ALLOWEDIPS = 2;
}
