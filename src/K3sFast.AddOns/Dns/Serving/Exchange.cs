using System.Net;
using System.Net.Sockets;

namespace K3sFast.AddOns.Dns;

/// <summary>
/// One question on its way through the plugins, with its answer in the making. Used again and again: nothing here is allocated per question.
/// One thread at a time; a plugin that must wait keeps it until it is done.
/// </summary>
internal sealed partial class Exchange
{
    // The largest query taken: real ones are far smaller.
    internal const int QuerySize = 2048;

    // sizeof(struct sockaddr_storage) is 128; an address of either family needs 28.
    internal const int AddressSize = 28;

    // AF_INET6 (bits/socket.h); .NET has another number for it.
    private const byte AfInet6 = 10;

    // An alias may lead to another; RFC 1034 names no bound, resolvers use 8 to 16.
    private const int MaxDepth = 8;

    // Immutable after construction
    private readonly byte[] _memory;
    private readonly byte[] _name = new byte[DnsMessage.MaxNameSize];
    private readonly byte[] _question = new byte[DnsMessage.MaxNameSize];
    private readonly Frame[] _frames = new Frame[MaxDepth];

    // The question as it came
    private int _questionSize;
    private OptRecord _opt;

    // The question as it stands
    private int _nameSize;

    /// <summary>A place for questions whose answers have at most <paramref name="answerSize"/> bytes.</summary>
    internal Exchange(int answerSize)
    {
        // Pinned: the kernel writes questions and reads answers here, a batch at a time.
        _memory = GC.AllocateUninitializedArray<byte>(AnswerAt + answerSize, pinned: true);
        AnswerSize = answerSize;
    }

    /// <summary>Bytes that an answer may have at most.</summary>
    internal int AnswerSize { get; }

    /// <summary>Where the kernel or a stream puts a question.</summary>
    internal Span<byte> QueryBuffer => _memory.AsSpan(0, QuerySize);

    /// <summary>The client's socket address (struct sockaddr_in or sockaddr_in6).</summary>
    internal Span<byte> Client => _memory.AsSpan(QuerySize, AddressSize);

    /// <summary>Where the answer is written.</summary>
    internal Span<byte> AnswerBuffer => _memory.AsSpan(AnswerAt, AnswerSize);

    /// <summary>The answer, once it is finished.</summary>
    internal Memory<byte> Answer => _memory.AsMemory(AnswerAt, Length);

    /// <summary>The buffers' memory as one block, for streams and the kernel: question, address, answer.</summary>
    internal byte[] Memory => _memory;

    /// <summary>Offset of the answer in <see cref="Memory"/>; in front of it is room for the length that streams want (RFC 1035 §4.2.2).</summary>
    internal const int AnswerAt = QuerySize + AddressSize + 4;

    /// <summary>The answer with its length in front, for streams.</summary>
    internal ReadOnlyMemory<byte> FramedAnswer
    {
        get
        {
            DnsMessage.U16(_memory.AsSpan(AnswerAt - 2), Length);
            return _memory.AsMemory(AnswerAt - 2, Length + 2);
        }
    }

    /// <summary>The question's bytes.</summary>
    internal ReadOnlySpan<byte> Query => _memory.AsSpan(0, QueryLength);

    internal int QueryLength { get; private set; }

    internal bool IsUdp { get; private set; }

    internal long StartedAt { get; private set; }

    /// <summary>The configuration that this question is answered by, whatever is loaded meanwhile.</summary>
    internal DnsConfig Config { get; private set; } = null!;

    /// <summary>The server block that the question is in now.</summary>
    internal ServerBlock Block { get; set; } = null!;

    /// <summary>The plugin in <see cref="Block"/> that has the question now.</summary>
    internal int Position { get; set; }

    /// <summary>How many aliases were followed to come here.</summary>
    internal int Depth { get; private set; }

    /// <summary>The port that it came in by, as the Corefile calls it.</summary>
    internal int Port { get; private set; }

    /// <summary>Header and question: what every answer starts with.</summary>
    internal int QuestionEnd { get; private set; }

    /// <summary>The name that was asked for, small-lettered.</summary>
    internal ReadOnlySpan<byte> Question => _question.AsSpan(0, _questionSize);

    /// <summary>The name that is looked for now: as asked, rewritten, or what an alias leads to; small-lettered.</summary>
    internal ReadOnlySpan<byte> Name => _name.AsSpan(0, _nameSize);

    internal DnsType Type { get; set; }

    internal ushort Class { get; set; }

    internal bool HasOpt { get; private set; }

    internal ref readonly OptRecord Opt => ref _opt;

    internal bool WantsDnssec => _opt.WantsDnssec;

    internal bool ChecksDisabled => (_memory[3] & 0x10) != 0;

    internal bool RecursionDesired { get; set; }

    /// <summary>Bytes that the answer may have, for this client and this transport.</summary>
    internal int Limit { get; set; }

    /// <summary>True while records of <see cref="Name"/> are shown as records of the question: nothing was rewritten, or it is to be unseen.</summary>
    internal bool IsQuestionName { get; set; }

    /// <summary>Addresses are given out in turn.</summary>
    internal bool TakesTurns { get; set; }

    /// <summary>The plugin that answered, for metrics.</summary>
    internal string AnsweredBy { get; set; } = "";

    /// <summary>Another server's answer as it came, for the cache; null where the answer is our own.</summary>
    internal ForeignAnswer? Answered { get; set; }

