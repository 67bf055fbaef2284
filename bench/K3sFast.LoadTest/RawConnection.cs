using System.Buffers.Binary;
using System.Net.Security;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;

namespace K3sFast.LoadTest;

/// <summary>
/// Many requests without body over one HTTP/2 connection (RFC 9113), at next to no cost: the client shares the machine with the server, and a general
/// client spends more on a small answer or event than the server does. It knows just what that needs: it opens streams, grants the largest windows
/// once, and hands out the payload of DATA frames.
/// </summary>
internal sealed class RawConnection : IDisposable
{
    /// <summary>Some bytes of the answer to request <paramref name="number"/>; false = no more are wanted.</summary>
    internal delegate bool Received(int number, ReadOnlySpan<byte> bytes, bool isLast);

    private const int FrameHead = 9;
    private const int LargestWindow = int.MaxValue;
    private const int DefaultWindow = 65_535;
    private const byte Data = 0, Headers = 1, ResetStream = 3, Settings = 4, Ping = 6, GoAway = 7, WindowUpdate = 8;
    private const byte EndStream = 1, Acknowledged = 1, EndHeaders = 4, Padded = 8;

    // RFC 7541: the static table's ":status: 200", and literals that are not indexed.
    private const byte Status200 = 0x88, MethodGet = 0x82, SchemeHttps = 0x87, LiteralPath = 0x04, LiteralAuthority = 0x01, LiteralAccept = 0x0f;

    private readonly SslStream _stream;
    private readonly string _authority;
    private readonly Lock _writing = new();
    private int _opened;
    private int _answered;

    private RawConnection(SslStream stream, string authority) => (_stream, _authority) = (stream, authority);

    /// <summary>How many requests have been answered, with 200, or at least begun to be.</summary>
    internal int Answered => Volatile.Read(ref _answered);

    internal static async Task<RawConnection> OpenAsync(Uri server, SslClientAuthenticationOptions tls, CancellationToken cancellationToken)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync(server.Host, server.Port, cancellationToken);
        var stream = new SslStream(new NetworkStream(socket, ownsSocket: true));
        await stream.AuthenticateAsClientAsync(tls, cancellationToken);
        if (stream.NegotiatedApplicationProtocol != SslApplicationProtocol.Http2) throw new IOException($"{server} does not speak HTTP/2");
        var connection = new RawConnection(stream, server.Authority);
        var hello = new List<byte>("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8.ToArray());
        // SETTINGS_ENABLE_PUSH (2) off, SETTINGS_INITIAL_WINDOW_SIZE (4) and the connection's window as large as they can be: none is ever updated.
        AddFrame(hello, Settings, 0, 0, [0, 2, 0, 0, 0, 0, 0, 4, .. BigEndian(LargestWindow)]);
        AddFrame(hello, WindowUpdate, 0, 0, BigEndian(LargestWindow - DefaultWindow));
        await stream.WriteAsync(hello.ToArray(), cancellationToken);
        return connection;
    }

    /// <summary>What <see cref="Ask"/> sends for one path: the fields of a request, encoded once.</summary>
    internal byte[] FieldsOf(string path)
    {
        List<byte> fields = [MethodGet, SchemeHttps];
        AddLiteral(fields, LiteralPath, path);
        AddLiteral(fields, LiteralAuthority, _authority);
        // "accept" is entry 19 of the static table: 15 in the four bits of the prefix, 4 more after it.
        fields.AddRange([LiteralAccept, 4]);
        AddText(fields, "application/json");
        return [.. fields];
    }

    /// <summary>Asks once; requests are numbered from 0.</summary>
    internal void Ask(byte[] fields)
    {
        List<byte> frame = new(FrameHead + fields.Length);
        lock (_writing)
        {
            AddFrame(frame, Headers, EndStream | EndHeaders, (_opened++ * 2) + 1, fields);
            _stream.Write(CollectionsMarshal.AsSpan(frame));
        }
    }

    /// <summary>
    /// Reads until the connection is closed or <paramref name="onData"/> (number of the request, bytes of its answer, whether they are the last) answers
    /// false; blocks the calling thread. A refused or broken request ends it with an <see cref="IOException"/>.
    /// </summary>
    internal void Read(Received onData)
    {
        var buffer = new byte[256 * 1024];
        var held = 0;
        while (true)
        {
            var at = 0;
            while (held - at >= FrameHead)
            {
                var length = buffer[at] << 16 | buffer[at + 1] << 8 | buffer[at + 2];
                if (held - at < FrameHead + length) break;
                var (type, flags) = (buffer[at + 3], buffer[at + 4]);
                var stream = BinaryPrimitives.ReadInt32BigEndian(buffer.AsSpan(at + 5)) & int.MaxValue;
                ReadOnlySpan<byte> payload = buffer.AsSpan(at + FrameHead, length);
                at += FrameHead + length;
                switch (type)
                {
                    case Data:
                        if ((flags & Padded) != 0) payload = payload[1..^payload[0]];
                        if (!onData(stream / 2, payload, (flags & EndStream) != 0)) return;
                        break;
                    // The only fields after the first are trailers.
                    case Headers when payload.Contains(Status200):
                        Interlocked.Increment(ref _answered);
                        break;
                    case Headers when (flags & EndStream) == 0:
                        throw new IOException("a request was refused");
                    case Settings when (flags & Acknowledged) == 0:
                        Send(Settings, Acknowledged, []);
                        break;
                    case Ping when (flags & Acknowledged) == 0:
                        Send(Ping, Acknowledged, payload);
                        break;
                    case ResetStream or GoAway:
                        throw new IOException($"the server ended {(type == GoAway ? "a connection" : "a request")}");
                }
            }
            buffer.AsSpan(at, held - at).CopyTo(buffer);
            held -= at;
            var read = _stream.Read(buffer.AsSpan(held));
            if (read == 0) return;
            held += read;
        }
    }

    public void Dispose() => _stream.Dispose();

    private void Send(byte type, byte flags, ReadOnlySpan<byte> payload)
    {
        List<byte> frame = [];
        AddFrame(frame, type, flags, 0, payload);
        lock (_writing) _stream.Write(CollectionsMarshal.AsSpan(frame));
    }

    private static void AddFrame(List<byte> to, byte type, byte flags, int stream, ReadOnlySpan<byte> payload)
    {
        to.AddRange([(byte)(payload.Length >> 16), (byte)(payload.Length >> 8), (byte)payload.Length, type, flags]);
        to.AddRange(BigEndian(stream));
        to.AddRange(payload);
    }

    private static void AddLiteral(List<byte> to, byte name, string value)
    {
        to.Add(name);
        AddText(to, value);
    }

    // RFC 7541, 5.2: a length of seven bits, or 127 and the rest in groups of seven; not Huffman-coded.
    private static void AddText(List<byte> to, string value)
    {
        var bytes = Encoding.ASCII.GetBytes(value);
        if (bytes.Length < 127) to.Add((byte)bytes.Length);
        else
        {
            to.Add(127);
            var rest = bytes.Length - 127;
            for (; rest >= 128; rest >>= 7) to.Add((byte)(rest & 127 | 128));
            to.Add((byte)rest);
        }
        to.AddRange(bytes);
    }

    private static byte[] BigEndian(int value)
    {
        var bytes = new byte[4];
        BinaryPrimitives.WriteInt32BigEndian(bytes, value);
        return bytes;
    }
}
