using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using K3sFast.Interop;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;
using K3sFast.Network;
using K3sFast.Network.Cni;
using K3sFast.Network.Proxy;
using K3sFast.Network.Proxy.Ebpf;
using k8s.Models;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Benchmarks.Network;

/// <summary>
/// The two back ends of the service proxy on the real kernel: what a connect() through a cluster IP costs beside one to the pod itself, how long many
/// Services take to be programmed from nothing, and one changed endpoint among many.
/// </summary>
/// <remarks>
/// As root: <c>dotnet run -c Release --project bench/K3sFast.Benchmarks -- services [--rounds N] [--part connect|program|change]</c>. Each back end has a node of its own, namespaces of
/// this process; their turns alternate, and each is compared with the direct connections of its own node in the same turn.
/// </remarks>
internal static class ServiceMeasurements
{
    private const int ConnectsPerTurn = 400, Port = 8080;
    private static readonly IPAddress s_server = IPAddress.Parse("10.42.0.3");

    public static int Run(string[] arguments)
    {
        var rounds = Array.IndexOf(arguments, "--rounds") is var at and >= 0 ? int.Parse(arguments[at + 1], CultureInfo.InvariantCulture) : 30;
        var part = Array.IndexOf(arguments, "--part") is var named and >= 0 ? arguments[named + 1] : "";
        // What killed nodes left behind slows down every socket call.
        SocketPrograms.RemoveOrphans();
        if (part is "" or "connect")
        {
            foreach (var services in (int[])[1, 1_000, 30_000]) MeasureConnects(services, rounds);
        }
        if (part is "" or "program")
        {
            // Once for the compiler's sake.
            MeasureProgramming(isEbpf: true, 200, isQuiet: true);
            MeasureProgramming(isEbpf: false, 200, isQuiet: true);
            foreach (var services in (int[])[10_000, 30_000])
            {
                MeasureProgramming(isEbpf: true, services, isQuiet: false);
                MeasureProgramming(isEbpf: false, services, isQuiet: false);
            }
        }
        if (part is "" or "change")
        {
            MeasureChange(isEbpf: true, rounds * 10);
            MeasureChange(isEbpf: false, rounds * 10);
        }
        return 0;
    }

