namespace K3sFast.AddOns.Dns;

// The answer: header and question are the query's, records follow. A record that does not fit in the size that the client takes is left out
// and the answer marked truncated, so that the client asks again over TCP.
internal sealed partial class Exchange
{
    // A pointer to the question's name: two top bits set, offset 12 (RFC 1035 §4.1.4).
    private const ushort QuestionName = 0xC000 | DnsMessage.HeaderSize;

    // OPT with no options: root, type, size, flags, length.
    private const int OptSize = 11;

    // What we take over UDP ourselves, as told in OPT.
    private const ushort OwnUdpSize = 1232;

    private int _answers;
    private int _authorities;
    private int _additionals;
    private int _room;

    /// <summary>Bytes written so far; after <see cref="Finish"/> the answer's size.</summary>
    internal int Length { get; private set; }

    internal int Answers => _answers;

    internal DnsCode Code { get; set; }

    internal bool IsTruncated { get; set; }

    internal bool IsAuthoritative { get; set; }

    internal bool IsRecursionAvailable { get; set; }

    internal bool IsAuthentic { get; set; }

    /// <summary>Where the records begin.</summary>
    internal int RecordsAt => QuestionEnd;

    /// <summary>Starts the answer (again): no records.</summary>
    internal void Reset()
    {
        var reserve = HasOpt ? OptSize + (Notes.Nsid?.Length + 4 ?? 0) : 0;
        _room = Math.Min(Limit, AnswerSize) - reserve;
        Query[..QuestionEnd].CopyTo(AnswerBuffer);
        (Length, _answers, _authorities, _additionals) = (QuestionEnd, 0, 0, 0);
        (Code, IsTruncated, IsAuthoritative, IsRecursionAvailable, IsAuthentic) = (DnsCode.NoError, false, false, true, false);
    }

    /// <summary>A record of the name that is looked for.</summary>
    internal void Add(DnsType type, uint ttlSeconds, scoped ReadOnlySpan<byte> data) => Write(Name, type, Class, ttlSeconds, data, ref _answers);

    /// <summary>A record of another name (wire form, uncompressed).</summary>
    internal void Add(scoped ReadOnlySpan<byte> owner, DnsType type, ushort @class, uint ttlSeconds, scoped ReadOnlySpan<byte> data) =>
        Write(owner, type, @class, ttlSeconds, data, ref _answers);

    /// <summary>A record that spares the client a question; left out without harm when it does not fit.</summary>
    internal void AddAdditional(scoped ReadOnlySpan<byte> owner, DnsType type, uint ttlSeconds, scoped ReadOnlySpan<byte> data)
    {
        if (Depth > 0) return;
        var wasTruncated = IsTruncated;
        Write(owner, type, Class, ttlSeconds, data, ref _additionals);
        IsTruncated = wasTruncated;
    }

    /// <summary>A record of the authority section: the zone's SOA tells how long a negative answer holds (RFC 2308).</summary>
    internal void AddAuthority(scoped ReadOnlySpan<byte> owner, DnsType type, uint ttlSeconds, scoped ReadOnlySpan<byte> data)
    {
        if (Depth == 0) Write(owner, type, Class, ttlSeconds, data, ref _authorities);
    }

    /// <summary>Takes a whole answer of another server: everything behind the question, which must be the same. OPT is not among it.</summary>
    internal bool TryCopyRecords(ReadOnlySpan<byte> message, int recordsAt)
    {
        var records = message[recordsAt..];
        if (recordsAt != QuestionEnd || Length != QuestionEnd || QuestionEnd + records.Length > _room) return false;
        records.CopyTo(AnswerBuffer[QuestionEnd..]);
        Length += records.Length;
        (_answers, _authorities, _additionals) = (DnsMessage.U16(message[6..]), DnsMessage.U16(message[8..]), DnsMessage.U16(message[10..]));
        return true;
    }

    /// <summary>Leaves only the answer section, which ends at <paramref name="end"/>.</summary>
    internal void CutBehindAnswers(int end) => (Length, _authorities, _additionals) = (end, 0, 0);

    /// <summary>Nothing fits: the bare question with TC.</summary>
    internal void Truncate()
    {
        var code = Code;
        Reset();
        (Code, IsTruncated) = (code, true);
    }

