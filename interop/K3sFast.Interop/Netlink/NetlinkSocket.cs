using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using K3sFast.Interop.Namespaces;
using static K3sFast.Interop.Netlink.NetlinkConstants;

namespace K3sFast.Interop.Netlink;

/// <summary>linux/netlink.h: which part of the kernel a socket talks to.</summary>
public enum NetlinkProtocol
{
    /// <summary>NETLINK_ROUTE: links, addresses, routes, neighbours, rules.</summary>
    Route = 0,

    /// <summary>NETLINK_SOCK_DIAG: the sockets of a namespace.</summary>
    SocketDiagnostics = 4,

    /// <summary>NETLINK_NETFILTER: nf_tables and connection tracking.</summary>
    Netfilter = 12,

    /// <summary>NETLINK_GENERIC: everything that got no number of its own, such as ethtool and WireGuard.</summary>
    Generic = 16,
}

/// <summary>
/// A netlink socket: sends a batch with one syscall, reads what the kernel answers, keeps its words in errors. It belongs to the network
/// namespace it was opened for, whatever thread uses it.
/// </summary>
/// <remarks>
/// Any thread; one exchange at a time. The kernel works through a request inside send(2), so that when it returns all acknowledgements are in
/// the receive queue: reading never waits for anything but our own process.
/// </remarks>
public sealed unsafe class NetlinkSocket : IDisposable
{
    // The kernel fills up to 32 KB per datagram of a dump (NLMSG_GOODSIZE and the size last asked for); acknowledgements are far smaller.
    private const int ReceiveSizeBytes = 64 * 1024;

    // A rejected transaction acknowledges every message, each with an skb of its own of about 1 KB as the kernel counts it.
    private const int ReceiveQueueBytes = 8 * 1024 * 1024;

    // All acknowledgements of what was sent at once wait in the queue: so many fit into what the unprivileged get (net.core.rmem_max, 208 KB, doubled).
    private const int MaxMessagesAtOnce = 256;

    // What receiving answers beside a length.
    private const int NothingThere = -1, Overrun = -2;

    // A dump that keeps changing under us is asked again this often, then taken as it is an error.
    private const int MaxDumpAttempts = 20;

    // Immutable after construction
    private readonly FileDescriptor _socket;

    // Guarded by _gate
    private readonly Lock _gate = new();
    private byte[] _receive = ArrayPool<byte>.Shared.Rent(ReceiveSizeBytes);
    private int _sendQueueBytes = 200 * 1024;

    internal NetlinkSocket(FileDescriptor socket) => _socket = socket;

    /// <summary>Gets one message of a dump; the payload is valid during the call.</summary>
    public delegate void MessageHandler<TState>(ushort type, ReadOnlySpan<byte> payload, TState state);

    /// <summary>Opens a socket in <paramref name="inside"/>, or in the caller's namespace.</summary>
    /// <exception cref="KernelException">The kernel lacks the protocol, or out of descriptors.</exception>
    public static NetlinkSocket Open(NetlinkProtocol protocol, NetworkNamespace? inside = null) => Open(protocol, inside, ReceiveQueueBytes);

    /// <summary>The same with a queue for answers of another size; the kernel takes twice what is said, and not less than some 2 KB.</summary>
    internal static NetlinkSocket Open(NetlinkProtocol protocol, NetworkNamespace? inside, int receiveQueueBytes) =>
        inside is null ? OpenHere(protocol, receiveQueueBytes) : inside.Run(() => OpenHere(protocol, receiveQueueBytes));

    /// <summary>Sends a batch in which every message asks for an acknowledgement, and reads them all.</summary>
    /// <exception cref="KernelException">
    /// The first message that was refused; those after it were carried out all the same. ENOBUFS: acknowledgements were lost, and with them the knowledge of what
    /// was carried out; look at what is there.
    /// </exception>
    public void Execute(NetlinkBatch batch)
    {
        lock (_gate)
        {
            KernelException? failure = null;
            for (var first = 0; first < batch.Count; first += MaxMessagesAtOnce)
            {
                var count = Math.Min(MaxMessagesAtOnce, batch.Count - first);
                Send(batch, batch.Slice(first, count));
                var refusal = ReadAcknowledgements(batch, count);
                failure ??= refusal;
            }
            if (failure is not null) throw failure;
        }
    }

    /// <summary>Sends an nfnetlink batch: it is carried out as a whole or not at all.</summary>
    /// <exception cref="KernelException">The first message that was refused: nothing has changed. ENOBUFS: the answer was lost, and nobody knows.</exception>
    public void ExecuteTransaction(NetlinkBatch batch)
    {
        lock (_gate)
        {
            Send(batch, batch.Written);
            if (ReadRest(batch, out var acknowledged) is { } failure) throw failure;
            if (acknowledged == 0) throw new KernelException("nfnetlink batch", Errno.EIO, "the kernel did not acknowledge it");
        }
    }

