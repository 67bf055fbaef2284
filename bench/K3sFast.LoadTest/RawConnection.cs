using System.Buffers.Binary;
using System.Net.Security;
using System.Runtime.InteropServices;
using System.Text;

namespace K3sFast.LoadTest;

/// <summary>
/// Many small requests over one HTTP/2 connection (RFC 9113), at next to no cost: the client shares the machine with the server, and a general
/// client spends more on a small answer or event than the server does. It knows just what that needs: it opens streams, grants the largest windows
/// once, and hands out the payload of DATA frames. Nothing on it is asynchronous: who reads is woken by the kernel, with no other thread in between
/// whose turn would count as the server's time.
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
    private const byte Status200 = 0x88, MethodGet = 0x82, SchemeHttps = 0x87, LiteralAuthority = 0x01, LiteralMethod = 0x02, LiteralPath = 0x04, LiteralFarther = 0x0f;

    private readonly StampedSocket _socket;
    private readonly SslStream _stream;
    private readonly string _authority;
    private readonly Lock _writing = new();

    // Guarded by _writing
    private readonly List<byte> _frame = new(1024);
    private int _opened;

    // Owned by who reads: bytes from _at to _held are not looked at yet.
    private readonly byte[] _buffer = new byte[256 * 1024];
    private int _at;
    private int _held;

    private int _answered;

    private RawConnection(StampedSocket socket, string authority) => (_socket, _stream, _authority) = (socket, new SslStream(socket), authority);

    /// <summary>How many requests have been answered, with 200, or at least begun to be.</summary>
    internal int Answered => Volatile.Read(ref _answered);

    /// <summary>When the last bytes that were read had come to this machine's end of the connection, by the kernel's clock.</summary>
    internal DateTime ArrivedAt => _socket.ArrivedAt;

    internal static RawConnection Open(Uri server, SslClientAuthenticationOptions tls)
    {
        var connection = new RawConnection(StampedSocket.Connect(server.Host, server.Port), server.Authority);
        connection._stream.AuthenticateAsClient(tls);
        if (connection._stream.NegotiatedApplicationProtocol != SslApplicationProtocol.Http2) throw new IOException($"{server} does not speak HTTP/2");
        var hello = new List<byte>("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8.ToArray());
        // SETTINGS_ENABLE_PUSH (2) off, SETTINGS_INITIAL_WINDOW_SIZE (4) and the connection's window as large as they can be: none is ever updated.
        AddFrame(hello, Settings, 0, 0, [0, 2, 0, 0, 0, 0, 0, 4, .. BigEndian(LargestWindow)]);
        AddFrame(hello, WindowUpdate, 0, 0, BigEndian(LargestWindow - DefaultWindow));
        connection._stream.Write(CollectionsMarshal.AsSpan(hello));
        return connection;
    }

    /// <summary>What <see cref="Ask"/> sends for one path: the fields of a GET, or of a PUT with a body of JSON, encoded once.</summary>
    internal byte[] FieldsOf(string path, bool isPut = false)
    {
        List<byte> fields = [];
        if (isPut) AddLiteral(fields, LiteralMethod, "PUT");
        else fields.Add(MethodGet);
        fields.Add(SchemeHttps);
        AddLiteral(fields, LiteralPath, path);
        AddLiteral(fields, LiteralAuthority, _authority);
        // "accept" and "content-type" are entries 19 and 31 of the static table: 15 in the four bits of the prefix, the rest after it.
        fields.AddRange([LiteralFarther, 19 - 15]);
        AddText(fields, "application/json");
        if (!isPut) return [.. fields];
        fields.AddRange([LiteralFarther, 31 - 15]);
        AddText(fields, "application/json");
        return [.. fields];
    }

    /// <summary>Asks once; requests are numbered from 0. A body must fit into one frame, and into what the server takes unread.</summary>
    internal void Ask(byte[] fields, byte[]? body = null)
    {
        lock (_writing)
        {
            var stream = (_opened++ * 2) + 1;
            _frame.Clear();
            AddFrame(_frame, Headers, (byte)(body is null ? EndStream | EndHeaders : EndHeaders), stream, fields);
            if (body is not null) AddFrame(_frame, Data, EndStream, stream, body);
            _stream.Write(CollectionsMarshal.AsSpan(_frame));
        }
    }

    /// <summary>Asks once and waits for the whole answer. Not while somebody reads.</summary>
    internal byte[] Exchange(byte[] fields, byte[]? body = null)
    {
        List<byte> answer = [];
        var isDone = false;
        Ask(fields, body);
        Read((_, bytes, isLast) =>
        {
            answer.AddRange(bytes);
            isDone = isLast;
            return !isLast;
        });
        return isDone ? [.. answer] : throw new IOException("the connection was closed before the answer's end");
    }

    /// <summary>
    /// Reads until the connection is closed or <paramref name="onData"/> (number of the request, bytes of its answer, whether they are the last) answers
    /// false; blocks the calling thread. A refused or broken request ends it with an <see cref="IOException"/>.
    /// </summary>
    internal void Read(Received onData)
    {
        var buffer = _buffer;
        while (true)
        {
            while (_held - _at >= FrameHead)
            {
                var length = buffer[_at] << 16 | buffer[_at + 1] << 8 | buffer[_at + 2];
                if (_held - _at < FrameHead + length) break;
                var (type, flags) = (buffer[_at + 3], buffer[_at + 4]);
                var stream = BinaryPrimitives.ReadInt32BigEndian(buffer.AsSpan(_at + 5)) & int.MaxValue;
                ReadOnlySpan<byte> payload = buffer.AsSpan(_at + FrameHead, length);
                _at += FrameHead + length;
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
            buffer.AsSpan(_at, _held - _at).CopyTo(buffer);
            (_at, _held) = (0, _held - _at);
            var read = _stream.Read(buffer.AsSpan(_held));
            if (read == 0) return;
            _held += read;
        }
    }

    public void Dispose() => _stream.Dispose();

    private void Send(byte type, byte flags, ReadOnlySpan<byte> payload)
    {
        lock (_writing)
        {
            _frame.Clear();
            AddFrame(_frame, type, flags, 0, payload);
            _stream.Write(CollectionsMarshal.AsSpan(_frame));
        }
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
