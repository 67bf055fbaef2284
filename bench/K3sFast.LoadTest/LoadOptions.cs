using System.Globalization;

namespace K3sFast.LoadTest;

/// <summary>What is measured, and against which server.</summary>
/// <param name="Kubeconfig">Where the server is and who asks.</param>
/// <param name="ServerPids">The server's processes (an API server and its etcd are two): CPU, memory and disk writes are their sums.</param>
/// <param name="Scenarios">Which loads, in this order.</param>
/// <param name="Seconds">How long each timed load lasts.</param>
/// <param name="Scale">Counts of objects, watchers and rates are multiplied by this: below 1 for a trial.</param>
/// <param name="Out">Where the figures go as JSON; null = nowhere.</param>
/// <param name="Keeps">What the last load wrote stays: a server that deletes slowly, and is thrown away, need not.</param>
internal sealed record LoadOptions(string Kubeconfig, int[] ServerPids, string[] Scenarios, int Seconds, double Scale, string? Out, bool Keeps)
{
    internal static LoadOptions Parse(string[] args)
    {
        var options = new LoadOptions(args[0], [], ["create", "get", "list", "watch"], 10, 1, null, false);
        for (var i = 1; i + 1 < args.Length; i += 2)
        {
            var value = args[i + 1];
            options = args[i] switch
            {
                "--pid" => options with { ServerPids = [.. value.Split(',', StringSplitOptions.RemoveEmptyEntries).Select(static pid => int.Parse(pid, CultureInfo.InvariantCulture))] },
                "--scenarios" => options with { Scenarios = value.Split(',') },
                "--seconds" => options with { Seconds = int.Parse(value, CultureInfo.InvariantCulture) },
                "--scale" => options with { Scale = double.Parse(value, CultureInfo.InvariantCulture) },
                "--out" => options with { Out = value },
                "--keep" => options with { Keeps = bool.Parse(value) },
                _ => throw new ArgumentException($"unknown option {args[i]}"),
            };
        }
        return options;
    }

    /// <summary>A count by the scale, at least one.</summary>
    internal int Scaled(int count) => Math.Max(1, (int)(count * Scale));
}
