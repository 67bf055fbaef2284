using System.Net;
using Microsoft.Extensions.Logging;

namespace K3sFast.AddOns;

/// <summary>Log events 10000-10999.</summary>
internal static partial class Log
{
    [LoggerMessage(10000, LogLevel.Information, "cluster DNS for {Domain} listens on {Endpoint}")]
    internal static partial void DnsListens(ILogger logger, string domain, IPEndPoint endpoint);

    [LoggerMessage(10001, LogLevel.Debug, "cluster DNS: server {Server} gave no answer: {Message}")]
    internal static partial void UpstreamFailed(ILogger logger, string server, string message);

    [LoggerMessage(10002, LogLevel.Warning, "cluster DNS: {Limit} questions wait for other servers: further ones are refused")]
    internal static partial void TooManyForwarded(ILogger logger, int limit);

    [LoggerMessage(10003, LogLevel.Warning, "cluster DNS: a packet could not be received or answered: {Message}")]
    internal static partial void DnsPacketFailed(ILogger logger, string message);

    [LoggerMessage(10004, LogLevel.Warning, "Service kube-system/kube-dns could not be published, trying again: {Message}")]
    internal static partial void DnsPublishFailed(ILogger logger, string message);

    [LoggerMessage(10005, LogLevel.Error, "cluster DNS: answering failed")]
    internal static partial void DnsFaulted(ILogger logger, Exception exception);

    [LoggerMessage(10006, LogLevel.Warning, "cluster DNS: {Path} names no resolver: names outside the cluster cannot be answered")]
    internal static partial void NoResolvers(ILogger logger, string path);

    [LoggerMessage(10007, LogLevel.Debug, "cluster DNS: server {Server} answered with something that is no DNS message")]
    internal static partial void UpstreamMalformed(ILogger logger, string server);

    [LoggerMessage(10008, LogLevel.Warning, "plugin/errors: 2 {Name} {Type}: no server that questions are forwarded to answered")]
    internal static partial void NoUpstreamAnswered(ILogger logger, string name, string type);

    [LoggerMessage(10009, LogLevel.Warning, "cluster DNS: a template's record for {Name} is none: {Message}")]
    internal static partial void TemplateFailed(ILogger logger, string name, string message);

    [LoggerMessage(10010, LogLevel.Information, "{Line}")]
    internal static partial void Query(ILogger logger, string line);

    [LoggerMessage(10011, LogLevel.Error, "plugin/loop: Loop detected for zone \"{Zone}\": the servers that questions are forwarded to send them back ({Query}). Nothing is forwarded until the configuration changes; names of the cluster are answered")]
    internal static partial void ForwardingLoop(ILogger logger, string zone, string query);

    [LoggerMessage(10012, LogLevel.Error, "cluster DNS: the Corefile in ConfigMap kube-system/coredns cannot be used: {Message}. {Consequence}")]
    internal static partial void CorefileRefused(ILogger logger, string message, string consequence);

    [LoggerMessage(10013, LogLevel.Information, "cluster DNS: Corefile loaded: {Blocks} server blocks")]
    internal static partial void CorefileLoaded(ILogger logger, int blocks);

    [LoggerMessage(10014, LogLevel.Warning, "cluster DNS: {Message}")]
    internal static partial void CorefileWarning(ILogger logger, string message);

    [LoggerMessage(10015, LogLevel.Warning, "cluster DNS: the Corefile changed, but the one in force has no \"reload\": the change waits for a restart")]
    internal static partial void CorefileNotReloaded(ILogger logger);

    [LoggerMessage(10016, LogLevel.Warning, "cluster DNS: {What} cannot be served at {Endpoint}: {Message}")]
    internal static partial void StatusNotServed(ILogger logger, string what, string endpoint, string message);

    [LoggerMessage(10017, LogLevel.Warning, "ConfigMap kube-system/coredns could not be written, trying again: {Message}")]
    internal static partial void ConfigMapFailed(ILogger logger, string message);

    [LoggerMessage(10018, LogLevel.Warning, "cluster DNS: connections over TCP are at their bound of {Limit}: further ones are closed")]
    internal static partial void TooManyConnections(ILogger logger, int limit);
}
