using K3sFast.Configuration;
using K3sFast.Interop.Cgroups;
using K3sFast.Interop.Processes;
using Microsoft.Extensions.Logging;

namespace K3sFast.Containerd;

/// <summary>Keeps one containerd running: adopts the one of our last life, starts one when there is none, restarts it when it dies.</summary>
/// <remarks>
/// containerd is never stopped at our exit: pods live on, and the next start finds it again through its socket. A changed configuration
/// restarts containerd, not its shims, so no container notices.
/// </remarks>
internal sealed class ContainerdSupervisor : IDisposable
{
    // containerd opens its database and plugins before it answers; on a busy SD card that takes many seconds.
    private static readonly TimeSpan s_startDeadline = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan s_maxBackOff = TimeSpan.FromSeconds(30);
    private const long MaxLogBytes = 50L << 20;

    private readonly ContainerdOptions _options;
    private readonly ILogger _log;
    private readonly string _config;
    private readonly string _configHash;
    private ContainerdProcess? _process;
    private bool _hasStarted;

    /// <exception cref="ConfigurationException">The configuration template cannot be used.</exception>
    public ContainerdSupervisor(ContainerdOptions options, ILogger log)
    {
        _options = options;
        _log = log;
        _config = ContainerdConfig.Render(options);
        _configHash = ContainerdProcess.HashOf(options, _config);
        Connection = new(options.Paths.ContainerdSocket);
    }

    public ContainerdConnection Connection { get; }
    /// <summary>Process id of the current containerd, 0 before the first start.</summary>
    public int Pid => _process?.Pid ?? 0;

    /// <summary>Looks containerd and runc up on PATH and the usual directories.</summary>
    /// <exception cref="ConfigurationException">One is missing; the message says what to install.</exception>
    public static (string Containerd, string SearchPath) FindPrograms(string? path)
    {
        // runc lives in sbin on Debian, which is not on every user's PATH.
        var search = string.Join(':', ((path ?? "/usr/local/bin:/usr/bin:/bin") + ":/usr/local/sbin:/usr/sbin:/sbin").Split(':', StringSplitOptions.RemoveEmptyEntries).Distinct());
        string Find(string program) => search.Split(':').Select(directory => Path.Combine(directory, program)).FirstOrDefault(File.Exists)
            ?? throw new ConfigurationException($"{program} is not installed: install containerd and runc (Debian and Ubuntu: apt-get install containerd runc), or give --container-runtime-endpoint");
        Find("runc");
        Find("containerd-shim-runc-v2");
        return (Find("containerd"), search);
    }

    /// <summary>Returns once containerd answers on its socket.</summary>
    /// <exception cref="ConfigurationException">It does not start; the message carries the end of its log.</exception>
    public async Task StartAsync(CancellationToken ct)
    {
        var paths = _options.Paths;
        if (!File.Exists(paths.ContainerdConfig) || await File.ReadAllTextAsync(paths.ContainerdConfig, ct).ConfigureAwait(false) != _config)
            await File.WriteAllTextAsync(paths.ContainerdConfig, _config, ct).ConfigureAwait(false);

        var running = ContainerdProcess.ReadPidFile(paths.ContainerdPid) ?? ContainerdProcess.FindListener(paths.ContainerdSocket);
        if (running is not null && running.ConfigHash == _configHash && await IsAnsweringAsync(running, ct).ConfigureAwait(false))
        {
            _process = running;
            _log.ContainerdAdopted(running.Pid);
            return;
        }
        if (running is not null)
        {
            _log.ContainerdReplaced(running.Pid);
            await running.StopAsync(ct).ConfigureAwait(false);
        }
        await StartNewAsync(ct).ConfigureAwait(false);
    }

    /// <summary>Watches until cancelled, which always ends it with an exception. Leaves containerd running.</summary>
    public async Task RunAsync(CancellationToken ct)
    {
        var backOff = TimeSpan.FromMilliseconds(500);
        while (true)
        {
            ct.ThrowIfCancellationRequested();
            var since = Environment.TickCount64;
            await Connection.WaitForEndAsync(ct).ConfigureAwait(false);
            if (_process is { } process)
            {
                ChildProcess.TryReap(process.Pid);
                if (process.IsAlive && await Connection.TryVersionAsync(TimeSpan.FromSeconds(10), ct).ConfigureAwait(false) is not null)
                {
                    // The stream ended and containerd did not: ask again, but never in a tight loop.
                    await Task.Delay(500, ct).ConfigureAwait(false);
                    continue;
                }
                _log.ContainerdDied(process.Pid);
                if (process.IsAlive)
                    await process.StopAsync(ct).ConfigureAwait(false);
            }
            backOff = Environment.TickCount64 - since > 60_000 ? TimeSpan.FromMilliseconds(500) : TimeSpan.FromTicks(Math.Min(backOff.Ticks * 2, s_maxBackOff.Ticks));
            await RestartAsync(backOff, ct).ConfigureAwait(false);
        }
    }

