using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.RegularExpressions;
using K3sFast.Tests.Databases;

namespace K3sFast.EndToEnd.Tests;

/// <summary>Several API servers of one cluster on one database, all in one network namespace with an address each.</summary>
internal sealed class SharedServers : IAsyncDisposable
{
    private readonly Lan _lan;
    private readonly string _folder;

    private SharedServers(Lan lan, string networkNamespace, string folder)
    {
        (_lan, Namespace, _folder) = (lan, networkNamespace, folder);
    }

    internal string Namespace { get; }

    internal string Folder => _folder;

    internal List<SharedServer> All { get; } = [];

    /// <summary>The servers, not started yet.</summary>
    internal static async Task<SharedServers> CreateAsync(int count)
    {
        var lan = await Lan.CreateAsync();
        var (networkNamespace, _) = await lan.AddNodeAsync(31);
        var servers = new SharedServers(lan, networkNamespace, Directory.CreateTempSubdirectory("k3sfast-shared-").FullName);
        for (var i = 0; i < count; i++) await servers.AddAsync();
        return servers;
    }

    /// <summary>Where a database is to be started so that the servers reach it.</summary>
    internal DatabasePlace Place => new([.. Lan.Inside(Namespace)]);

    /// <summary>One server more.</summary>
    internal async Task<SharedServer> AddAsync()
    {
        var address = $"192.0.2.{31 + All.Count}";
        if (All.Count > 0) (await Shell.RunAsync(Lan.Inside(Namespace, "ip", "address", "add", address + "/24", "dev", "eth0"))).Ok();
        var server = new SharedServer($"s{All.Count}", Namespace, address, Path.Combine(_folder, $"s{All.Count}"));
        All.Add(server);
        return server;
    }

    /// <summary>A file with a content, for kubectl.</summary>
    internal string File(string content)
    {
        var path = Path.Combine(_folder, "input.json");
        System.IO.File.WriteAllText(path, content);
        return path;
    }

    /// <summary>A socket of the outside world that asks a server's DNS.</summary>
    internal Socket OpenOutside(SharedServer server)
    {
        var socket = _lan.OpenOutside(static () => new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp));
        socket.ReceiveTimeout = 1000;
        socket.Connect(new IPEndPoint(IPAddress.Parse(server.Address), 10053));
        return socket;
    }

    /// <summary>The last address that a name has, or "".</summary>
    internal static string AskName(Socket socket, string name)
    {
        List<byte> query = [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        foreach (var label in name.Split('.')) query.AddRange([(byte)label.Length, .. Encoding.ASCII.GetBytes(label)]);
        query.AddRange([0, 0, 1, 0, 1]);
        var answer = new byte[512];
        try
        {
            socket.Send(query.ToArray());
            var size = socket.Receive(answer);
            return answer[7] > 0 ? new IPAddress(answer.AsSpan(size - 4, 4)).ToString() : "";
        }
        catch (SocketException)
        {
            // Nobody listens yet.
            return "";
        }
    }

    /// <summary>Who holds a lease of the leader-elected components, as one server tells.</summary>
    internal async Task<SharedServer> HolderAsync(SharedServer asked, string lease)
    {
        var holder = await Eventually.GetAsync(() => HolderNameAsync(asked, lease), text => text.Length > 0, $"somebody leads {lease}");
        return All.Single(server => holder.StartsWith(server.Name + "_", StringComparison.Ordinal));
    }

    /// <summary>Waits until a lease has another holder.</summary>
    internal static Task UntilLedByAnotherAsync(SharedServer asked, string lease, SharedServer than) => Eventually.GetAsync(
        () => HolderNameAsync(asked, lease), holder => holder.Length > 0 && !holder.StartsWith(than.Name + "_", StringComparison.Ordinal), $"{lease} is led by another than {than.Name}");

    private static async Task<string> HolderNameAsync(SharedServer asked, string lease) =>
        (await asked.KubectlAsync("get", "lease", lease, "-n", "kube-system", "-o", "jsonpath={.spec.holderIdentity}")).Output.Trim();

    public async ValueTask DisposeAsync()
    {
        foreach (var server in All) await server.KillAsync();
        await _lan.DisposeAsync();
        if (Environment.GetEnvironmentVariable("K3SFAST_KEEP") is not { Length: > 0 }) Cluster.DeleteFolder(_folder);
    }
}

/// <summary>One of them: the real binary without an agent.</summary>
internal sealed partial class SharedServer(string name, string networkNamespace, string address, string folder)
{
    private const int SigKill = 9;

    private Process? _process;

    internal string Name => name;

    internal string Address => address;

    internal bool HasEnded => _process!.HasExited;

    internal bool IsAlive => _process is { HasExited: false };

    private string Kubeconfig => Path.Combine(folder, "k3s.yaml");

    private string LogFile => Path.Combine(folder, "log");

    internal void Start(string endpoint, string token)
    {
        Directory.CreateDirectory(folder);
        var config = Path.Combine(folder, "config.yaml");
        File.WriteAllText(config, "");
        var command = $"exec {ServerNode.Binary} server --config {config} --disable-agent --token {token} --node-name {name} --node-ip {address} --bind-address {address} "
            + $"--data-dir {folder}/data --write-kubeconfig {Kubeconfig} --datastore-endpoint '{endpoint}' >>{LogFile} 2>&1 </dev/null";
        _process = Shell.Start(Lan.Inside(networkNamespace, "sh", "-c", command), redirect: false);
    }

    /// <summary>Waits until the server says that it is ready.</summary>
    internal Task WaitReadyAsync() => Eventually.GetAsync(
        () => KubectlAsync("get", "--raw", "/readyz"),
        result => result.Output.Trim() == "ok" || (HasEnded ? throw new InvalidOperationException("the server ended:\n" + LogTail()) : false),
        $"server {name} ready");

    /// <summary>A copy of its kubeconfig that leads to another address.</summary>
    internal async Task WriteKubeconfigAsync(string path, string address) =>
        await File.WriteAllTextAsync(path, Regex.Replace(await File.ReadAllTextAsync(Kubeconfig), @"server: \S+", $"server: {address}"));

    internal async Task KillAsync()
    {
        if (_process is null || _process.HasExited) return;
        _ = Kill(_process.Id, SigKill);
        await _process.WaitForExitAsync();
    }

    internal async Task WaitEndedAsync()
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(180));
        await _process!.WaitForExitAsync(patience.Token);
    }

    /// <summary>kubectl that speaks with this server.</summary>
    internal Task<CommandResult> KubectlAsync(params string[] arguments) =>
        Shell.RunAsync(Lan.Inside(networkNamespace, ["kubectl", "--kubeconfig", Kubeconfig, "--server", $"https://{address}:6443", .. arguments]));

    internal async Task<string> K(params string[] arguments) => (await KubectlAsync(arguments)).Ok();

    /// <summary>A client that speaks with this server alone.</summary>
    internal DirectClient CreateClient() => new(Kubeconfig, address, open => Lan.OpenInside(networkNamespace, open));

    /// <summary>kubectl that goes on until it is killed.</summary>
    internal Process StartKubectl(params string[] arguments) =>
        Shell.Start(Lan.Inside(networkNamespace, ["kubectl", "--kubeconfig", Kubeconfig, "--server", $"https://{address}:6443", .. arguments]), redirect: true);

    internal string LogTail(int lines = 60) => File.Exists(LogFile) ? string.Join('\n', File.ReadLines(LogFile).TakeLast(lines)) : "(no log)";

    internal string Log => File.Exists(LogFile) ? File.ReadAllText(LogFile) : "";

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int pid, int signal);
}
