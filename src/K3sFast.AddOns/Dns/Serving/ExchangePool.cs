using System.Collections.Concurrent;

namespace K3sFast.AddOns.Dns;

/// <summary>Exchanges that were used and may be used again. Bounded: those beyond are the collector's.</summary>
internal sealed class ExchangePool(int answerSize, int limit)
{
    private readonly ConcurrentQueue<Exchange> _free = new();

    internal Exchange Rent() => _free.TryDequeue(out var exchange) ? exchange : new Exchange(answerSize);

    internal void Return(Exchange exchange)
    {
        if (_free.Count < limit) _free.Enqueue(exchange);
    }
}
