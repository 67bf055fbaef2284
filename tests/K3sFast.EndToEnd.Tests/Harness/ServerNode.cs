using System.Diagnostics;
using System.Runtime.InteropServices;

namespace K3sFast.EndToEnd.Tests;

/// <summary>
/// One node, a server or an agent: the real binary in a namespace of its own with directories of its own. Pods and containerd outlive a stop of the process.
/// </summary>
internal sealed partial class ServerNode : IAsyncDisposable
{
    private const int SigTerm = 15;
    private const int SigKill = 9;
    private static readonly TimeSpan s_stopDeadline = TimeSpan.FromSeconds(120);

    private readonly string _namespace;
    private readonly string _name;
    private readonly ServerNode? _server;
    private Process? _process;

    /// <summary>A node with settings of its own beside the usual ones; an agent when there is a server.</summary>
    internal ServerNode(string name, string networkNamespace, string address, string folder, ServerNode? server = null, params string[] settings)
    {
        (_name, _namespace, Address, Folder, _server) = (name, networkNamespace, address, folder, server);
        Directory.CreateDirectory(Path.Combine(DataDir, "agent", "images"));
        File.WriteAllText(Path.Combine(folder, "resolv.conf"), $"nameserver {Lan.Gateway}\n");
        File.WriteAllText(Config, string.Join('\n', [
            $"data-dir: {DataDir}",
            server is null ? $"write-kubeconfig: {Kubeconfig}" : $"server: https://{server.Address}:6443",
            $"node-name: {name}",
            Array.Exists(settings, static setting => setting.StartsWith("node-ip:", StringComparison.Ordinal)) ? "" : $"node-ip: {address}",
            $"resolv-conf: {Path.Combine(folder, "resolv.conf")}",
            "kubelet-arg:",
            $"  - root-dir={Path.Combine(folder, "kubelet")}",
            $"  - pod-logs-dir={Path.Combine(folder, "pod-logs")}",
            $"  - cgroup-root=/{Path.GetFileName(folder)}",
            .. settings,
            ""]));
    }

    // Before Binary, which is found by it.
    internal static string RepositoryRoot { get; } = FindRoot();

    /// <summary>The binary under test.</summary>
    internal static string Binary { get; } = FindBinary();

    internal string Address { get; }

    internal string NetworkNamespace => _namespace;

    internal string Folder { get; }

    internal string DataDir => Path.Combine(Folder, "data");

    internal string Kubeconfig => Path.Combine(Folder, "k3s.yaml");

    internal string LogFile => Path.Combine(Folder, "server.log");

    internal string Name => _name;

    /// <summary>The process has ended.</summary>
    internal bool HasExited => _process?.HasExited ?? false;

    internal int ExitCode => _process!.ExitCode;

    internal int ProcessId => _process?.Id ?? 0;

    private string Config => Path.Combine(Folder, "config.yaml");

    /// <summary>Starts the server, in a cgroup whose cgroup.procs is given; returns at once.</summary>
    internal void Start(string? cgroup = null)
    {
        // exec: the process that is signalled is the server itself.
        var command = $"{(cgroup is null ? "" : $"echo $$ >{cgroup}; ")}exec {Binary} {(_server is null ? "server" : "agent")} --config {Config} >>{LogFile} 2>&1 </dev/null";
        _process = Shell.Start(Lan.Inside(_namespace, "sh", "-c", command), redirect: false);
    }

    /// <summary>Waits until kubectl sees the node Ready, and pods can be made.</summary>
    internal async Task WaitReadyAsync()
    {
        await Eventually.GetAsync(
            () => KubectlAsync(["get", "node", _name, "-o", "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}"]),
            result => result.Output.Trim() == "True" || (_process!.HasExited ? throw new InvalidOperationException("the server ended:\n" + LogTail()) : false),
            $"node {_name} Ready");
        await Eventually.GetAsync(() => KubectlAsync(["get", "-n", "default", "serviceaccount/default"]), result => result.ExitCode == 0, "the default account");
    }

    /// <summary>Ends the server as an init system does, and waits until it is gone.</summary>
    internal Task StopAsync() => SignalAsync(SigTerm);

    /// <summary>Ends the server without a word.</summary>
    internal Task KillAsync() => SignalAsync(SigKill);

    /// <summary>The real kubectl, in the namespace of the server.</summary>
    internal Task<CommandResult> KubectlAsync(IEnumerable<string> arguments, string? input = null, TimeSpan? timeout = null) =>
        _server is not null
            ? _server.KubectlAsync(arguments, input, timeout)
            : Shell.RunAsync(Lan.Inside(_namespace, ["kubectl", "--kubeconfig", Kubeconfig, .. arguments]), input, timeout);

    /// <summary>Any command on the node (its network, the host's files).</summary>
    internal Task<CommandResult> RunAsync(params string[] command) => Shell.RunAsync(Lan.Inside(_namespace, command));

    /// <summary>A command on the node that goes on until it is killed.</summary>
    internal Process StartCommand(params string[] command) => Shell.Start(Lan.Inside(_namespace, command), redirect: true);

    /// <summary>The server's last words.</summary>
    internal string LogTail(int lines = 60) => File.Exists(LogFile) ? string.Join('\n', File.ReadLines(LogFile).TakeLast(lines)) : "(no log)";

    public async ValueTask DisposeAsync()
    {
        if (_process is { HasExited: false }) await StopAsync();
        await CleanUpAsync();
    }

    /// <summary>Removes what a node that is not running left in the kernel.</summary>
    internal async Task CleanUpAsync()
    {
        // Ends containerd, shims and pods of this node, unmounts, and removes devices and rules.
        var killall = Path.Combine(RepositoryRoot, "k3sfast-killall.sh");
        var result = await Shell.RunAsync(Lan.Inside(_namespace, "env", $"K3SFAST_BINARY={Binary}", killall, "--config", Config));
        if (result.ExitCode != 0) Console.Error.WriteLine(result);
    }

    private async Task SignalAsync(int signal)
    {
        Kill(_process!.Id, signal);
        using var patience = new CancellationTokenSource(s_stopDeadline);
        try
        {
            await _process.WaitForExitAsync(patience.Token);
        }
        catch (OperationCanceledException)
        {
            Kill(_process.Id, SigKill);
            Assert.Fail($"the server did not stop within {s_stopDeadline.TotalSeconds} s of signal {signal}\n{LogTail()}");
        }
    }

    private static string FindRoot()
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "K3sFast.sln"))) folder = folder.Parent;
        return folder?.FullName ?? throw new InvalidOperationException("K3sFast.sln is in no folder above the tests");
    }

    private static string FindBinary() =>
        Environment.GetEnvironmentVariable("K3SFAST_BINARY") is { Length: > 0 } given ? given : Path.Combine(RepositoryRoot, "artifacts", "bin", "k3sfast");

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int pid, int signal);
}
