using Microsoft.Extensions.Logging;

namespace K3sFast.Controllers;

/// <summary>Log events 6000-6999.</summary>
internal static partial class Log
{
    [LoggerMessage(6000, LogLevel.Information, "controllers run: {Controllers}")]
    internal static partial void Started(ILogger logger, string controllers);

    [LoggerMessage(6001, LogLevel.Warning, "not there yet, its objects are kept but nobody acts on them: {Controllers}")]
    internal static partial void Missing(ILogger logger, string controllers);

    [LoggerMessage(6002, LogLevel.Error, "{Controller} failed, again in {DelayMs} ms")]
    internal static partial void ControllerFailed(ILogger logger, string controller, double delayMs, Exception exception);

    [LoggerMessage(6003, LogLevel.Information, "{Controller}: {Message}")]
    internal static partial void Note(ILogger logger, string controller, string message);

    [LoggerMessage(6004, LogLevel.Warning, "{Controller}: {Message}")]
    internal static partial void Trouble(ILogger logger, string controller, string message);
}
