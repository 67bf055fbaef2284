using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using K3sFast.Interop.Namespaces;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>
/// A server's evil twin: sees every TCP segment that its pod gets, and sends some that belong to no window. A client that gets such a one from an address that it
/// does not talk to resets the connection.
/// </summary>
internal sealed class ForgedSegments : IDisposable
{
    private const int Syn = 2, Reset = 4, Push = 8, Ack = 16;

    private readonly Socket _socket;
    private readonly IPAddress _own;
    private readonly ushort _port;
    private readonly byte[] _buffer = new byte[2048];
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _watching;

    // Guarded by the lock on _buffer
    private (IPAddress Address, ushort Port, uint Expected)? _client;
    private int _resets;

    internal ForgedSegments(NetworkNamespace pod, IPAddress own, ushort port)
    {
        (_own, _port) = (own, port);
        _socket = pod.Run(static () => new Socket(AddressFamily.InterNetwork, SocketType.Raw, ProtocolType.Tcp));
        _socket.Bind(new IPEndPoint(own, 0));
        _watching = WatchAsync();
    }

    /// <summary>Segments that reset a connection.</summary>
    internal int Resets
    {
        get
        {
            lock (_buffer) return _resets;
        }
    }

    /// <summary>A client has connected, and is known.</summary>
    internal bool HasClient
    {
        get
        {
            lock (_buffer) return _client is not null;
        }
    }

    /// <summary>Sends one segment that the client cannot expect: so many bytes away from what it waits for.</summary>
    internal void Send(int distance)
    {
        var (address, port, expected) = _client!.Value;
        var data = "boom!!!"u8;
        var segment = new byte[20 + data.Length];
        BinaryPrimitives.WriteUInt16BigEndian(segment, _port);
        BinaryPrimitives.WriteUInt16BigEndian(segment.AsSpan(2), port);
        BinaryPrimitives.WriteUInt32BigEndian(segment.AsSpan(4), expected + (uint)distance);
        BinaryPrimitives.WriteUInt32BigEndian(segment.AsSpan(8), 1);
        (segment[12], segment[13]) = (5 << 4, Push | Ack);
        BinaryPrimitives.WriteUInt16BigEndian(segment.AsSpan(14), 1000);
        data.CopyTo(segment.AsSpan(20));
        BinaryPrimitives.WriteUInt16BigEndian(segment.AsSpan(16), Checksum(_own, address, segment));
        _socket.SendTo(segment, new IPEndPoint(address, 0));
    }

    public void Dispose()
    {
        _stop.Cancel();
        _watching.GetAwaiter().GetResult();
        _socket.Dispose();
        _stop.Dispose();
    }

    // RFC 9293 §3.1 behind RFC 791 §3.1.
    private async Task WatchAsync()
    {
        await Task.Yield();
        var buffer = new byte[2048];
        try
        {
            while (true)
            {
                var received = await _socket.ReceiveFromAsync(buffer, SocketFlags.None, new IPEndPoint(IPAddress.Any, 0), _stop.Token);
                var header = (buffer[0] & 15) * 4;
                if (received.ReceivedBytes < header + 20) continue;
                var segment = buffer.AsSpan(header);
                if (BinaryPrimitives.ReadUInt16BigEndian(segment[2..]) != _port) continue;
                lock (_buffer)
                {
                    if ((segment[13] & Reset) != 0) _resets++;
                    if ((segment[13] & (Ack | Syn | Reset)) == Ack)
                        _client = (((IPEndPoint)received.RemoteEndPoint).Address, BinaryPrimitives.ReadUInt16BigEndian(segment), BinaryPrimitives.ReadUInt32BigEndian(segment[8..]));
                }
            }
        }
        catch (OperationCanceledException)
        {
        }
    }

    private static ushort Checksum(IPAddress from, IPAddress to, ReadOnlySpan<byte> segment)
    {
        byte[] all = [.. from.GetAddressBytes(), .. to.GetAddressBytes(), 0, 6, 0, (byte)segment.Length, .. segment];
        var sum = 0u;
        for (var i = 0; i < all.Length; i += 2) sum += (uint)((all[i] << 8) | (i + 1 < all.Length ? all[i + 1] : 0));
        while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
        return (ushort)~sum;
    }
}
