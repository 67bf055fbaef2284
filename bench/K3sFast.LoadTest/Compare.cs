using System.Globalization;
using System.Text.Json;

namespace K3sFast.LoadTest;

/// <summary>One figure of both sides: the median of the rounds, the spread, and how many times better ours is.</summary>
internal sealed record ComparedFigure(string Name, string Unit, double Ours, double OursLow, double OursHigh, double Peer, double PeerLow, double PeerHigh, double Ratio);

/// <summary>Two servers under the same loads, alternating.</summary>
internal sealed record Comparison(string Ours, string Peer, DateTime Date, string Machine, int Rounds, List<ComparedFigure> Figures, List<string> Failures);

/// <summary>Puts the rounds of two sides together: <c>compare OURS PEER MACHINE OUT ours-1.json peer-1.json ours-2.json ...</c>.</summary>
internal static class Compare
{
    internal static int Run(string[] args)
    {
        var (ours, peer, machine, output) = (args[0], args[1], args[2], args[3]);
        // Rounds that ended in nothing are missing.
        var runs = args[4..].Select(static file => File.Exists(file) ? JsonSerializer.Deserialize(File.ReadAllText(file), ReportJson.Default.RunResult) : null).ToList();
        var left = runs.Where(static (_, i) => i % 2 == 0).OfType<RunResult>().ToList();
        var right = runs.Where(static (_, i) => i % 2 == 1).OfType<RunResult>().ToList();
        var rounds = left.SelectMany(static run => run.Figures).GroupBy(static figure => figure.Name).Select(static group => group.Count()).DefaultIfEmpty().Max();
        var figures = new List<ComparedFigure>();
        foreach (var figure in left.SelectMany(static run => run.Figures).DistinctBy(static figure => figure.Name))
        {
            var (a, b) = (Values(left, figure.Name), Values(right, figure.Name));
            var (x, y) = (a[a.Count / 2], b.Count == 0 ? 0 : b[b.Count / 2]);
            var ratio = figure.HigherIsBetter ? x / y : y / x;
            figures.Add(new ComparedFigure(figure.Name, figure.Unit, x, a[0], a[^1], y, b.Count == 0 ? 0 : b[0], b.Count == 0 ? 0 : b[^1], b.Count > 0 && double.IsFinite(ratio) ? ratio : 0));
        }
        var failures = left.SelectMany(run => run.Failures.Select(text => $"{ours}: {text}")).Concat(right.SelectMany(run => run.Failures.Select(text => $"{peer}: {text}"))).ToList();
        var found = new Comparison(ours, peer, DateTime.UtcNow, machine, rounds, figures, failures);
        File.WriteAllText(output, JsonSerializer.Serialize(found, ReportJson.Default.Comparison));

        Console.WriteLine($"{machine}; {rounds} rounds, alternating; medians (lowest to highest)");
        Console.WriteLine($"| figure | unit | {ours} | {peer} | times better |");
        Console.WriteLine("| --- | --- | ---: | ---: | ---: |");
        foreach (var figure in figures)
        {
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"| {figure.Name} | {figure.Unit} | {Shown(figure.Ours, figure.OursLow, figure.OursHigh)} | {Shown(figure.Peer, figure.PeerLow, figure.PeerHigh)} | {(figure.Ratio > 0 ? Report.Digits(figure.Ratio) : "")} |"));
        }
        foreach (var failure in failures) Console.WriteLine("FAILED " + failure);
        return 0;
    }

    private static List<double> Values(List<RunResult> runs, string name) =>
        [.. runs.SelectMany(run => run.Figures).Where(figure => figure.Name == name).Select(static figure => figure.Value).Order()];

    private static string Shown(double value, double low, double high) => low == high ? Report.Digits(value) : $"{Report.Digits(value)} ({Report.Digits(low)} to {Report.Digits(high)})";
}
