using System.Buffers;

namespace K3sFast.Client;

/// <summary>
/// The metrics of one server, printed together in the order of their names. Everything that is not bound to a server (queues, clients, the process) is in
/// <see cref="Process"/>, which every server prints too.
/// </summary>
/// <remarks>Any thread. Registering the same name again answers the same metric.</remarks>
public sealed class MetricRegistry
{
    private readonly Lock _gate = new();
    private readonly SortedDictionary<string, (MetricFamily Family, object Source)> _families = new(StringComparer.Ordinal);

    /// <summary>The metrics of this process.</summary>
    public static MetricRegistry Process { get; } = new();

    /// <summary>A counter without labels.</summary>
    public Counter Counter(string name, string help) => Counters(name, help).With();

    /// <summary>A gauge without labels.</summary>
    public Gauge Gauge(string name, string help) => Gauges(name, help).With();

    /// <summary>A histogram without labels.</summary>
    public Histogram Histogram(string name, string help, double[] bounds) => Histograms(name, help, bounds).With();

    /// <summary>Counters by labels.</summary>
    public MetricFamily<Counter> Counters(string name, string help, params string[] labels) =>
        Add(name, () => new MetricFamily<Counter>(labels, static () => new Counter()), family => new CounterFamily(name, help, family));

    /// <summary>Gauges by labels.</summary>
    public MetricFamily<Gauge> Gauges(string name, string help, params string[] labels) =>
        Add(name, () => new MetricFamily<Gauge>(labels, static () => new Gauge()), family => new GaugeFamily(name, help, family));

    /// <summary>Histograms by labels, all with the same bounds.</summary>
    public MetricFamily<Histogram> Histograms(string name, string help, double[] bounds, params string[] labels) =>
        Add(name, () => new MetricFamily<Histogram>(labels, () => new Histogram(bounds)), family => new HistogramFamily(name, help, family));

    /// <summary>A metric that is looked up when it is printed: <paramref name="collect"/> writes its samples (name, labels, value).</summary>
    /// <param name="name">The metric.</param>
    /// <param name="type">counter or gauge.</param>
    /// <param name="help">What it is.</param>
    /// <param name="collect">Writes the samples; called under no lock.</param>
    public void Collected(string name, string type, string help, Action<MetricText> collect) =>
        Add(name, () => collect, source => new CollectedFamily(name, type, help, source));

    /// <summary>Prints the metrics of this registry and of others, in the order of their names.</summary>
    public void Write(IBufferWriter<byte> output, params ReadOnlySpan<MetricRegistry> others)
    {
        var families = new SortedDictionary<string, MetricFamily>(StringComparer.Ordinal);
        Collect(families);
        foreach (var other in others)
            other.Collect(families);
        var text = new MetricText(output);
        foreach (var family in families.Values)
            family.Write(text);
    }

    /// <summary>How many metrics there are of each stability, which their help begins with.</summary>
    public IEnumerable<(string Stability, int Count)> CountByStability()
    {
        lock (_gate)
        {
            return _families.Values.Select(static entry => entry.Family.Help).Where(static help => help.StartsWith('['))
                .GroupBy(static help => help[1..help.IndexOf(']', StringComparison.Ordinal)]).Select(static group => (group.Key, group.Count())).ToList();
        }
    }

    private void Collect(SortedDictionary<string, MetricFamily> families)
    {
        lock (_gate)
        {
            foreach (var (name, entry) in _families)
                families.TryAdd(name, entry.Family);
        }
    }

    private TSource Add<TSource>(string name, Func<TSource> make, Func<TSource, MetricFamily> wrap) where TSource : class
    {
        lock (_gate)
        {
            if (_families.TryGetValue(name, out var known))
                return known.Source as TSource ?? throw new InvalidOperationException($"metric {name} is registered with another type");
            var source = make();
            _families.Add(name, (wrap(source), source));
            return source;
        }
    }

    private sealed class CounterFamily(string name, string help, MetricFamily<Counter> series) : MetricFamily(name, "counter", help)
    {
        private protected override bool HasSeries => !series.IsEmpty;

        private protected override void WriteSeries(MetricText text)
        {
            foreach (var (labels, counter) in series.Ordered)
                text.Sample(Name, labels, counter.Value);
        }
    }

    private sealed class GaugeFamily(string name, string help, MetricFamily<Gauge> series) : MetricFamily(name, "gauge", help)
    {
        private protected override bool HasSeries => !series.IsEmpty;

        private protected override void WriteSeries(MetricText text)
        {
            foreach (var (labels, gauge) in series.Ordered)
                text.Sample(Name, labels, gauge.Value);
        }
    }

    private sealed class HistogramFamily(string name, string help, MetricFamily<Histogram> series) : MetricFamily(name, "histogram", help)
    {
        private protected override bool HasSeries => !series.IsEmpty;

        private protected override void WriteSeries(MetricText text)
        {
            foreach (var (labels, histogram) in series.Ordered)
                text.Histogram(Name, labels, histogram);
        }
    }

    private sealed class CollectedFamily(string name, string type, string help, Action<MetricText> collect) : MetricFamily(name, type, help)
    {
        private protected override bool HasSeries => true;

        private protected override void WriteSeries(MetricText text) => collect(text);
    }
}
