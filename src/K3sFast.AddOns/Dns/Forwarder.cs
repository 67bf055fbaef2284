using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using Microsoft.Extensions.Logging;

namespace K3sFast.AddOns.Dns;

/// <summary>
/// Asks the host's resolvers, keeps their answers for a while, and lets equal questions that arrive together wait for one answer.
/// </summary>
internal sealed class Forwarder(ResolvConf resolvers, TimeProvider time, ILogger logger)
{
    // How long one resolver may think before the next is asked (CoreDNS' forward plugin: 2 s read timeout), and how often the list is walked.
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(2);
    private const int Rounds = 2;

    // Questions under way at once; beyond it clients get SERVFAIL at once. Bounds sockets and memory under a flood of misses.
    private const int MaxUnderWay = 512;

    // CoreDNS keeps 9984 answers; at about 200 B each that is 2 MB.
    private const int MaxKept = 10_000;

    private const int AnswerSize = 4096;

    // Keyed by small-lettered wire name, type, class and DO bit.
    private readonly ConcurrentDictionary<byte[], ForwardedAnswer> _kept = new(WireNameComparer.Instance);
    private readonly ConcurrentDictionary<byte[], Task<ForwardedAnswer?>> _underWay = new(WireNameComparer.Instance);
    private int _count;

    /// <summary>Bytes that <see cref="WriteKey"/> adds to a name.</summary>
    internal const int KeyExtra = 5;

    /// <summary>The key of a question, into <paramref name="key"/>; returns its size.</summary>
    internal static int WriteKey(ReadOnlySpan<byte> lowerName, DnsType type, ushort queryClass, bool wantsDnssec, Span<byte> key)
    {
        lowerName.CopyTo(key);
        BinaryPrimitives.WriteUInt16BigEndian(key[lowerName.Length..], (ushort)type);
        BinaryPrimitives.WriteUInt16BigEndian(key[(lowerName.Length + 2)..], queryClass);
        key[lowerName.Length + 4] = wantsDnssec ? (byte)1 : (byte)0;
        return lowerName.Length + KeyExtra;
    }

    /// <summary>A kept answer that is still fresh, or null. Allocates nothing.</summary>
    internal ForwardedAnswer? Find(ReadOnlySpan<byte> key) =>
        _kept.GetAlternateLookup<ReadOnlySpan<byte>>().TryGetValue(key, out var answer) && answer.IsFresh(time) ? answer : null;

    /// <summary>The answer of the first resolver that gives one; null where none does (answer SERVFAIL).</summary>
    internal async ValueTask<ForwardedAnswer?> AskAsync(byte[] key, CancellationToken cancellationToken)
    {
        if (Find(key) is { } kept) return kept;
        if (_underWay.Count >= MaxUnderWay)
        {
            Log.TooManyForwarded(logger, MaxUnderWay);
            return null;
        }
        var own = new TaskCompletionSource<ForwardedAnswer?>(TaskCreationOptions.RunContinuationsAsynchronously);
        var shared = _underWay.GetOrAdd(key, own.Task);
        if (shared != own.Task) return await shared.WaitAsync(cancellationToken).ConfigureAwait(false);
        ForwardedAnswer? answer = null;
        try
        {
            answer = await AskResolversAsync(key, cancellationToken).ConfigureAwait(false);
            if (answer is { LifeSeconds: > 0, IsTruncated: false }) Keep(key, answer);
        }
        finally
        {
            _underWay.TryRemove(key, out _);
            own.SetResult(answer);
        }
        return answer;
    }

    private async Task<ForwardedAnswer?> AskResolversAsync(byte[] key, CancellationToken cancellationToken)
    {
        var servers = resolvers.Servers;
        for (var round = 0; round < Rounds; round++)
        {
            foreach (var server in servers)
            {
                try
                {
                    var answer = await AskOverUdpAsync(server, key, cancellationToken).ConfigureAwait(false);
                    if (answer is { IsTruncated: true }) answer = await AskOverTcpAsync(server, key, cancellationToken).ConfigureAwait(false) ?? answer;
                    if (answer is not null) return answer;
                }
                catch (Exception failure) when (failure is SocketException or IOException
                    || (failure is OperationCanceledException && !cancellationToken.IsCancellationRequested))
                {
                    Log.ResolverFailed(logger, server, failure.Message);
                }
            }
        }
        return null;
    }

