using System.Runtime.InteropServices;

namespace K3sFast.Interop;

/// <summary>
/// Receives and sends datagrams many at a time: one system call for as many as are waiting. Buffers are the caller's pinned memory. One thread.
/// </summary>
/// <remarks>recvmmsg(2), sendmmsg(2). Allocates nothing after construction.</remarks>
public sealed unsafe class DatagramBatch : IDisposable
{
    private readonly MessageHeader* _received;
    private readonly MessageHeader* _queued;
    private readonly IoVector* _vectors;
    private int _queuedCount;

    /// <summary>Room for <paramref name="capacity"/> datagrams in each direction.</summary>
    public DatagramBatch(int capacity)
    {
        Capacity = capacity;
        _received = (MessageHeader*)NativeMemory.AllocZeroed((nuint)capacity, (nuint)sizeof(MessageHeader));
        _queued = (MessageHeader*)NativeMemory.AllocZeroed((nuint)capacity, (nuint)sizeof(MessageHeader));
        _vectors = (IoVector*)NativeMemory.AllocZeroed(2 * (nuint)capacity, (nuint)sizeof(IoVector));
    }

    /// <summary>Datagrams that one call receives at most.</summary>
    public int Capacity { get; }

    /// <summary>Where the datagram of a place goes, and its sender's address. <paramref name="memory"/> is pinned and outlives the batch.</summary>
    public void SetBuffer(int place, byte[] memory, int bufferAt, int bufferSize, int addressAt, int addressSize)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(bufferAt + bufferSize, memory.Length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(addressAt + addressSize, memory.Length);
        // Safe because: the array is on the pinned heap, and the places lie in it.
        var start = (byte*)Marshal.UnsafeAddrOfPinnedArrayElement(memory, 0);
        _vectors[place] = new IoVector { Base = start + bufferAt, Length = (nuint)bufferSize };
        _received[place] = new MessageHeader { Name = start + addressAt, NameLength = (uint)addressSize, Vectors = _vectors + place, VectorCount = 1 };
        _received[place].RoomForName = (uint)addressSize;
    }

    /// <summary>Waits for a datagram and takes all that are there. Returns how many; -1 leaves the error's number in <see cref="Marshal.GetLastPInvokeError"/>.</summary>
    public int Receive(int socket)
    {
        for (var i = 0; i < Capacity; i++)
        {
            _received[i].NameLength = _received[i].RoomForName;
            _received[i].Flags = 0;
        }
        return Libc.ReceiveMany(socket, _received, (uint)Capacity, Libc.MSG_WAITFORONE, null);
    }

    /// <summary>Bytes of a received datagram; 0 where it was longer than its buffer.</summary>
    public int LengthOf(int place) => (_received[place].Flags & Libc.MSG_TRUNC) != 0 ? 0 : (int)_received[place].Length;

    /// <summary>Puts a datagram to those that <see cref="Send"/> sends.</summary>
    public void Queue(byte[] memory, int at, int length, int addressAt, int addressSize)
    {
        var start = (byte*)Marshal.UnsafeAddrOfPinnedArrayElement(memory, 0);
        var vector = _vectors + Capacity + _queuedCount;
        *vector = new IoVector { Base = start + at, Length = (nuint)length };
        _queued[_queuedCount++] = new MessageHeader { Name = start + addressAt, NameLength = (uint)addressSize, Vectors = vector, VectorCount = 1 };
    }

    /// <summary>Sends all that is queued. One that cannot be sent is left out; returns how many were.</summary>
    public int Send(int socket)
    {
        var (at, sent) = (0, 0);
        while (at < _queuedCount)
        {
            var result = Libc.SendMany(socket, _queued + at, (uint)(_queuedCount - at), 0);
            if (result > 0) (at, sent) = (at + result, sent + result);
            else if (Marshal.GetLastPInvokeError() != Errno.EINTR) at++;
        }
        _queuedCount = 0;
        return sent;
    }

    /// <summary>Ends a <see cref="Receive"/> that waits on the socket, now and from now on: it returns at once, with nothing.</summary>
    public static void Wake(int socket) => _ = Libc.Shutdown(socket, Libc.SHUT_RD);

    /// <inheritdoc/>
    public void Dispose()
    {
        NativeMemory.Free(_received);
        NativeMemory.Free(_queued);
        NativeMemory.Free(_vectors);
    }
}

/// <summary>struct mmsghdr with the struct msghdr in it (bits/socket.h), for 64-bit machines; <see cref="RoomForName"/> lies in its padding.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct MessageHeader
{
    internal byte* Name;
    internal uint NameLength;
    internal uint RoomForName;
    internal IoVector* Vectors;
    internal nuint VectorCount;
    internal void* Control;
    internal nuint ControlLength;
    internal int Flags;
    private readonly int _padding;
    internal uint Length;
    private readonly int _end;
}

/// <summary>struct iovec (bits/types/struct_iovec.h).</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct IoVector
{
    internal byte* Base;
    internal nuint Length;
}
