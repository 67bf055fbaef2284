using System.Net;
using System.Net.Sockets;
using K3sFast.Tests.Databases;

namespace K3sFast.EndToEnd.Tests;

/// <summary>What stands before several API servers: one address, whose connections go to each server in turn, and past those that refuse.</summary>
internal sealed class LoadBalancer : IAsyncDisposable
{
    private readonly string _networkNamespace;
    private readonly IReadOnlyList<IPEndPoint> _servers;
    private readonly Socket _listener;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _accepting;
    private readonly Lock _gate = new();

    // Guarded by _gate
    private int _countdown;
    private Func<Task>? _onZero;

    // Owned by the accepting loop
    private int _next;

    private LoadBalancer(string networkNamespace, IPEndPoint address, IReadOnlyList<IPEndPoint> servers)
    {
        (_networkNamespace, _servers) = (networkNamespace, servers);
        _listener = OpenSocket();
        _listener.Bind(address);
        _listener.Listen(64);
        _accepting = Task.Run(AcceptAsync);
    }

    /// <summary>Takes connections at an address in a network namespace.</summary>
    internal static LoadBalancer Start(string networkNamespace, IPEndPoint address, IReadOnlyList<IPEndPoint> servers) => new(networkNamespace, address, servers);

    /// <summary>Does something before the n-th connection from now on is led to a server.</summary>
    internal void BeforeConnection(int number, Func<Task> action)
    {
        lock (_gate) (_countdown, _onZero) = (number, action);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Dispose();
        await _accepting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
    }

    private Socket OpenSocket() => Lan.OpenInside(_networkNamespace, static () => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true });

    private async Task AcceptAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            var client = await _listener.AcceptAsync(_stop.Token);
            if (TakeAction() is { } action) await action();
            _ = RelayAsync(client, _next++);
        }
    }

    private Func<Task>? TakeAction()
    {
        lock (_gate) return _countdown > 0 && --_countdown == 0 ? _onZero : null;
    }

    private async Task RelayAsync(Socket client, int first)
    {
        using (client)
        {
            for (var i = 0; i < _servers.Count; i++)
            {
                using var server = OpenSocket();
                try
                {
                    await server.ConnectAsync(_servers[(first + i) % _servers.Count], _stop.Token);
                }
                catch (SocketException)
                {
                    continue;
                }
                catch (OperationCanceledException)
                {
                    return;
                }
                await Task.WhenAny(TcpRelay.CopyAsync(client, server), TcpRelay.CopyAsync(server, client));
                return;
            }
        }
    }
}
