using System.Diagnostics;

namespace K3sFast.AddOns.Dns;

/// <summary>
/// Leads questions through the plugins of the configuration in force. What is known is answered at once and allocates nothing; what must be
/// asked elsewhere is left <see cref="Step.Waiting"/>.
/// </summary>
internal sealed class DnsEngine(DnsConfig config)
{
    private volatile DnsConfig _config = config;

    /// <summary>The configuration that new questions are answered by. Those under way end with the one that they began with.</summary>
    internal DnsConfig Config
    {
        get => _config;
        set => _config = value;
    }

    /// <summary>
    /// Answers the question of <paramref name="length"/> bytes in the exchange's buffer: <see cref="Step.Answered"/>, <see cref="Step.Drop"/> or
    /// <see cref="Step.Waiting"/> (then call <see cref="CompleteAsync"/>). Any thread; allocates nothing.
    /// </summary>
    internal Step Answer(Exchange exchange, int length, int port, bool isUdp)
    {
        var config = _config;
        if (!exchange.TryBegin(config, length, port, isUdp, Stopwatch.GetTimestamp(), out var error)) return Step.Drop;
        if (error != DnsCode.NoError)
        {
            exchange.WriteError(error);
            return Step.Answered;
        }
        exchange.Reset();
        if (config.Select(port, exchange.Name) is not { } block)
        {
            exchange.Fail(DnsCode.Refused);
            exchange.Finish();
            return Step.Answered;
        }
        exchange.Block = block;
        return Run(exchange, Step.Next, isStarting: true);
    }

    /// <summary>Goes on where <see cref="Answer"/> had to wait. Ends with <see cref="Step.Answered"/> or <see cref="Step.Drop"/>.</summary>
    internal async ValueTask<Step> CompleteAsync(Exchange exchange, CancellationToken cancellationToken)
    {
        while (true)
        {
            var step = await exchange.Block.Plugins[exchange.Position].AnswerAsync(exchange, cancellationToken).ConfigureAwait(false);
            step = Run(exchange, step, isStarting: false);
            if (step != Step.Waiting) return step;
        }
    }

    /// <summary>Asks what lies behind the plugin at <paramref name="position"/> again, for itself: nobody waits for the answer.</summary>
    internal async ValueTask RefreshAsync(Exchange exchange, int position, CancellationToken cancellationToken)
    {
        exchange.Position = position;
        var step = Run(exchange, Step.Next, isStarting: false);
        if (step == Step.Waiting) await CompleteAsync(exchange, cancellationToken).ConfigureAwait(false);
    }

    private static Step Run(Exchange exchange, Step step, bool isStarting)
    {
        if (isStarting) exchange.Position = -1;
        while (true)
        {
            // Down, until somebody answers.
            while (step is Step.Next or Step.Again)
            {
                var plugins = exchange.Block.Plugins;
                var position = ++exchange.Position;
                if (position >= plugins.Length)
                {
                    // Nobody had an answer (CoreDNS: "no next plugin found"); an alias' target that nobody knows is left unknown.
                    if (exchange.Depth == 0) exchange.Fail(exchange.Class == 1 ? DnsCode.ServerFailure : DnsCode.Refused);
                    step = Step.Answered;
                    break;
                }
                var plugin = plugins[position];
                if (exchange.Depth > 0 && plugin.IsForQuestionOnly) continue;
                step = plugin.Handle(exchange);
                if (step == Step.Answered) exchange.AnsweredBy = plugin.Name;
            }
            if (step is Step.Waiting or Step.Drop) return step;
            // Up, through everybody above.
            while (step == Step.Answered)
            {
                var position = --exchange.Position;
                if (position < 0)
                {
                    if (exchange.Depth == 0)
                    {
                        exchange.Finish();
                        if (!exchange.Notes.IsRefresh) exchange.Block.Metrics?.Count(exchange);
                        return Step.Answered;
                    }
                    exchange.Return();
                    continue;
                }
                var plugin = exchange.Block.Plugins[position];
                if (exchange.Depth == 0 || !plugin.IsForQuestionOnly) step = plugin.Finish(exchange);
            }
        }
    }
}
