using Microsoft.Win32.SafeHandles;

namespace K3sFast.Interop;

/// <summary>An open file descriptor of this process; closed once, when the last user let it go.</summary>
/// <remarks>Whoever opens one opens it close-on-exec: no child of ours inherits it.</remarks>
public sealed class FileDescriptor : SafeHandleMinusOneIsInvalid
{
    /// <summary>An invalid descriptor, to be filled by the marshaller.</summary>
    public FileDescriptor() : base(ownsHandle: true)
    {
    }

    /// <summary>Takes over <paramref name="descriptor"/>; -1 makes an invalid one.</summary>
    public FileDescriptor(int descriptor) : base(ownsHandle: true) => SetHandle(descriptor);

    /// <summary>Looks at somebody else's descriptor, which must stay open meanwhile.</summary>
    internal FileDescriptor(int descriptor, bool ownsHandle) : base(ownsHandle) => SetHandle(descriptor);

    /// <summary>The number, for kernel interfaces that take it inside a message. Valid while the caller keeps this object alive.</summary>
    public int DangerousNumber => (int)handle;

    /// <inheritdoc/>
    // close(2) is never retried: on Linux the descriptor is gone even when EINTR is reported.
    protected override bool ReleaseHandle() => Libc.Close((int)handle) == 0;
}
