using K3sFast.Agent;
using K3sFast.Configuration;
using K3sFast.Interop.Processes;
using K3sFast.Logging;
using K3sFast.Server;
using Microsoft.Extensions.Logging;

namespace K3sFast.Commands;

/// <summary><c>k3sfast server</c> and <c>k3sfast agent</c>: settle the configuration, set up logging, run the node until a signal.</summary>
internal static class NodeCommand
{
    public static Task<int> RunServerAsync(string[] arguments, Func<string, string?> environment, TextWriter output, TextWriter error) =>
        RunAsync(arguments, environment, FlagTable.ServerFlags, HelpText.Server, ServerConfig.From, ServerNode.RunAsync, output, error);

    public static Task<int> RunAgentAsync(string[] arguments, Func<string, string?> environment, TextWriter output, TextWriter error) =>
        RunAsync(arguments, environment, FlagTable.AgentFlags, HelpText.Agent, AgentConfig.From, AgentNode.RunAsync, output, error);

    private static async Task<int> RunAsync<TConfig>(
        string[] arguments, Func<string, string?> environment, FlagSet known, Func<string> help, Func<FlagValues, TConfig> read, Func<TConfig, ILoggerFactory, Task<int>> run,
        TextWriter output, TextWriter error)
        where TConfig : NodeConfig
    {
        if (Array.Exists(arguments, static word => word is "--help" or "-h" or "-help" or "help"))
        {
            output.Write(help());
            return 0;
        }
        FlagValues flags;
        TConfig config;
        try
        {
            flags = FlagValues.Load(arguments, environment, known);
            config = read(flags);
        }
        catch (ConfigurationException e)
        {
            return Fatal.Report(error, e.Message);
        }

        // Beside busy pods an answer would otherwise wait for the end of their turns. Before the threads that it is for.
        SchedulerSlice.TryShorten();
        var logFile = OpenLog(flags, error, out var outputs);
        await using (logFile.ConfigureAwait(false))
        {
            using var loggers = new LogrusLoggerFactory(LevelOf(flags), TimeProvider.System, outputs);
            try
            {
                foreach (var warning in config.Warnings)
                    loggers.Write("warning", warning, "", null);
                return await run(config, loggers).ConfigureAwait(false);
            }
            catch (ConfigurationException e)
            {
                loggers.Write("fatal", e.Message, "", e.InnerException is not null && loggers.Minimum <= LogLevel.Debug ? e.InnerException : null);
                return 1;
            }
        }
    }

    private static LogLevel LevelOf(FlagValues flags)
    {
        var level = LogrusLoggerFactory.LevelOf(flags.Number("v", 0, 100));
        return flags.IsOn("debug") && level > LogLevel.Debug ? LogLevel.Debug : level;
    }

    private static StreamWriter OpenLog(FlagValues flags, TextWriter error, out TextWriter[] outputs)
    {
        var path = flags.Text("log");
        outputs = [error];
        if (path.Length == 0)
            return StreamWriter.Null;
        try
        {
            var file = new StreamWriter(path, append: true);
            outputs = flags.IsOn("alsologtostderr") ? [file, error] : [file];
            return file;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Fatal.Report(error, $"cannot open log file {path}: {e.Message}");
            return StreamWriter.Null;
        }
    }
}
