using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using K3sFast.Tests.Ports;

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
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(180);

    private readonly DatabasePlace _place;
    private readonly LoopbackPort[] _ports;

    private Process? _process;

    /// <summary>A server that is not started yet. <paramref name="ports"/> = its ports, the clients' first; it gives them back. None = one of its own.</summary>
    protected DatabaseProcess(string name, DatabasePlace? place = null, params LoopbackPort[] ports)
    {
        _place = place ?? DatabasePlace.Here;
        _ports = ports.Length > 0 ? ports : [new LoopbackPort()];
        Folder = Directory.CreateTempSubdirectory($"k3sfast-{name}-").FullName;
    }

    public string Folder { get; }

    public int Port => _ports[0].Number;

    public string LogFile => Path.Combine(Folder, "log");

    public bool IsRunning => _process is { HasExited: false };

    /// <summary>Ends the server without a word, with all its processes.</summary>
    /// <remarks>PostgreSQL's children find out that their parent is gone, but not at once, and as long as one of them lives no other server starts on its files.</remarks>
    public async Task KillAsync()
    {
        if (!IsRunning) return;
        await FreezeAsync();
        int[] all = [.. AllProcesses()];
        foreach (int process in all) _ = Kill(process, SigKill);
        await WaitForEndAsync();
        await UntilAsync(() => all.All(HasEnded), "end");
    }

    /// <summary>Ends the server as an init system does.</summary>
    public async Task StopAsync()
    {
        if (!IsRunning) return;
        _ = Kill(_process!.Id, SigTerm);
        await WaitForEndAsync();
    }

    /// <summary>Holds the server where it is: connections stay, nothing is answered.</summary>
    /// <remarks>A signal stops a process when one of its threads comes to it: on a loaded machine the others answer a while longer.</remarks>
    public async Task FreezeAsync()
    {
        SignalAll(SigStop);
        await UntilAsync(() => AllProcesses().All(HasStopped), "stop");
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
        foreach (var port in _ports) port.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>The server's command, for a shell.</summary>
    protected abstract string CommandLine();

    /// <summary>True once the server takes requests.</summary>
    protected abstract Task<bool> AnswersAsync();

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

    private static bool HasStopped(int process) => Tasks(process).All(static state => state is 'T' or 'Z' or 'X');

    private static bool HasEnded(int process) => Tasks(process).All(static state => state is 'Z' or 'X');

    // Of each thread: T = stopped; Z, X = ended. None = ended, and gone.
    private static List<char> Tasks(int process)
    {
        var states = new List<char>();
        try
        {
            foreach (string task in Directory.EnumerateDirectories($"/proc/{process}/task"))
            {
                // pid (name) state ...
                string stat = File.ReadAllText($"{task}/stat");
                states.Add(stat[stat.LastIndexOf(')') + 2]);
            }
        }
        catch (IOException)
        {
            // Ended meanwhile: the next look is at those that are left.
        }
        return states;
    }

    private async Task UntilAsync(Func<bool> condition, string what)
    {
        var since = Stopwatch.StartNew();
        while (!condition())
        {
            if (since.Elapsed > s_deadline) throw new InvalidOperationException($"{GetType().Name} does not {what}");
            await Task.Delay(5);
        }
    }

    private async Task WaitForEndAsync()
    {
        using var patience = new CancellationTokenSource(s_deadline);
        await _process!.WaitForExitAsync(patience.Token);
    }

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int pid, int signal);
}
