// Kernel constants keep the kernel's names.
#pragma warning disable CA1707

namespace K3sFast.Interop.Bpf;

/// <summary>linux/bpf.h, what we use of it.</summary>
internal static class BpfConstants
{
    // enum bpf_cmd
    internal const uint BPF_MAP_CREATE = 0, BPF_MAP_LOOKUP_ELEM = 1, BPF_MAP_UPDATE_ELEM = 2, BPF_MAP_DELETE_ELEM = 3, BPF_MAP_GET_NEXT_KEY = 4, BPF_PROG_LOAD = 5, BPF_OBJ_PIN = 6,
        BPF_OBJ_GET = 7, BPF_OBJ_GET_INFO_BY_FD = 15, BPF_MAP_FREEZE = 22, BPF_MAP_LOOKUP_BATCH = 24, BPF_MAP_UPDATE_BATCH = 26,
        BPF_MAP_DELETE_BATCH = 27, BPF_LINK_CREATE = 28, BPF_LINK_UPDATE = 29;

    // enum bpf_map_type
    internal const uint BPF_MAP_TYPE_HASH = 1, BPF_MAP_TYPE_ARRAY = 2, BPF_MAP_TYPE_LRU_HASH = 9, BPF_MAP_TYPE_LPM_TRIE = 11;

    // enum bpf_prog_type
    internal const uint BPF_PROG_TYPE_SCHED_CLS = 3, BPF_PROG_TYPE_CGROUP_SOCK = 9, BPF_PROG_TYPE_CGROUP_SOCK_ADDR = 18;

    // enum bpf_attach_type
    internal const uint BPF_CGROUP_INET4_CONNECT = 10, BPF_CGROUP_INET6_CONNECT = 11, BPF_CGROUP_UDP4_SENDMSG = 14, BPF_CGROUP_UDP6_SENDMSG = 15,
        BPF_CGROUP_UDP4_RECVMSG = 19, BPF_CGROUP_UDP6_RECVMSG = 20, BPF_CGROUP_INET4_GETPEERNAME = 29, BPF_CGROUP_INET6_GETPEERNAME = 30,
        BPF_CGROUP_INET_SOCK_RELEASE = 34;

    internal const uint BPF_NOEXIST = 1, BPF_F_NO_PREALLOC = 1, BPF_F_RDONLY_PROG = 1 << 7;

    // src_reg of a load of 64 bits: what the number stands for.
    internal const byte BPF_PSEUDO_MAP_FD = 1, BPF_PSEUDO_MAP_VALUE = 2;
    internal const uint BPF_OBJ_NAME_LEN = 16;
}
