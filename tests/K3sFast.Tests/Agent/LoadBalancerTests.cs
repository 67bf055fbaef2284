using System.Net;
using System.Net.Sockets;
using System.Text;
using K3sFast.Agent;
using K3sFast.Configuration;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Tests.Agent;

public sealed class LoadBalancerTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly CancellationTokenSource _stop = new(TimeSpan.FromMinutes(2));

    private string File => Path.Combine(_folder.Path, "k3s-agent-load-balancer.json");

    public void Dispose()
    {
        _stop.Cancel();
        _stop.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public async Task Connection_ServerOfTheFlag_IsUsedUntilOthersAreKnown()
    {
        using var first = new NamedServer("first");
        using var second = new NamedServer("second");
        using var balancer = Start(first);
        Assert.Equal("first", await AskAsync(balancer));
        balancer.Update([second.Address]);
        Assert.Equal("second", await AskAsync(balancer));
        Assert.Equal([second.Address, first.Address], balancer.Servers);
    }

    [Fact]
    public async Task Connection_ServerGone_GoesToTheNextAndAtLastToTheFlags()
    {
        using var flag = new NamedServer("flag");
        var (first, second) = (new NamedServer("first"), new NamedServer("second"));
        using var balancer = Start(flag);
        balancer.Update([first.Address, second.Address]);
        var used = await AskAsync(balancer);
        (used == "first" ? first : second).Dispose();
        Assert.Equal(used == "first" ? "second" : "first", await AskAsync(balancer));
        (used == "first" ? second : first).Dispose();
        Assert.Equal("flag", await AskAsync(balancer));
    }

    [Fact]
    public async Task Connection_ServerRemoved_IsCut()
    {
        using var first = new NamedServer("first");
        using var second = new NamedServer("second");
        using var balancer = Start(first);
        balancer.Update([second.Address]);
        using var client = await ConnectAsync(balancer);
        Assert.Equal("second", await ReadAsync(client));
        balancer.Update([first.Address]);
        Assert.Equal("", await ReadAsync(client));
    }

    [Fact]
    public async Task Connection_ServerHangs_IsCutWhenItsHealthCheckFails()
    {
        using var first = new NamedServer("first");
        using var second = new NamedServer("second");
        using var balancer = Start(first);
        balancer.Update([first.Address, second.Address]);
        using var client = await ConnectAsync(balancer);
        var used = await ReadAsync(client) == "first" ? first : second;
        var clock = new Microsoft.Extensions.Time.Testing.FakeTimeProvider();
        var checks = balancer.CheckAsync((address, _) => Task.FromResult(address != used.Address), clock, _stop.Token);
        clock.Advance(TimeSpan.FromSeconds(6));
        Assert.Equal("", await ReadAsync(client));
        Assert.NotEqual(used.Name, await AskAsync(balancer));
        await _stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => checks);
    }

    [Fact]
    public async Task Servers_AreRememberedForTheSameFlagOnly()
    {
        using var second = new NamedServer("second");
        var gone = new NamedServer("gone");
        gone.Dispose();
        using (var balancer = Start(gone)) balancer.Update([second.Address]);
        Assert.Equal($$"""{"ServerURL":"https://{{gone.Address}}","ServerAddresses":["{{second.Address}}"]}""", System.IO.File.ReadAllText(File).Trim());
        using var again = Start(gone);
        Assert.Equal("second", await AskAsync(again));
        using var other = Start(second);
        Assert.Equal([second.Address], other.Servers);
    }

    [Fact]
    public void Port_Taken_SaysWhatToDo()
    {
        using var server = new NamedServer("x");
        var port = int.Parse(server.Address.Split(':')[1]);
        var message = Assert.Throws<ConfigurationException>(() => new LoadBalancer(new Uri("https://192.0.2.1:6443"), port, File, NullLogger.Instance)).Message;
        Assert.Contains("--lb-server-port", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("not json")]
    [InlineData("""{"ServerURL":"https://192.0.2.1:6443"}""")]
    [InlineData("""{"ServerURL":"https://192.0.2.1:6443","ServerAddresses":["", "a", 1]}""")]
    public void List_Damaged_IsNoList(string text)
    {
        System.IO.File.WriteAllText(File, text);
        Assert.Empty(ServerList.Read(File, new Uri("https://192.0.2.1:6443")));
    }

    private LoadBalancer Start(NamedServer flag)
    {
        var balancer = new LoadBalancer(new Uri("https://" + flag.Address), 0, File, NullLogger.Instance);
        _ = balancer.RunAsync(_stop.Token);
        return balancer;
    }

    private async Task<string> AskAsync(LoadBalancer balancer)
    {
        using var client = await ConnectAsync(balancer);
        return await ReadAsync(client);
    }

    private async Task<Socket> ConnectAsync(LoadBalancer balancer)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(IPAddress.Loopback, balancer.Port, _stop.Token);
        return socket;
    }

    // "" = the connection ended.
    private async Task<string> ReadAsync(Socket socket)
    {
        var buffer = new byte[64];
        try
        {
            return Encoding.ASCII.GetString(buffer, 0, await socket.ReceiveAsync(buffer, _stop.Token));
        }
        catch (SocketException)
        {
            return "";
        }
    }

    /// <summary>Says its name to whoever connects, and holds the connection.</summary>
    private sealed class NamedServer : IDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
        private readonly List<Socket> _open = [];

        internal NamedServer(string name)
        {
            Name = name;
            _listener.Start();
            Address = $"127.0.0.1:{((IPEndPoint)_listener.LocalEndpoint).Port}";
            _ = ServeAsync();
        }

        internal string Name { get; }

        internal string Address { get; }

        public void Dispose()
        {
            _listener.Dispose();
            lock (_open) _open.ForEach(static socket => socket.Dispose());
        }

        private async Task ServeAsync()
        {
            try
            {
                while (true)
                {
                    var client = await _listener.AcceptSocketAsync();
                    lock (_open) _open.Add(client);
                    await client.SendAsync(Encoding.ASCII.GetBytes(Name));
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
            }
        }
    }
}
