using K3sFast.Configuration;

namespace K3sFast.Commands;

/// <summary>Chooses the command. Multicall: called by the name of a tool (through a link), it is that tool.</summary>
internal static class CommandLine
{
    // k3s's other commands, each to come; refusing is better than half doing.
    private static readonly string[] s_later = ["etcd-snapshot", "secrets-encrypt", "certificate", "completion"];

    /// <returns>Exit code: 0, or 1 after a message on <paramref name="error"/>.</returns>
    public static async Task<int> RunAsync(string calledAs, string[] arguments, Func<string, string?> environment, TextWriter output, TextWriter error)
    {
        if (Passthrough.IsTool(calledAs))
            return Passthrough.Run(calledAs, arguments, environment, error);
        var command = arguments.Length == 0 ? "help" : arguments[0];
        var rest = arguments.Length == 0 ? [] : arguments[1..];
        switch (command)
        {
            case "server":
                return await NodeCommand.RunServerAsync(rest, environment, output, error).ConfigureAwait(false);
            case "agent":
                return await NodeCommand.RunAgentAsync(rest, environment, output, error).ConfigureAwait(false);
            case "token":
                return await TokenCommand.RunAsync(rest, environment, output, error).ConfigureAwait(false);
            case "check-config":
                return CheckConfigCommand.Run(environment, !Console.IsOutputRedirected, output);
            case "cleanup":
                return CleanupCommand.Run(rest, environment, output, error);
            case "version" or "--version" or "-v" or "-version":
                output.WriteLine(ProductVersion.Lines);
                return 0;
            case "help" or "--help" or "-h" or "-help":
                output.Write(HelpText.Overview());
                return 0;
        }
        if (Passthrough.IsTool(command))
            return Passthrough.Run(command, rest, environment, error);
        if (Array.IndexOf(s_later, command) >= 0)
            return Fatal.Report(error, $"k3sfast {command} is not yet in this version");
        return Fatal.Report(error, $"No help topic for '{command}'; k3sfast --help lists the commands");
    }
}
