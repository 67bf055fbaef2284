using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace K3sFast.Tests.Databases;

/// <summary>Where a database is started: the words that put a command there, such as into a network namespace.</summary>
public sealed record DatabasePlace(IReadOnlyList<string> Words)
{
    /// <summary>Beside the test.</summary>
    public static DatabasePlace Here { get; } = new([]);
}

/// <summary>A database server that a test starts for itself: own directory, own loopback port, ended by its process id.</summary>
public abstract partial class DatabaseProcess : IAsyncDisposable
{
    private const int SigTerm = 15;
    private const int SigKill = 9;
    private const int SigStop = 19;
    private const int SigContinue = 18;
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(90);

    private Process? _process;

    private readonly DatabasePlace _place;

    protected DatabaseProcess(string name, DatabasePlace? place = null)
    {
        _place = place ?? DatabasePlace.Here;
        Folder = Directory.CreateTempSubdirectory($"k3sfast-{name}-").FullName;
        Port = FreePort();
    }

    public string Folder { get; }

    public int Port { get; protected set; }

    public string LogFile => Path.Combine(Folder, "log");

    public bool IsRunning => _process is { HasExited: false };

    /// <summary>Ends the server without a word.</summary>
    public Task KillAsync() => EndAsync(SigKill);

    /// <summary>Ends the server as an init system does.</summary>
    public Task StopAsync() => EndAsync(SigTerm);

    /// <summary>Holds the server where it is: connections stay, nothing is answered.</summary>
    /// <remarks>A signal stops a process when one of its threads comes to it: on a loaded machine the others answer a while longer.</remarks>
    public async Task FreezeAsync()
    {
        SignalAll(SigStop);
        var since = Stopwatch.StartNew();
        while (!AllProcesses().All(HasStopped))
        {
            if (since.Elapsed > s_deadline) throw new InvalidOperationException($"{GetType().Name} does not stop");
            await Task.Delay(5);
        }
    }

    public void Thaw() => SignalAll(SigContinue);

    /// <summary>Starts the server again on what is in its directory, and waits until it answers.</summary>
    public async Task StartAsync()
    {
        string[] shell = [.. _place.Words, "/bin/sh", "-c"];
        var start = new ProcessStartInfo(shell[0]) { UseShellExecute = false };
        foreach (string word in shell.Skip(1)) start.ArgumentList.Add(word);
        start.ArgumentList.Add($"exec {CommandLine()} >>{LogFile} 2>&1 </dev/null");
        _process = Process.Start(start)!;
        var since = Stopwatch.StartNew();
        while (!await AnswersAsync())
        {
            if (_process.HasExited || since.Elapsed > s_deadline)
            {
                string log = File.Exists(LogFile) ? string.Join('\n', File.ReadLines(LogFile).TakeLast(30)) : "(no log)";
                throw new InvalidOperationException($"{GetType().Name} did not start:\n{log}");
            }
            await Task.Delay(50);
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_process is { HasExited: false })
        {
            Thaw();
            await KillAsync();
        }
        try
        {
            Directory.Delete(Folder, recursive: true);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            await Console.Error.WriteLineAsync($"{Folder} could not be removed: {error.Message}");
        }
        GC.SuppressFinalize(this);
    }

    /// <summary>The server's command, for a shell.</summary>
    protected abstract string CommandLine();

    /// <summary>True once the server takes requests.</summary>
    protected abstract Task<bool> AnswersAsync();

    public static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    /// <summary>The first of these programs that is installed, or null.</summary>
    protected static string? Find(params string[] paths) => paths.FirstOrDefault(File.Exists);

    /// <summary>Runs a command where the server is.</summary>
    protected Task<string> RunThereAsync(params string[] command) => RunAsync([.. _place.Words, .. command]);

    /// <summary>Runs a command to its end; its output, or an exception with all it said.</summary>
    protected static async Task<string> RunAsync(params string[] command)
    {
        var start = new ProcessStartInfo(command[0]) { UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string argument in command.Skip(1)) start.ArgumentList.Add(argument);
        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        return process.ExitCode == 0 ? await output : throw new InvalidOperationException($"{string.Join(' ', command)}: code {process.ExitCode}\n{await output}\n{await error}");
    }

    protected async Task<bool> CanConnectAsync(int port)
    {
        if (_place.Words.Count > 0)
        {
            try
            {
                await RunAsync([.. _place.Words, "/bin/bash", "-c", $"exec 3<>/dev/tcp/127.0.0.1/{port}"]);
                return true;
            }
            catch (InvalidOperationException)
            {
                return false;
            }
        }
        using var socket = new TcpClient();
        try
        {
            await socket.ConnectAsync(IPAddress.Loopback, port);
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    private void SignalAll(int signal)
    {
        foreach (int process in AllProcesses()) _ = Kill(process, signal);
    }

    // PostgreSQL answers from children, of which a stopped parent makes no more.
    private IEnumerable<int> AllProcesses()
    {
        int pid = _process!.Id;
        yield return pid;
        string children = $"/proc/{pid}/task/{pid}/children";
        if (!File.Exists(children)) yield break;
        foreach (string child in File.ReadAllText(children).Split(' ', StringSplitOptions.RemoveEmptyEntries)) yield return int.Parse(child, System.Globalization.CultureInfo.InvariantCulture);
    }

    private static bool HasStopped(int process)
    {
        try
        {
            // pid (name) state ...; T = stopped, Z = ended
            return Directory.EnumerateDirectories($"/proc/{process}/task").All(task => File.ReadAllText($"{task}/stat") is var stat && stat[stat.LastIndexOf(')') + 2] is 'T' or 'Z' or 'X');
        }
        catch (IOException)
        {
            // Ended meanwhile.
            return true;
        }
    }

    private async Task EndAsync(int signal)
    {
        if (_process is null || _process.HasExited) return;
        _ = Kill(_process.Id, signal);
        using var patience = new CancellationTokenSource(s_deadline);
        await _process.WaitForExitAsync(patience.Token);
    }

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int pid, int signal);
}
