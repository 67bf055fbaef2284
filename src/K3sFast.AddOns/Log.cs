using System.Net;
using Microsoft.Extensions.Logging;

namespace K3sFast.AddOns;

/// <summary>Log events 10000-10999.</summary>
internal static partial class Log
{
    [LoggerMessage(10000, LogLevel.Information, "cluster DNS for {Domain} listens on {Endpoint}")]
    internal static partial void DnsListens(ILogger logger, string domain, IPEndPoint endpoint);

    [LoggerMessage(10001, LogLevel.Debug, "resolver {Server} gave no answer: {Message}")]
    internal static partial void ResolverFailed(ILogger logger, IPEndPoint server, string message);

    [LoggerMessage(10002, LogLevel.Warning, "{Limit} questions wait for the host's resolvers: further ones are refused")]
    internal static partial void TooManyForwarded(ILogger logger, int limit);

    [LoggerMessage(10003, LogLevel.Warning, "cluster DNS: a packet could not be received or answered: {Message}")]
    internal static partial void DnsPacketFailed(ILogger logger, string message);

    [LoggerMessage(10004, LogLevel.Warning, "Service kube-system/kube-dns could not be published, trying again: {Message}")]
    internal static partial void DnsPublishFailed(ILogger logger, string message);

    [LoggerMessage(10005, LogLevel.Error, "cluster DNS: answering failed")]
    internal static partial void DnsFaulted(ILogger logger, Exception exception);

    [LoggerMessage(10006, LogLevel.Warning, "cluster DNS: {Path} names no resolver: names outside the cluster cannot be answered")]
    internal static partial void NoResolvers(ILogger logger, string path);
}
