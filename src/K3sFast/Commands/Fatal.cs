using K3sFast.Logging;
using Microsoft.Extensions.Logging;

namespace K3sFast.Commands;

/// <summary>The one line with which a command that cannot go on ends.</summary>
internal static class Fatal
{
    /// <returns>1, the exit code.</returns>
    public static int Report(TextWriter error, string message)
    {
        using var log = new LogrusLoggerFactory(LogLevel.Information, TimeProvider.System, error);
        log.Write("fatal", message, "", null);
        return 1;
    }
}
