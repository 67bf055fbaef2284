using System.Runtime.InteropServices;
using K3sFast.Interop.Sockets;

namespace K3sFast.Interop;

/// <summary>
/// Receives and sends datagrams many at a time: one system call for as many as are waiting. Buffers are the caller's pinned memory. One thread.
/// </summary>
/// <remarks>recvmmsg(2), sendmmsg(2). Allocates nothing after construction.</remarks>
public sealed unsafe class DatagramBatch : IDisposable
{
    private readonly mmsghdr* _received;
    private readonly mmsghdr* _queued;
    private readonly iovec* _vectors;
    private readonly uint[] _addressSizes;
    private int _queuedCount;

    /// <summary>Room for <paramref name="capacity"/> datagrams in each direction.</summary>
    public DatagramBatch(int capacity)
    {
        Capacity = capacity;
        _addressSizes = new uint[capacity];
        _received = (mmsghdr*)NativeMemory.AllocZeroed((nuint)capacity, (nuint)sizeof(mmsghdr));
        _queued = (mmsghdr*)NativeMemory.AllocZeroed((nuint)capacity, (nuint)sizeof(mmsghdr));
        _vectors = (iovec*)NativeMemory.AllocZeroed(2 * (nuint)capacity, (nuint)sizeof(iovec));
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
        _vectors[place] = new iovec { iov_base = start + bufferAt, iov_len = (nuint)bufferSize };
        _received[place].msg_hdr = new msghdr { msg_name = start + addressAt, msg_namelen = (uint)addressSize, msg_iov = _vectors + place, msg_iovlen = 1 };
        _addressSizes[place] = (uint)addressSize;
    }

    /// <summary>Waits for a datagram and takes all that are there. Returns how many; -1 leaves the error's number in <see cref="Marshal.GetLastPInvokeError"/>.</summary>
    public int Receive(int socket)
    {
        for (var i = 0; i < Capacity; i++)
        {
            // The kernel writes how much it used; the next datagram needs the room again.
            _received[i].msg_hdr.msg_namelen = _addressSizes[i];
            _received[i].msg_hdr.msg_flags = 0;
        }
        return Libc.ReceiveMany(socket, _received, (uint)Capacity, Libc.MSG_WAITFORONE, null);
    }

    /// <summary>Bytes of a received datagram; 0 where it was longer than its buffer.</summary>
    public int LengthOf(int place) => (_received[place].msg_hdr.msg_flags & Libc.MSG_TRUNC) != 0 ? 0 : (int)_received[place].msg_len;

    /// <summary>Puts a datagram to those that <see cref="Send"/> sends.</summary>
    public void Queue(byte[] memory, int at, int length, int addressAt, int addressSize)
    {
        var start = (byte*)Marshal.UnsafeAddrOfPinnedArrayElement(memory, 0);
        var vector = _vectors + Capacity + _queuedCount;
        *vector = new iovec { iov_base = start + at, iov_len = (nuint)length };
        _queued[_queuedCount++].msg_hdr = new msghdr { msg_name = start + addressAt, msg_namelen = (uint)addressSize, msg_iov = vector, msg_iovlen = 1 };
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
