namespace K3sFast.Interop.Netlink;

/// <summary>linux/rtnetlink.h, linux/pkt_sched.h, linux/pkt_cls.h, linux/tc_act/tc_mirred.h</summary>
internal static class TrafficConstants
{
    internal const ushort RTM_NEWQDISC = 36, RTM_DELQDISC = 37, RTM_NEWTFILTER = 44, RTM_DELTFILTER = 45, RTM_GETTFILTER = 46;
    internal const ushort TCA_KIND = 1, TCA_OPTIONS = 2;
    internal const uint TC_H_ROOT = 0xffffffff, TC_H_CLSACT = 0xfffffff1, TC_H_MIN_INGRESS = 0xfff2, TC_H_MIN_EGRESS = 0xfff3;
    internal const ushort TCA_TBF_PARMS = 1, TCA_TBF_RATE64 = 4, TCA_TBF_BURST = 6;
    internal const byte TC_LINKLAYER_ETHERNET = 1;
    internal const ushort TCA_U32_SEL = 5, TCA_U32_ACT = 7, TCA_ACT_KIND = 1, TCA_ACT_OPTIONS = 2, TCA_MIRRED_PARMS = 2;
    internal const ushort TCA_BPF_FD = 6, TCA_BPF_NAME = 7, TCA_BPF_FLAGS = 8, TCA_BPF_ID = 11;
    internal const uint TCA_BPF_FLAG_ACT_DIRECT = 1;
    internal const byte TC_U32_TERMINAL = 1;
    internal const uint TC_ACT_STOLEN = 4, TCA_EGRESS_REDIR = 1;
}
