using System.Net;
using System.Net.Sockets;

namespace K3sFast.FaultRig.Faults;

/// <summary>What a <see cref="FaultyLink"/> does to what passes.</summary>
internal enum LinkState
{
    /// <summary>Everything passes.</summary>
    Open,

    /// <summary>Connections stay, new ones are taken, nothing passes; what was sent passes later.</summary>
    Stalled,

    /// <summary>Connections stay; answers get lost and the asker does not know: the end of the stream comes in their place.</summary>
    HalfClosed,

    /// <summary>Connections are reset, new ones too.</summary>
    Cut,
}

/// <summary>A TCP way to a server on this machine that can be stalled, cut and half closed.</summary>
internal sealed class FaultyLink : IAsyncDisposable
{
    private readonly int _target;
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _gate = new();
    private readonly List<(Socket Client, Socket Server)> _pairs = [];
    private readonly Task _accepting;
    private TaskCompletionSource _open = Completed();
    private LinkState _state;

    public FaultyLink(int target)
    {
        _target = target;
        _listener.Start();
        Port = ((IPEndPoint)_listener.LocalEndpoint).Port;
        _accepting = Task.Run(AcceptAsync);
    }

    public int Port { get; }

    public void Turn(LinkState state)
    {
        List<(Socket Client, Socket Server)> pairs;
        TaskCompletionSource? opened = null;
        lock (_gate)
        {
            _state = state;
            pairs = [.. _pairs];
            if (state == LinkState.Stalled) _open = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            else opened = _open;
            if (state is LinkState.Cut or LinkState.HalfClosed) _pairs.Clear();
        }
        if (state is LinkState.Cut) pairs.ForEach(Reset);
        if (state is LinkState.HalfClosed) pairs.ForEach(HalfClose);
        opened?.TrySetResult();
    }

    public async ValueTask DisposeAsync()
    {
        Turn(LinkState.Cut);
        await _stop.CancelAsync().ConfigureAwait(false);
        _listener.Stop();
        await _accepting.ConfigureAwait(false);
        _stop.Dispose();
        _listener.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var client = await _listener.AcceptSocketAsync(_stop.Token).ConfigureAwait(false);
                _ = ServeAsync(client);
            }
        }
        catch (OperationCanceledException)
        {
            // Disposed.
        }
    }

    private async Task ServeAsync(Socket client)
    {
        var server = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        client.NoDelay = true;
        var pair = (client, server);
        lock (_gate)
        {
            if (_state != LinkState.Cut) _pairs.Add(pair);
        }
        try
        {
            if (_state == LinkState.Cut) return;
            await server.ConnectAsync(IPAddress.Loopback, _target).ConfigureAwait(false);
            await Task.WhenAll(PassAsync(client, server), PassAsync(server, client)).ConfigureAwait(false);
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException)
        {
            // One side is gone, so is the other.
        }
        finally
        {
            lock (_gate) _pairs.Remove(pair);
            Reset(pair);
        }
    }

    private async Task PassAsync(Socket from, Socket to)
    {
        byte[] buffer = new byte[32 * 1024];
        while (true)
        {
            int count = await from.ReceiveAsync(buffer).ConfigureAwait(false);
            Task open;
            lock (_gate) open = _open.Task;
            await open.ConfigureAwait(false);
            if (count == 0)
            {
                to.Shutdown(SocketShutdown.Send);
                return;
            }
            for (int sent = 0; sent < count;) sent += await to.SendAsync(buffer.AsMemory(sent, count - sent)).ConfigureAwait(false);
        }
    }

    private static void HalfClose((Socket Client, Socket Server) pair)
    {
        try
        {
            pair.Client.Shutdown(SocketShutdown.Send);
            // What the server still says is read by nobody.
            pair.Server.Shutdown(SocketShutdown.Receive);
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException)
        {
            // Gone already.
        }
    }

    private static void Reset((Socket Client, Socket Server) pair)
    {
        pair.Client.Close(timeout: 0);
        pair.Server.Close(timeout: 0);
    }

    private static TaskCompletionSource Completed()
    {
        var completed = new TaskCompletionSource();
        completed.SetResult();
        return completed;
    }
}
