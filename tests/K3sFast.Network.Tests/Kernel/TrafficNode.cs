using System.Net;
using System.Net.Sockets;
using System.Text;
using k8s.Models;
using K3sFast.Network.Proxy;
using K3sFast.Network.Proxy.Ebpf;
using K3sFast.Network.Tests.Proxy;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>A node whose Services are carried by programs, as they are seen from outside: pods of both families, routes to service addresses of both.</summary>
internal sealed class TrafficNode : IDisposable
{
    internal static readonly IPAddress ClusterIP = IPAddress.Parse("10.43.0.80"), ClusterIP6 = IPAddress.Parse("fd00:43::80");
    internal static readonly IPAddress LoadBalancerIP = IPAddress.Parse("203.0.113.10"), LoadBalancerIP6 = IPAddress.Parse("2001:db8:1::10");

    private readonly Func<ProxyOptions, ProxyOptions> _change;
    private readonly List<IDisposable> _servers = [];

    internal TrafficNode(Func<ProxyOptions, ProxyOptions>? change = null)
    {
        TestNode.RequirePrivilege();
        _change = change ?? (static options => options);
        Node = new TestNode("10.42.0.0/24", "fd00:42::/64");
        TestLan.Ip(Node.Outside, "-6 route add fd00:43::/112 via 2001:db8::1", "-6 route add 2001:db8:1::/64 via 2001:db8::1");
        // Refusals are for what would be sent on.
        TestLan.Ip(Node.Namespace, "route add default via 192.0.2.2", "-6 route add default via 2001:db8::2");
        Start();
    }

    internal TestNode Node { get; }
    internal EbpfTables Tables { get; private set; } = null!;
    internal ListLogger Log { get; } = new();
    internal ProxyMetrics Metrics { get; } = new(new K3sFast.Client.MetricRegistry());

    /// <summary>The programs start, or start again, as the agent starts them.</summary>
    internal void Start(Func<ProxyOptions, ProxyOptions>? change = null)
    {
        var options = Node.Options;
        try
        {
            Tables = new EbpfTables(options with { Proxy = (change ?? _change)(options.Proxy with { Mode = ProxyMode.Ebpf, AllowsExternalIPs = true }) }, Log) { Metrics = Metrics };
        }
        catch (EbpfUnavailableException e)
        {
            Node.Dispose();
            Assert.Skip("needs " + e.Message);
        }
        if (Tables.HasTraffic) return;
        // A kernel that has the classifier takes the programs, or they are wrong.
        Assert.DoesNotContain("bpf load", Log.ToString());
        Dispose();
        Assert.Skip("needs CONFIG_NET_CLS_BPF: " + Log);
    }

    internal TestPod AddPod()
    {
        var pod = Node.AddPod();
        Tables.AddPod(pod.Namespace);
        return pod;
    }

    /// <summary>A pod that says this name on TCP port 8080, as long as there is the node.</summary>
    internal TestPod AddServer(string name)
    {
        var pod = AddPod();
        _servers.Add(Traffic.ServeTcp(pod.Namespace, 8080, name));
        return pod;
    }

    internal void Set(V1Service service, params V1EndpointSlice[] slices) => Tables.Apply([($"default/{service.Metadata.Name}", service, slices)]);

    internal void Remove(string name) => Tables.Apply([($"default/{name}", null, [])]);

    /// <summary>A Service with every address that there is, in one family.</summary>
    internal static V1Service Service(string protocol = "TCP", bool isIPv6 = false, Action<V1ServiceSpec>? change = null, string name = "web")
    {
        var service = TestServices.Service(name, (isIPv6 ? ClusterIP6 : ClusterIP).ToString(), 80, protocol, spec =>
        {
            (spec.Type, spec.Ports[0].NodePort) = ("LoadBalancer", 30080);
            spec.ExternalIPs = [isIPv6 ? "2001:db8:1::9" : "203.0.113.9"];
            change?.Invoke(spec);
        });
        service.Status = new V1ServiceStatus { LoadBalancer = new V1LoadBalancerStatus { Ingress = [new V1LoadBalancerIngress { Ip = (isIPv6 ? LoadBalancerIP6 : LoadBalancerIP).ToString() }] } };
        return service;
    }

