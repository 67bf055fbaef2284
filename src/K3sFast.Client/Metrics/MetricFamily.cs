using System.Collections.Concurrent;
using System.Text;

namespace K3sFast.Client;

/// <summary>One metric with all its series, as the text form prints it.</summary>
internal abstract class MetricFamily(string name, string type, string help)
{
    internal string Name => name;

    internal string Help => help;

    internal void Write(MetricText text)
    {
        if (!HasSeries)
            return;
        text.Head(name, type, help);
        WriteSeries(text);
    }

    private protected abstract bool HasSeries { get; }

    private protected abstract void WriteSeries(MetricText text);
}

/// <summary>
/// A metric with labels: one instrument for each combination of values that was ever asked for. Ask once and keep the instrument: asking makes text.
/// </summary>
/// <remarks>Any thread. Beyond <see cref="MaxSeries"/> combinations everything else shares one instrument that is not printed, so that no client can fill the memory.</remarks>
public sealed class MetricFamily<TInstrument> where TInstrument : class
{
    /// <summary>Series that one metric may have. Upstream's largest, requests by verb, resource and code, stays under it in a busy cluster.</summary>
    public const int MaxSeries = 4000;

    private readonly ConcurrentDictionary<string, TInstrument> _series = new();
    private readonly string[] _labels;
    private readonly Func<TInstrument> _make;
    private readonly TInstrument _overflow;

    internal MetricFamily(string[] labels, Func<TInstrument> make)
    {
        _labels = labels;
        _make = make;
        _overflow = make();
    }

    /// <summary>The instrument of these label values, in the order in which the labels were named.</summary>
    public TInstrument With(params ReadOnlySpan<string> values)
    {
        var key = LabelText(_labels, values);
        if (_series.TryGetValue(key, out var known))
            return known;
        return _series.Count >= MaxSeries ? _overflow : _series.GetOrAdd(key, static (_, make) => make(), _make);
    }

    internal bool IsEmpty => _series.IsEmpty;

    internal IEnumerable<KeyValuePair<string, TInstrument>> Ordered => _series.OrderBy(static pair => pair.Key, StringComparer.Ordinal);

    // a="x",b="y" with names in order, as Prometheus' clients print them.
    internal static string LabelText(string[] labels, ReadOnlySpan<string> values)
    {
        if (labels.Length != values.Length)
            throw new ArgumentException($"{values.Length} values for the labels {string.Join(',', labels)}");
        var pairs = new (string Name, string Value)[labels.Length];
        for (var i = 0; i < labels.Length; i++)
            pairs[i] = (labels[i], values[i]);
        Array.Sort(pairs, static (one, other) => string.CompareOrdinal(one.Name, other.Name));
        var text = new StringBuilder();
        foreach (var (name, value) in pairs)
        {
            text.Append(text.Length == 0 ? "" : ",").Append(name).Append("=\"");
            text.Append(value.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)).Append('"');
        }
        return text.ToString();
    }
}
