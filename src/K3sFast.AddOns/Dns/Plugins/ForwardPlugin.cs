using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net.Sockets;
using Microsoft.Extensions.Logging;

namespace K3sFast.AddOns.Dns;

/// <summary>In which order servers are asked.</summary>
internal enum UpstreamPolicy
{
    Random,
    RoundRobin,
    Sequential,
}

/// <summary>What a Corefile's forward plugin says.</summary>
internal sealed record ForwardOptions
{
    internal required byte[] From { get; init; }

    /// <summary>The servers now; read for each question, because the host's resolvers may change.</summary>
    internal required UpstreamList Upstreams { get; init; }

    internal ZoneSet Except { get; init; } = new([]);

    internal UpstreamPolicy Policy { get; init; }

    internal bool ForceTcp { get; init; }

    internal bool PreferUdp { get; init; }

    /// <summary>Questions under way at once; more are refused. 0 = as many as <see cref="ForwardPlugin.MaxUnderWay"/>.</summary>
    internal int MaxConcurrent { get; init; }

    /// <summary>Servers that are tried for one question; null = twice as many as there are.</summary>
    internal int? MaxConnectAttempts { get; init; }

    internal bool FailsFast { get; init; }

    /// <summary>Codes with which the next plugin is asked.</summary>
    internal IReadOnlyList<DnsCode> Next { get; init; } = [];

    internal bool NextOnNoData { get; init; }

    /// <summary>Codes with which the next server is asked.</summary>
    internal IReadOnlyList<DnsCode> Failover { get; init; } = [];
}

/// <summary>
/// Asks other servers. Equal questions that arrive together wait for one answer. A server that gave none is checked until it answers again, and
/// passed over meanwhile.
/// </summary>
internal sealed class ForwardPlugin(ForwardOptions options, DnsMetrics metrics, TimeProvider time, ILogger logger) : Plugin
{
    // Bounds sockets and memory (about 8 KiB each) under a flood of misses; clients beyond it get SERVFAIL at once.
    internal const int MaxUnderWay = 4096;

    private readonly ConcurrentDictionary<byte[], Task<ForeignAnswer?>> _underWay = new(WireNameComparer.Instance);
    private int _turn;
    private int _concurrent;

    internal override string Name => "forward";

    internal override Step Handle(Exchange exchange)
    {
        if (options.From.Length > 1 && !WireName.IsWithin(exchange.Name, options.From)) return Step.Next;
        if (options.Except.Match(exchange.Name) is not null) return Step.Next;
        // Zone transfers are a matter between name servers.
        if (exchange.Type is not (DnsType.Axfr or DnsType.Ixfr)) return Step.Waiting;
        exchange.Fail(DnsCode.NotImplemented);
        return Step.Answered;
    }

