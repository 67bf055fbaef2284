using System.Runtime.InteropServices;

// Kernel structs keep the kernel's names and field names.
#pragma warning disable CA1707, CS8981, IDE1006, SA1300

namespace K3sFast.Interop.Bpf;

// The members of union bpf_attr of linux/bpf.h that we use, each as far as we use it: the kernel takes what is left out for zero.

/// <summary>BPF_MAP_CREATE</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct bpf_attr_map_create
{
    internal uint map_type;
    internal uint key_size;
    internal uint value_size;
    internal uint max_entries;
    internal uint map_flags;
    internal uint inner_map_fd;
    internal uint numa_node;
    internal fixed byte map_name[(int)BpfConstants.BPF_OBJ_NAME_LEN];
}

/// <summary>BPF_MAP_*_ELEM, BPF_MAP_FREEZE</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct bpf_attr_map_elem
{
    internal uint map_fd;
    internal ulong key;
    internal ulong value;
    internal ulong flags;
}

/// <summary>BPF_MAP_*_BATCH: the member named batch.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct bpf_attr_batch
{
    internal ulong in_batch;
    internal ulong out_batch;
    internal ulong keys;
    internal ulong values;
    internal uint count;
    internal uint map_fd;
    internal ulong elem_flags;
    internal ulong flags;
}

/// <summary>BPF_PROG_LOAD</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct bpf_attr_prog_load
{
    internal uint prog_type;
    internal uint insn_cnt;
    internal ulong insns;
    internal ulong license;
    internal uint log_level;
    internal uint log_size;
    internal ulong log_buf;
    internal uint kern_version;
    internal uint prog_flags;
    internal fixed byte prog_name[(int)BpfConstants.BPF_OBJ_NAME_LEN];
    internal uint prog_ifindex;
    internal uint expected_attach_type;
}

/// <summary>BPF_OBJ_PIN, BPF_OBJ_GET</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct bpf_attr_obj
{
    internal ulong pathname;
    internal uint bpf_fd;
    internal uint file_flags;
}

/// <summary>BPF_OBJ_GET_INFO_BY_FD: the member named info.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct bpf_attr_info
{
    internal uint bpf_fd;
    internal uint info_len;
    internal ulong info;
}

/// <summary>BPF_LINK_CREATE: the member named link_create.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct bpf_attr_link_create
{
    internal uint prog_fd;
    internal uint target_fd;
    internal uint attach_type;
    internal uint flags;
}

/// <summary>BPF_LINK_UPDATE: the member named link_update.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct bpf_attr_link_update
{
    internal uint link_fd;
    internal uint new_prog_fd;
    internal uint flags;
    internal uint old_prog_fd;
}

/// <summary>linux/bpf.h, its start.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct bpf_map_info
{
    internal uint type;
    internal uint id;
    internal uint key_size;
    internal uint value_size;
    internal uint max_entries;
    internal uint map_flags;
}

/// <summary>linux/bpf.h, its start.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct bpf_prog_info
{
    internal uint type;
    internal uint id;
}

/// <summary>linux/bpf.h, its start and what it says of a link to a cgroup.</summary>
[StructLayout(LayoutKind.Explicit, Size = 32)]
internal struct bpf_link_info
{
    [FieldOffset(0)]
    internal uint type;
    [FieldOffset(4)]
    internal uint id;
    [FieldOffset(8)]
    internal uint prog_id;
    [FieldOffset(16)]
    internal ulong cgroup_id;
    [FieldOffset(24)]
    internal uint attach_type;
}
