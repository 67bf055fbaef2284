using System.Buffers;
using System.Buffers.Binary;
using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using static K3sFast.Interop.Netlink.NetlinkConstants;

namespace K3sFast.Interop.Netlink;

/// <summary>
/// Requests for one netlink socket, written one after the other into a pooled buffer and sent with one syscall. Not a socket: what is written
/// here can be looked at, measured and compared.
/// </summary>
/// <remarks>
/// One thread. Layout of a message (linux/netlink.h): <c>nlmsghdr | family header | attributes</c>, of an attribute: <c>u16 length | u16 type |
/// payload | padding to 4</c>. Sequence numbers count from 1 within the batch. Allocates nothing once the buffer has its size.
/// </remarks>
public sealed class NetlinkBatch : IDisposable
{
    // A pod's set-up takes less than 2 KB, one endpoint's change less than 1 KB.
    private const int InitialSizeBytes = 4096;

    private byte[] _buffer = ArrayPool<byte>.Shared.Rent(InitialSizeBytes);
    private int _length;
    private int _message = -1;
    private readonly List<Request> _requests = [];

    /// <summary>Bytes written so far.</summary>
    public int Length => _length;

    /// <summary>Messages written so far.</summary>
    public int Count => _requests.Count;

    /// <summary>The bytes as they would be sent. Valid until the next write.</summary>
    public ReadOnlySpan<byte> Written => _buffer.AsSpan(0, _length);

    /// <summary>Empties the batch and keeps its buffer.</summary>
    public void Clear()
    {
        (_length, _message) = (0, -1);
        _requests.Clear();
    }

    /// <summary>Gives the buffer back.</summary>
    public void Dispose()
    {
        if (_buffer.Length == 0) return;
        ArrayPool<byte>.Shared.Return(_buffer);
        (_buffer, _length) = ([], 0);
    }

    /// <summary>Starts a message; the one before it must have been ended.</summary>
    /// <param name="type">nlmsg_type.</param>
    /// <param name="flags">nlmsg_flags beside NLM_F_REQUEST.</param>
    /// <param name="operation">What the message does, for errors: "link add".</param>
    /// <param name="subject">What it does it to; null = nothing in particular.</param>
    /// <param name="toleratedErrno">An error that counts as success (deleting what is gone); 0 = none.</param>
    internal void Begin(ushort type, ushort flags, string operation, string? subject = null, int toleratedErrno = 0)
    {
        Debug.Assert(_message < 0, "the message before was not ended");
        _message = _length;
        _requests.Add(new Request(operation, subject, toleratedErrno) { Offset = _message });
        ref var header = ref Append<nlmsghdr>();
        header.nlmsg_type = type;
        header.nlmsg_flags = (ushort)(flags | NLM_F_REQUEST);
        header.nlmsg_seq = (uint)_requests.Count;
    }

    /// <summary>Appends a zeroed header struct. The reference is valid until the next write.</summary>
    internal ref T Append<T>() where T : unmanaged
    {
        var span = Take(Unsafe.SizeOf<T>());
        span.Clear();
        return ref MemoryMarshal.AsRef<T>(span);
    }

    /// <summary>Ends the message that was begun.</summary>
    internal void End()
    {
        Debug.Assert(_message >= 0, "no message was begun");
        MemoryMarshal.Write(_buffer.AsSpan(_message), (uint)(_length - _message));
        _message = -1;
    }

    internal void U8(ushort type, byte value) => Attribute(type, 1)[0] = value;

    internal void U16(ushort type, ushort value) => MemoryMarshal.Write(Attribute(type, 2), value);

    internal void U16BigEndian(ushort type, ushort value) => BinaryPrimitives.WriteUInt16BigEndian(Attribute(type, 2), value);

    internal void U32(ushort type, uint value) => MemoryMarshal.Write(Attribute(type, 4), value);

    internal void U32BigEndian(ushort type, uint value) => BinaryPrimitives.WriteUInt32BigEndian(Attribute(type, 4), value);

    internal void U64BigEndian(ushort type, ulong value) => BinaryPrimitives.WriteUInt64BigEndian(Attribute(type, 8), value);

    internal void Bytes(ushort type, ReadOnlySpan<byte> value) => value.CopyTo(Attribute(type, value.Length));

    /// <summary>A text with the closing NUL that the kernel wants.</summary>
    internal void Text(ushort type, string value)
    {
        var payload = Attribute(type, Encoding.UTF8.GetByteCount(value) + 1);
        payload[Encoding.UTF8.GetBytes(value, payload)] = 0;
    }

    /// <summary>Starts an attribute whose payload is attributes; give the answer to <see cref="EndNested"/>.</summary>
    internal int BeginNested(ushort type, bool isFlagged = true)
    {
        var start = _length;
        ref var header = ref Append<nlattr>();
        header.nla_type = isFlagged ? (ushort)(type | NLA_F_NESTED) : type;
        return start;
    }

    /// <summary>Ends the attribute that starts at <paramref name="start"/>.</summary>
    internal void EndNested(int start) => MemoryMarshal.Write(_buffer.AsSpan(start), checked((ushort)(_length - start)));

    /// <summary>Bytes that the open attribute from <paramref name="start"/> has so far.</summary>
    internal int NestedLength(int start) => _length - start;

    /// <summary>Adds flags to the last message, e.g. the request for an acknowledgement.</summary>
    internal void FlagLast(int messageOffset, ushort flags)
    {
        ref var header = ref MemoryMarshal.AsRef<nlmsghdr>(_buffer.AsSpan(messageOffset));
        header.nlmsg_flags |= flags;
    }

    /// <summary>The bytes of <paramref name="count"/> messages from number <paramref name="first"/> (from 0) on. Valid until the next write.</summary>
    internal ReadOnlySpan<byte> Slice(int first, int count)
    {
        var end = first + count < _requests.Count ? _requests[first + count].Offset : _length;
        return _buffer.AsSpan(_requests[first].Offset, end - _requests[first].Offset);
    }

    /// <summary>What message number <paramref name="sequence"/> (from 1) asked for.</summary>
    internal Request RequestOf(uint sequence) =>
        sequence >= 1 && sequence <= _requests.Count ? _requests[(int)sequence - 1] : new Request("netlink batch", null, 0);

    private Span<byte> Attribute(ushort type, int payloadLength)
    {
        var length = Unsafe.SizeOf<nlattr>() + payloadLength;
        var span = Take(Align(length));
        span[^4..].Clear();
        ref var header = ref MemoryMarshal.AsRef<nlattr>(span);
        header.nla_len = checked((ushort)length);
        header.nla_type = type;
        return span.Slice(Unsafe.SizeOf<nlattr>(), payloadLength);
    }

    private Span<byte> Take(int length)
    {
        if (_buffer.Length - _length < length) Grow(length);
        var span = _buffer.AsSpan(_length, length);
        _length += length;
        return span;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Grow(int length)
    {
        var grown = ArrayPool<byte>.Shared.Rent(Math.Max(_buffer.Length * 2, _length + length));
        Written.CopyTo(grown);
        ArrayPool<byte>.Shared.Return(_buffer);
        _buffer = grown;
    }

    /// <summary>What a message is for, for the words of an error.</summary>
    internal readonly record struct Request(string Operation, string? Subject, int ToleratedErrno)
    {
        /// <summary>Where the message starts in the batch.</summary>
        internal int Offset { get; init; }

        public override string ToString() => Subject is null ? Operation : $"{Operation} {Subject}";
    }
}
