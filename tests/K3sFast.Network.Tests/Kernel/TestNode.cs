using System.Diagnostics;
using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using System.Text;
using K3sFast.Interop;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;
using K3sFast.Network.Cni;
using K3sFast.Network.HostPorts;
using K3sFast.Network.Proxy.Ebpf;
using K3sFast.Network.Routes;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>
/// A node in a network namespace of its own, with an uplink to an "outside" namespace: node 192.0.2.1 and 2001:db8::1, outside .2 and ::2.
/// All of it vanishes with the descriptors.
/// </summary>
internal sealed class TestNode : IDisposable
{
    internal static readonly IPAddress NodeIP = IPAddress.Parse("192.0.2.1");
    internal static readonly IPAddress OutsideIP = IPAddress.Parse("192.0.2.2");
    internal static readonly IPAddress NodeIP6 = IPAddress.Parse("2001:db8::1");
    internal static readonly IPAddress OutsideIP6 = IPAddress.Parse("2001:db8::2");

    private static readonly TimeSpan s_busy = TimeSpan.FromSeconds(60);

    // What killed runs left behind slows down every socket call.
    private static readonly Lazy<int> s_orphans = new(SocketPrograms.RemoveOrphans);

    private readonly List<NetworkNamespace> _pods = [];
    private int _containers;

    internal TestNode(params string[] podCidrs)
    {
        Directory = System.IO.Directory.CreateTempSubdirectory("network-test-").FullName;
        (Namespace, Outside) = (NetworkNamespace.Create(), NetworkNamespace.Create());
        Host = RouteSocket.Open(Namespace);
        using var outside = RouteSocket.Open(Outside);
        using var batch = new NetlinkBatch();
        batch.SetLinkUp(1);
        batch.AddVeth(new VethSpec("uplink", PhysicalAddress.Parse("02-00-00-00-00-01"), "uplink", PhysicalAddress.Parse("02-00-00-00-00-02"), Outside, 1400));
        Host.Execute(batch);
        var (inner, outer) = (Host.FindLink("uplink")!.Index, outside.FindLink("uplink")!.Index);
        batch.Clear();
        batch.AddAddress(inner, NodeIP, 24);
        batch.AddAddress(inner, NodeIP6, 64);
        Host.Execute(batch);
        batch.Clear();
        batch.SetLinkUp(1);
        batch.SetLinkUp(outer);
        batch.AddAddress(outer, OutsideIP, 24);
        batch.AddAddress(outer, OutsideIP6, 64);
        // What is asked of a service address from outside comes to the node; pod addresses do not.
        batch.ReplaceRoute(new RouteSpec(IPNetwork.Parse("10.43.0.0/16"), outer, NodeIP));
        batch.ReplaceRoute(new RouteSpec(IPNetwork.Parse("203.0.113.0/24"), outer, NodeIP));
        outside.Execute(batch);

        Setup = new NodeSetup(Host, Namespace, [NodeIP, NodeIP6], NullLogger.Instance);
        Setup.ApplySettings(hasIPv6: true);
        Setup.AddServiceRoutes(Options.ServiceCidrs);
        PodCidrs = [.. (podCidrs.Length == 0 ? ["10.42.0.0/24"] : podCidrs).Select(IPNetwork.Parse)];
        StartCni();
    }

    internal string Directory { get; }
    internal NetworkNamespace Namespace { get; }
    internal NetworkNamespace Outside { get; }
    internal RouteSocket Host { get; }
    internal NodeSetup Setup { get; }
    internal IPNetwork[] PodCidrs { get; }
    internal HostPortTable HostPorts { get; private set; } = null!;
    internal CniHandler Handler { get; private set; } = null!;

    internal NetworkOptions Options => new()
    {
        NodeName = "node", NodeIPs = [NodeIP, NodeIP6], HostNamespace = Namespace, StateDir = Directory,
        ClusterCidrs = [IPNetwork.Parse("10.42.0.0/16"), IPNetwork.Parse("fd00:42::/56")],
        ServiceCidrs = [IPNetwork.Parse("10.43.0.0/16"), IPNetwork.Parse("fd00:43::/112")],
        CniConfDir = Path.Combine(Directory, "net.d"), CniBinDir = Path.Combine(Directory, "bin"), CniSocketPath = Path.Combine(Directory, "cni.sock"),
    };

    /// <summary>Skips the test where namespaces may not be made.</summary>
    internal static void RequirePrivilege()
    {
        if (!Environment.IsPrivilegedProcess) Assert.Skip("needs root: makes network namespaces");
        _ = s_orphans.Value;
        try
        {
            NetworkNamespace.Create().Dispose();
        }
        catch (KernelException e) when (e.Errno is Errno.EPERM)
        {
            Assert.Skip("needs CAP_SYS_ADMIN: makes network namespaces");
        }
    }

