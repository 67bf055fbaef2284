namespace K3sFast.LoadTest;

/// <summary>What is measured, and against which server.</summary>
internal sealed record LoadOptions(string Kubeconfig, int? ServerPid, string[] Scenarios, int Seconds, string? Out)
{
    internal static LoadOptions Parse(string[] args)
    {
        var options = new LoadOptions(args[0], null, ["create", "get", "list", "watch"], 10, null);
        for (var i = 1; i + 1 < args.Length; i += 2)
        {
            options = args[i] switch
            {
                "--pid" => options with { ServerPid = int.Parse(args[i + 1]) },
                "--scenarios" => options with { Scenarios = args[i + 1].Split(',') },
                "--seconds" => options with { Seconds = int.Parse(args[i + 1]) },
                "--out" => options with { Out = args[i + 1] },
                _ => throw new ArgumentException($"unknown option {args[i]}"),
            };
        }
        return options;
    }
}