    /// <summary>Sends one request and hands over each message of the answer, from the start again when it changed meanwhile.</summary>
    /// <param name="request">A batch of one message.</param>
    /// <param name="restart">Called before each attempt: forget what the attempt before brought.</param>
    /// <param name="handler">Gets each message.</param>
    /// <param name="state">Handed to both.</param>
    /// <exception cref="KernelException">Refused, or it never held still.</exception>
    public void Dump<TState>(NetlinkBatch request, TState state, Action<TState> restart, MessageHandler<TState> handler)
    {
        lock (_gate)
        {
            for (var attempt = 0; attempt < MaxDumpAttempts; attempt++)
            {
                restart(state);
                Send(request, request.Written);
                if (ReadDump(request, state, handler)) return;
            }
            throw new KernelException(request.RequestOf(1).ToString(), Errno.EBUSY, "the table changed during every attempt to read it");
        }
    }

    /// <summary>Closes the socket; waits for an exchange that another thread is in.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_receive.Length == 0) return;
            _socket.Dispose();
            ArrayPool<byte>.Shared.Return(_receive);
            _receive = [];
        }
    }

    private KernelException? ReadAcknowledgements(NetlinkBatch batch, int open)
    {
        KernelException? failure = null;
        while (open > 0)
        {
            var length = Receive(0);
            if (length == Overrun)
            {
                // The others would be waited for in vain: what is left is in the queue by now (see the type's remarks).
                var rest = ReadRest(batch, out _);
                return failure ?? rest ?? LostAnswers(batch);
            }
            for (var reader = new MessageReader(_receive.AsSpan(0, length)); reader.Next();)
            {
                if (reader.Type != NLMSG_ERROR) continue;
                open--;
                failure ??= reader.ErrorOf(batch);
            }
        }
        return failure;
    }

    // Everything is in the queue by now: an empty queue ends the answer. A refusal says more than that answers were lost.
    private KernelException? ReadRest(NetlinkBatch batch, out int acknowledged)
    {
        acknowledged = 0;
        KernelException? failure = null;
        var isOverrun = false;
        for (int length; (length = Receive(Libc.MSG_DONTWAIT)) != NothingThere;)
        {
            if (length == Overrun)
            {
                isOverrun = true;
                continue;
            }
            for (var reader = new MessageReader(_receive.AsSpan(0, length)); reader.Next();)
            {
                if (reader.Type != NLMSG_ERROR) continue;
                acknowledged++;
                failure ??= reader.ErrorOf(batch);
            }
        }
        return failure ?? (isOverrun ? LostAnswers(batch) : null);
    }

    private static KernelException LostAnswers(NetlinkBatch batch) =>
        new(batch.RequestOf(1).ToString(), Errno.ENOBUFS, "the kernel's answers were more than there was room for: what was carried out is not known");

    // False = the dump was interrupted by a change, or a part of it got lost.
    private bool ReadDump<TState>(NetlinkBatch request, TState state, MessageHandler<TState> handler)
    {
        var isConsistent = true;
        KernelException? failure = null;
        while (true)
        {
            var length = Receive(0);
            if (length == Overrun) return false;
            for (var reader = new MessageReader(_receive.AsSpan(0, length)); reader.Next();)
            {
                if ((reader.Flags & NLM_F_DUMP_INTR) != 0) isConsistent = false;
                switch (reader.Type)
                {
                    case NLMSG_ERROR:
                        failure = reader.ErrorOf(request);
                        if (failure is { Errno: Errno.EINTR or Errno.EAGAIN }) return false;
                        return failure is null ? isConsistent : throw failure;
                    case NLMSG_DONE:
                        var result = reader.Payload.Length >= 4 ? MemoryMarshal.Read<int>(reader.Payload) : 0;
                        if (result is -Errno.EINTR or -Errno.EAGAIN) return false;
                        if (result < 0) throw new KernelException(request.RequestOf(1).ToString(), -result);
                        return isConsistent;
                    case NLMSG_NOOP or NLMSG_OVERRUN:
                        break;
                    default:
                        handler(reader.Type, reader.Payload, state);
                        break;
                }
            }
        }
    }

    private static NetlinkSocket OpenHere(NetlinkProtocol protocol, int receiveQueueBytes)
    {
        var descriptor = new FileDescriptor(Libc.Socket(Libc.AF_NETLINK, Libc.SOCK_RAW | Libc.SOCK_CLOEXEC, (int)protocol));
        if (descriptor.IsInvalid) throw KernelException.OfLastCall($"open netlink socket ({protocol})");
        var address = new sockaddr_nl { nl_family = Libc.AF_NETLINK };
        if (Libc.Bind(descriptor, &address, (uint)sizeof(sockaddr_nl)) != 0)
        {
            descriptor.Dispose();
            throw KernelException.OfLastCall($"bind netlink socket ({protocol})");
        }
        // Older kernels lack some of these; errors are then poorer, nothing else.
        SetOption(descriptor, SOL_NETLINK, NETLINK_EXT_ACK, 1);
        SetOption(descriptor, SOL_NETLINK, NETLINK_CAP_ACK, 1);
        SetOption(descriptor, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1);
        if (!SetOption(descriptor, Libc.SOL_SOCKET, Libc.SO_RCVBUFFORCE, receiveQueueBytes)) SetOption(descriptor, Libc.SOL_SOCKET, Libc.SO_RCVBUF, receiveQueueBytes);
        return new NetlinkSocket(descriptor);
    }

    private void Send(NetlinkBatch batch, ReadOnlySpan<byte> messages)
    {
        if (messages.Length > _sendQueueBytes / 2) GrowSendQueue(messages.Length);
        Drain();
        fixed (byte* bytes = messages)
        {
            while (Libc.Send(_socket, bytes, (nuint)messages.Length, 0) < 0)
            {
                var errno = Marshal.GetLastPInvokeError();
                if (errno != Errno.EINTR) throw new KernelException(batch.RequestOf(1).ToString(), errno, "the request could not be sent");
            }
        }
    }

    // Whatever an exchange that ended with an exception left behind must not be taken for the next one's answer.
    private void Drain()
    {
        while (Receive(Libc.MSG_DONTWAIT) != NothingThere)
        {
        }
    }

    // The kernel refuses a message longer than the send queue (EMSGSIZE). Forced, because net.core.wmem_max is meant for the unprivileged.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private void GrowSendQueue(int length)
    {
        var wanted = length * 2;
        if (!SetOption(_socket, Libc.SOL_SOCKET, Libc.SO_SNDBUFFORCE, wanted)) SetOption(_socket, Libc.SOL_SOCKET, Libc.SO_SNDBUF, wanted);
        _sendQueueBytes = wanted * 2;
    }

    // Bytes received; or nothing was there (only with MSG_DONTWAIT), or the kernel had more to say than fitted into the queue.
    private int Receive(int flags)
    {
        while (true)
        {
            nint length;
            fixed (byte* bytes = _receive) length = Libc.Receive(_socket, bytes, ReceiveSizeBytes, flags | Libc.MSG_TRUNC);
            if (length > ReceiveSizeBytes) throw new KernelException("receive from netlink socket", Errno.EMSGSIZE, $"a datagram of {length} bytes");
            if (length >= 0) return (int)length;
            var errno = Marshal.GetLastPInvokeError();
            if (errno == Errno.EAGAIN) return NothingThere;
            if (errno == Errno.ENOBUFS) return Overrun;
            if (errno != Errno.EINTR) throw new KernelException("receive from netlink socket", errno);
        }
    }

    private static bool SetOption(FileDescriptor socket, int level, int name, int value) => Libc.SetSockOpt(socket, level, name, &value, sizeof(int)) == 0;

    /// <summary>Walks the messages of one datagram.</summary>
    private ref struct MessageReader(ReadOnlySpan<byte> datagram)
    {
        private ReadOnlySpan<byte> _rest = datagram;
        private nlmsghdr _header;

        internal readonly ushort Type => _header.nlmsg_type;
        internal readonly ushort Flags => _header.nlmsg_flags;
        internal ReadOnlySpan<byte> Payload { get; private set; }

        internal bool Next()
        {
            if (_rest.Length < sizeof(nlmsghdr)) return false;
            _header = MemoryMarshal.Read<nlmsghdr>(_rest);
            var length = (int)_header.nlmsg_len;
            if (length < sizeof(nlmsghdr) || length > _rest.Length) return false;
            Payload = _rest[sizeof(nlmsghdr)..length];
            _rest = Align(length) <= _rest.Length ? _rest[Align(length)..] : default;
            return true;
        }

        // struct nlmsgerr: i32 error (negative), the request's header (and, unless NLM_F_CAPPED, its body), then attributes with NLM_F_ACK_TLVS.
        internal readonly KernelException? ErrorOf(NetlinkBatch batch)
        {
            if (Payload.Length < 4 + sizeof(nlmsghdr)) return new KernelException("netlink batch", Errno.EIO, "truncated acknowledgement");
            var error = -MemoryMarshal.Read<int>(Payload);
            if (error == 0) return null;
            var echoed = MemoryMarshal.Read<nlmsghdr>(Payload[4..]);
            var request = batch.RequestOf(echoed.nlmsg_seq);
            return error == request.ToleratedErrno ? null : new KernelException(request.ToString(), error, ExtendedAck((int)echoed.nlmsg_len));
        }

        private readonly string? ExtendedAck(int echoedLength)
        {
            if ((Flags & NLM_F_ACK_TLVS) == 0) return null;
            var start = 4 + ((Flags & NLM_F_CAPPED) != 0 ? sizeof(nlmsghdr) : Align(echoedLength));
            // The length is what the request said of itself, as the kernel echoes it.
            if (start < 0 || start > Payload.Length) return null;
            for (var attributes = new NetlinkAttributes(Payload[start..]); attributes.Next();)
            {
                if (attributes.Type == NLMSGERR_ATTR_MSG) return attributes.Text;
            }
            return null;
        }
    }
}