    /// <summary>What a starting agent does for CNI; call it again to act a restart.</summary>
    internal void StartCni()
    {
        HostPorts?.Dispose();
        HostPorts = new HostPortTable(Options, NullLogger.Instance);
        var store = new AttachmentStore(Path.Combine(Directory, "state"), []);
        HostPorts.Restore(store.List());
        Handler = new CniHandler(store, new PodLinks(Host, Namespace), HostPorts, NullLogger.Instance);
        Handler.Reconcile(Host.ListLinks().Select(link => link.Name).ToHashSet());
        Handler.Configure(new PodNetworkSettings(PodCidrs, 1400, Setup.FindPreferredSources()));
    }

    /// <summary>A namespace as the runtime makes one for a pod: empty, loopback up.</summary>
    internal NetworkNamespace NewPodNamespace()
    {
        var pod = NetworkNamespace.Create();
        _pods.Add(pod);
        using var socket = RouteSocket.Open(pod);
        using var batch = new NetlinkBatch();
        batch.SetLinkUp(1);
        socket.Execute(batch);
        return pod;
    }

    /// <summary>A pod with a network, made by the handler itself.</summary>
    internal TestPod AddPod(params PortMapping[] ports)
    {
        var pod = NewPodNamespace();
        var id = $"container{_containers++}";
        var answer = new System.Buffers.ArrayBufferWriter<byte>();
        Handler.Handle(new CniRequest("ADD", id, pod.Path, "eth0", "") { PortMappings = ports }, answer);
        using var result = System.Text.Json.JsonDocument.Parse(answer.WrittenMemory);
        var addresses = result.RootElement.GetProperty("ips").EnumerateArray()
            .Select(ip => IPAddress.Parse(ip.GetProperty("address").GetString()!.Split('/')[0])).ToArray();
        return new TestPod(id, pod, addresses);
    }

    internal void DeletePod(TestPod pod) =>
        Handler.Handle(new CniRequest("DEL", pod.ContainerId, pod.Namespace.Path, "eth0", ""), new System.Buffers.ArrayBufferWriter<byte>());

    /// <summary>Runs a program of the test machine inside a namespace; answers its output and exit code.</summary>
    /// <remarks>A program that was written a moment ago is busy as long as a process that another test starts holds our descriptor of it, between fork and exec.</remarks>
    internal static (int ExitCode, string Output) Execute(NetworkNamespace inside, string program, string input, IReadOnlyDictionary<string, string>? environment, params string[] arguments)
    {
        const int CannotExecute = 126;
        (int ExitCode, string Output) answer = default;
        SpinWait.SpinUntil(() => (answer = ExecuteOnce(inside, program, input, environment, arguments)) is not { ExitCode: CannotExecute } || !answer.Output.Contains("Text file busy", StringComparison.Ordinal), s_busy);
        return answer;
    }

    private static (int ExitCode, string Output) ExecuteOnce(NetworkNamespace inside, string program, string input, IReadOnlyDictionary<string, string>? environment, string[] arguments)
    {
        var start = new ProcessStartInfo("nsenter") { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in (string[])[$"--net={inside.Path}", program, .. arguments]) start.ArgumentList.Add(argument);
        foreach (var (name, value) in environment ?? new Dictionary<string, string>()) start.Environment[name] = value;
        using var process = Process.Start(start)!;
        process.StandardInput.Write(input);
        process.StandardInput.Close();
        var error = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output + error.Result);
    }

    /// <summary>A process that lives in a namespace until it is disposed.</summary>
    internal static IDisposable Occupy(NetworkNamespace inside)
    {
        var start = new ProcessStartInfo("nsenter") { RedirectStandardInput = true };
        foreach (var argument in (string[])[$"--net={inside.Path}", "cat"]) start.ArgumentList.Add(argument);
        var process = Process.Start(start)!;
        // nsenter enters first and becomes the other then.
        SpinWait.SpinUntil(() => File.ReadAllText($"/proc/{process.Id}/comm").TrimEnd() == "cat", TimeSpan.FromSeconds(60));
        return new Resident(process);
    }

    private sealed class Resident(Process process) : IDisposable
    {
        public void Dispose()
        {
            process.StandardInput.Close();
            process.WaitForExit();
            process.Dispose();
        }
    }

    public void Dispose()
    {
        SocketServices.Remove(Namespace);
        HostPorts.Dispose();
        Host.Dispose();
        foreach (var pod in _pods) pod.Dispose();
        Namespace.Dispose();
        Outside.Dispose();
        System.IO.Directory.Delete(Directory, recursive: true);
    }
}

/// <summary>A pod of a test.</summary>
internal sealed record TestPod(string ContainerId, NetworkNamespace Namespace, IPAddress[] Addresses)
{
    internal IPAddress Address => Addresses[0];
}

/// <summary>Sockets inside namespaces. A socket belongs to where it was created; the rest is ordinary.</summary>
internal static class Traffic
{
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(60);

