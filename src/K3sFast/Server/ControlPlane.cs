using K3sFast.Client;
using K3sFast.Configuration;
using K3sFast.Pki;
using Microsoft.Extensions.Logging;

namespace K3sFast.Server;

/// <summary>Datastore, watch cache and API server, in the order in which they lean on each other.</summary>
internal sealed class ControlPlane : IAsyncDisposable
{
    /// <summary>Opens the store at once; certificates may still be in the making.</summary>
    /// <exception cref="ConfigurationException">The database or the port cannot be used; the message says what to do.</exception>
    public static Task<ControlPlane> StartAsync(ServerConfig config, Task<ClusterPki> pki, ILoggerFactory loggers, CancellationToken ct) =>
        throw new ConfigurationException("the API server is not in this version yet");

    /// <summary>A client in this process that acts as a user. RBAC applies to it as over the wire.</summary>
    public ApiClient ClientFor(string user, params string[] groups) => throw new ConfigurationException($"no API for {user} {groups.Length}");

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
