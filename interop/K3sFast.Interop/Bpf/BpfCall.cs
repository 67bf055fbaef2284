using System.Runtime.InteropServices;

namespace K3sFast.Interop.Bpf;

/// <summary>bpf(2).</summary>
internal static unsafe partial class BpfCall
{
    // asm/unistd_64.h of x86, asm-generic/unistd.h
    private static readonly nint s_number = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 321 : 280;

    // The verifier gives up when a signal is pending, and the runtime sends some; more than a few in a row are something else.
    private const int MaxTries = 20;

    /// <summary>Makes the call; answers what the kernel answers, negative errors included.</summary>
    internal static int Try<T>(uint command, ref T attributes) where T : unmanaged
    {
        fixed (T* pointer = &attributes)
        {
            for (var tries = 1; ; tries++)
            {
                var result = (int)Syscall(s_number, (nint)command, (nint)pointer, sizeof(T));
                if (result >= 0) return result;
                var errno = Marshal.GetLastPInvokeError();
                if (errno is not (Errno.EINTR or Errno.EAGAIN) || tries == MaxTries) return -errno;
            }
        }
    }

    /// <summary>Makes the call; an error is thrown.</summary>
    internal static int Do<T>(uint command, ref T attributes, string operation) where T : unmanaged
    {
        var result = Try(command, ref attributes);
        return result >= 0 ? result : throw new KernelException(operation, -result);
    }

    /// <summary>Pins the object at a path on a BPF file system.</summary>
    internal static void Pin(FileDescriptor descriptor, string path)
    {
        var name = Marshal.StringToCoTaskMemUTF8(path);
        try
        {
            var attributes = new bpf_attr_obj { pathname = (ulong)name, bpf_fd = (uint)descriptor.DangerousNumber };
            Do(BpfConstants.BPF_OBJ_PIN, ref attributes, "bpf pin " + path);
        }
        finally
        {
            Marshal.FreeCoTaskMem(name);
        }
    }

    /// <summary>Opens what is pinned at the path; null = nothing.</summary>
    internal static FileDescriptor? OpenPinned(string path)
    {
        var name = Marshal.StringToCoTaskMemUTF8(path);
        try
        {
            var attributes = new bpf_attr_obj { pathname = (ulong)name };
            return Try(BpfConstants.BPF_OBJ_GET, ref attributes) switch
            {
                >= 0 and var descriptor => new FileDescriptor(descriptor),
                -Errno.ENOENT => null,
                var error => throw new KernelException("bpf open " + path, -error),
            };
        }
        finally
        {
            Marshal.FreeCoTaskMem(name);
        }
    }

    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    private static partial nint Syscall(nint number, nint command, nint attributes, nint size);
}
