using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using K3sFast.Interop.Bpf;
using K3sFast.Interop.Netlink;

namespace K3sFast.Interop.Tests;

/// <summary>Our structs and constants against the kernel headers of this machine: a C compiler has to agree with every one of them.</summary>
public sealed class LayoutTests
{
    [Fact]
    public void Structs_AgainstKernelHeaders_HaveTheSameLayout()
    {
        var source = new StringBuilder(Headers);
        Struct<nlmsghdr>(source, "struct nlmsghdr");
        Struct<nlattr>(source, "struct nlattr");
        Struct<sockaddr_nl>(source, "struct sockaddr_nl");
        Struct<ifinfomsg>(source, "struct ifinfomsg");
        Struct<ifaddrmsg>(source, "struct ifaddrmsg");
        Struct<rtmsg>(source, "struct rtmsg");
        Struct<ndmsg>(source, "struct ndmsg");
        Struct<fib_rule_hdr>(source, "struct fib_rule_hdr");
        Struct<tcmsg>(source, "struct tcmsg");
        Struct<tc_ratespec>(source, "struct tc_ratespec");
        Struct<tc_tbf_qopt>(source, "struct tc_tbf_qopt");
        Struct<tc_u32_key>(source, "struct tc_u32_key");
        Struct<tc_mirred>(source, "struct tc_mirred");
        Struct<genlmsghdr>(source, "struct genlmsghdr");
        Struct<nfgenmsg>(source, "struct nfgenmsg");
        Struct<inet_diag_sockid>(source, "struct inet_diag_sockid");
        Struct<inet_diag_req_v2>(source, "struct inet_diag_req_v2");
        Struct<inet_diag_msg>(source, "struct inet_diag_msg");
        Struct<Interop.Sockets.iovec>(source, "struct iovec");
        Struct<Interop.Sockets.msghdr>(source, "struct msghdr");
        Struct<Interop.Sockets.mmsghdr>(source, "struct mmsghdr");
        Fields<Interop.Processes.sched_attr>(source, "struct sched_attr");
        Fields<bpf_attr_map_create>(source, "union bpf_attr");
        Fields<bpf_attr_map_elem>(source, "union bpf_attr");
        Fields<bpf_attr_batch>(source, "union bpf_attr", "batch.");
        Fields<bpf_attr_prog_load>(source, "union bpf_attr");
        Fields<bpf_attr_obj>(source, "union bpf_attr");
        Fields<bpf_attr_info>(source, "union bpf_attr", "info.");
        Fields<bpf_attr_link_create>(source, "union bpf_attr", "link_create.");
        Fields<bpf_attr_link_update>(source, "union bpf_attr", "link_update.");
        Fields<bpf_map_info>(source, "struct bpf_map_info");
        source.AppendLine($"_Static_assert(offsetof(struct bpf_link_info, cgroup.cgroup_id) == {Marshal.OffsetOf<bpf_link_info>("cgroup_id")}, \"cgroup_id\");");
        source.AppendLine($"_Static_assert(offsetof(struct bpf_link_info, cgroup.attach_type) == {Marshal.OffsetOf<bpf_link_info>("attach_type")}, \"attach_type\");");
        Compile(source.ToString());
    }

    [Fact]
    public void Constants_AgainstKernelHeaders_HaveTheSameValues()
    {
        var source = new StringBuilder(Headers);
        foreach (var type in (Type[])[typeof(NetlinkConstants), typeof(RouteConstants), typeof(GenericConstants), typeof(TrafficConstants), typeof(Interop.Ipvs.IpvsConstants), typeof(Interop.NfTables.NftConstants), typeof(BpfConstants), typeof(SocketDiagnosticsConstants), typeof(Errno)])
        {
            foreach (var field in type.GetFields(System.Reflection.BindingFlags.Static | System.Reflection.BindingFlags.Public | System.Reflection.BindingFlags.NonPublic))
            {
                // Compared at our width: some macros are complements, wider in C than what goes on the wire.
                var width = field.FieldType == typeof(byte) ? "unsigned char" : field.FieldType == typeof(ushort) ? "unsigned short" : "unsigned int";
                if (field.IsLiteral) source.AppendLine($"_Static_assert(({width})({field.Name}) == {field.GetRawConstantValue()}u, \"{field.Name}\");");
            }
        }
        Compile(source.ToString());
    }

    private const string Headers = """
        #define _GNU_SOURCE
        #include <errno.h>
        #include <stddef.h>
        #include <sys/socket.h>
        #include <linux/sched/types.h>
        #include <linux/netlink.h>
        #include <linux/rtnetlink.h>
        #include <linux/if.h>
        #include <linux/if_link.h>
        #include <linux/if_addr.h>
        #include <linux/neighbour.h>
        #include <linux/fib_rules.h>
        #include <linux/veth.h>
        #include <linux/pkt_sched.h>
        #include <linux/pkt_cls.h>
        #include <linux/tc_act/tc_mirred.h>
        #include <linux/genetlink.h>
        #include <linux/ethtool_netlink.h>
        #include <linux/wireguard.h>
        #include <linux/bpf.h>
        #include <linux/inet_diag.h>
        #include <linux/sock_diag.h>
        #include <linux/ip_vs.h>
        #include <linux/netfilter.h>
        #include <linux/netfilter/nfnetlink.h>
        #include <linux/netfilter/nf_tables.h>
        #include <linux/netfilter/nf_nat.h>

        """;

    private static void Struct<T>(StringBuilder source, string name) where T : unmanaged
    {
        source.AppendLine($"_Static_assert(sizeof({name}) == {Unsafe.SizeOf<T>()}, \"{name}\");");
        Fields<T>(source, name);
    }

    // Of a struct that we know the start of, or of one that is a member of a union.
    private static void Fields<T>(StringBuilder source, string name, string member = "") where T : unmanaged
    {
        foreach (var field in typeof(T).GetFields(System.Reflection.BindingFlags.Instance | System.Reflection.BindingFlags.NonPublic))
        {
            source.AppendLine($"_Static_assert(offsetof({name}, {member}{field.Name}) == {Marshal.OffsetOf<T>(field.Name)}, \"{name}.{field.Name}\");");
        }
    }

    private static void Compile(string source)
    {
        Process process;
        try
        {
            var start = new ProcessStartInfo("cc", "-x c -fsyntax-only -") { RedirectStandardInput = true, RedirectStandardError = true };
            process = Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            Assert.Skip("needs a C compiler");
            return;
        }
        using (process)
        {
            process.StandardInput.Write(source);
            process.StandardInput.Close();
            var errors = process.StandardError.ReadToEnd();
            process.WaitForExit();
            Assert.True(process.ExitCode == 0, errors);
        }
    }
}
