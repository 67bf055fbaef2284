using System.Net;
using System.Net.Sockets;
using K3sFast.Configuration;
using Microsoft.Extensions.Logging;

namespace K3sFast.Agent;

/// <summary>
/// The road from a node's own clients to whichever server lives: listens on the loopback and passes connections on. One server is used until it fails,
/// then the next; the one of the flag is the last resort once others are known.
/// </summary>
/// <remarks>Bytes only: TLS is between the client and the server, so that this needs no secret. Any thread.</remarks>
internal sealed class LoadBalancer : IDisposable
{
    private const int BufferBytes = 32 * 1024;
    private static readonly TimeSpan s_connectTimeout = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan s_checkInterval = TimeSpan.FromSeconds(5);

    private readonly TcpListener _listener;
    private readonly Uri _server;
    private readonly string _default;
    private readonly string _file;
    private readonly ILogger _log;

    // Guarded by _gate
    private readonly Lock _gate = new();
    private readonly Dictionary<string, Backend> _backends = [];
    private List<string> _order;
    private int _current;

    /// <summary>Listens at once; <see cref="RunAsync"/> serves.</summary>
    /// <exception cref="ConfigurationException">The port is taken.</exception>
    public LoadBalancer(Uri server, int port, string file, ILogger log)
    {
        (_server, _file, _log) = (server, file, log);
        _default = $"{server.Host}:{server.Port}";
        var known = ServerList.Read(file, server);
        _order = known.Count > 0 ? [.. known] : [_default];
        _listener = new(IPAddress.Loopback, port);
        try
        {
            _listener.Start();
        }
        catch (SocketException e)
        {
            _listener.Dispose();
            throw new ConfigurationException($"cannot listen on 127.0.0.1:{port}: {e.Message}; stop the program that has the port, or choose another with --lb-server-port", e);
        }
        Port = ((IPEndPoint)_listener.LocalEndpoint).Port;
        Keep(_order);
    }

    public int Port { get; }

    /// <summary>Where clients connect to.</summary>
    public Uri Url => new UriBuilder(Uri.UriSchemeHttps, "127.0.0.1", Port).Uri;

    /// <summary>Servers in the order in which they would be tried now.</summary>
    public IReadOnlyList<string> Servers
    {
        get
        {
            lock (_gate)
                return [.. CandidatesLocked()];
        }
    }

    /// <summary>Learns where the servers are now; connections to those that are gone are cut, so that their clients come again.</summary>
    public void Update(IEnumerable<string> addresses)
    {
        var wanted = addresses.Where(ServerList.IsAddress).Distinct().ToList();
        if (wanted.Count == 0)
            return;
        lock (_gate)
        {
            if (wanted.Count == _order.Count && wanted.TrueForAll(_order.Contains))
                return;
            var current = _order[_current];
            foreach (var gone in _order.Where(old => !wanted.Contains(old) && old != _default))
            {
                if (_backends.Remove(gone, out var backend))
                    backend.CutAll();
            }
            _order = wanted;
            _current = Math.Max(0, wanted.IndexOf(current));
        }
        _log.ServersKnown(string.Join(' ', wanted));
        Keep(wanted);
    }

