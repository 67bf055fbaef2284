using System.Net;
using System.Net.Sockets;
using k8s.Models;
using K3sFast.Client;
using K3sFast.Interop.Netlink;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.Proxy.Health;

/// <summary>Where the outside asks the proxy how it is: health and metrics of the proxy itself, and the health check port of each Service.</summary>
internal sealed class ServiceProxyPorts : IDisposable
{
    // Upstream's: an address that is somebody else's is tried again.
    private static readonly TimeSpan s_bindRetryDelay = TimeSpan.FromSeconds(5);

    private readonly NetworkOptions _options;
    private readonly ServiceBackend _backend;
    private readonly ProxyMetrics _metrics;
    private readonly ILogger _logger;

    internal ServiceProxyPorts(NetworkOptions options, ServiceBackend backend, ProxyMetrics metrics, EventRecorder recorder, ILogger logger)
    {
        (_options, _backend, _metrics, _logger) = (options, backend, metrics, logger);
        Health = new ProxyHealth(TimeProvider.System, [.. backend.FamilyNames], 2 * options.Proxy.SyncPeriod);
        Services = new ServiceHealthPorts(options.HostNamespace, HealthCheckAddresses, Health, (service, message) => recorder.Record(
            new V1ObjectReference { ApiVersion = "v1", Kind = "Service", NamespaceProperty = service.Namespace, Name = service.Name },
            "Warning", "FailedToStartServiceHealthcheck", $"node {options.NodeName} {message}"), logger);
    }

    /// <summary>Whether the rules follow the API.</summary>
    internal ProxyHealth Health { get; }

    /// <summary>What load balancers ask.</summary>
    internal ServiceHealthPorts Services { get; }

    /// <summary>Answers until cancelled.</summary>
    /// <exception cref="IOException">An address cannot be bound, and that was to be fatal.</exception>
    internal Task RunAsync(CancellationToken cancellationToken) => Task.WhenAll(
        ServeAsync("health", _options.Proxy.HealthAddress, path => Health.Answer(path, _metrics) ?? HttpAnswer.NotFound, cancellationToken),
        ServeAsync("metrics", _options.Proxy.MetricsAddress, AnswerMetrics, cancellationToken));

    public void Dispose() => Services.Dispose();

    private async Task ServeAsync(string what, IPEndPoint? address, Func<string, HttpAnswer> answer, CancellationToken cancellationToken)
    {
        await Task.Yield();
        try
        {
            while (address is not null)
            {
                try
                {
                    using var port = HttpPort.Open(address, answer, _options.HostNamespace is { } host ? host.Run : null);
                    await Task.Delay(Timeout.Infinite, cancellationToken).ConfigureAwait(false);
                }
                catch (SocketException failure)
                {
                    if (_options.Proxy.IsBindFailureFatal) throw new IOException($"the proxy's {what} cannot be answered on {address}: {failure.Message}", failure);
                    Log.ProxyPortFailed(_logger, what, address.ToString(), failure.Message);
                }
                await Task.Delay(s_bindRetryDelay, cancellationToken).ConfigureAwait(false);
            }
            await Task.Delay(Timeout.Infinite, cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
        }
    }

    private HttpAnswer AnswerMetrics(string path) => path switch
    {
        "/metrics" => HttpAnswer.Metrics(_metrics.Registry),
        "/proxyMode" => HttpAnswer.Text(200, _backend.Name),
        "/healthz" => HttpAnswer.Text(200, "ok"),
        _ => HttpAnswer.NotFound,
    };

    // On every address, unless node ports are asked for on some only.
    private IReadOnlyList<IPAddress> HealthCheckAddresses()
    {
        if (_options.Proxy.IsNodePortPrimaryOnly) return [.. _options.NodeIPs.DistinctBy(static address => address.AddressFamily)];
        var networks = _options.Proxy.NodePortNetworks;
        if (networks.Count == 0 || networks.Any(static network => network.PrefixLength == 0)) return [Socket.OSSupportsIPv6 ? IPAddress.IPv6Any : IPAddress.Any];
        using var host = RouteSocket.Open(_options.HostNamespace);
        return [.. host.ListAddresses().Select(static entry => entry.Address).Where(address => networks.Any(network => network.Contains(address)))];
    }
}
