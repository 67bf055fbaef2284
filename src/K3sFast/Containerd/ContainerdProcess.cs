using System.Globalization;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using K3sFast.Interop.Processes;

namespace K3sFast.Containerd;

/// <summary>One running containerd, known by process id and start time so that a reused id is never mistaken for it.</summary>
/// <param name="Pid">Its process id.</param>
/// <param name="StartTicks">Field 22 of /proc/pid/stat.</param>
/// <param name="ConfigHash">Hash of program and configuration that it was started with; empty when not known.</param>
internal sealed record ContainerdProcess(int Pid, long StartTicks, string ConfigHash)
{
    private const int Sigterm = 15, Sigkill = 9;

    public bool IsAlive => TryReadStart(Pid, out var ticks) && ticks == StartTicks;

    /// <summary>The process of the pid file when it still lives.</summary>
    public static ContainerdProcess? ReadPidFile(string path)
    {
        if (!File.Exists(path))
            return null;
        var words = File.ReadAllText(path).Split(' ', StringSplitOptions.TrimEntries);
        if (words.Length != 3 || !int.TryParse(words[0], out var pid) || !long.TryParse(words[1], out var ticks))
            return null;
        var process = new ContainerdProcess(pid, ticks, words[2]);
        return process.IsAlive ? process : null;
    }

    /// <summary>The process that listens on a Unix socket (SO_PEERCRED), or null when nobody does.</summary>
    public static ContainerdProcess? FindListener(string socketPath)
    {
        // asm-generic/socket.h; struct ucred is pid, uid, gid.
        const int SolSocket = 1, SoPeercred = 17;
        if (!File.Exists(socketPath))
            return null;
        try
        {
            using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            socket.Connect(new UnixDomainSocketEndPoint(socketPath));
            Span<byte> credentials = stackalloc byte[12];
            socket.GetRawSocketOption(SolSocket, SoPeercred, credentials);
            var pid = MemoryMarshal.Read<int>(credentials);
            return pid > 0 && TryReadStart(pid, out var ticks) ? new(pid, ticks, "") : null;
        }
        catch (SocketException)
        {
            return null;
        }
    }

    /// <summary>Starts containerd in a session of its own and writes the pid file.</summary>
    public static ContainerdProcess Start(ContainerdOptions options, string configHash)
    {
        List<string> arguments = [options.ContainerdPath, "--config", options.Paths.ContainerdConfig];
        if (options.IsDebug)
            arguments.AddRange(["--log-level", "debug"]);
        var pid = ChildProcess.StartDetached(options.ContainerdPath, arguments, BuildEnvironment(options), options.Paths.ContainerdLog);
        TryReadStart(pid, out var ticks);
        var process = new ContainerdProcess(pid, ticks, configHash);
        File.WriteAllText(options.Paths.ContainerdPid, string.Create(CultureInfo.InvariantCulture, $"{pid} {ticks} {configHash}\n"));
        return process;
    }

    public static string HashOf(ContainerdOptions options, string config) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(options.ContainerdPath + "\n" + config)).AsSpan(0, 16));

    /// <summary>SIGTERM, then SIGKILL after ten seconds. Its shims and containers go on.</summary>
    public async Task StopAsync(CancellationToken ct)
    {
        ChildProcess.Signal(Pid, Sigterm);
        for (var i = 0; IsAlive; i++)
        {
            ChildProcess.TryReap(Pid);
            if (i == 100)
                ChildProcess.Signal(Pid, Sigkill);
            await Task.Delay(100, ct).ConfigureAwait(false);
        }
    }

    // Our own service manager's variables must not reach a program that outlives us; CONTAINERD_X becomes X, as k3s does.
    private static List<string> BuildEnvironment(ContainerdOptions options)
    {
        const string Prefix = "CONTAINERD_";
        var variables = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (System.Collections.DictionaryEntry variable in Environment.GetEnvironmentVariables())
            variables[(string)variable.Key] = (string?)variable.Value ?? "";
        foreach (var (name, value) in variables.ToArray())
        {
            if (name.StartsWith(Prefix, StringComparison.Ordinal))
                variables[name[Prefix.Length..]] = value;
        }
        foreach (var name in (string[])["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "INVOCATION_ID"])
            variables.Remove(name);
        if (options.SearchPath.Length > 0)
            variables["PATH"] = options.SearchPath;
        return [.. variables.Select(static variable => $"{variable.Key}={variable.Value}")];
    }

    private static bool TryReadStart(int pid, out long ticks)
    {
        ticks = 0;
        try
        {
            // proc(5): pid (comm) state ...; comm may hold spaces and parentheses, the state is field 3, the start time field 22.
            var stat = File.ReadAllText($"/proc/{pid}/stat");
            var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
            return fields[0] != "Z" && long.TryParse(fields[19], out ticks);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }
}
