using K3sFast.Configuration;
using K3sFast.Logging;
using K3sFast.Server;
using Microsoft.Extensions.Logging;

namespace K3sFast.Commands;

/// <summary><c>k3sfast server</c>: settles the configuration, sets up logging, runs the node until a signal.</summary>
internal static class ServerCommand
{
    public static async Task<int> RunAsync(string[] arguments, Func<string, string?> environment, TextWriter output, TextWriter error)
    {
        if (Array.Exists(arguments, static word => word is "--help" or "-h" or "-help" or "help"))
        {
            output.Write(HelpText.Server());
            return 0;
        }
        FlagValues flags;
        ServerConfig config;
        try
        {
            flags = FlagValues.Load(arguments, environment);
            config = ServerConfig.From(flags);
        }
        catch (ConfigurationException e)
        {
            return Fatal.Report(error, e.Message);
        }

        var logFile = OpenLog(flags, error, out var outputs);
        await using (logFile.ConfigureAwait(false))
        {
            using var loggers = new LogrusLoggerFactory(LevelOf(flags), TimeProvider.System, outputs);
            try
            {
                foreach (var warning in config.Warnings)
                    loggers.Write("warning", warning, "", null);
                return await ServerNode.RunAsync(config, loggers).ConfigureAwait(false);
            }
            catch (ConfigurationException e)
            {
                loggers.Write("fatal", e.Message, "", e.InnerException is not null && loggers.Minimum <= LogLevel.Debug ? e.InnerException : null);
                return 1;
            }
        }
    }

    // klog's -v: 4 is where its authors put debug output, 8 and above dump everything.
    private static LogLevel LevelOf(FlagValues flags) => flags.Number("v", 0, 100) switch
    {
        >= 8 => LogLevel.Trace,
        >= 4 => LogLevel.Debug,
        _ => flags.IsOn("debug") ? LogLevel.Debug : LogLevel.Information,
    };

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