    /// <summary>Writes an answer without records.</summary>
    internal void Fail(DnsCode code)
    {
        Reset();
        Code = code;
    }

    /// <summary>Closes the answer.</summary>
    internal void Finish()
    {
        if (HasOpt) WriteOpt();
        var buffer = AnswerBuffer;
        // QR, AA, TC, RD | RA, AD, CD, RCODE
        buffer[2] = (byte)(0x80 | (IsAuthoritative ? 0x04 : 0) | (IsTruncated ? 0x02 : 0) | (RecursionDesired ? 0x01 : 0));
        buffer[3] = (byte)((IsRecursionAvailable ? 0x80 : 0) | (IsAuthentic ? 0x20 : 0) | (ChecksDisabled ? 0x10 : 0) | ((byte)Code & 0x0F));
        WriteCounts();
    }

    /// <summary>Counts as they are, without OPT: for plugins that read the answer as a message.</summary>
    internal ReadOnlySpan<byte> Seal()
    {
        WriteCounts();
        return AnswerBuffer[..Length];
    }

    /// <summary>An answer to a packet whose question cannot be read: the header with an error code.</summary>
    internal void WriteError(DnsCode code)
    {
        QuestionEnd = code == DnsCode.BadVersion ? QuestionEnd : DnsMessage.HeaderSize;
        Reset();
        Code = code;
        Finish();
        AnswerBuffer[2] |= (byte)(_memory[2] & 0x78);
        if (code != DnsCode.BadVersion) DnsMessage.U16(AnswerBuffer[4..], 0);
    }

    private void WriteCounts()
    {
        var buffer = AnswerBuffer;
        DnsMessage.U16(buffer[4..], 1);
        DnsMessage.U16(buffer[6..], _answers);
        DnsMessage.U16(buffer[8..], _authorities);
        DnsMessage.U16(buffer[10..], _additionals);
    }

    private void Write(scoped ReadOnlySpan<byte> owner, DnsType type, ushort @class, uint ttlSeconds, scoped ReadOnlySpan<byte> data, ref int count)
    {
        var buffer = AnswerBuffer;
        var (plain, pointer) = Compress(owner);
        var ownerSize = plain + (pointer == 0 ? 0 : 2);
        if (IsTruncated || Length + ownerSize + 10 + data.Length > _room)
        {
            IsTruncated = true;
            return;
        }
        var at = buffer[Length..];
        owner[..plain].CopyTo(at);
        if (pointer != 0) DnsMessage.U16(at[plain..], pointer);
        at = at[ownerSize..];
        DnsMessage.U16(at, (ushort)type);
        DnsMessage.U16(at[2..], @class);
        DnsMessage.U32(at[4..], ttlSeconds);
        DnsMessage.U16(at[8..], data.Length);
        data.CopyTo(at[10..]);
        Length += ownerSize + 10 + data.Length;
        count++;
    }

    // How many bytes of the owner are written, and the pointer that stands for the rest: names are mostly the question's, or end as it does.
    private (int Plain, int Pointer) Compress(scoped ReadOnlySpan<byte> owner)
    {
        if (IsQuestionName && owner.SequenceEqual(Name)) return (0, QuestionName);
        var question = Question;
        for (var at = 0; owner[at] != 0; at += owner[at] + 1)
        {
            var cut = question.Length - (owner.Length - at);
            if (cut < 0 || !question[cut..].SequenceEqual(owner[at..])) continue;
            var label = 0;
            while (label < cut) label += question[label] + 1;
            if (label == cut) return (at, QuestionName + cut);
        }
        return (owner.Length, 0);
    }

    private void WriteOpt()
    {
        var at = AnswerBuffer[Length..];
        at[..OptSize].Clear();
        DnsMessage.U16(at[1..], (ushort)DnsType.Opt);
        DnsMessage.U16(at[3..], OwnUdpSize);
        at[5] = (byte)((byte)Code >> 4);
        if (WantsDnssec) at[7] = 0x80;
        Length += OptSize;
        if (Notes.Nsid is { } nsid)
        {
            // Option 3, RFC 5001.
            DnsMessage.U16(at[9..], nsid.Length + 4);
            DnsMessage.U16(at[11..], 3);
            DnsMessage.U16(at[13..], nsid.Length);
            nsid.CopyTo(at[15..]);
            Length += nsid.Length + 4;
        }
        _additionals++;
    }
}