    /// <summary>All ways to it from outside.</summary>
    internal static (IPAddress Address, int Port)[] Ways(bool isIPv6 = false) => isIPv6
        ? [(TestNode.NodeIP6, 30080), (LoadBalancerIP6, 80), (IPAddress.Parse("2001:db8:1::9"), 80), (ClusterIP6, 80)]
        : [(TestNode.NodeIP, 30080), (LoadBalancerIP, 80), (IPAddress.Parse("203.0.113.9"), 80), (ClusterIP, 80)];

    internal string Rules() => TestNode.Execute(Node.Namespace, "nft", "", null, "list", "ruleset").Output;

    internal string Tc(params string[] arguments) => TestNode.Execute(Node.Namespace, "tc", "", null, arguments).Output;

    /// <summary>Asks a UDP server from a socket that lives on: what it says, or null.</summary>
    internal static async Task<string?> AskAsync(Socket socket, IPAddress address, int port, byte[]? question = null, TimeSpan? deadline = null)
    {
        var buffer = new byte[65536];
        using var cancellation = new CancellationTokenSource(deadline ?? TimeSpan.FromSeconds(60));
        try
        {
            await socket.SendToAsync(question ?? "?"u8.ToArray(), new IPEndPoint(address, port), cancellation.Token);
            var received = await socket.ReceiveFromAsync(buffer, SocketFlags.None, new IPEndPoint(address.AddressFamily == AddressFamily.InterNetworkV6 ? IPAddress.IPv6Any : IPAddress.Any, 0), cancellation.Token);
            Assert.Equal(new IPEndPoint(address, port), received.RemoteEndPoint);
            return Encoding.ASCII.GetString(buffer, 0, received.ReceivedBytes);
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException)
        {
            return null;
        }
    }

    /// <summary>A UDP server of both families that answers with its name, the sender and the question.</summary>
    internal static IDisposable Serve(TestPod pod, string name)
    {
        var socket = pod.Namespace.Run(static () => new Socket(AddressFamily.InterNetworkV6, SocketType.Dgram, ProtocolType.Udp));
        socket.DualMode = true;
        socket.Bind(new IPEndPoint(IPAddress.IPv6Any, 8080));
        _ = Task.Run(async () =>
        {
            var buffer = new byte[65536];
            while (true)
            {
                try
                {
                    var received = await socket.ReceiveFromAsync(buffer, new IPEndPoint(IPAddress.IPv6Any, 0));
                    var from = ((IPEndPoint)received.RemoteEndPoint).Address;
                    var head = Encoding.ASCII.GetBytes($"{name} {(from.IsIPv4MappedToIPv6 ? from.MapToIPv4() : from)} ");
                    await socket.SendToAsync((byte[])[.. head, .. buffer.AsSpan(0, received.ReceivedBytes)], received.RemoteEndPoint);
                }
                catch (SocketException)
                {
                    // A datagram that was too big for the way back: the kernel knows better for the next.
                }
            }
        });
        return socket;
    }

    /// <summary>A UDP socket of either family in a namespace.</summary>
    internal static Socket Udp(Interop.Namespaces.NetworkNamespace inside, bool isIPv6 = false, int port = 0)
    {
        var family = isIPv6 ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork;
        var socket = inside.Run(() => new Socket(family, SocketType.Dgram, ProtocolType.Udp));
        socket.Bind(new IPEndPoint(isIPv6 ? IPAddress.IPv6Any : IPAddress.Any, port));
        return socket;
    }

    public void Dispose()
    {
        foreach (var server in _servers) server.Dispose();
        Tables.Dispose();
        Node.Dispose();
    }
}
