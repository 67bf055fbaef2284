using System.Net;
using System.Net.Sockets;
using K3sFast.Client;
using K3sFast.Client.Testing;
using k8s.Models;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.AddOns.Dns.Tests;

/// <summary>A test of the whole server on loopback, against an API in memory.</summary>
public abstract class DnsServerTest : IDisposable
{
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(90);

    private protected CancellationTokenSource Stop { get; } = new(s_deadline);

    private protected InMemoryApi Api { get; } = new();

    /// <summary>The server that was started last.</summary>
    private protected DnsServer Server { get; private set; } = null!;

    public void Dispose()
    {
        Stop.Cancel();
        Stop.Dispose();
        GC.SuppressFinalize(this);
    }

    private protected async Task<IPEndPoint> StartAsync(string node = "node1", string address = "127.0.0.1", string? server = null)
    {
        Server = await NewServerAsync(node, address, server, awaitsNodes: false);
        var running = Server.RunAsync(Stop.Token);
        await await Task.WhenAny(running, Server.Listening);
        return await Server.Listening;
    }

    private protected async Task<DnsServer> NewServerAsync(string node, string address, string? server, bool awaitsNodes, bool isReachedThroughPodNetwork = false)
    {
        foreach (var name in (string[])["default", "kube-system"])
        {
            if (await Api.Client.FindAsync(Resources.Namespaces, null, name, Stop.Token) is null)
            {
                await Api.Client.CreateAsync(Resources.Namespaces, new V1Namespace { Metadata = new V1ObjectMeta { Name = name } }, Stop.Token);
            }
        }
        if (!awaitsNodes && await Api.Client.FindAsync(Resources.Nodes, null, node, Stop.Token) is null)
        {
            await Api.Client.CreateAsync(Resources.Nodes, Node(node, address), Stop.Token);
        }
        var options = new DnsOptions
        {
            NodeName = node,
            NodeIPs = [IPAddress.Parse(address)],
            ServerAddress = server is null ? null : IPAddress.Parse(server),
            AwaitsNodes = awaitsNodes,
            IsReachedThroughPodNetwork = isReachedThroughPodNetwork,
            ClusterDns = [IPAddress.Parse("10.43.0.10")],
            Port = FreePort(),
            ResolvConf = "/nonexistent",
        };
        return new DnsServer(options, Api.Client, NullLoggerFactory.Instance);
    }

    private protected async Task<T> UntilAsync<T>(Func<ValueTask<T?>> get, Func<T, bool> isWanted) where T : class
    {
        while (true)
        {
            if (await get() is { } value && isWanted(value)) return value;
            Stop.Token.ThrowIfCancellationRequested();
            await Task.Delay(10, Stop.Token);
        }
    }

    private protected async Task<DnsProbe.Answer> AskAsync(IPEndPoint at, string name, DnsType type)
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        await socket.ConnectAsync(at, Stop.Token);
        await socket.SendAsync(DnsProbe.Query(name, type, udpSize: 1232), SocketFlags.None, Stop.Token);
        var buffer = new byte[4096];
        var size = await socket.ReceiveAsync(buffer, SocketFlags.None, Stop.Token);
        return DnsProbe.Read(buffer.AsSpan(0, size));
    }

    // Three in a row: DNS, health, readiness.
    private protected static int FreePort()
    {
        while (true)
        {
            var port = Random.Shared.Next(20_000, 32_000);
            if (Enumerable.Range(port, 3).All(IsFree)) return port;
        }
    }

    private static bool IsFree(int port)
    {
        using var probe = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            probe.Bind(new IPEndPoint(IPAddress.Loopback, port));
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    private protected static V1Node Node(string name, string address) => new()
    {
        Metadata = new V1ObjectMeta { Name = name },
        Status = new V1NodeStatus { Addresses = [new V1NodeAddress { Type = "InternalIP", Address = address }] },
    };
}
