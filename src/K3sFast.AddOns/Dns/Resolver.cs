namespace K3sFast.AddOns.Dns;

/// <summary>
/// Decides where an answer comes from: the cluster's zone, what is kept of other servers' answers, or a question to them. The first two are
/// answered at once and allocate nothing.
/// </summary>
internal sealed class Resolver(ClusterZone zone, Forwarder forwarder, TimeProvider time)
{
    // An alias may lead to another; RFC 1034 names no bound, resolvers use 8 to 16.
    private const int MaxAliases = 8;

    private const ushort ClassInternet = 1;

    /// <summary>
    /// Answers at once where that is possible. Returns the answer's size; 0 = drop the packet; -1 = ask <see cref="AnswerAsync"/>.
    /// </summary>
    internal int TryAnswer(ReadOnlySpan<byte> packet, Span<byte> buffer, bool isUdp)
    {
        if (!DnsQuestion.TryParse(packet, out var question, out var error)) return 0;
        if (error != DnsCode.NoError) return DnsAnswer.WriteError(packet, buffer, error);

        Span<byte> key = stackalloc byte[DnsQuestion.MaxNameSize + Forwarder.KeyExtra];
        var lower = key[..question.NameSize];
        DnsQuestion.ToLower(question.Name, lower);
        var limit = isUdp ? question.UdpSize : buffer.Length;
        if (question.Class == ClassInternet && IsOurs(lower))
        {
            return zone.Alias(lower) is not null ? AnswerAlias(question, lower, buffer, limit) : zone.Answer(question, lower, buffer, limit);
        }
        var size = Forwarder.WriteKey(lower, question.Type, question.Class, question.WantsDnssec, key);
        return forwarder.Find(key[..size]) is { } kept ? kept.Write(question, buffer, limit, time) : -1;
    }

    /// <summary>Answers with other servers' help. <paramref name="packet"/> is the caller's own until the task ends. Returns the size.</summary>
    internal async ValueTask<int> AnswerAsync(ReadOnlyMemory<byte> packet, Memory<byte> buffer, bool isUdp, CancellationToken cancellationToken)
    {
        var key = ForeignKey(packet.Span);
        var answer = await forwarder.AskAsync(key, cancellationToken).ConfigureAwait(false);
        if (!DnsQuestion.TryParse(packet.Span, out var question, out _)) return 0;
        var limit = isUdp ? question.UdpSize : buffer.Length;
        Span<byte> lower = stackalloc byte[question.NameSize];
        DnsQuestion.ToLower(question.Name, lower);
        if (IsOurs(lower)) return WriteAlias(question, lower, answer, buffer.Span, limit);
        if (answer is not null) return answer.Write(question, buffer.Span, limit, time);
        return new DnsAnswer(question, buffer.Span, limit).Finish(DnsCode.ServerFailure, isAuthoritative: false, question.RecursionDesired);
    }

    private bool IsOurs(ReadOnlySpan<byte> lower) => zone.IsAuthoritative(lower) || zone.OwnsReverse(lower) || zone.OwnsHost(lower);

    // -1 while the alias' end is somebody else's name that is not kept yet.
    private int AnswerAlias(in DnsQuestion question, ReadOnlySpan<byte> lower, Span<byte> buffer, int limit)
    {
        var target = FollowAliases(lower);
        if (question.Type is not (DnsType.A or DnsType.Aaaa) || IsOurs(target)) return WriteAlias(question, lower, null, buffer, limit);
        Span<byte> key = stackalloc byte[DnsQuestion.MaxNameSize + Forwarder.KeyExtra];
        var size = Forwarder.WriteKey(target, question.Type, question.Class, question.WantsDnssec, key);
        return forwarder.Find(key[..size]) is { } kept ? WriteAlias(question, lower, kept, buffer, limit) : -1;
    }

    private int WriteAlias(in DnsQuestion question, ReadOnlySpan<byte> lower, ForwardedAnswer? foreign, Span<byte> buffer, int limit)
    {
        var answer = new DnsAnswer(question, buffer, limit);
        ReadOnlySpan<byte> name = lower;
        for (var i = 0; i < MaxAliases && zone.Alias(name) is { } target; i++)
        {
            if (i == 0) answer.Add(DnsType.Cname, ClusterZone.TtlSeconds, target);
            else answer.Add(name, DnsType.Cname, ClusterZone.TtlSeconds, target);
            name = target;
        }
        if (question.Type is DnsType.A or DnsType.Aaaa && !zone.TryAddAddresses(ref answer, name, question.Type)) foreign?.AddTo(ref answer);
        return answer.Finish(DnsCode.NoError, isAuthoritative: true, question.RecursionDesired);
    }

    private ReadOnlySpan<byte> FollowAliases(ReadOnlySpan<byte> lower)
    {
        var name = lower;
        for (var i = 0; i < MaxAliases && zone.Alias(name) is { } target; i++) name = target;
        return name;
    }

    private byte[] ForeignKey(ReadOnlySpan<byte> packet)
    {
        DnsQuestion.TryParse(packet, out var question, out _);
        Span<byte> lower = stackalloc byte[question.NameSize];
        DnsQuestion.ToLower(question.Name, lower);
        var name = FollowAliases(lower);
        var key = new byte[name.Length + Forwarder.KeyExtra];
        Forwarder.WriteKey(name, question.Type, question.Class, question.WantsDnssec, key);
        return key;
    }
}
