using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using K3sFast.Client;
using K3sFast.Client.Testing;
using K3sFast.Interop;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;
using K3sFast.Network;
using K3sFast.Network.Overlay;
using K3sFast.Network.Policy;
using k8s.Models;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Benchmarks.Network;

/// <summary>
/// What only a kernel can show, in network namespaces of this process' own: how long until packets follow a changed policy among 1,000 policies and 500
/// pods, until 1,000 nodes that join are reached, and what a pod's network costs.
/// </summary>
/// <remarks>As root: <c>dotnet run -c Release --project bench/K3sFast.Benchmarks -- network [--rounds N]</c>. All run the product's own agent on an API in memory.</remarks>
internal static class NetworkMeasurements
{
    private const int Policies = 1000, Pods = 500, Peers = 1000;

    private const int MaxOpenTries = 64;

    // How long one packet may take there and back before the next is sent: far more than it needs, far less than what is measured.
    private static readonly TimeSpan s_patience = TimeSpan.FromMicroseconds(500);
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(30);

    public static async Task<int> RunAsync(string[] arguments)
    {
        var rounds = Array.IndexOf(arguments, "--rounds") is var at and >= 0 ? int.Parse(arguments[at + 1], CultureInfo.InvariantCulture) : 200;
        await MeasurePoliciesAsync(rounds);
        await MeasurePeersAsync();
        await MeasurePodsAsync(rounds);
        return 0;
    }

