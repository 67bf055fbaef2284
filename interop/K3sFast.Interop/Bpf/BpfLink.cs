using K3sFast.Interop.Processes;

namespace K3sFast.Interop.Bpf;

/// <summary>Holds a program where it is attached; the program can be exchanged at one instant. Pinned, it outlives this process.</summary>
internal sealed unsafe class BpfLink : IDisposable
{
    private readonly FileDescriptor _descriptor;

    private BpfLink(FileDescriptor descriptor) => _descriptor = descriptor;

    /// <summary>False = somebody detached it, or the cgroup is gone.</summary>
    internal bool IsAttached
    {
        get
        {
            var info = new bpf_link_info();
            var attributes = new bpf_attr_info { bpf_fd = (uint)_descriptor.DangerousNumber, info_len = (uint)sizeof(bpf_link_info), info = (ulong)&info };
            return BpfCall.Try(BpfConstants.BPF_OBJ_GET_INFO_BY_FD, ref attributes) >= 0 && info.cgroup_id != 0;
        }
    }

    /// <summary>Attaches a program to a cgroup and everything below it, beside what others attached there.</summary>
    internal static BpfLink Attach(BpfProgram program, string cgroupPath)
    {
        using var cgroup = PosixFile.OpenDirectory(cgroupPath);
        var attributes = new bpf_attr_link_create
        {
            prog_fd = (uint)program.Descriptor.DangerousNumber, target_fd = (uint)cgroup.DangerousNumber, attach_type = program.AttachType,
        };
        return new BpfLink(new FileDescriptor(BpfCall.Do(BpfConstants.BPF_LINK_CREATE, ref attributes, "bpf link to " + cgroupPath)));
    }

    /// <summary>Opens a pinned link; null = nothing is there.</summary>
    internal static BpfLink? OpenPinned(string path) => BpfCall.OpenPinned(path) is { } descriptor ? new BpfLink(descriptor) : null;

    /// <summary>Exchanges the program: every connection sees the old one or the new one.</summary>
    internal void Replace(BpfProgram program)
    {
        var attributes = new bpf_attr_link_update { link_fd = (uint)_descriptor.DangerousNumber, new_prog_fd = (uint)program.Descriptor.DangerousNumber };
        BpfCall.Do(BpfConstants.BPF_LINK_UPDATE, ref attributes, "bpf link update");
    }

    /// <summary>Makes the link outlive this process.</summary>
    internal void Pin(string path) => BpfCall.Pin(_descriptor, path);

    /// <inheritdoc/>
    public void Dispose() => _descriptor.Dispose();
}
