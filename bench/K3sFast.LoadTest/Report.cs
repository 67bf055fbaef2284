using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace K3sFast.LoadTest;

/// <summary>Collects rows of figures; prints them as a table and as JSON.</summary>
internal sealed class Report(LoadOptions options)
{
    private readonly List<Row> _rows = [];

    internal bool HasFailed { get; private set; }

    /// <summary>CPU seconds that the server has used so far, and its PSS in MB; zeros when its pid was not given.</summary>
    internal (double CpuSeconds, double PssMegabytes) Server()
    {
        if (options.ServerPid is not { } pid) return default;
        // utime and stime are fields 14 and 15, in ticks of 10 ms (proc(5)); the name before them may hold blanks, so count from its end.
        var stat = File.ReadAllText($"/proc/{pid}/stat");
        var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        var cpu = (double.Parse(fields[11], CultureInfo.InvariantCulture) + double.Parse(fields[12], CultureInfo.InvariantCulture)) / 100;
        var pss = File.ReadLines($"/proc/{pid}/smaps_rollup").First(static line => line.StartsWith("Pss:", StringComparison.Ordinal));
        return (cpu, double.Parse(pss.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) / 1024);
    }

    /// <summary>A row for <paramref name="count"/> operations of which each took one of <paramref name="latencies"/>.</summary>
    internal void Add(string name, int count, TimeSpan elapsed, List<double> latencies, double cpuSeconds, string note = "")
    {
        latencies.Sort();
        _rows.Add(new Row(
            name, count, count / elapsed.TotalSeconds, At(latencies, 0.5), At(latencies, 0.99), At(latencies, 1), count == 0 ? 0 : cpuSeconds * 1e6 / count, note));
    }

    internal void Fail(string what)
    {
        HasFailed = true;
        Console.Error.WriteLine("FAILED: " + what);
    }

    internal void Write(TextWriter output)
    {
        output.WriteLine("| work | count | per second | p50 ms | p99 ms | max ms | server CPU us each | note |");
        output.WriteLine("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |");
        foreach (var row in _rows)
        {
            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"| {row.Name} | {row.Count} | {row.PerSecond:0} | {row.P50Ms:0.0} | {row.P99Ms:0.0} | {row.MaxMs:0.0} | {row.ServerCpuUs:0} | {row.Note} |"));
        }
        if (options.ServerPid is not null) output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"\nserver PSS after the load: {Server().PssMegabytes:0.0} MB"));
    }

    internal string ToJson() => JsonSerializer.Serialize(
        new { machine = Environment.ProcessorCount + " cores", rows = _rows, pssMegabytes = Server().PssMegabytes }, s_json);

    /// <summary>Milliseconds since <paramref name="start"/>.</summary>
    internal static double Since(long start) => Stopwatch.GetElapsedTime(start).TotalMilliseconds;

    private static readonly JsonSerializerOptions s_json = new() { WriteIndented = true };

    private static double At(List<double> sorted, double quantile) => sorted.Count == 0 ? 0 : sorted[(int)Math.Min(sorted.Count - 1, quantile * sorted.Count)];

    private sealed record Row(string Name, int Count, double PerSecond, double P50Ms, double P99Ms, double MaxMs, double ServerCpuUs, string Note);
}
