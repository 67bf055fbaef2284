using System.Runtime.InteropServices;

// Kernel structs keep the kernel's names and field names.
#pragma warning disable CA1707, CS8981, IDE1006, SA1300

namespace K3sFast.Interop.Netlink;

/// <summary>linux/rtnetlink.h</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct tcmsg
{
    internal byte tcm_family;
    internal byte tcm__pad1;
    internal ushort tcm__pad2;
    internal int tcm_ifindex;
    internal uint tcm_handle;
    internal uint tcm_parent;
    internal uint tcm_info;
}

/// <summary>linux/pkt_sched.h; the rate is in bytes per second.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct tc_ratespec
{
    internal byte cell_log;
    internal byte linklayer;
    internal ushort overhead;
    internal short cell_align;
    internal ushort mpu;
    internal uint rate;
}

/// <summary>linux/pkt_sched.h</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct tc_tbf_qopt
{
    internal tc_ratespec rate;
    internal tc_ratespec peakrate;
    internal uint limit;
    internal uint buffer;
    internal uint mtu;
}

/// <summary>linux/pkt_cls.h; its keys follow.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct tc_u32_sel
{
    internal byte flags;
    internal byte offshift;
    internal byte nkeys;
    internal ushort offmask;
    internal ushort off;
    internal short offoff;
    internal short hoff;
    internal uint hmask;
}

/// <summary>linux/pkt_cls.h</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct tc_u32_key
{
    internal uint mask;
    internal uint val;
    internal int off;
    internal int offmask;
}

/// <summary>linux/tc_act/tc_mirred.h</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct tc_mirred
{
    internal uint index;
    internal uint capab;
    internal int action;
    internal int refcnt;
    internal int bindcnt;
    internal int eaction;
    internal uint ifindex;
}
