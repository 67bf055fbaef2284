using Microsoft.Extensions.Logging;

namespace K3sFast.WatchCache;

internal static partial class Log
{
    [LoggerMessage(3000, LogLevel.Information, "Loaded {Count} objects of {Resources} resources at revision {Revision} in {ElapsedMs} ms")]
    public static partial void Loaded(ILogger logger, int count, int resources, long revision, long elapsedMs);

    [LoggerMessage(3001, LogLevel.Error, "The stored value of {Key} at revision {Revision} cannot be read and is left out")]
    public static partial void UnreadableValue(ILogger logger, string key, long revision, Exception error);

    [LoggerMessage(3002, LogLevel.Critical, "The caches stopped following the datastore at revision {Revision}: writes are refused")]
    public static partial void Stopped(ILogger logger, long revision, Exception error);

    [LoggerMessage(3010, LogLevel.Error, "Reading everything anew behind revision {Revision} failed and is tried again")]
    public static partial void ReloadFailed(ILogger logger, long revision, Exception error);
}
