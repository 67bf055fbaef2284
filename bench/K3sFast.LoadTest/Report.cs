using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace K3sFast.LoadTest;

/// <summary>One figure: what, how much, of what, and which way is better.</summary>
internal sealed record Figure(string Name, double Value, string Unit, bool HigherIsBetter);

/// <summary>What one run found.</summary>
internal sealed record RunResult(string Machine, DateTime Date, List<Figure> Figures, List<string> Failures);

[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(RunResult))]
[JsonSerializable(typeof(Comparison))]
internal sealed partial class ReportJson : JsonSerializerContext;

/// <summary>Collects figures; prints them as a table and as JSON.</summary>
internal sealed class Report(LoadOptions options)
{
    private readonly List<Figure> _figures = [];
    private readonly List<string> _failures = [];

    internal bool HasFailed => _failures.Count > 0;

    /// <summary>What the server has used so far; zeros when its processes were not given.</summary>
    internal ServerUse Server()
    {
        var use = default(ServerUse);
        foreach (var pid in options.ServerPids) use += ServerUse.Of(pid);
        return use;
    }

    internal void Add(string name, double value, string unit, bool higherIsBetter = false)
    {
        if (double.IsFinite(value)) _figures.Add(new Figure(name, value, unit, higherIsBetter));
    }

    /// <summary>The figures of <paramref name="count"/> operations of which each took one of <paramref name="latencies"/>.</summary>
    internal void Add(string name, int count, TimeSpan elapsed, List<double> latencies, double cpuSeconds)
    {
        latencies.Sort();
        Add($"{name}: rate", count / elapsed.TotalSeconds, "1/s", higherIsBetter: true);
        Add($"{name}: p50", At(latencies, 0.5), "ms");
        Add($"{name}: p99", At(latencies, 0.99), "ms");
        if (options.ServerPids.Length > 0) Add($"{name}: server CPU", count == 0 ? 0 : cpuSeconds * 1e6 / count, "us each");
    }

    internal void Fail(string what)
    {
        _failures.Add(what);
        Console.Error.WriteLine("FAILED: " + what);
    }

    internal void Write(TextWriter output)
    {
        output.WriteLine("| figure | value | unit |");
        output.WriteLine("| --- | ---: | --- |");
        foreach (var figure in _figures) output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {figure.Name} | {Digits(figure.Value)} | {figure.Unit} |"));
    }

    internal void Save(string path) => File.WriteAllText(
        path, JsonSerializer.Serialize(new RunResult($"{Environment.ProcessorCount} cores, {Environment.OSVersion.VersionString}", DateTime.UtcNow, _figures, _failures), ReportJson.Default.RunResult));

    /// <summary>Milliseconds since <paramref name="start"/>.</summary>
    internal static double Since(long start) => Stopwatch.GetElapsedTime(start).TotalMilliseconds;

    internal static double At(List<double> sorted, double quantile) => sorted.Count == 0 ? 0 : sorted[(int)Math.Min(sorted.Count - 1, quantile * sorted.Count)];

    /// <summary>Three digits that mean something.</summary>
    internal static string Digits(double value) => Math.Abs(value) switch
    {
        >= 100 => value.ToString("#,0", CultureInfo.InvariantCulture),
        >= 10 => value.ToString("0.0", CultureInfo.InvariantCulture),
        _ => value.ToString("0.00", CultureInfo.InvariantCulture),
    };
}

/// <summary>CPU, memory (of it, what is no file's) and disk writes of processes, from /proc.</summary>
internal readonly record struct ServerUse(double CpuSeconds, double PssBytes, double AnonymousBytes, double WrittenBytes)
{
    internal static ServerUse Of(int pid)
    {
        // utime and stime are fields 14 and 15, in ticks of 10 ms (proc(5)); the name before them may hold blanks, so count from its end.
        var stat = File.ReadAllText($"/proc/{pid}/stat");
        var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        var cpu = (Number(fields[11]) + Number(fields[12])) / 100;
        return new ServerUse(cpu, Value($"/proc/{pid}/smaps_rollup", "Pss:") * 1024, Value($"/proc/{pid}/smaps_rollup", "Pss_Anon:") * 1024, Value($"/proc/{pid}/io", "write_bytes:"));
    }

    public static ServerUse operator +(ServerUse left, ServerUse right) =>
        new(left.CpuSeconds + right.CpuSeconds, left.PssBytes + right.PssBytes, left.AnonymousBytes + right.AnonymousBytes, left.WrittenBytes + right.WrittenBytes);

    private static double Value(string file, string name) =>
        Number(File.ReadLines(file).First(line => line.StartsWith(name, StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[1]);

    private static double Number(string text) => double.Parse(text, CultureInfo.InvariantCulture);
}
