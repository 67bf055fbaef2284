using System.Net;
using System.Net.Sockets;
using K3sFast.Client;
using Microsoft.Extensions.Logging;

namespace K3sFast.AddOns.Dns;

/// <summary>All sockets: a pair for each address of the node and each port of the configuration, and those that tell how the server is.</summary>
internal sealed class DnsListeners(DnsParts parts) : IDisposable
{
    // Owned by whoever loads configurations
    private readonly Dictionary<IPEndPoint, (UdpListener Udp, TcpListener Tcp, int Port)> _open = [];
    private readonly Dictionary<string, (string At, HttpPort? Port)> _status = [];

    /// <summary>The first address that questions are answered at.</summary>
    internal IPEndPoint Endpoint => _open.First().Value.Udp.Endpoint;

    /// <summary>Opens what a configuration needs and is not open yet. The engine must be there.</summary>
    /// <exception cref="CorefileException">A further port cannot be had.</exception>
    /// <exception cref="SocketException">The server's own port cannot be had.</exception>
    internal void Follow(DnsConfig config)
    {
        foreach (var port in config.Ports)
        {
            foreach (var address in parts.Options.NodeIPs)
            {
                var endpoint = new IPEndPoint(address, NodePorts.Map(port, parts.Options.Port));
                if (!_open.ContainsKey(endpoint)) Open(endpoint, port);
            }
        }
        FollowStatus("health", config.Health, static () => HttpAnswer.Text(200, "OK"));
        FollowStatus("ready", config.Ready, () => parts.Records.HasSynced ? HttpAnswer.Text(200, "OK") : HttpAnswer.Text(503, "kubernetes"));
        FollowStatus("metrics", config.Metrics, () => HttpAnswer.Metrics(parts.Metrics.Registry));
    }

    /// <summary>Closes what a configuration no longer needs.</summary>
    internal void Forget(DnsConfig config)
    {
        var ports = config.Ports.ToHashSet();
        foreach (var (endpoint, listener) in _open.Where(entry => !ports.Contains(entry.Value.Port)).ToList())
        {
            listener.Udp.Dispose();
            listener.Tcp.Dispose();
            _open.Remove(endpoint);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var (udp, tcp, _) in _open.Values)
        {
            udp.Dispose();
            tcp.Dispose();
        }
        foreach (var (_, port) in _status.Values) port?.Dispose();
    }

    private void Open(IPEndPoint endpoint, int port)
    {
        UdpListener? udp = null;
        try
        {
            var engine = parts.Engine.Value;
            udp = new UdpListener(endpoint, port, parts.Options.UdpThreads, engine, parts.Metrics, parts.Logger);
            var tcp = new TcpListener(udp.Endpoint, port, engine, parts.Metrics, parts.Logger);
            _open.Add(endpoint, (udp, tcp, port));
            udp.Start();
            tcp.Start();
            Log.DnsListens(parts.Logger, parts.Options.ClusterDomain, udp.Endpoint);
        }
        catch (SocketException taken)
        {
            udp?.Dispose();
            if (port == 53) throw;
            throw new CorefileException($"listen on {endpoint}: {taken.Message}");
        }
    }

    // That nobody can look at the server is no reason not to serve.
    private void FollowStatus(string what, StatusAddress? address, Func<HttpAnswer> answer)
    {
        var at = address is null ? "" : $"{address.Host}:{address.Port}";
        if (_status.TryGetValue(what, out var current))
        {
            if (current.At == at) return;
            current.Port?.Dispose();
            _status.Remove(what);
        }
        if (address is null) return;
        // Metrics are for a Prometheus elsewhere; health and readiness for who looks after this process.
        var host = address.Host.Length > 0 ? IPAddress.Parse(address.Host) : what == "metrics" ? parts.Options.NodeIPs[0] : IPAddress.Loopback;
        var endpoint = new IPEndPoint(host, NodePorts.Map(address.Port, parts.Options.Port));
        try
        {
            _status[what] = (at, HttpPort.Open(endpoint, path => path == "/" + what ? answer() : HttpAnswer.NotFound));
        }
        catch (SocketException taken)
        {
            _status[what] = (at, null);
            Log.StatusNotServed(parts.Logger, "/" + what, endpoint.ToString(), taken.Message);
        }
    }
}