    private async Task<ForwardedAnswer?> AskOverUdpAsync(IPEndPoint server, byte[] key, CancellationToken cancellationToken)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(s_patience);
        // A socket per question: the kernel picks a random port for each, which is half of what protects against forged answers.
        using var socket = new Socket(server.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
        await socket.ConnectAsync(server, patience.Token).ConfigureAwait(false);
        var query = Query(key);
        await socket.SendAsync(query, SocketFlags.None, patience.Token).ConfigureAwait(false);
        var buffer = new byte[AnswerSize];
        while (true)
        {
            var size = await socket.ReceiveAsync(buffer, SocketFlags.None, patience.Token).ConfigureAwait(false);
            if (IsAnswerTo(query, buffer.AsSpan(0, size))) return ForwardedAnswer.Read(buffer.AsSpan(0, size), time);
        }
    }

    private async Task<ForwardedAnswer?> AskOverTcpAsync(IPEndPoint server, byte[] key, CancellationToken cancellationToken)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(s_patience);
        using var socket = new Socket(server.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync(server, patience.Token).ConfigureAwait(false);
        await using var stream = new NetworkStream(socket);
        var query = Query(key);
        var framed = new byte[query.Length + 2];
        BinaryPrimitives.WriteUInt16BigEndian(framed, (ushort)query.Length);
        query.CopyTo(framed, 2);
        await stream.WriteAsync(framed, patience.Token).ConfigureAwait(false);
        var prefix = new byte[2];
        await stream.ReadExactlyAsync(prefix, patience.Token).ConfigureAwait(false);
        var answer = new byte[BinaryPrimitives.ReadUInt16BigEndian(prefix)];
        await stream.ReadExactlyAsync(answer, patience.Token).ConfigureAwait(false);
        return IsAnswerTo(query, answer) ? ForwardedAnswer.Read(answer, time) : null;
    }

    private static byte[] Query(ReadOnlySpan<byte> key)
    {
        var question = key[..^1];
        var query = new byte[DnsQuestion.HeaderSize + question.Length + 11];
        RandomNumberGenerator.Fill(query.AsSpan(0, 2));
        // RD; one question, one OPT
        query[2] = 0x01;
        query[5] = 1;
        query[11] = 1;
        question.CopyTo(query.AsSpan(DnsQuestion.HeaderSize));
        var opt = query.AsSpan(DnsQuestion.HeaderSize + question.Length);
        BinaryPrimitives.WriteUInt16BigEndian(opt[1..], (ushort)DnsType.Opt);
        BinaryPrimitives.WriteUInt16BigEndian(opt[3..], 1232);
        if (key[^1] != 0) opt[7] = 0x80;
        return query;
    }

    private static bool IsAnswerTo(ReadOnlySpan<byte> query, ReadOnlySpan<byte> answer)
    {
        var questionSize = query.Length - DnsQuestion.HeaderSize - 11;
        if (answer.Length < DnsQuestion.HeaderSize + questionSize || !answer[..2].SequenceEqual(query[..2]) || (answer[2] & 0x80) == 0) return false;
        Span<byte> lower = stackalloc byte[DnsQuestion.MaxNameSize + 4];
        lower = lower[..questionSize];
        // Type and class bytes are below 'A' for every type in use, and equal on both sides anyway.
        DnsQuestion.ToLower(answer.Slice(DnsQuestion.HeaderSize, questionSize), lower);
        return lower.SequenceEqual(query.Slice(DnsQuestion.HeaderSize, questionSize));
    }

    private void Keep(byte[] key, ForwardedAnswer answer)
    {
        if (_kept.TryAdd(key, answer))
        {
            if (Interlocked.Increment(ref _count) > MaxKept) Trim();
            return;
        }
        _kept[key] = answer;
    }

    // Stale answers first; when that is not enough, every other one goes: cheap, rare, and leaves no pattern to aim at.
    private void Trim()
    {
        var removed = 0;
        foreach (var (key, answer) in _kept)
        {
            if (!answer.IsFresh(time) && _kept.TryRemove(key, out _)) removed++;
        }
        if (removed < MaxKept / 4)
        {
            var isOdd = false;
            foreach (var key in _kept.Keys)
            {
                isOdd = !isOdd;
                if (isOdd && _kept.TryRemove(key, out _)) removed++;
            }
        }
        Interlocked.Add(ref _count, -removed);
    }
}