    /// <summary>What plugins remember of this question until its answer comes back.</summary>
    internal ExchangeNotes Notes { get; } = new();

    /// <summary>
    /// Reads the question in the buffer. False = no question at all, to be dropped (too short, or an answer); otherwise
    /// <paramref name="error"/> tells whether it may be answered or with which code it is refused.
    /// </summary>
    internal bool TryBegin(DnsConfig config, int length, int port, bool isUdp, long now, out DnsCode error)
    {
        error = DnsCode.FormatError;
        QueryLength = length;
        if (length < DnsMessage.HeaderSize || (_memory[2] & 0x80) != 0) return false;
        (Config, Port, IsUdp, StartedAt) = (config, port, isUdp, now);
        (Depth, Position, HasOpt, _opt, _questionSize, _nameSize) = (0, 0, false, default, 0, 0);
        (IsQuestionName, TakesTurns, AnsweredBy, Answered) = (true, false, "", null);
        Notes.Clear();
        Limit = isUdp ? DnsMessage.PlainUdpSize : AnswerSize;
        RecursionDesired = (_memory[2] & 0x01) != 0;
        QuestionEnd = DnsMessage.HeaderSize;
        if ((_memory[2] & 0x78) != 0)
        {
            error = DnsCode.NotImplemented;
            return true;
        }
        var packet = Query;
        if (DnsMessage.U16(packet[4..]) != 1) return true;
        if (!DnsMessage.TryReadPlainName(packet, DnsMessage.HeaderSize, out var end) || packet.Length < end + 4) return true;
        HasOpt = DnsMessage.TryFindOpt(packet, end + 4, out _opt, out var isMalformed);
        if (isMalformed) return true;
        if (isUdp && HasOpt) Limit = Math.Clamp(_opt.UdpSize, DnsMessage.PlainUdpSize, Math.Min(DnsMessage.LargestUdpSize, AnswerSize));
        _questionSize = _nameSize = end - DnsMessage.HeaderSize;
        QuestionEnd = end + 4;
        DnsMessage.ToLower(packet[DnsMessage.HeaderSize..end], _question);
        Question.CopyTo(_name);
        (Type, Class) = ((DnsType)DnsMessage.U16(packet[end..]), DnsMessage.U16(packet[(end + 2)..]));
        error = HasOpt && _opt.Version != 0 ? DnsCode.BadVersion : DnsCode.NoError;
        return true;
    }

    /// <summary>Looks for another name from now on.</summary>
    internal void SetName(ReadOnlySpan<byte> name)
    {
        name.CopyTo(_name);
        _nameSize = name.Length;
    }

    /// <summary>
    /// Goes on with the name that an alias leads to, from the first plugin of the block that has it; what is found there is added to the
    /// answer so far. False = too many aliases, or the end of what the name can tell: the answer stands as it is.
    /// </summary>
    internal bool TryFollow(ReadOnlySpan<byte> target)
    {
        if (Depth >= MaxDepth || Class != 1 || Config.Select(Port, target) is not { } block) return false;
        _frames[Depth++] = new Frame(Block, Position, IsQuestionName, IsAuthoritative);
        SetName(target);
        (Block, Position, IsQuestionName) = (block, -1, false);
        return true;
    }

    /// <summary>Ends the search for an alias' target; the answer belongs to the plugin that found the alias again.</summary>
    internal void Return()
    {
        var frame = _frames[--Depth];
        (Block, Position, IsQuestionName, IsAuthoritative) = (frame.Block, frame.Position, frame.IsQuestionName, frame.IsAuthoritative);
        // That the target does not exist is not the alias' fault.
        Code = DnsCode.NoError;
    }

    /// <summary>The client's address; IPv4 in the first four bytes. Returns its size.</summary>
    internal int ReadClient(Span<byte> address)
    {
        var client = Client;
        if (client[0] == (byte)AddressFamily.InterNetwork)
        {
            client.Slice(4, 4).CopyTo(address);
            return 4;
        }
        var full = client.Slice(8, 16);
        // An IPv4 client of a socket for both families: ::ffff:a.b.c.d (RFC 4291 §2.5.5.2).
        if (full[..10].IndexOfAnyExcept((byte)0) < 0 && full[10] == 0xff && full[11] == 0xff)
        {
            full[12..].CopyTo(address);
            return 4;
        }
        full.CopyTo(address);
        return 16;
    }

    /// <summary>The client's address, for logs.</summary>
    internal IPEndPoint ClientEndPoint()
    {
        Span<byte> address = stackalloc byte[16];
        var size = ReadClient(address);
        return new IPEndPoint(new IPAddress(address[..size]), DnsMessage.U16(Client[2..]));
    }

    /// <summary>Notes who asks, for questions that do not come by the kernel's batches.</summary>
    internal void SetClient(IPEndPoint client)
    {
        var at = Client;
        at.Clear();
        at[0] = client.AddressFamily == AddressFamily.InterNetwork ? (byte)AddressFamily.InterNetwork : AfInet6;
        DnsMessage.U16(at[2..], client.Port);
        client.Address.TryWriteBytes(at[(client.AddressFamily == AddressFamily.InterNetwork ? 4 : 8)..], out _);
    }

    private readonly record struct Frame(ServerBlock Block, int Position, bool IsQuestionName, bool IsAuthoritative);
}
