using System.Runtime.ExceptionServices;
using Microsoft.Win32.SafeHandles;

namespace K3sFast.Interop.Namespaces;

/// <summary>A network namespace held open by a descriptor: it lives at least as long as this object.</summary>
/// <remarks>
/// Work inside it runs on a thread made for that call, which ends afterwards: no thread of the pool is ever left in a foreign namespace.
/// Sockets belong for good to the namespace they are created in, so that only their creation needs <see cref="Run{T}"/>.
/// </remarks>
public sealed class NetworkNamespace : IDisposable
{
    // Netlink calls and small file writes need little stack; the runtime's own start of a thread fits as well.
    private const int StackSizeBytes = 256 * 1024;

    private readonly SafeFileHandle _handle;

    private NetworkNamespace(SafeFileHandle handle) => _handle = handle;

    /// <summary>The descriptor's number, for messages that name a namespace by it. Valid until disposed.</summary>
    public int Descriptor => (int)_handle.DangerousGetHandle();

    /// <summary>A path under which this process' children can open the namespace.</summary>
    public string Path => $"/proc/{Environment.ProcessId}/fd/{Descriptor}";

    /// <summary>Opens the namespace at <paramref name="path"/> (<c>/var/run/netns/x</c>, <c>/proc/1/ns/net</c>).</summary>
    /// <exception cref="IOException">Nothing there, or no permission.</exception>
    public static NetworkNamespace Open(string path) =>
        new(File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete));

    /// <summary>The namespace of the calling thread.</summary>
    public static NetworkNamespace OpenCurrent() => Open("/proc/thread-self/ns/net");

    /// <summary>Makes a new, empty namespace that nothing but this object keeps alive.</summary>
    /// <exception cref="KernelException">Not permitted.</exception>
    public static NetworkNamespace Create() => OnNewThread(static _ =>
    {
        if (Libc.Unshare(Libc.CLONE_NEWNET) != 0) throw KernelException.OfLastCall("unshare network namespace");
        return OpenCurrent();
    }, 0);

    /// <summary>Runs <paramref name="work"/> inside the namespace and waits for it; what it throws is thrown here.</summary>
    public T Run<T>(Func<T> work) => OnNewThread(static state =>
    {
        if (Libc.SetNs(state.Self.Descriptor, Libc.CLONE_NEWNET) != 0) throw KernelException.OfLastCall("enter network namespace");
        return state.work();
    }, (Self: this, work));

    /// <summary>Runs <paramref name="work"/> inside the namespace and waits for it; what it throws is thrown here.</summary>
    public void Run(Action work) => Run(() =>
    {
        work();
        return 0;
    });

    /// <summary>The number that the kernel knows the namespace by as long as the machine runs (SO_NETNS_COOKIE); never used twice.</summary>
    /// <exception cref="KernelException">A kernel before 5.14.</exception>
    public ulong ReadCookie() => Run(ReadCurrentCookie);

    /// <summary>The same of the calling thread's namespace.</summary>
    /// <exception cref="KernelException">A kernel before 5.14.</exception>
    public static unsafe ulong ReadCurrentCookie()
    {
        using var socket = new FileDescriptor(Libc.Socket(Libc.AF_INET, Libc.SOCK_DGRAM | Libc.SOCK_CLOEXEC, 0));
        if (socket.IsInvalid) throw KernelException.OfLastCall("open socket");
        ulong cookie = 0;
        uint length = sizeof(ulong);
        if (Libc.GetSockOpt(socket, Libc.SOL_SOCKET, Libc.SO_NETNS_COOKIE, &cookie, &length) != 0) throw KernelException.OfLastCall("read cookie of network namespace");
        return cookie;
    }

    /// <summary>Lets the namespace go.</summary>
    public void Dispose() => _handle.Dispose();

    private static T OnNewThread<T, TState>(Func<TState, T> work, TState state)
    {
        T result = default!;
        ExceptionDispatchInfo? failure = null;
        var thread = new Thread(() =>
        {
            try
            {
                result = work(state);
            }
            catch (Exception e)
            {
                failure = ExceptionDispatchInfo.Capture(e);
            }
        }, StackSizeBytes)
        { IsBackground = true, Name = "netns" };
        thread.Start();
        thread.Join();
        failure?.Throw();
        return result;
    }
}
