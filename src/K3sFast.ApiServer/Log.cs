using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>What the API server has to say. Event ids from 4000.</summary>
internal static partial class Log
{
    [LoggerMessage(4001, LogLevel.Information, "API server listens on https://{Address}")]
    internal static partial void Listening(ILogger logger, string address);

    [LoggerMessage(4002, LogLevel.Error, "{Method} {Target} failed unexpectedly")]
    internal static partial void RequestFailed(ILogger logger, Exception error, string method, string target);

    [LoggerMessage(4003, LogLevel.Warning, "admission plugins not served yet: {Plugins}")]
    internal static partial void AdmissionMissing(ILogger logger, string plugins);

    [LoggerMessage(4004, LogLevel.Information, "{Count} bootstrap roles and bindings written")]
    internal static partial void RbacReconciled(ILogger logger, int count);

    [LoggerMessage(4005, LogLevel.Warning, "{What} failed, will be tried again: {Reason}")]
    internal static partial void BackgroundFailed(ILogger logger, string what, string reason);

    [LoggerMessage(4006, LogLevel.Warning, "stored object {Key} cannot be read: {Reason}")]
    internal static partial void Unreadable(ILogger logger, string key, string reason);

    [LoggerMessage(4007, LogLevel.Warning, "Service {Key} holds {Address} outside the service range or taken twice")]
    internal static partial void AddressConflict(ILogger logger, string key, string address);

    [LoggerMessage(4008, LogLevel.Debug, "stream to kubelet of {Node} ended: {Reason}")]
    internal static partial void StreamEnded(ILogger logger, string node, string reason);

    [LoggerMessage(4009, LogLevel.Warning, "pods cannot reach the API: {Address} cannot be an endpoint of the kubernetes Service; set --advertise-address or --node-ip")]
    internal static partial void NoAdvertiseAddress(ILogger logger, string address);

    [LoggerMessage(4030, LogLevel.Warning, "--service-cidr is {Wanted} but ServiceCIDR kubernetes has {Present}: make another ServiceCIDR object for the new range, or delete it when no Service needs it")]
    internal static partial void ServiceCidrDiffers(ILogger logger, string wanted, string present);

    [LoggerMessage(4100, LogLevel.Warning, "{What} token has been found in token file '{Path}', record number '{Number}'")]
    internal static partial void TokenFile(ILogger logger, string what, string path, int number);

    [LoggerMessage(4101, LogLevel.Error, "webhook for {What} failed: {Reason}")]
    internal static partial void WebhookFailed(ILogger logger, string what, string reason);

    [LoggerMessage(4102, LogLevel.Warning, "issuer {Issuer} cannot be used yet, will be tried again: {Reason}")]
    internal static partial void IssuerNotReady(ILogger logger, string issuer, string reason);

    [LoggerMessage(4103, LogLevel.Information, "{Path} has changed and is in force")]
    internal static partial void FileReloaded(ILogger logger, string path);

    [LoggerMessage(4104, LogLevel.Error, "{Path} has changed and cannot be used, what was in force stays: {Reason}")]
    internal static partial void FileNotReloaded(ILogger logger, string path, string reason);

    [LoggerMessage(4105, LogLevel.Debug, "unable to authenticate the request: {Reason}")]
    internal static partial void NotAuthenticated(ILogger logger, string reason);

    [LoggerMessage(4106, LogLevel.Error, "{Count} audit events for {Where} are lost: {Reason}")]
    internal static partial void AuditFailed(ILogger logger, string where, int count, string reason);

    [LoggerMessage(4107, LogLevel.Warning, "no --audit-policy-file: nothing is recorded in the audit log")]
    internal static partial void AuditWithoutPolicy(ILogger logger);

    [LoggerMessage(4108, LogLevel.Warning, "--audit-policy-file without --audit-log-path or --audit-webhook-config-file: nothing is recorded")]
    internal static partial void AuditWithoutBackend(ILogger logger);
}