    /// <summary>A TCP server that says <paramref name="name"/> and the peer's address to everybody, then waits for the end.</summary>
    internal static IDisposable ServeTcp(NetworkNamespace inside, int port, string name, IPAddress? address = null)
    {
        address ??= IPAddress.IPv6Any;
        var listener = inside.Run(() => new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp));
        if (address.Equals(IPAddress.IPv6Any)) listener.DualMode = true;
        listener.Bind(new IPEndPoint(address, port));
        listener.Listen();
        _ = Task.Run(async () =>
        {
            while (true)
            {
                var connection = await listener.AcceptAsync();
                _ = Task.Run(async () =>
                {
                    using (connection)
                    {
                        var peer = ((IPEndPoint)connection.RemoteEndPoint!).Address;
                        if (peer.IsIPv4MappedToIPv6) peer = peer.MapToIPv4();
                        await connection.SendAsync(Encoding.ASCII.GetBytes($"{name} {peer}\n"));
                        var buffer = new byte[256];
                        while (await connection.ReceiveAsync(buffer) is var read and > 0) await connection.SendAsync(buffer.AsMemory(0, read));
                    }
                });
            }
        });
        return listener;
    }

    /// <summary>Connects; the connection must be made within the deadline.</summary>
    internal static async Task<Socket> ConnectAsync(NetworkNamespace inside, IPAddress address, int port, TimeSpan? deadline = null)
    {
        var socket = inside.Run(() => new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp));
        using var cancellation = new CancellationTokenSource(deadline ?? s_deadline);
        try
        {
            await socket.ConnectAsync(new IPEndPoint(address, port), cancellation.Token);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>What a server of <see cref="ServeTcp"/> says: its name and the client's address as it sees it.</summary>
    internal static async Task<(string Name, IPAddress Peer)> AskTcpAsync(NetworkNamespace inside, IPAddress address, int port)
    {
        using var socket = await ConnectAsync(inside, address, port);
        var words = (await ReadLineAsync(socket)).Split(' ');
        return (words[0], IPAddress.Parse(words[1]));
    }

    /// <summary>Whether a server of <see cref="ServeTcp"/> answers; a packet that vanishes is waited for two seconds, unless told how long.</summary>
    internal static async Task<bool> AnswersAsync(NetworkNamespace inside, IPAddress address, int port, TimeSpan? patience = null)
    {
        try
        {
            using var socket = await ConnectAsync(inside, address, port, patience ?? TimeSpan.FromSeconds(2));
            return (await ReadLineAsync(socket)).Length > 0;
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            return false;
        }
    }

    /// <summary>A server of <see cref="ServeTcp"/> answers at once, that is, without being asked again.</summary>
    internal static async Task AssertAnswersAsync(NetworkNamespace inside, IPAddress address, int port) =>
        Assert.True(await AnswersAsync(inside, address, port, s_deadline), $"{address}:{port} does not answer");

    /// <summary>Says something on an open connection and hears it again.</summary>
    internal static async Task EchoAsync(Socket socket)
    {
        await socket.SendAsync("still there\n"u8.ToArray());
        Assert.Equal("still there", await ReadLineAsync(socket));
    }

    internal static async Task<string> ReadLineAsync(Socket socket)
    {
        using var cancellation = new CancellationTokenSource(s_deadline);
        var line = new StringBuilder();
        var buffer = new byte[256];
        while (true)
        {
            var read = await socket.ReceiveAsync(buffer, cancellation.Token);
            if (read == 0) return line.ToString();
            line.Append(Encoding.ASCII.GetString(buffer, 0, read));
            if (line[^1] == '\n') return line.ToString().TrimEnd('\n');
        }
    }

    /// <summary>A UDP server that answers every datagram with <paramref name="name"/> and the sender's address.</summary>
    internal static IDisposable ServeUdp(NetworkNamespace inside, int port, string name)
    {
        var socket = inside.Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp));
        socket.Bind(new IPEndPoint(IPAddress.Any, port));
        _ = Task.Run(async () =>
        {
            var buffer = new byte[256];
            while (true)
            {
                var received = await socket.ReceiveFromAsync(buffer, new IPEndPoint(IPAddress.Any, 0));
                await socket.SendToAsync(Encoding.ASCII.GetBytes($"{name} {((IPEndPoint)received.RemoteEndPoint).Address}"), received.RemoteEndPoint);
            }
        });
        return socket;
    }

    /// <summary>A UDP client with a fixed source port, so that its datagrams are one flow.</summary>
    internal static Socket UdpClient(NetworkNamespace inside, int sourcePort)
    {
        var socket = inside.Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp));
        socket.Bind(new IPEndPoint(IPAddress.Any, sourcePort));
        return socket;
    }

    /// <summary>Sends a datagram and waits for an answer; null = none came.</summary>
    internal static async Task<string?> AskUdpAsync(Socket client, IPAddress address, int port, TimeSpan deadline)
    {
        var buffer = new byte[256];
        using var cancellation = new CancellationTokenSource(deadline);
        try
        {
            await client.SendToAsync("?"u8.ToArray(), new IPEndPoint(address, port));
            var received = await client.ReceiveFromAsync(buffer, SocketFlags.None, new IPEndPoint(IPAddress.Any, 0), cancellation.Token);
            return Encoding.ASCII.GetString(buffer, 0, received.ReceivedBytes);
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException)
        {
            return null;
        }
    }
}
