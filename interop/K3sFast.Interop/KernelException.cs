using System.Runtime.InteropServices;

namespace K3sFast.Interop;

/// <summary>The kernel refused: what was asked, the error's number, and the kernel's own words where it gave some.</summary>
public sealed class KernelException : IOException
{
    /// <summary>A refusal of <paramref name="operation"/> ("link add k3sf0", "nft add element services").</summary>
    public KernelException(string operation, int errno, string? extendedAck = null)
        : base(extendedAck is { Length: > 0 } ? $"{operation}: {Interop.Errno.Name(errno)} ({extendedAck})" : $"{operation}: {Interop.Errno.Name(errno)}")
    {
        (Operation, Errno, ExtendedAck) = (operation, errno, extendedAck);
        HResult = errno;
    }

    /// <summary>What was asked of the kernel.</summary>
    public string Operation { get; }

    /// <summary>The error's number, positive.</summary>
    public int Errno { get; }

    /// <summary>The kernel's extended acknowledgement text; null = it gave none.</summary>
    public string? ExtendedAck { get; }

    /// <summary>The failure of the libc call that this thread made last.</summary>
    internal static KernelException OfLastCall(string operation) => new(operation, Marshal.GetLastPInvokeError());
}
