using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using K3sFast.Client;
using K3sFast.Interop.Namespaces;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.Proxy.Health;

/// <summary>
/// The health check node ports: a load balancer asks each node whether a Service with the external policy Local has an endpoint there, and how many.
/// </summary>
/// <remarks>Changed by the proxy's loop; asked by any thread.</remarks>
internal sealed class ServiceHealthPorts(NetworkNamespace? inside, Func<IReadOnlyList<IPAddress>> addresses, ProxyHealth health, Action<ObjectKey, string> report, ILogger logger) : IDisposable
{
    // Owned by the proxy's loop
    private readonly Dictionary<ObjectKey, Checked> _services = [];

    /// <summary>Makes a Service's port what it should be; 0 closes it.</summary>
    internal void Set(ObjectKey service, ushort port, int localEndpoints)
    {
        if (_services.TryGetValue(service, out var known))
        {
            if (known.Port == port)
            {
                known.LocalEndpoints = localEndpoints;
                if (known.Listeners.Count > 0) return;
            }
            known.Close();
            _services.Remove(service);
        }
        if (port == 0) return;
        var opened = new Checked(port) { LocalEndpoints = localEndpoints };
        try
        {
            foreach (var address in addresses()) opened.Listeners.Add(HttpPort.Open(new IPEndPoint(address, port), _ => Answer(service, opened), inside is null ? null : inside.Run));
        }
        catch (SocketException failure)
        {
            opened.Close();
            Log.HealthPortFailed(logger, service.ToString(), port, failure.Message);
            report(service, $"failed to start healthcheck \"{service}\" on port {port}: {failure.Message}");
        }
        // One that could not be opened is tried again with the Service's next change.
        _services[service] = opened;
    }

    public void Dispose()
    {
        foreach (var service in _services.Values) service.Close();
        _services.Clear();
    }

    private HttpAnswer Answer(ObjectKey service, Checked state)
    {
        var (count, isHealthy) = (state.LocalEndpoints, health.IsHealthy);
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true, IndentCharacter = '\t', IndentSize = 1 }))
        {
            json.WriteStartObject();
            json.WriteStartObject("service");
            json.WriteString("namespace", service.Namespace);
            json.WriteString("name", service.Name);
            json.WriteEndObject();
            json.WriteNumber("localEndpoints", count);
            json.WriteBoolean("serviceProxyHealthy", isHealthy);
            json.WriteEndObject();
        }
        return new HttpAnswer(count > 0 && isHealthy ? 200 : 503, stream.ToArray(), Header: "X-Load-Balancing-Endpoint-Weight: " + count.ToString(CultureInfo.InvariantCulture));
    }

    private sealed class Checked(ushort port)
    {
        internal ushort Port { get; } = port;
        internal List<HttpPort> Listeners { get; } = [];
        internal volatile int LocalEndpoints;

        internal void Close()
        {
            foreach (var listener in Listeners) listener.Dispose();
            Listeners.Clear();
        }
    }
}
