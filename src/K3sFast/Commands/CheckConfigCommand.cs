using K3sFast.Host;

namespace K3sFast.Commands;

/// <summary><c>k3sfast check-config</c>: tells, in the form of k3s' own, what of a node's needs this machine meets; the exit code is the number that it does not.</summary>
internal static class CheckConfigCommand
{
    private const string Red = "\e[31m", Green = "\e[32m", Yellow = "\e[33m", Plain = "\e[0m";

    // Shells tell success by 0 and signals from 128 on.
    private const int MaxExitCode = 125;

    public static int Run(Func<string, string?> environment, bool isTerminal, TextWriter output)
    {
        var config = KernelConfig.Read();
        return Write(HostChecks.All(config), config, isTerminal && string.IsNullOrEmpty(environment("NO_COLOR")), output);
    }

    /// <summary>Writes what was found; answers the exit code.</summary>
    internal static int Write(IReadOnlyList<Check> checks, KernelConfig config, bool hasColours, TextWriter output)
    {
        string Paint(string colour, string text) => hasColours ? colour + text + Plain : text;
        var group = "";
        foreach (var check in checks)
        {
            if (check.Group != group)
            {
                if (group == "Limits")
                {
                    output.WriteLine();
                    output.WriteLine(config.IsUnknown ? "warning: the kernel's configuration could not be found" : $"info: reading kernel config from {config.Path} ...");
                }
                group = check.Group;
                output.WriteLine();
                output.WriteLine($"{group}:");
            }
            var colour = check.IsMet ? Green : check.Need == Need.Required ? Red : Yellow;
            var use = check.IsMet ? "" : check.Need == Need.Required ? $" (fail: needed for {check.Use})" : $" (needed for {check.Use})";
            output.WriteLine($"- {check.Name}: {Paint(colour, check.State)}{use}");
        }
        var failures = checks.Count(static check => check is { IsMet: false, Need: Need.Required });
        output.WriteLine();
        output.WriteLine($"STATUS: {(failures == 0 ? Paint(Green, "pass") : Paint(Red, $"{failures} (fail)"))}");
        return Math.Min(failures, MaxExitCode);
    }
}