    internal override async ValueTask<Step> AnswerAsync(Exchange exchange, CancellationToken cancellationToken)
    {
        var limit = options.MaxConcurrent > 0 ? options.MaxConcurrent : MaxUnderWay;
        ForeignAnswer? answer = null;
        if (Interlocked.Increment(ref _concurrent) > limit)
        {
            Interlocked.Decrement(ref _concurrent);
            metrics.ForwardRejects.Add();
            Log.TooManyForwarded(logger, limit);
            exchange.Code = options.MaxConcurrent > 0 ? DnsCode.Refused : DnsCode.ServerFailure;
            return Step.Answered;
        }
        try
        {
            answer = await AskSharedAsync(Key(exchange), exchange.IsUdp, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            Interlocked.Decrement(ref _concurrent);
        }
        if (answer is null)
        {
            if (exchange.Depth == 0) exchange.Fail(DnsCode.ServerFailure);
            if (exchange.Block.LogsErrors) Log.NoUpstreamAnswered(logger, WireName.ToText(exchange.Name), DnsWords.Type(exchange.Type));
            return Step.Answered;
        }
        if (options.Next.Contains(answer.Code) || (options.NextOnNoData && answer is { Code: DnsCode.NoError, HasAnswers: false }))
        {
            // Only another forward takes over; else this answer stands.
            if (Array.FindIndex(exchange.Block.Plugins, exchange.Position + 1, static plugin => plugin is ForwardPlugin) >= 0) return Step.Next;
        }
        answer.WriteTo(exchange, 0, null);
        exchange.AnsweredBy = Name;
        exchange.Answered = answer;
        return Step.Answered;
    }

    /// <inheritdoc/>
    public override void Dispose() => options.Upstreams.Dispose();

    private static byte[] Key(Exchange exchange)
    {
        Span<byte> key = stackalloc byte[UpstreamKey.MaxSize];
        return key[..UpstreamKey.Write(exchange, key)].ToArray();
    }

    private async ValueTask<ForeignAnswer?> AskSharedAsync(byte[] key, bool isUdp, CancellationToken cancellationToken)
    {
        var own = new TaskCompletionSource<ForeignAnswer?>(TaskCreationOptions.RunContinuationsAsynchronously);
        var shared = _underWay.GetOrAdd(key, own.Task);
        if (shared != own.Task) return await shared.WaitAsync(cancellationToken).ConfigureAwait(false);
        ForeignAnswer? answer = null;
        try
        {
            answer = await AskAsync(key, options.ForceTcp || (!isUdp && !options.PreferUdp), cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            _underWay.TryRemove(key, out _);
            own.SetResult(answer);
        }
        return answer;
    }

    private async Task<ForeignAnswer?> AskAsync(byte[] key, bool useTcp, CancellationToken cancellationToken)
    {
        var upstreams = options.Upstreams.Current;
        if (upstreams.Length == 0) return null;
        var query = UpstreamKey.Query(key, isRecursive: true);
        var attempts = options.MaxConnectAttempts ?? 2 * upstreams.Length;
        var first = First(upstreams.Length);
        ForeignAnswer? last = null;
        var allDown = Array.TrueForAll(upstreams, static upstream => upstream.IsDown);
        if (allDown)
        {
            // The checks themselves may be what fails: one is tried all the same, unless the configuration says no.
            metrics.HealthcheckBroken.Add();
            if (options.FailsFast) return null;
            first = Random.Shared.Next(upstreams.Length);
        }
        // Twice around; 0 attempts = no bound of its own.
        for (int i = 0, tried = 0; i < 2 * upstreams.Length && (attempts == 0 || tried < attempts); i++)
        {
            var upstream = upstreams[(first + i) % upstreams.Length];
            if (!allDown && upstream.IsDown) continue;
            tried++;
            var started = Stopwatch.GetTimestamp();
            try
            {
                var message = await upstream.AskAsync(query, useTcp, cancellationToken).ConfigureAwait(false);
                if (ForeignAnswer.Read(message) is not { } answer)
                {
                    Log.UpstreamMalformed(logger, upstream.Label);
                    continue;
                }
                metrics.ProxyDuration.With("forward", DnsWords.Code(answer.Code), upstream.Label).Observe(Stopwatch.GetElapsedTime(started).TotalSeconds);
                if (!options.Failover.Contains(answer.Code)) return answer;
                last = answer;
            }
            catch (Exception failure) when (failure is SocketException or IOException
                || (failure is OperationCanceledException && !cancellationToken.IsCancellationRequested))
            {
                Log.UpstreamFailed(logger, upstream.Label, failure is OperationCanceledException ? "timeout" : failure.Message);
                upstream.Suspect(time);
                if (allDown) return null;
            }
        }
        return last;
    }

    private int First(int count) => options.Policy switch
    {
        UpstreamPolicy.Sequential => 0,
        UpstreamPolicy.RoundRobin => (int)((uint)Interlocked.Increment(ref _turn) % (uint)count),
        _ => Random.Shared.Next(count),
    };
}
