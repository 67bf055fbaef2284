using System.Buffers.Binary;
using System.Diagnostics;
using System.Net.Sockets;
using System.Text;
using K3sFast.Client;
using K3sFast.Client.Testing;
using K3sFast.Interop.Namespaces;
using K3sFast.Network;
using K3sFast.Network.Cni;
using k8s.Models;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Benchmarks.Network;

/// <summary>
/// What a pod's network costs: calls of the container runtime to the node's agent, which runs whole in a namespace of its own. The socket's figure is all
/// of our time in a call but that of the plugin's process, which is in the other.
/// </summary>
internal static class PodMeasurements
{
    private const string Configuration = """{"cniVersion":"1.0.0","name":"k3sfast","type":"k3sfast"}""";

    public static async Task MeasureAsync(NetworkOptions options, V1Node node, int rounds)
    {
        var api = new InMemoryApi();
        await api.Client.CreateAsync(Resources.Nodes, node, default);
        using var stop = new CancellationTokenSource();
        var agent = new NetworkAgent(options, api.Client, api.Client, NullLoggerFactory.Instance).RunAsync(stop.Token);
        using var first = NetworkNamespace.Create();
        for (var wait = Stopwatch.StartNew(); !File.Exists(options.CniSocketPath) || !TryCall(options.CniSocketPath, "STATUS", "none", first.Path); await Task.Delay(5))
        {
            if (wait.Elapsed > TimeSpan.FromSeconds(30)) throw new TimeoutException("the agent does not take calls");
        }
        var (added, deleted, plugin) = (new List<double>(rounds), new List<double>(rounds), new List<double>(rounds));
        for (var round = 0; round < rounds; round++)
        {
            using var pod = NetworkNamespace.Create();
            var watch = Stopwatch.StartNew();
            Require(TryCall(options.CniSocketPath, "ADD", $"bench{round}", pod.Path));
            added.Add(watch.Elapsed.TotalMilliseconds);
            watch.Restart();
            Require(TryCall(options.CniSocketPath, "DEL", $"bench{round}", pod.Path));
            deleted.Add(watch.Elapsed.TotalMilliseconds);
            watch.Restart();
            Require(RunPlugin(options, "ADD", $"plugin{round}", pod.Path));
            plugin.Add(watch.Elapsed.TotalMilliseconds);
            Require(RunPlugin(options, "DEL", $"plugin{round}", pod.Path));
        }
        await stop.CancelAsync();
        await agent;
        NetworkMeasurements.Print("pod network set up, over the socket", added);
        NetworkMeasurements.Print("pod network taken down, over the socket", deleted);
        NetworkMeasurements.Print("pod network set up, by the plugin, with its start", plugin);
    }

    private static void Require(bool isDone)
    {
        if (!isDone) throw new InvalidOperationException("a call was refused");
    }

    // As the plugin forwards a call: see CniRequest. The answer begins with the exit code.
    private static bool TryCall(string socketPath, string command, string container, string path)
    {
        var body = Encoding.UTF8.GetBytes($"{command}\0{container}\0{path}\0eth0\0\0{Configuration}");
        var frame = new byte[CniRequest.HeaderBytes + body.Length];
        "K3SFCNI1"u8.CopyTo(frame);
        BinaryPrimitives.WriteInt32LittleEndian(frame.AsSpan(8), body.Length);
        body.CopyTo(frame.AsSpan(CniRequest.HeaderBytes));
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Connect(new UnixDomainSocketEndPoint(socketPath));
        socket.Send(frame);
        var answer = new byte[16 * 1024];
        var length = 0;
        for (int read; (read = socket.Receive(answer.AsSpan(length))) > 0;) length += read;
        return length >= sizeof(int) && BitConverter.ToInt32(answer) == 0;
    }

    private static bool RunPlugin(NetworkOptions options, string command, string container, string path)
    {
        var start = new ProcessStartInfo(Path.Combine(options.CniBinDir, "k3sfast")) { RedirectStandardInput = true, RedirectStandardOutput = true };
        foreach (var (name, value) in new[]
        {
            ("CNI_COMMAND", command), ("CNI_CONTAINERID", container), ("CNI_NETNS", path), ("CNI_IFNAME", "eth0"), ("CNI_PATH", options.CniBinDir), ("CNI_ARGS", ""),
        })
        {
            start.Environment[name] = value;
        }
        using var process = Process.Start(start)!;
        process.StandardInput.Write(Configuration.Replace("\"type\"", $"\"socketPath\":\"{options.CniSocketPath}\",\"type\"", StringComparison.Ordinal));
        process.StandardInput.Close();
        process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0;
    }
}
