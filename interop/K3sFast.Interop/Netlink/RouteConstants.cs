namespace K3sFast.Interop.Netlink;

/// <summary>linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h, linux/neighbour.h, linux/fib_rules.h, linux/veth.h, linux/if.h</summary>
internal static class RouteConstants
{
    internal const ushort RTM_NEWLINK = 16, RTM_DELLINK = 17, RTM_GETLINK = 18;
    internal const ushort RTM_NEWADDR = 20, RTM_DELADDR = 21, RTM_GETADDR = 22;
    internal const ushort RTM_NEWROUTE = 24, RTM_DELROUTE = 25, RTM_GETROUTE = 26;
    internal const ushort RTM_NEWNEIGH = 28, RTM_DELNEIGH = 29, RTM_GETNEIGH = 30;
    internal const ushort RTM_NEWRULE = 32, RTM_DELRULE = 33;

    internal const ushort IFLA_ADDRESS = 1, IFLA_IFNAME = 3, IFLA_MTU = 4, IFLA_LINKINFO = 18, IFLA_NET_NS_FD = 28, IFLA_EXT_MASK = 29;
    internal const ushort IFLA_INFO_KIND = 1, IFLA_INFO_DATA = 2, VETH_INFO_PEER = 1;
    internal const ushort IFLA_VXLAN_ID = 1, IFLA_VXLAN_LINK = 3, IFLA_VXLAN_LOCAL = 4, IFLA_VXLAN_LEARNING = 7, IFLA_VXLAN_PORT = 15, IFLA_VXLAN_LOCAL6 = 17;
    internal const uint IFF_UP = 1, IFF_LOOPBACK = 8, RTEXT_FILTER_SKIP_STATS = 8;

    internal const ushort IFA_ADDRESS = 1, IFA_LOCAL = 2;
    internal const byte IFA_F_NODAD = 2;

    internal const ushort RTA_DST = 1, RTA_OIF = 4, RTA_GATEWAY = 5, RTA_PRIORITY = 6, RTA_PREFSRC = 7, RTA_TABLE = 15;
    internal const uint RTNH_F_ONLINK = 4;
    internal const byte RT_TABLE_COMPAT = 252;

    internal const ushort NDA_DST = 1, NDA_LLADDR = 2;
    internal const ushort NUD_PERMANENT = 0x80;
    internal const byte NTF_SELF = 2, AF_BRIDGE = 7;

    internal const ushort FRA_PRIORITY = 6, FRA_FWMARK = 10, FRA_TABLE = 15, FRA_FWMASK = 16;
    internal const byte FR_ACT_TO_TBL = 1;

    // Multicast groups, as bits of nl_groups.
    internal const uint RTMGRP_LINK = 1, RTMGRP_NEIGH = 4, RTMGRP_IPV4_IFADDR = 0x10, RTMGRP_IPV4_ROUTE = 0x40, RTMGRP_IPV6_IFADDR = 0x100, RTMGRP_IPV6_ROUTE = 0x400;
}
