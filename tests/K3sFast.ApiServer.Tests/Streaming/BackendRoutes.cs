using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace K3sFast.ApiServer.Tests;

/// <summary>A network in which addresses of pods and nodes lead to listeners of the test; every other address is the machine's.</summary>
internal sealed class BackendRoutes
{
    private readonly ConcurrentDictionary<string, int> _routes = new();
    private int _last;

    /// <summary>An address of nobody else that leads to that port of the loopback, whatever port is asked for.</summary>
    internal string Add(int port)
    {
        var number = Interlocked.Increment(ref _last);
        var address = $"10.77.{number / 250}.{number % 250 + 1}";
        _routes[address] = port;
        return address;
    }

    internal async ValueTask<Stream> DialAsync(string host, int port, CancellationToken cancel)
    {
        var isOurs = _routes.TryGetValue(host, out var route);
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(isOurs ? IPAddress.Loopback.ToString() : host, isOurs ? route : port, cancel);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
