using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using K3sFast.Interop.Bpf;
using static K3sFast.Interop.Netlink.NetlinkConstants;
using static K3sFast.Interop.Netlink.TrafficConstants;

namespace K3sFast.Interop.Netlink;

/// <summary>A filter on a link's classifier.</summary>
/// <param name="IsEgress">It sees what goes out; false = what comes in.</param>
/// <param name="Priority">Its place among the others.</param>
/// <param name="Kind">"bpf", "u32"…</param>
/// <param name="Name">Of a program.</param>
/// <param name="Program">The kernel's number of the program.</param>
public readonly record struct FilterInfo(bool IsEgress, ushort Priority, string Kind, string Name, uint Program);

/// <summary>Writes rtnetlink requests of traffic control: how fast a link sends, and what it receives going another way (linux/pkt_sched.h, linux/pkt_cls.h).</summary>
public static class TrafficControl
{
    // handle 1:0 of our bucket; the classifier's own, and the part of it that sees what comes in.
    private const uint RootHandle = 0x00010000, ClassifierHandle = 0xffff0000, ClassifierIngress = 0xffff0000 | TC_H_MIN_INGRESS, ClassifierEgress = 0xffff0000 | TC_H_MIN_EGRESS;

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
        batch.AddClassifier(linkIndex);
        batch.Begin(RTM_NEWTFILTER, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, "redirect what comes in by link", Text(linkIndex));
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

    /// <summary>Gives a link the classifier that filters hang on; one that is there stays.</summary>
    public static void AddClassifier(this NetlinkBatch batch, int linkIndex)
    {
        BeginQdisc(batch, NLM_F_CREATE | NLM_F_EXCL, "add classifier to link", linkIndex, ClassifierHandle, TC_H_CLSACT, "clsact", Errno.EEXIST);
        batch.End();
    }

    /// <summary>Takes the classifier away, with all filters on it.</summary>
    public static void DeleteClassifier(this NetlinkBatch batch, int linkIndex)
    {
        batch.Begin(RTM_DELQDISC, NLM_F_ACK, "delete classifier of link", Text(linkIndex), Errno.ENOENT);
        ref var header = ref batch.Append<tcmsg>();
        (header.tcm_ifindex, header.tcm_handle, header.tcm_parent) = (linkIndex, ClassifierHandle, TC_H_CLSACT);
        batch.End();
    }

    /// <summary>Lets a program see all packets that come in by a link, or go out by it; one of the same priority is exchanged at one instant.</summary>
    internal static void ReplaceProgram(this NetlinkBatch batch, int linkIndex, bool isEgress, ushort priority, string name, BpfProgram program)
    {
        BeginFilter(batch, RTM_NEWTFILTER, NLM_F_CREATE, "attach program to link", linkIndex, isEgress, priority);
        batch.Text(TCA_KIND, "bpf");
        var options = batch.BeginNested(TCA_OPTIONS);
        batch.U32(TCA_BPF_FD, (uint)program.Descriptor.DangerousNumber);
        batch.Text(TCA_BPF_NAME, name);
        batch.U32(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
        batch.EndNested(options);
        batch.End();
    }

    /// <summary>Takes a program off a link; one that is not there is fine.</summary>
    public static void DeleteProgram(this NetlinkBatch batch, int linkIndex, bool isEgress, ushort priority)
    {
        BeginFilter(batch, RTM_DELTFILTER, 0, "detach program from link", linkIndex, isEgress, priority, Errno.ENOENT);
        batch.Text(TCA_KIND, "bpf");
        batch.End();
    }

    /// <summary>Programs and other filters on a link's classifier; none without a classifier.</summary>
    public static IReadOnlyList<FilterInfo> ListFilters(this RouteSocket socket, int linkIndex)
    {
        var found = new List<FilterInfo>();
        foreach (var isEgress in (ReadOnlySpan<bool>)[false, true])
        {
            using var request = new NetlinkBatch();
            request.Begin(RTM_GETTFILTER, NLM_F_DUMP, "list filters of link", Text(linkIndex));
            ref var header = ref request.Append<tcmsg>();
            (header.tcm_ifindex, header.tcm_parent) = (linkIndex, isEgress ? ClassifierEgress : ClassifierIngress);
            request.End();
            try
            {
                found.AddRange(socket.Collect<FilterInfo>(request, isEgress ? ReadEgress : ReadIngress));
            }
            catch (KernelException none) when (none.Errno is Errno.EINVAL or Errno.ENOENT or Errno.ENODEV)
            {
                // No classifier, or no link any more.
            }
        }
        return found;
    }

    private static void ReadIngress(ushort type, ReadOnlySpan<byte> payload, List<FilterInfo> filters) => ReadFilter(payload, isEgress: false, filters);

    private static void ReadEgress(ushort type, ReadOnlySpan<byte> payload, List<FilterInfo> filters) => ReadFilter(payload, isEgress: true, filters);

    internal static void ReadFilter(ReadOnlySpan<byte> payload, bool isEgress, List<FilterInfo> filters)
    {
        if (payload.Length < Unsafe.SizeOf<tcmsg>()) return;
        var header = MemoryMarshal.Read<tcmsg>(payload);
        var (kind, name, program) = ("", "", 0u);
        for (var attributes = new NetlinkAttributes(payload[Unsafe.SizeOf<tcmsg>()..]); attributes.Next();)
        {
            if (attributes.Type == TCA_KIND) kind = attributes.Text;
            if (attributes.Type != TCA_OPTIONS) continue;
            for (var options = new NetlinkAttributes(attributes.Payload); options.Next();)
            {
                if (options.Type == TCA_BPF_NAME) name = options.Text;
                if (options.Type == TCA_BPF_ID) program = options.U32;
            }
        }
        // A priority is told by itself first, then by each of its filters.
        if (header.tcm_handle == 0) return;
        filters.Add(kind == "bpf" ? new FilterInfo(isEgress, (ushort)(header.tcm_info >> 16), kind, name, program) : new FilterInfo(isEgress, (ushort)(header.tcm_info >> 16), kind, "", 0));
    }

    private static void BeginFilter(NetlinkBatch batch, ushort type, ushort flags, string operation, int linkIndex, bool isEgress, ushort priority, int tolerated = 0)
    {
        batch.Begin(type, (ushort)(NLM_F_ACK | flags), operation, Text(linkIndex), tolerated);
        ref var header = ref batch.Append<tcmsg>();
        (header.tcm_ifindex, header.tcm_handle, header.tcm_parent) = (linkIndex, 1, isEgress ? ClassifierEgress : ClassifierIngress);
        header.tcm_info = ((uint)priority << 16) | AllProtocols;
    }

    private static string Text(int linkIndex) => linkIndex.ToString(System.Globalization.CultureInfo.InvariantCulture);

    private static void BeginQdisc(NetlinkBatch batch, ushort flags, string operation, int linkIndex, uint handle, uint parent, string kind, int tolerated = 0)
    {
        batch.Begin(RTM_NEWQDISC, (ushort)(NLM_F_ACK | flags), operation, Text(linkIndex), tolerated);
        ref var header = ref batch.Append<tcmsg>();
        (header.tcm_ifindex, header.tcm_handle, header.tcm_parent) = (linkIndex, handle, parent);
        batch.Text(TCA_KIND, kind);
    }
}