    private static void MeasureConnects(int services, int rounds)
    {
        using var ebpf = new Node(isEbpf: true);
        using var nftables = new Node(isEbpf: false);
        Node[] nodes = [ebpf, nftables];
        foreach (var node in nodes) node.Backend.Apply([.. Enumerable.Range(0, services).Select(number => Service(number, [s_server]))]);
        var address = ClusterIP(services - 1);
        var turns = nodes.ToDictionary(static node => node, static _ => new List<(double Direct, double Through)>());
        for (var round = -2; round < rounds; round++)
        {
            foreach (var node in round % 2 == 0 ? nodes : [.. nodes.Reverse()])
            {
                var turn = node.Connect(new IPEndPoint(s_server, Port), new IPEndPoint(address, 80), ConnectsPerTurn);
                if (round >= 0) turns[node].Add(turn);
            }
        }
        foreach (var (node, measured) in turns)
        {
            var (direct, through) = (Median(measured.ConvertAll(static turn => turn.Direct)), Median(measured.ConvertAll(static turn => turn.Through)));
            // Turn by turn: what the machine does beside is the same in both.
            var ratio = Median(measured.ConvertAll(static turn => turn.Through / turn.Direct));
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"connect, {services,6} Services, {node.Backend.Name,-8}: {through:F1} us through the cluster IP, {direct:F1} us to the pod, ratio {ratio:F3}"));
        }
    }

    private static void MeasureProgramming(bool isEbpf, int services, bool isQuiet)
    {
        using var node = new Node(isEbpf);
        var all = Enumerable.Range(0, services).Select(number => Service(number, [Pod(number * 2), Pod((number * 2) + 1)])).ToList();
        GC.Collect();
        var watch = Stopwatch.StartNew();
        node.Backend.Apply(all);
        if (!isQuiet)
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"program {services} Services of 2 endpoints from nothing, {node.Backend.Name}: {watch.Elapsed.TotalMilliseconds:F0} ms"));
    }

    private static void MeasureChange(bool isEbpf, int changes)
    {
        using var node = new Node(isEbpf);
        const int services = 10_000, endpoints = 10;
        node.Backend.Apply([.. Enumerable.Range(0, services).Select(number => Service(number, Endpoints(number, 0)))]);
        var (times, bytes) = (new List<double>(), 0);
        for (var i = 1; i <= changes; i++)
        {
            var number = i * 7919 % services;
            List<(string, V1Service?, IReadOnlyList<V1EndpointSlice>)> change = [Service(number, Endpoints(number, i))];
            var watch = Stopwatch.StartNew();
            node.Backend.Apply(change);
            times.Add(watch.Elapsed.TotalMilliseconds);
            bytes = Math.Max(bytes, node.Backend.LastBatchBytes);
        }
        times.Sort();
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"one endpoint of {services} Services and {services * endpoints} endpoints, {node.Backend.Name}: p50 {times[times.Count / 2]:F2} ms, p99 {times[times.Count * 99 / 100]:F2} ms, at most {bytes} bytes"));

        static IPAddress[] Endpoints(int number, int turn) => [.. Enumerable.Range(0, endpoints).Select(index => Pod(turn > 0 && index == turn % endpoints ? 200_000 + turn : (number * endpoints) + index))];
    }

    private static double Median(List<double> values)
    {
        values.Sort();
        return values[values.Count / 2];
    }

    private static IPAddress ClusterIP(int number) => new([10, 43, (byte)(number + 10 >> 8), (byte)(number + 10)]);

    private static IPAddress Pod(int number) => new([10, (byte)(64 + (number >> 16)), (byte)(number >> 8), (byte)number]);

    private static (string, V1Service?, IReadOnlyList<V1EndpointSlice>) Service(int number, IPAddress[] endpoints)
    {
        var name = $"service-{number}";
        var address = ClusterIP(number).ToString();
        var service = new V1Service
        {
            Metadata = new V1ObjectMeta { Name = name, NamespaceProperty = "default" },
            Spec = new V1ServiceSpec { Type = "ClusterIP", ClusterIP = address, ClusterIPs = [address], Ports = [new V1ServicePort { Port = 80, Protocol = "TCP", Name = "main" }] },
        };
        var slice = new V1EndpointSlice
        {
            Metadata = new V1ObjectMeta { Name = name + "-a", NamespaceProperty = "default", Labels = new Dictionary<string, string> { ["kubernetes.io/service-name"] = name } },
            AddressType = "IPv4",
            Ports = [new Discoveryv1EndpointPort { Name = "main", Port = Port, Protocol = "TCP" }],
            Endpoints = [.. endpoints.Select(static endpoint => new V1Endpoint { Addresses = [endpoint.ToString()], Conditions = new V1EndpointConditions { Ready = true } })],
        };
        return ($"default/{name}", service, [slice]);
    }

    /// <summary>A node with a back end, a client's pod and a server's that accepts and closes.</summary>
    private sealed class Node : IDisposable
    {
        private static readonly IPAddress s_nodeIP = IPAddress.Parse("192.0.2.1");
        private readonly NetworkNamespace _host = NetworkNamespace.Create();
        private readonly NetworkNamespace _client = NetworkNamespace.Create(), _server = NetworkNamespace.Create();
        private readonly Socket _listener;

        internal Node(bool isEbpf)
        {
            var options = new NetworkOptions
            {
                NodeName = "node", NodeIPs = [s_nodeIP], HostNamespace = _host, CniConfDir = "", CniBinDir = "",
                ClusterCidrs = [IPNetwork.Parse("10.42.0.0/16")], ServiceCidrs = [IPNetwork.Parse("10.43.0.0/16")],
            };
            using (var host = RouteSocket.Open(_host))
            {
                using var batch = new NetlinkBatch();
                batch.SetLinkUp(1);
                batch.AddAddress(1, s_nodeIP, 32);
                host.Execute(batch);
                Sysctl.TryWrite("net/ipv4/ip_forward", "1", _host);
                var links = new PodLinks(host, _host);
                links.Add(new PodAttachment("client", "eth0", [IPAddress.Parse("10.42.0.2")], []), _client, 1500, [s_nodeIP]);
                links.Add(new PodAttachment("server", "eth0", [s_server], []), _server, 1500, [s_nodeIP]);
            }
            Backend = isEbpf ? new EbpfTables(options, NullLogger.Instance) : new ProxyTables(options, NullLogger.Instance);
            (Backend as EbpfTables)?.AddPod(_client);
            _listener = _server.Run(static () => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
            _listener.Bind(new IPEndPoint(IPAddress.Any, Port));
            _listener.Listen(1024);
            new Thread(Serve) { IsBackground = true }.Start();
        }

        internal ProxyTables Backend { get; }

        /// <summary>Microseconds of connect(): the medians of many to two endpoints in turn.</summary>
        internal (double Direct, double Through) Connect(EndPoint direct, EndPoint through, int count) => _client.Run(() =>
        {
            var (directs, throughs) = (new List<double>(count), new List<double>(count));
            for (var i = 0; i < count; i++)
            {
                directs.Add(Connect(direct));
                throughs.Add(Connect(through));
            }
            return (Median(directs), Median(throughs));
        });

        private static double Connect(EndPoint endpoint)
        {
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            // Ends with a reset: no port stays taken for a minute.
            socket.LingerState = new LingerOption(true, 0);
            var started = Stopwatch.GetTimestamp();
            socket.Connect(endpoint);
            return Stopwatch.GetElapsedTime(started).TotalMicroseconds;
        }

        public void Dispose()
        {
            _listener.Dispose();
            Backend.Dispose();
            SocketServices.Remove(_host);
            _client.Dispose();
            _server.Dispose();
            _host.Dispose();
        }

        private void Serve()
        {
            try
            {
                while (true)
                {
                    using var connection = _listener.Accept();
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // The node is gone.
            }
        }
    }
}
