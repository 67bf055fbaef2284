using System.Buffers.Binary;

namespace K3sFast.AddOns.Dns;

/// <summary>
/// Writes an answer into a caller's buffer: header and question are the query's, records follow. A record that does not fit in the size that
/// the client takes is left out and the answer marked truncated, so that the client asks again over TCP. Allocates nothing.
/// </summary>
internal ref struct DnsAnswer
{
    // A pointer to the question's name: two top bits set, offset 12 (RFC 1035 §4.1.4).
    private const ushort QuestionName = 0xC000 | DnsQuestion.HeaderSize;

    // What we take over UDP ourselves, as told in OPT.
    private const ushort OwnUdpSize = 1232;

    // OPT with no options: root, type, size, flags, length.
    private const int OptSize = 11;

    private readonly Span<byte> _buffer;
    private readonly int _limit;
    private readonly bool _hasOpt;
    private int _answers;
    private int _authorities;
    private int _additionals;
    private bool _isTruncated;

    /// <summary>Begins an answer of at most <paramref name="sizeLimit"/> bytes; the buffer holds at least as many.</summary>
    internal DnsAnswer(in DnsQuestion question, Span<byte> buffer, int sizeLimit)
    {
        _buffer = buffer;
        _hasOpt = question.HasOpt;
        _limit = sizeLimit - (_hasOpt ? OptSize : 0);
        question.Packet[..question.QuestionEnd].CopyTo(buffer);
        Length = question.QuestionEnd;
    }

    internal int Length { get; private set; }

    internal readonly bool IsTruncated => _isTruncated;

    /// <summary>A record of the question's own name.</summary>
    internal void Add(DnsType type, uint ttlSeconds, scoped ReadOnlySpan<byte> data) => Add(default, type, ttlSeconds, data, ref _answers);

    /// <summary>A record of another name (wire form, uncompressed).</summary>
    internal void Add(scoped ReadOnlySpan<byte> owner, DnsType type, uint ttlSeconds, scoped ReadOnlySpan<byte> data) => Add(owner, type, ttlSeconds, data, ref _answers);

    /// <summary>A record that spares the client a question; left out without harm when it does not fit.</summary>
    internal void AddAdditional(scoped ReadOnlySpan<byte> owner, DnsType type, uint ttlSeconds, scoped ReadOnlySpan<byte> data)
    {
        var wasTruncated = _isTruncated;
        Add(owner, type, ttlSeconds, data, ref _additionals);
        _isTruncated = wasTruncated;
    }

    /// <summary>The zone's SOA, which tells how long a negative answer holds (RFC 2308).</summary>
    internal void AddAuthority(scoped ReadOnlySpan<byte> owner, DnsType type, uint ttlSeconds, scoped ReadOnlySpan<byte> data) =>
        Add(owner, type, ttlSeconds, data, ref _authorities);

    /// <summary>Closes the answer; returns its length.</summary>
    internal int Finish(DnsCode code, bool isAuthoritative, bool recursionDesired)
    {
        if (_hasOpt) WriteOpt();
        // QR, AA, TC, RD | RA, RCODE
        _buffer[2] = (byte)(0x80 | (isAuthoritative ? 0x04 : 0) | (_isTruncated ? 0x02 : 0) | (recursionDesired ? 0x01 : 0));
        _buffer[3] = (byte)(0x80 | (byte)code);
        BinaryPrimitives.WriteUInt16BigEndian(_buffer[4..], 1);
        BinaryPrimitives.WriteUInt16BigEndian(_buffer[6..], (ushort)_answers);
        BinaryPrimitives.WriteUInt16BigEndian(_buffer[8..], (ushort)_authorities);
        BinaryPrimitives.WriteUInt16BigEndian(_buffer[10..], (ushort)(_additionals + (_hasOpt ? 1 : 0)));
        return Length;
    }

    /// <summary>An answer to a packet whose question cannot be read: the header with an error code.</summary>
    internal static int WriteError(ReadOnlySpan<byte> query, Span<byte> buffer, DnsCode code)
    {
        query[..DnsQuestion.HeaderSize].CopyTo(buffer);
        buffer[2] = (byte)(0x80 | (query[2] & 0x79));
        buffer[3] = (byte)(0x80 | (byte)code);
        buffer[4..DnsQuestion.HeaderSize].Clear();
        return DnsQuestion.HeaderSize;
    }

    private void Add(scoped ReadOnlySpan<byte> owner, DnsType type, uint ttlSeconds, scoped ReadOnlySpan<byte> data, ref int count)
    {
        var ownerSize = owner.IsEmpty ? 2 : owner.Length;
        if (_isTruncated || Length + ownerSize + 10 + data.Length > _limit)
        {
            _isTruncated = true;
            return;
        }
        if (owner.IsEmpty) BinaryPrimitives.WriteUInt16BigEndian(_buffer[Length..], QuestionName);
        else owner.CopyTo(_buffer[Length..]);
        var at = _buffer[(Length + ownerSize)..];
        BinaryPrimitives.WriteUInt16BigEndian(at, (ushort)type);
        BinaryPrimitives.WriteUInt16BigEndian(at[2..], 1);
        BinaryPrimitives.WriteUInt32BigEndian(at[4..], ttlSeconds);
        BinaryPrimitives.WriteUInt16BigEndian(at[8..], (ushort)data.Length);
        data.CopyTo(at[10..]);
        Length += ownerSize + 10 + data.Length;
        count++;
    }

    private void WriteOpt()
    {
        var at = _buffer[Length..];
        at[..OptSize].Clear();
        BinaryPrimitives.WriteUInt16BigEndian(at[1..], (ushort)DnsType.Opt);
        BinaryPrimitives.WriteUInt16BigEndian(at[3..], OwnUdpSize);
        Length += OptSize;
    }
}
