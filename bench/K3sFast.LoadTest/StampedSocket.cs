using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace K3sFast.LoadTest;

/// <summary>
/// A TCP connection that blocks who reads in the kernel, and tells when what was read had arrived (SO_TIMESTAMPNS, socket(7)): what passes from then
/// until a thread of this process has its turn is not the server's.
/// </summary>
internal sealed unsafe partial class StampedSocket : Stream
{
    // asm-generic/socket.h; the control message has the option's number.
    private const int SolSocket = 1, SoTimestampNs = 35;

    // struct cmsghdr is length, level and type; struct timespec follows.
    private const int ControlHead = 16, ControlBytes = ControlHead + 16;

    private const int Interrupted = 4;

    private readonly Socket _socket;
    private readonly int _descriptor;

    private StampedSocket(Socket socket)
    {
        _socket = socket;
        _descriptor = (int)socket.Handle;
    }

    /// <summary>When the last bytes that were read came.</summary>
    internal DateTime ArrivedAt { get; private set; }

    public override bool CanRead => true;

    public override bool CanWrite => true;

    public override bool CanSeek => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    internal static StampedSocket Connect(string host, int port)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        socket.Connect(host, port);
        socket.SetRawSocketOption(SolSocket, SoTimestampNs, BitConverter.GetBytes(1));
        return new StampedSocket(socket);
    }

    public override int Read(Span<byte> buffer)
    {
        fixed (byte* bytes = buffer)
        {
            // 64 bits wide, for the head's sake.
            var control = stackalloc long[ControlBytes / sizeof(long)];
            var into = new IoVector { Base = bytes, Length = (nuint)buffer.Length };
            var message = new MessageHeader { Vectors = &into, VectorCount = 1, Control = control, ControlLength = ControlBytes };
            nint read;
            while ((read = recvmsg(_descriptor, &message, 0)) < 0)
            {
                var error = Marshal.GetLastPInvokeError();
                if (error != Interrupted) throw new IOException($"recvmsg: {Marshal.GetPInvokeErrorMessage(error)}");
            }
            if (message.ControlLength >= ControlBytes) ArrivedAt = DateTime.UnixEpoch.AddTicks((control[2] * TimeSpan.TicksPerSecond) + (control[3] / 100));
            return (int)read;
        }
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        try
        {
            while (!buffer.IsEmpty) buffer = buffer[_socket.Send(buffer)..];
        }
        catch (SocketException error)
        {
            throw new IOException(error.Message, error);
        }
    }

    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (!disposing) return;
        try
        {
            // Whoever is in a read comes out of it.
            _socket.Shutdown(SocketShutdown.Both);
        }
        catch (SocketException)
        {
            // Closed by the server.
        }
        _socket.Dispose();
    }

    // struct iovec
    private struct IoVector
    {
        public byte* Base;
        public nuint Length;
    }

    // struct msghdr
    private struct MessageHeader
    {
        public void* Name;
        public uint NameLength;
        public IoVector* Vectors;
        public nuint VectorCount;
        public void* Control;
        public nuint ControlLength;
        public int Flags;
    }

    // recvmsg(2)
    [LibraryImport("libc", SetLastError = true)]
    private static partial nint recvmsg(int socket, MessageHeader* message, int flags);
}
