using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using static K3sFast.Interop.Netlink.NetlinkConstants;
using static K3sFast.Interop.Netlink.TrafficConstants;

namespace K3sFast.Interop.Netlink;

/// <summary>Writes rtnetlink requests of traffic control: how fast a link sends, and what it receives going another way (linux/pkt_sched.h, linux/pkt_cls.h).</summary>
public static class TrafficControl
{
    // handle 1:0 of our bucket; the classifier's own, and the part of it that sees what comes in.
    private const uint RootHandle = 0x00010000, ClassifierHandle = 0xffff0000, ClassifierIngress = 0xffff0000 | TC_H_MIN_INGRESS;

    // ETH_P_ALL in network order, below the filter's priority in tcm_info.
    private const uint AllProtocols = 0x0300, FirstPriority = 1 << 16;

    // A packet waits at most so long in the queue, then it is dropped: what the CNI project's own plugin takes.
    private const int MaxDelayMilliseconds = 25;

    /// <summary>Makes a device that packets can be sent through on their way in, up.</summary>
    public static void AddIntermediate(this NetlinkBatch batch, string name, int mtu)
    {
        batch.Begin(RouteConstants.RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, "add link", name);
        ref var link = ref batch.Append<ifinfomsg>();
        (link.ifi_flags, link.ifi_change) = (RouteConstants.IFF_UP, RouteConstants.IFF_UP);
        batch.Text(RouteConstants.IFLA_IFNAME, name);
        batch.U32(RouteConstants.IFLA_MTU, (uint)mtu);
        var info = batch.BeginNested(RouteConstants.IFLA_LINKINFO);
        batch.Text(RouteConstants.IFLA_INFO_KIND, "ifb");
        batch.EndNested(info);
        batch.End();
    }

    /// <summary>A link sends so many bytes a second on average, and so many at once, whatever it is given.</summary>
    /// <exception cref="KernelException">When sent: ENOENT, if the kernel has no token bucket filter (CONFIG_NET_SCH_TBF).</exception>
    public static void ReplaceTokenBucket(this NetlinkBatch batch, int linkIndex, ulong bytesPerSecond, uint burstBytes)
    {
        BeginQdisc(batch, NLM_F_CREATE | NLM_F_REPLACE, "limit rate of link", linkIndex, RootHandle, TC_H_ROOT, "tbf");
        var options = batch.BeginNested(TCA_OPTIONS);
        var qopt = new tc_tbf_qopt
        {
            rate = new tc_ratespec { linklayer = TC_LINKLAYER_ETHERNET, rate = (uint)Math.Min(bytesPerSecond, uint.MaxValue) },
            limit = (uint)Math.Min((bytesPerSecond * MaxDelayMilliseconds / 1000) + burstBytes, uint.MaxValue),
        };
        batch.Bytes(TCA_TBF_PARMS, MemoryMarshal.AsBytes(new ReadOnlySpan<tc_tbf_qopt>(in qopt)));
        batch.U32(TCA_TBF_BURST, burstBytes);
        if (bytesPerSecond >= uint.MaxValue) batch.Bytes(TCA_TBF_RATE64, MemoryMarshal.AsBytes(new ReadOnlySpan<ulong>(in bytesPerSecond)));
        batch.EndNested(options);
        batch.End();
    }

    /// <summary>What comes in by a link goes out by <paramref name="target"/> first, and on its way from there.</summary>
    public static void RedirectIngress(this NetlinkBatch batch, int linkIndex, int target)
    {
        BeginQdisc(batch, NLM_F_CREATE | NLM_F_EXCL, "add classifier to link", linkIndex, ClassifierHandle, TC_H_CLSACT, "clsact", Errno.EEXIST);
        batch.End();

        batch.Begin(RTM_NEWTFILTER, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, "redirect what comes in by link", linkIndex.ToString(System.Globalization.CultureInfo.InvariantCulture));
        ref var header = ref batch.Append<tcmsg>();
        (header.tcm_ifindex, header.tcm_parent, header.tcm_info) = (linkIndex, ClassifierIngress, FirstPriority | AllProtocols);
        batch.Text(TCA_KIND, "u32");
        var options = batch.BeginNested(TCA_OPTIONS);
        // One key with an empty mask: everything.
        Span<byte> selector = stackalloc byte[Unsafe.SizeOf<tc_u32_sel>() + Unsafe.SizeOf<tc_u32_key>()];
        selector.Clear();
        MemoryMarshal.Write(selector, new tc_u32_sel { flags = TC_U32_TERMINAL, nkeys = 1 });
        batch.Bytes(TCA_U32_SEL, selector);
        var actions = batch.BeginNested(TCA_U32_ACT);
        var first = batch.BeginNested(1);
        batch.Text(TCA_ACT_KIND, "mirred");
        var parameters = batch.BeginNested(TCA_ACT_OPTIONS);
        var mirred = new tc_mirred { action = (int)TC_ACT_STOLEN, eaction = (int)TCA_EGRESS_REDIR, ifindex = (uint)target };
        batch.Bytes(TCA_MIRRED_PARMS, MemoryMarshal.AsBytes(new ReadOnlySpan<tc_mirred>(in mirred)));
        batch.EndNested(parameters);
        batch.EndNested(first);
        batch.EndNested(actions);
        batch.EndNested(options);
        batch.End();
    }

    private static void BeginQdisc(NetlinkBatch batch, ushort flags, string operation, int linkIndex, uint handle, uint parent, string kind, int tolerated = 0)
    {
        batch.Begin(RTM_NEWQDISC, (ushort)(NLM_F_ACK | flags), operation, linkIndex.ToString(System.Globalization.CultureInfo.InvariantCulture), tolerated);
        ref var header = ref batch.Append<tcmsg>();
        (header.tcm_ifindex, header.tcm_handle, header.tcm_parent) = (linkIndex, handle, parent);
        batch.Text(TCA_KIND, kind);
    }
}