    /// <summary>Passes connections on until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        while (!cancellationToken.IsCancellationRequested)
        {
            try
            {
                var client = await _listener.AcceptSocketAsync(cancellationToken).ConfigureAwait(false);
                _ = ServeAsync(client, cancellationToken);
            }
            catch (OperationCanceledException)
            {
                break;
            }
            catch (SocketException e)
            {
                // Out of descriptors, or a client that was gone before it was accepted.
                _log.Warning($"a connection to the load balancer was not accepted: {e.Message}");
                await Task.Delay(TimeSpan.FromMilliseconds(100), cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
        lock (_gate)
        {
            foreach (var backend in _backends.Values)
                backend.CutAll();
        }
    }

    /// <summary>
    /// Asks servers how they are, until cancelled, and leaves one that does not answer: a server that hangs still accepts connections. Where there is one
    /// server only there is nothing to choose, and nobody is asked.
    /// </summary>
    public async Task CheckAsync(Func<string, CancellationToken, Task<bool>> isHealthy, TimeProvider clock, CancellationToken cancellationToken)
    {
        while (!cancellationToken.IsCancellationRequested)
        {
            await Task.Delay(s_checkInterval, clock, cancellationToken).ConfigureAwait(false);
            string[] servers;
            lock (_gate)
                servers = _order.Count > 1 ? [.. _order] : [];
            foreach (var server in servers)
                Note(server, await isHealthy(server, cancellationToken).ConfigureAwait(false));
        }
    }

    public void Dispose() => _listener.Dispose();

    private void Keep(List<string> servers)
    {
        try
        {
            ServerList.Write(_file, _server, servers);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _log.Warning($"cannot keep the list of servers in {_file}: {e.Message}");
        }
    }

    private async Task ServeAsync(Socket client, CancellationToken cancellationToken)
    {
        await Task.Yield();
        using (client)
        {
            client.NoDelay = true;
            if (await ConnectAsync(cancellationToken).ConfigureAwait(false) is not { } opened)
                return;
            using var server = opened.Socket;
            var link = new Link(client, server);
            opened.Backend.Add(link);
            try
            {
                await Task.WhenAll(PumpAsync(client, server), PumpAsync(server, client)).ConfigureAwait(false);
            }
            finally
            {
                opened.Backend.Remove(link);
            }
        }
    }

    private async Task<(Socket Socket, Backend Backend)?> ConnectAsync(CancellationToken cancellationToken)
    {
        string[] candidates;
        lock (_gate)
            candidates = [.. CandidatesLocked()];
        foreach (var address in candidates)
        {
            var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            deadline.CancelAfter(s_connectTimeout);
            try
            {
                var colon = address.LastIndexOf(':');
                await socket.ConnectAsync(address[..colon].Trim('[', ']'), int.Parse(address.AsSpan(colon + 1)), deadline.Token).ConfigureAwait(false);
                Note(address, isHealthy: true);
                return (socket, BackendOf(address));
            }
            catch (Exception e) when (e is SocketException or OperationCanceledException)
            {
                socket.Dispose();
                if (cancellationToken.IsCancellationRequested)
                    return null;
                _log.ServerUnreachable(address, e is OperationCanceledException ? "it does not answer" : e.Message);
                Note(address, isHealthy: false);
            }
        }
        return null;
    }

    // The current one, then the others that are well, then those that are not, and the flag's at last.
    private IEnumerable<string> CandidatesLocked()
    {
        var turned = Enumerable.Range(0, _order.Count).Select(i => _order[(_current + i) % _order.Count]).ToList();
        return turned.Where(IsWellLocked).Concat(turned.Where(address => !IsWellLocked(address))).Append(_default).Distinct();
    }

    private bool IsWellLocked(string address) => !_backends.TryGetValue(address, out var backend) || backend.IsWell;

    private Backend BackendOf(string address)
    {
        lock (_gate)
        {
            if (!_backends.TryGetValue(address, out var backend))
                _backends[address] = backend = new();
            return backend;
        }
    }

    private void Note(string address, bool isHealthy)
    {
        var backend = BackendOf(address);
        lock (_gate)
        {
            if (isHealthy && _order.IndexOf(address) is >= 0 and var index && !IsWellLocked(_order[_current]))
                _current = index;
            if (!isHealthy && _order[_current] == address)
                _current = (_current + 1) % _order.Count;
            var wasWell = backend.IsWell;
            backend.IsWell = isHealthy;
            if (!isHealthy && wasWell && _order.Count > 1)
                backend.CutAll();
        }
    }

    // A half-closed connection stays open the other way.
    private static async Task PumpAsync(Socket from, Socket to)
    {
        var buffer = new byte[BufferBytes];
        try
        {
            while (await from.ReceiveAsync(buffer).ConfigureAwait(false) is > 0 and var read)
            {
                for (var sent = 0; sent < read;)
                    sent += await to.SendAsync(buffer.AsMemory(sent, read - sent)).ConfigureAwait(false);
            }
            to.Shutdown(SocketShutdown.Send);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            from.Dispose();
            to.Dispose();
        }
    }

    private sealed record Link(Socket Client, Socket Server);

    /// <summary>A server and the connections to it. Locks itself.</summary>
    private sealed class Backend
    {
        private readonly HashSet<Link> _links = [];

        // Guarded by the balancer's _gate
        internal bool IsWell { get; set; } = true;

        internal void Add(Link link)
        {
            lock (_links)
                _links.Add(link);
        }

        internal void Remove(Link link)
        {
            lock (_links)
                _links.Remove(link);
        }

        internal void CutAll()
        {
            lock (_links)
            {
                foreach (var link in _links)
                {
                    link.Client.Dispose();
                    link.Server.Dispose();
                }
                _links.Clear();
            }
        }
    }
}
