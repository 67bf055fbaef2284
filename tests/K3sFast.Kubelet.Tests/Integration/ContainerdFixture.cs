using System.Diagnostics;
using K3sFast.Interop.Cgroups;
using K3sFast.Interop.Mounts;

namespace K3sFast.Kubelet.Tests.Integration;

/// <summary>A containerd of its own: own folders, socket and cgroup, with the busybox image imported. Stopped and swept at the end.</summary>
public sealed class ContainerdFixture : IAsyncLifetime
{
    internal const string Image = "docker.io/library/k3t-busybox:1";

    private static readonly TimeSpan s_startDeadline = TimeSpan.FromSeconds(180);

    private Process? _containerd;

    internal string Root { get; } = Directory.CreateTempSubdirectory("kubelet-it-").FullName;

    internal string Socket => Path.Combine(Root, "containerd.sock");

    internal string CgroupRoot { get; } = $"/k3t-kubelet-{Environment.ProcessId}";

    /// <summary>Why tests that need containerd cannot run here; null = they can.</summary>
    internal string? Missing { get; private set; }

    public async ValueTask InitializeAsync()
    {
        if (!File.Exists("/usr/bin/containerd") || !File.Exists(BusyboxImage.Busybox)) Missing = "needs Debian's containerd, runc and busybox-static";
        else if (Environment.UserName != "root") Missing = "needs root";
        if (Missing is not null) return;
        var config = Path.Combine(Root, "config.toml");
        await File.WriteAllTextAsync(config, Config());
        _containerd = Start("/usr/bin/containerd", "--config", config);
        var deadline = DateTime.UtcNow + s_startDeadline;
        var archive = Path.Combine(Root, "busybox.tar");
        BusyboxImage.Write(archive, Image);
        while (true)
        {
            var (code, output) = await RunAsync("/usr/bin/ctr", "-a", Socket, "-n", "k8s.io", "images", "import", archive);
            if (code == 0) return;
            if (DateTime.UtcNow > deadline) throw new TimeoutException($"containerd did not take the image: {output}");
            await Task.Delay(50);
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_containerd is null)
        {
            Directory.Delete(Root);
            return;
        }
        // Whatever a test left running ends with it.
        var tree = new CgroupTree();
        foreach (var cgroup in Cgroups(tree))
        {
            foreach (var pid in tree.ProcessesBelow(cgroup)) TryKill(pid);
        }
        _containerd.Kill();
        await _containerd.WaitForExitAsync();
        foreach (var process in Process.GetProcessesByName("containerd-shim-runc-v2").Concat(Process.GetProcessesByName("containerd-shim")))
        {
            // Only shims of this containerd: its socket is on their command line.
            if (CommandLine(process.Id).Contains(Socket, StringComparison.Ordinal)) TryKill(process.Id);
        }
        var mounts = MountPoint.ReadAll();
        for (var i = mounts.Count - 1; i >= 0; i--)
        {
            if (mounts[i].StartsWith(Root + "/", StringComparison.Ordinal)) MountPoint.Unmount(mounts[i], isLazy: true);
        }
        var deadline = DateTime.UtcNow + TimeSpan.FromSeconds(60);
        while (Cgroups(tree).Count(cgroup => !tree.TryRemove(cgroup)) > 0 && DateTime.UtcNow < deadline) await Task.Delay(20);
        // What was killed a moment ago may still write.
        while (!TryDelete(Root) && DateTime.UtcNow < deadline) await Task.Delay(20);
    }

    private static bool TryDelete(string folder)
    {
        try
        {
            Directory.Delete(folder, recursive: true);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Console.Error.WriteLine($"{folder} could not be removed: {e.Message}");
            return false;
        }
    }

    internal static async Task<(int Code, string Output)> RunAsync(string program, params string[] arguments)
    {
        using var process = Start(program, arguments);
        var output = process.StandardOutput.ReadToEndAsync();
        var errors = await process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        return (process.ExitCode, await output + errors);
    }

    private static Process Start(string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in arguments) start.ArgumentList.Add(argument);
        var process = Process.Start(start) ?? throw new InvalidOperationException($"{program} did not start");
        if (program.EndsWith("/containerd", StringComparison.Ordinal))
        {
            process.OutputDataReceived += static (_, _) => { };
            process.ErrorDataReceived += static (_, _) => { };
            process.BeginOutputReadLine();
            process.BeginErrorReadLine();
        }
        return process;
    }

    // Each test's agent has its own, named after ours.
    private List<string> Cgroups(CgroupTree tree) =>
        [.. tree.Children("/").Where(name => ("/" + name).StartsWith(CgroupRoot + "-", StringComparison.Ordinal)).Select(name => "/" + name)];

    private static void TryKill(int pid)
    {
        try
        {
            using var process = Process.GetProcessById(pid);
            process.Kill();
        }
        catch (Exception e) when (e is ArgumentException or InvalidOperationException)
        {
        }
    }

    private static string CommandLine(int pid)
    {
        try
        {
            return File.ReadAllText($"/proc/{pid}/cmdline");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }

    private string Config() => $"""
        version = 2
        root = "{Root}/root"
        state = "{Root}/state"
        [grpc]
          address = "{Socket}"
        [ttrpc]
          address = "{Socket}.ttrpc"
        [plugins."io.containerd.internal.v1.opt"]
          path = "{Root}/opt"
        [plugins."io.containerd.grpc.v1.cri"]
          sandbox_image = "{Image}"
          restrict_oom_score_adj = true
          stream_server_address = "127.0.0.1"
          stream_server_port = "0"
          max_container_log_line_size = 16384
          disable_apparmor = true
          [plugins."io.containerd.grpc.v1.cri".cni]
            bin_dir = "{Root}/cni/bin"
            conf_dir = "{Root}/cni/conf"
          [plugins."io.containerd.grpc.v1.cri".containerd]
            snapshotter = "overlayfs"
            [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
              runtime_type = "io.containerd.runc.v2"
              [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
                SystemdCgroup = false
        """;
}