    /// <summary>Ends a containerd that this supervisor started itself, for a server whose own start failed; an adopted one goes on.</summary>
    public async Task AbandonAsync()
    {
        if (!_hasStarted || _process is not { } process) return;
        await process.StopAsync(CancellationToken.None).ConfigureAwait(false);
        File.Delete(_options.Paths.ContainerdPid);
    }

    public void Dispose() => Connection.Dispose();

    private async Task RestartAsync(TimeSpan backOff, CancellationToken ct)
    {
        try
        {
            await Task.Delay(backOff, ct).ConfigureAwait(false);
            await StartNewAsync(ct).ConfigureAwait(false);
        }
        catch (Exception e) when (e is ConfigurationException or IOException)
        {
            _log.ContainerdRestartFailed(e);
        }
    }

    private async Task StartNewAsync(CancellationToken ct)
    {
        var paths = _options.Paths;
        TurnLogOver(paths.ContainerdLog);
        // A socket left by a killed containerd would be taken for a live one by the checks below; containerd makes its own.
        File.Delete(paths.ContainerdSocket);
        _process = ContainerdProcess.Start(_options, _configHash);
        _hasStarted = true;
        MoveToOwnCgroup(_process.Pid);
        _log.ContainerdStarted(_process.Pid, paths.ContainerdSocket);

        var started = Environment.TickCount64;
        while (await Connection.TryVersionAsync(TimeSpan.FromSeconds(5), ct).ConfigureAwait(false) is not { } version)
        {
            ChildProcess.TryReap(_process.Pid);
            if (!_process.IsAlive)
                throw new ConfigurationException($"containerd ended at start: {LogTail(paths.ContainerdLog)} (whole log: {paths.ContainerdLog})");
            if (Environment.TickCount64 - started > s_startDeadline.TotalMilliseconds)
                throw new ConfigurationException($"containerd does not answer on {paths.ContainerdSocket} after {s_startDeadline.TotalSeconds:0} s: {LogTail(paths.ContainerdLog)} (whole log: {paths.ContainerdLog})");
            await Task.Delay(20, ct).ConfigureAwait(false);
        }
        _log.ContainerdReady(Environment.TickCount64 - started);
    }

    private async Task<bool> IsAnsweringAsync(ContainerdProcess process, CancellationToken ct)
    {
        // Killed together with us it may be starting or hanging: ten seconds of silence and it is replaced.
        for (var i = 0; i < 100 && process.IsAlive; i++)
        {
            if (await Connection.TryVersionAsync(TimeSpan.FromSeconds(2), ct).ConfigureAwait(false) is not null)
                return true;
            await Task.Delay(100, ct).ConfigureAwait(false);
        }
        return false;
    }

    // Out of our own cgroup, so that a memory limit or a kill of ours does not reach the containers' runtime. Best effort.
    private void MoveToOwnCgroup(int pid)
    {
        try
        {
            var tree = new CgroupTree();
            var cgroup = ContainerdCgroup(_options.Paths);
            tree.Create(cgroup);
            foreach (var controller in (string[])["systemd", "memory", "cpu", "cpuacct", "pids", "cpuset", "blkio", "devices", "freezer"])
                tree.TryWrite(controller, cgroup, "cgroup.procs", pid.ToString(System.Globalization.CultureInfo.InvariantCulture));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _log.ContainerdCgroupFailed(e);
        }
    }

    /// <summary>The cgroup that containerd and its shims live in.</summary>
    public static string ContainerdCgroup(NodePaths paths) => paths.IsDefaultData ? "/k3s-containerd" : "/k3s-containerd-" + paths.Tag;

    private static void TurnLogOver(string path)
    {
        if (File.Exists(path) && new FileInfo(path).Length > MaxLogBytes)
            File.Move(path, path + ".1", overwrite: true);
    }

    private static string LogTail(string path)
    {
        try
        {
            return string.Join(" | ", File.ReadLines(path).TakeLast(3));
        }
        catch (IOException)
        {
            return "no log";
        }
    }
}
