using System.Buffers.Binary;
using System.Text;

namespace K3sFast.Interop.Bpf;

/// <summary>A program that the kernel has accepted.</summary>
internal sealed unsafe class BpfProgram : IDisposable
{
    private const int LogBytes = 256 * 1024, InstructionSize = 8, ShownLines = 12;

    // Offset of the second register and of the constant in an instruction; the register is the upper half of its byte.
    private const int RegistersOffset = 1, ConstantOffset = 4;

    // Programs for packets are attached by traffic control, which knows no such number.
    private const uint ForPackets = 0;

    internal BpfProgram(FileDescriptor descriptor, uint attachType) => (Descriptor, AttachType) = (descriptor, attachType);

    /// <summary>For links. Valid until disposed.</summary>
    internal FileDescriptor Descriptor { get; }

    /// <summary>The kernel's number of it.</summary>
    internal uint Id
    {
        get
        {
            var info = new bpf_prog_info();
            var attributes = new bpf_attr_info { bpf_fd = (uint)Descriptor.DangerousNumber, info_len = (uint)sizeof(bpf_prog_info), info = (ulong)&info };
            BpfCall.Do(BpfConstants.BPF_OBJ_GET_INFO_BY_FD, ref attributes, "bpf program info");
            return info.id;
        }
    }

    /// <summary>Where it can be attached; 0 for packets of a link.</summary>
    internal uint AttachType { get; }

    /// <summary>Loads a program of <paramref name="source"/> for the sockets of a cgroup or the packets of a link, as its section says.</summary>
    /// <param name="spec">The program.</param>
    /// <param name="source">Where it is from.</param>
    /// <param name="maps">By name; all that the program refers to.</param>
    /// <param name="constants">The read-only data.</param>
    /// <exception cref="KernelException">Not accepted; the text ends with the verifier's last words.</exception>
    internal static BpfProgram Load(BpfProgramSpec spec, BpfObject source, IReadOnlyDictionary<string, BpfMap> maps, BpfMap? constants)
    {
        var instructions = Relocate(spec, maps, constants);
        var attachType = AttachTypeOf(spec.Section);
        var license = Encoding.ASCII.GetBytes(source.License + "\0");
        var result = TryLoad(spec, instructions, license, attachType, log: default);
        if (result < 0)
        {
            var log = new byte[LogBytes];
            var again = TryLoad(spec, instructions, license, attachType, log);
            if (again < 0) throw new KernelException("bpf load " + spec.Section, -result, LastWords(log));
            result = again;
        }
        return new BpfProgram(new FileDescriptor(result), attachType);
    }

    /// <inheritdoc/>
    public void Dispose() => Descriptor.Dispose();

    private static int TryLoad(BpfProgramSpec spec, byte[] instructions, byte[] license, uint attachType, Span<byte> log)
    {
        fixed (byte* code = instructions, terms = license, buffer = log)
        {
            var attributes = new bpf_attr_prog_load
            {
                prog_type = attachType switch
                {
                    ForPackets => BpfConstants.BPF_PROG_TYPE_SCHED_CLS,
                    BpfConstants.BPF_CGROUP_INET_SOCK_RELEASE => BpfConstants.BPF_PROG_TYPE_CGROUP_SOCK,
                    _ => BpfConstants.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
                },
                insn_cnt = (uint)(instructions.Length / InstructionSize),
                insns = (ulong)code,
                license = (ulong)terms,
                log_level = log.IsEmpty ? 0u : 1,
                log_size = (uint)log.Length,
                log_buf = (ulong)buffer,
                expected_attach_type = attachType,
            };
            Encoding.ASCII.GetBytes(BpfMap.KernelName(spec.Name), new Span<byte>(attributes.prog_name, (int)BpfConstants.BPF_OBJ_NAME_LEN - 1));
            return BpfCall.Try(BpfConstants.BPF_PROG_LOAD, ref attributes);
        }
    }

    // A map's descriptor goes into the constant of the load; for read-only data, the place in it moves to the constant of the second half.
    private static byte[] Relocate(BpfProgramSpec spec, IReadOnlyDictionary<string, BpfMap> maps, BpfMap? constants)
    {
        var code = (byte[])spec.Instructions.Clone();
        foreach (var (instruction, name) in spec.Relocations)
        {
            var load = code.AsSpan(instruction * InstructionSize, 2 * InstructionSize);
            var map = name is null ? constants : maps.GetValueOrDefault(name);
            if (map is null) throw new InvalidDataException($"program {spec.Name} needs map {name ?? "of constants"}");
            load[RegistersOffset] = (byte)((load[RegistersOffset] & 15) | ((name is null ? BpfConstants.BPF_PSEUDO_MAP_VALUE : BpfConstants.BPF_PSEUDO_MAP_FD) << 4));
            load[..(ConstantOffset + sizeof(int))][ConstantOffset..].CopyTo(load[(InstructionSize + ConstantOffset)..]);
            BinaryPrimitives.WriteInt32LittleEndian(load[ConstantOffset..], map.Descriptor);
        }
        return code;
    }

    private static uint AttachTypeOf(string section) => section switch
    {
        "cgroup/connect4" => BpfConstants.BPF_CGROUP_INET4_CONNECT,
        "cgroup/connect6" => BpfConstants.BPF_CGROUP_INET6_CONNECT,
        "cgroup/sendmsg4" => BpfConstants.BPF_CGROUP_UDP4_SENDMSG,
        "cgroup/sendmsg6" => BpfConstants.BPF_CGROUP_UDP6_SENDMSG,
        "cgroup/recvmsg4" => BpfConstants.BPF_CGROUP_UDP4_RECVMSG,
        "cgroup/recvmsg6" => BpfConstants.BPF_CGROUP_UDP6_RECVMSG,
        "cgroup/getpeername4" => BpfConstants.BPF_CGROUP_INET4_GETPEERNAME,
        "cgroup/getpeername6" => BpfConstants.BPF_CGROUP_INET6_GETPEERNAME,
        "cgroup/sock_release" => BpfConstants.BPF_CGROUP_INET_SOCK_RELEASE,
        "tc/ingress" or "tc/egress" => ForPackets,
        _ => throw new InvalidDataException($"nothing is known of programs in section {section}"),
    };

    private static string LastWords(byte[] log)
    {
        var end = Array.IndexOf(log, (byte)0);
        var lines = Encoding.UTF8.GetString(log, 0, end < 0 ? log.Length : end).Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        return string.Join("; ", lines.TakeLast(ShownLines));
    }
}
