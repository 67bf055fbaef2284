using System.Buffers;
using System.Buffers.Binary;
using System.Text;

namespace K3sFast.Kubelet.Streaming;

/// <summary>Kinds of frames that are told apart; everything else is skipped.</summary>
internal enum SpdyFrameType
{
    Data = 0,
    SynStream = 1,
    SynReply = 2,
    RstStream = 3,
    Ping = 6,
    GoAway = 7,
    Other = 255,
}

/// <summary>Head of a frame: its kind, stream (or ping id), flags, and the bytes that follow.</summary>
internal readonly record struct SpdyFrameHead(SpdyFrameType Type, uint StreamId, byte Flags, int Length)
{
    public bool IsLast => (Flags & SpdyFrame.FlagFin) != 0;
}

/// <summary>
/// SPDY/3.1 frames, as far as the streaming protocols of container runtimes use them (spdy draft 3.1 §2.2, §2.6):
/// <code>
/// data     0|stream(31)            flags(8) length(24) bytes
/// control  1|version(15) type(16)  flags(8) length(24) body
/// SYN_STREAM body: 0|stream(31) 0|associated(31) priority(3) unused(5) slot(8) header block
/// </code>
/// A header block is one running zlib stream per direction. We write stored blocks only, which every inflater reads whatever dictionary it was
/// given, and never look into the peer's blocks: the answers that we get carry nothing that we need.
/// </summary>
internal static class SpdyFrame
{
    public const int HeadBytes = 8;
    public const byte FlagFin = 1;

    private const uint ControlBit = 0x8000_0000;
    private const uint Version = 3;

    // RFC 1950: deflate, 32 KiB window, no dictionary; the check bits make it a multiple of 31.
    private static ReadOnlySpan<byte> ZlibHead => [0x78, 0x01];

    // An empty stored block, as zlib's sync flush leaves: inflaters hand out what they have when they meet it, and not before.
    private static ReadOnlySpan<byte> SyncFlush => [0x00, 0x00, 0x00, 0xFF, 0xFF];

    /// <summary>Reads a frame's eight bytes. Stream ids of control frames are in their bodies and 0 here.</summary>
    public static SpdyFrameHead ReadHead(ReadOnlySpan<byte> head)
    {
        var first = BinaryPrimitives.ReadUInt32BigEndian(head);
        var second = BinaryPrimitives.ReadUInt32BigEndian(head[4..]);
        var (flags, length) = ((byte)(second >> 24), (int)(second & 0xFF_FFFF));
        if ((first & ControlBit) == 0) return new SpdyFrameHead(SpdyFrameType.Data, first, flags, length);
        var type = (first & 0xFFFF) switch
        {
            1 => SpdyFrameType.SynStream,
            2 => SpdyFrameType.SynReply,
            3 => SpdyFrameType.RstStream,
            6 => SpdyFrameType.Ping,
            7 => SpdyFrameType.GoAway,
            _ => SpdyFrameType.Other,
        };
        return new SpdyFrameHead(type, 0, flags, length);
    }

    /// <summary>Writes the head of a data frame.</summary>
    public static void WriteDataHead(Span<byte> head, uint streamId, int length, bool isLast)
    {
        BinaryPrimitives.WriteUInt32BigEndian(head, streamId);
        BinaryPrimitives.WriteUInt32BigEndian(head[4..], (uint)length | (isLast ? (uint)FlagFin << 24 : 0));
    }

    /// <summary>A SYN_STREAM with these headers; <paramref name="isFirst"/> for the first header block of the connection.</summary>
    public static byte[] SynStream(uint streamId, IReadOnlyList<(string Name, string Value)> headers, bool isFirst)
    {
        var block = HeaderBlock(headers, isFirst);
        var frame = new byte[HeadBytes + 10 + block.Length];
        WriteControlHead(frame, SpdyFrameType.SynStream, frame.Length - HeadBytes);
        BinaryPrimitives.WriteUInt32BigEndian(frame.AsSpan(8), streamId);
        block.CopyTo(frame.AsSpan(18));
        return frame;
    }

    /// <summary>A RST_STREAM with status CANCEL.</summary>
    public static byte[] RstStream(uint streamId)
    {
        var frame = new byte[HeadBytes + 8];
        WriteControlHead(frame, SpdyFrameType.RstStream, 8);
        BinaryPrimitives.WriteUInt32BigEndian(frame.AsSpan(8), streamId);
        BinaryPrimitives.WriteUInt32BigEndian(frame.AsSpan(12), 5);
        return frame;
    }

    /// <summary>The answer to a PING: the same id.</summary>
    public static byte[] Ping(uint id)
    {
        var frame = new byte[HeadBytes + 4];
        WriteControlHead(frame, SpdyFrameType.Ping, 4);
        BinaryPrimitives.WriteUInt32BigEndian(frame.AsSpan(8), id);
        return frame;
    }

    private static void WriteControlHead(Span<byte> head, SpdyFrameType type, int length)
    {
        BinaryPrimitives.WriteUInt32BigEndian(head, ControlBit | (Version << 16) | (uint)type);
        BinaryPrimitives.WriteUInt32BigEndian(head[4..], (uint)length);
    }

    // Number of pairs, then length and bytes of each name (lower case) and value; in one stored deflate block:
    // final(1)=0 type(2)=00 padding(5), length(16, little endian), its complement, bytes; then the sync flush.
    private static byte[] HeaderBlock(IReadOnlyList<(string Name, string Value)> headers, bool isFirst)
    {
        var plain = new ArrayBufferWriter<byte>(256);
        WriteNumber(plain, headers.Count);
        foreach (var (name, value) in headers)
        {
            WriteText(plain, name.ToLowerInvariant());
            WriteText(plain, value);
        }
        var block = new ArrayBufferWriter<byte>(plain.WrittenCount + 12);
        if (isFirst) block.Write(ZlibHead);
        var head = block.GetSpan(5);
        head[0] = 0;
        BinaryPrimitives.WriteUInt16LittleEndian(head[1..], (ushort)plain.WrittenCount);
        BinaryPrimitives.WriteUInt16LittleEndian(head[3..], (ushort)~plain.WrittenCount);
        block.Advance(5);
        block.Write(plain.WrittenSpan);
        block.Write(SyncFlush);
        return block.WrittenSpan.ToArray();
    }

    private static void WriteText(ArrayBufferWriter<byte> output, string text)
    {
        WriteNumber(output, Encoding.UTF8.GetByteCount(text));
        Encoding.UTF8.GetBytes(text, output);
    }

    private static void WriteNumber(ArrayBufferWriter<byte> output, int value)
    {
        BinaryPrimitives.WriteInt32BigEndian(output.GetSpan(4), value);
        output.Advance(4);
    }
}
