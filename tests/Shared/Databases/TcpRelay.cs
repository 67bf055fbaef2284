using System.Net;
using System.Net.Sockets;

namespace K3sFast.Tests.Databases;

/// <summary>A way to a server that a test can cut: connections break, and new ones are refused until it is mended.</summary>
public sealed class TcpRelay : IAsyncDisposable
{
    private readonly int _target;
    private readonly Lock _gate = new();
    private readonly HashSet<Socket> _open = [];
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _accepting;
    private Socket? _listener;
    private bool _isCut;

    public TcpRelay(int target)
    {
        _target = target;
        _listener = Listen(0);
        Port = ((IPEndPoint)_listener.LocalEndPoint!).Port;
        _accepting = Task.Run(AcceptAsync);
    }

    public int Port { get; }

    /// <summary>Breaks every connection; <paramref name="stays"/> = and takes no new one.</summary>
    public void Cut(bool stays = true)
    {
        Socket[] open;
        lock (_gate)
        {
            _isCut = stays;
            open = [.. _open];
            _open.Clear();
        }
        foreach (var socket in open) socket.Dispose();
    }

    public void Mend()
    {
        lock (_gate) _isCut = false;
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        Cut();
        _listener?.Dispose();
        _listener = null;
        await _accepting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
    }

    private static Socket Listen(int port)
    {
        var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, port));
        listener.Listen(64);
        return listener;
    }

    private async Task AcceptAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            var inner = await _listener!.AcceptAsync(_stop.Token);
            var outer = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            bool isTaken;
            lock (_gate)
            {
                isTaken = !_isCut;
                if (isTaken)
                {
                    _open.Add(inner);
                    _open.Add(outer);
                }
            }
            if (isTaken) _ = RelayAsync(inner, outer);
            else Drop(inner, outer);
        }
    }

    private async Task RelayAsync(Socket inner, Socket outer)
    {
        try
        {
            await outer.ConnectAsync(new IPEndPoint(IPAddress.Loopback, _target), _stop.Token);
            await Task.WhenAny(CopyAsync(inner, outer), CopyAsync(outer, inner));
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // Cut, or the server is down.
        }
        Drop(inner, outer);
    }

    /// <summary>Hands on what comes, until one of the two is closed.</summary>
    public static async Task CopyAsync(Socket from, Socket to)
    {
        byte[] buffer = new byte[64 * 1024];
        try
        {
            int read;
            while ((read = await from.ReceiveAsync(buffer)) > 0)
            {
                for (int sent = 0; sent < read;) sent += await to.SendAsync(buffer.AsMemory(sent, read - sent));
            }
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException)
        {
            // Cut.
        }
    }

    private void Drop(Socket inner, Socket outer)
    {
        lock (_gate)
        {
            _open.Remove(inner);
            _open.Remove(outer);
        }
        inner.Dispose();
        outer.Dispose();
    }
}
