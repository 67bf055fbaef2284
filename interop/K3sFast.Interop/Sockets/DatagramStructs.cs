#pragma warning disable CA1707, CS8981, IDE1006, SA1300
using System.Runtime.InteropServices;

namespace K3sFast.Interop.Sockets;

/// <summary>bits/types/struct_iovec.h</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct iovec
{
    internal byte* iov_base;
    internal nuint iov_len;
}

/// <summary>bits/socket.h</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct msghdr
{
    internal byte* msg_name;
    internal uint msg_namelen;
    internal iovec* msg_iov;
    internal nuint msg_iovlen;
    internal void* msg_control;
    internal nuint msg_controllen;
    internal int msg_flags;
}

/// <summary>bits/socket.h</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct mmsghdr
{
    internal msghdr msg_hdr;
    internal uint msg_len;
}