    private static async Task MeasurePodsAsync(int rounds)
    {
        using var node = NetworkNamespace.Create();
        using var far = NetworkNamespace.Create();
        using var host = RouteSocket.Open(node);
        AddVeth(host, "eth0", far, IPAddress.Parse("192.0.0.1"), 16);
        var folder = Directory.CreateTempSubdirectory("network-bench-").FullName;
        try
        {
            await PodMeasurements.MeasureAsync(Options(node, folder), Node(0), rounds);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task MeasurePoliciesAsync(int rounds)
    {
        using var node = NetworkNamespace.Create();
        using var client = MakePod(node, "k3sf-client", "10.42.0.2");
        using var server = MakePod(node, "k3sf-server", "10.42.0.3");
        using var servers = new Echo(server, [80, 81]);
        var api = new InMemoryApi();
        await api.Client.CreateAsync(Resources.Namespaces, new V1Namespace { Metadata = new V1ObjectMeta { Name = "ns" } }, default);
        for (var i = 0; i < Pods; i++) await api.Client.CreateAsync(Resources.Pods, Pod(i), default);
        for (var i = 0; i < Policies; i++) await api.Client.CreateAsync(Resources.NetworkPolicies, Policy(i, 80), default);

        var options = Options(node, null);
        using var stop = new CancellationTokenSource();
        var (informers, proxyInformers) = (new InformerFactory(api.Client, NullLoggerFactory.Instance), new InformerFactory(api.Client, NullLoggerFactory.Instance));
        using var agent = new PolicyAgent(options, informers, proxyInformers, NullLogger.Instance);
        Task[] running = [informers.RunAsync(stop.Token), proxyInformers.RunAsync(stop.Token), agent.RunAsync(stop.Token)];
        var whole = Stopwatch.StartNew();
        await agent.WaitReadyAsync(default);
        AwaitAnswer(client, 80, whole);
        Console.WriteLine($"{Policies} policies, {Pods} pods: in force {whole.Elapsed.TotalMilliseconds:F0} ms after the start");

        var times = new List<double>(rounds);
        for (var round = 0; round < rounds; round++)
        {
            var port = round % 2 == 0 ? 81 : 80;
            var policy = await api.Client.GetAsync(Resources.NetworkPolicies, "ns", "n3", default);
            policy.Spec.Ingress[0].Ports[0].Port = port.ToString(CultureInfo.InvariantCulture);
            var watch = Stopwatch.StartNew();
            await api.Client.UpdateAsync(Resources.NetworkPolicies, policy, default);
            AwaitAnswer(client, port, watch);
            times.Add(watch.Elapsed.TotalMilliseconds);
        }
        await stop.CancelAsync();
        await Task.WhenAll(running);
        Print("policy change -> packets follow", times);
    }

    private static async Task MeasurePeersAsync()
    {
        using var node = NetworkNamespace.Create();
        using var far = NetworkNamespace.Create();
        using var host = RouteSocket.Open(node);
        AddVeth(host, "eth0", far, IPAddress.Parse("192.0.0.1"), 16);
        MeasurePeerTable(node, host);

        var api = new InMemoryApi();
        await api.Client.CreateAsync(Resources.Nodes, Node(0), default);
        var folder = Directory.CreateTempSubdirectory("network-bench-").FullName;
        using var stop = new CancellationTokenSource();
        try
        {
            var agent = new NetworkAgent(Options(node, folder), api.Client, api.Client, NullLoggerFactory.Instance).RunAsync(stop.Token);
            for (var start = Stopwatch.StartNew(); !File.Exists(Path.Combine(folder, "subnet.env")); await Task.Delay(1)) Require(start.Elapsed);
            var watch = Stopwatch.StartNew();
            for (var i = 1; i <= Peers; i++) await api.Client.CreateAsync(Resources.Nodes, Node(i), default);
            while (host.ListRoutes(isIPv6: false).Count(static route => route.Gateway is not null) < Peers)
            {
                Require(watch.Elapsed);
                await Task.Delay(1);
            }
            Console.WriteLine($"{Peers} nodes created one after the other, all reached: {watch.Elapsed.TotalMilliseconds:F0} ms");
            await stop.CancelAsync();
            await agent;
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static void MeasurePeerTable(NetworkNamespace node, RouteSocket host)
    {
        var backend = new VxlanBackend(host, node, new OverlayOptions { Backend = "vxlan", Vni = 7 }, [], "self", isIPv6: false);
        var table = new PeerTable(host, backend, isIPv6: false, NullLogger.Instance);
        table.Start(Underlay.Find(host, "", [IPAddress.Parse("192.0.0.1")], AddressFamily.InterNetwork)!, IPNetwork.Parse("10.32.0.0/24"));
        var peers = Enumerable.Range(1, Peers).Select(i => ($"n{i}", FlannelAnnotations.Read(Node(i), FlannelAnnotations.CidrsOf(Node(i))!, isIPv6: false) is { } peer ? peer with { Data = """{"VNI":7,"VtepMAC":"02:00:00:00:00:07"}""" } : null)).ToList();
        var before = GC.GetTotalMemory(forceFullCollection: true);
        var watch = Stopwatch.StartNew();
        table.Apply(peers);
        var took = watch.Elapsed.TotalMilliseconds;
        var kept = GC.GetTotalMemory(forceFullCollection: true) - before;
        Console.WriteLine($"{Peers} peers in one change: {took:F0} ms, {table.Sent.Messages} messages, {table.Sent.Bytes / Peers} bytes sent and {kept / Peers} bytes kept per peer");
        GC.KeepAlive(peers);
        using var batch = new NetlinkBatch();
        batch.DeleteLink("flannel.7");
        host.Execute(batch);
    }

    private static NetworkOptions Options(NetworkNamespace node, string? folder) => new()
    {
        NodeName = "node0",
        NodeIPs = [IPAddress.Parse("192.0.0.1")],
        HostNamespace = node,
        ClusterCidrs = [IPNetwork.Parse("10.0.0.0/8")],
        ServiceCidrs = [IPNetwork.Parse("172.31.0.0/16")],
        StateDir = folder ?? "",
        CniConfDir = Path.Combine(folder ?? "", "net.d"),
        CniBinDir = Path.Combine(folder ?? "", "bin"),
        CniSocketPath = Path.Combine(folder ?? "", "cni.sock"),
        Overlay = new OverlayOptions { Backend = "vxlan", SubnetFile = Path.Combine(folder ?? "", "subnet.env") },
    };

    private static NetworkNamespace MakePod(NetworkNamespace node, string link, string address)
    {
        var pod = NetworkNamespace.Create();
        using var host = RouteSocket.Open(node);
        using var inside = RouteSocket.Open(pod);
        // The node's side has an address of its own; that of the pod is routed there.
        var number = IPAddress.Parse(address).GetAddressBytes()[^1];
        AddVeth(host, link, pod, new IPAddress([169, 254, number, 1]), 24);
        var (outer, inner) = (host.FindLink(link)!.Index, inside.FindLink(link)!.Index);
        using var batch = new NetlinkBatch();
        batch.SetLinkUp(1);
        batch.SetLinkUp(inner);
        batch.AddAddress(inner, new IPAddress([169, 254, number, 2]), 24);
        batch.AddAddress(inner, IPAddress.Parse(address), 32);
        batch.ReplaceRoute(new RouteSpec(IPNetwork.Parse("10.42.0.0/16"), inner, new IPAddress([169, 254, number, 1])) { PreferredSource = IPAddress.Parse(address) });
        inside.Execute(batch);
        batch.Clear();
        batch.ReplaceRoute(new RouteSpec(IPNetwork.Parse(address + "/32"), outer, new IPAddress([169, 254, number, 2])));
        host.Execute(batch);
        Sysctl.TryWrite("net/ipv4/ip_forward", "1", node);
        return pod;
    }

    private static void AddVeth(RouteSocket host, string name, NetworkNamespace peer, IPAddress address, int prefixLength)
    {
        using var batch = new NetlinkBatch();
        batch.SetLinkUp(1);
        batch.AddVeth(new VethSpec(name, PhysicalAddress.Parse("02-00-00-00-01-01"), name, PhysicalAddress.Parse("02-00-00-00-01-02"), peer, 1500));
        host.Execute(batch);
        batch.Clear();
        var index = host.FindLink(name)!.Index;
        batch.SetLinkUp(index);
        batch.AddAddress(index, address, prefixLength);
        host.Execute(batch);
    }

    // A socket of its own for each try: what was let through once belongs to a connection. An answer to an earlier try that is late is one too: that
    // this machine lets a thread wait is not the kernel's rules.
    private static void AwaitAnswer(NetworkNamespace from, int port, Stopwatch watch)
    {
        var tries = new List<Socket>();
        try
        {
            while (true)
            {
                var socket = from.Run(static () => new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp));
                tries.Add(socket);
                socket.SendTo("?"u8, new IPEndPoint(IPAddress.Parse("10.42.0.3"), port));
                var answered = new List<Socket>(tries.TakeLast(MaxOpenTries));
                Socket.Select(answered, null, null, s_patience);
                if (answered.Count > 0) return;
                Require(watch.Elapsed);
            }
        }
        finally
        {
            foreach (var socket in tries) socket.Dispose();
        }
    }

    private static void Require(TimeSpan elapsed)
    {
        if (elapsed > s_deadline) throw new TimeoutException($"not within {s_deadline.TotalSeconds} s");
    }

    internal static void Print(string what, List<double> times)
    {
        times.Sort();
        double At(double part) => times[Math.Min(times.Count - 1, (int)(times.Count * part))];
        Console.WriteLine($"{what}: p50 {At(0.5):F1} ms, p99 {At(0.99):F1} ms, longest {times[^1]:F1} ms ({times.Count} times)");
    }

    // Pod 3 serves; the client, pod 2, is one of the peers of every policy.
    private static V1Pod Pod(int i) => new()
    {
        Metadata = new V1ObjectMeta { Name = $"p{i}", NamespaceProperty = "ns", Labels = new Dictionary<string, string> { ["pod"] = $"p{i}", ["role"] = i == 2 ? "client" : $"role-{i % 50}" } },
        Spec = new V1PodSpec { NodeName = "node0", Containers = [new V1Container { Name = "c" }] },
        Status = new V1PodStatus { Phase = "Running", PodIPs = [new V1PodIP { Ip = $"10.42.{i >> 8}.{i & 255}" }] },
    };

    // Two for each pod: one lets the client in, the other lets out to a part of the pods.
    private static V1NetworkPolicy Policy(int i, int port)
    {
        V1NetworkPolicyPeer[] Peer(string role) => [new V1NetworkPolicyPeer { PodSelector = new V1LabelSelector { MatchLabels = new Dictionary<string, string> { ["role"] = role } } }];
        V1NetworkPolicyPort[] ports = [new V1NetworkPolicyPort { Protocol = "UDP", Port = port.ToString(CultureInfo.InvariantCulture) }];
        var pod = i % Pods;
        return new V1NetworkPolicy
        {
            Metadata = new V1ObjectMeta { Name = $"n{i}", NamespaceProperty = "ns" },
            Spec = new V1NetworkPolicySpec
            {
                PodSelector = new V1LabelSelector { MatchLabels = new Dictionary<string, string> { ["pod"] = $"p{pod}" } },
                PolicyTypes = [i < Pods ? "Ingress" : "Egress"],
                Ingress = i < Pods ? [new V1NetworkPolicyIngressRule { FromProperty = Peer("client"), Ports = ports }] : null,
                Egress = i < Pods ? null : pod == 2 ? [new V1NetworkPolicyEgressRule()] : [new V1NetworkPolicyEgressRule { To = Peer($"role-{pod % 50}"), Ports = ports }],
            },
        };
    }

    private static V1Node Node(int i) => new()
    {
        Metadata = new V1ObjectMeta
        {
            Name = $"node{i}",
            Annotations = new Dictionary<string, string>
            {
                ["flannel.alpha.coreos.com/backend-type"] = "vxlan",
                ["flannel.alpha.coreos.com/backend-data"] = $$"""{"VNI":1,"VtepMAC":"02:00:00:00:{{i >> 8:x2}}:{{i & 255:x2}}"}""",
                ["flannel.alpha.coreos.com/public-ip"] = $"192.0.{(i >> 8) + 1}.{i & 255}",
            },
        },
        Spec = new V1NodeSpec { PodCIDRs = [$"10.{32 + (i >> 8)}.{i & 255}.0/24"] },
    };

    /// <summary>Answers datagrams inside a namespace.</summary>
    private sealed class Echo : IDisposable
    {
        private readonly List<Socket> _sockets = [];

        internal Echo(NetworkNamespace inside, IEnumerable<int> ports)
        {
            foreach (var port in ports)
            {
                var socket = inside.Run(static () => new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp));
                socket.Bind(new IPEndPoint(IPAddress.Any, port));
                _sockets.Add(socket);
                new Thread(() => Serve(socket)) { IsBackground = true }.Start();
            }
        }

        public void Dispose()
        {
            foreach (var socket in _sockets) socket.Dispose();
        }

        private static void Serve(Socket socket)
        {
            var buffer = new byte[64];
            try
            {
                while (true)
                {
                    EndPoint sender = new IPEndPoint(IPAddress.Any, 0);
                    var length = socket.ReceiveFrom(buffer, ref sender);
                    socket.SendTo(buffer.AsSpan(0, length), sender);
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
            }
        }
    }
}
