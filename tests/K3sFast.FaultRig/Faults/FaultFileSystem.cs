using System.Diagnostics;
using System.Globalization;

namespace K3sFast.FaultRig.Faults;

/// <summary>What <see cref="FaultFileSystem"/> counts: writes to files; flushes; changes of directories.</summary>
internal enum FileOperation
{
    Write,
    Sync,
    Meta,
    Any,
}

/// <summary>
/// A mounted faultfs (native/faultfs, where the commands are explained): a file system in memory whose power can be cut. Needs root and
/// /dev/fuse. One caller at a time.
/// </summary>
internal sealed class FaultFileSystem : IAsyncDisposable
{
    public const int InputOutputError = 5;
    public const int NoSpace = 28;

    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(60);

    private readonly Process _process;
    private readonly Task _reading;
    private readonly Lock _gate = new();
    private readonly List<string> _events = [];
    private TaskCompletionSource<string> _answer = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private TaskCompletionSource _stalled = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private TaskCompletionSource _cut = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private FaultFileSystem(Process process, string mountPoint)
    {
        _process = process;
        MountPoint = mountPoint;
        _reading = Task.Run(ReadAsync);
    }

    public string MountPoint { get; }

    /// <summary>Completes when the power is cut.</summary>
    public Task WhenCut => _cut.Task;

    /// <summary>Why it cannot be mounted here; null = it can.</summary>
    public static string? Absence =>
        Environment.UserName != "root" ? "needs root to mount a file system" : !File.Exists("/dev/fuse") ? "needs /dev/fuse" : null;

    /// <summary>Builds the program, if need be, and mounts it on a new directory.</summary>
    public static async Task<FaultFileSystem> MountAsync()
    {
        string program = await NativeTool.BuildAsync("faultfs", "faultfs").ConfigureAwait(false);
        string mountPoint = Directory.CreateTempSubdirectory("k3sfast-faultfs-").FullName;
        var process = Process.Start(new ProcessStartInfo(program, [mountPoint]) { RedirectStandardInput = true, RedirectStandardOutput = true })!;
        var system = new FaultFileSystem(process, mountPoint);
        await system._answer.Task.WaitAsync(s_deadline).ConfigureAwait(false);
        return system;
    }

    /// <summary>The power goes now; the seed says what the medium keeps.</summary>
    public Task CutAsync(int seed) => SendAsync($"cut {seed}");

    /// <summary>The power goes right before the <paramref name="nth"/> next operation.</summary>
    public Task CutAtAsync(FileOperation operation, int nth, int seed) => SendAsync($"cutat {Word(operation)} {nth} {seed}");

    /// <summary>The power is back. Nobody may have a file open.</summary>
    public async Task RemountAsync()
    {
        await SendAsync("remount").ConfigureAwait(false);
        _cut = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    public Task FailAsync(FileOperation operation, int errno, int nth, int count) => SendAsync($"fail {Word(operation)} {errno} {nth} {count}");

    /// <summary>The next flush takes as long as that, or until <see cref="CalmAsync"/>; returns once it has begun.</summary>
    public async Task StallAsync(TimeSpan length)
    {
        _stalled = new(TaskCreationOptions.RunContinuationsAsynchronously);
        await SendAsync(string.Create(CultureInfo.InvariantCulture, $"stall {(long)length.TotalMilliseconds} 1")).ConfigureAwait(false);
        await _stalled.Task.WaitAsync(s_deadline).ConfigureAwait(false);
    }

    public Task LimitAsync(long bytes) => SendAsync($"capacity {bytes}");

    /// <summary>No more faults.</summary>
    public Task CalmAsync() => SendAsync("calm");

    /// <summary>An empty file system.</summary>
    public async Task ResetAsync()
    {
        await SendAsync("reset").ConfigureAwait(false);
        _cut = new(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_gate) _events.Clear();
    }

    public Task<string> StatsAsync() => SendAsync("stats");

    /// <summary>How many faults struck since the last call.</summary>
    public int TakeEvents()
    {
        lock (_gate)
        {
            int count = _events.Count;
            _events.Clear();
            return count;
        }
    }

    public async ValueTask DisposeAsync()
    {
        _process.StandardInput.Close();
        await _process.WaitForExitAsync().WaitAsync(s_deadline).ConfigureAwait(false);
        await _reading.ConfigureAwait(false);
        _process.Dispose();
        Directory.Delete(MountPoint);
    }

    private async Task<string> SendAsync(string command)
    {
        _answer = new(TaskCreationOptions.RunContinuationsAsynchronously);
        await _process.StandardInput.WriteLineAsync(command).ConfigureAwait(false);
        await _process.StandardInput.FlushAsync().ConfigureAwait(false);
        string answer = await _answer.Task.WaitAsync(s_deadline).ConfigureAwait(false);
        return answer.StartsWith("ok", StringComparison.Ordinal) ? answer : throw new InvalidOperationException($"faultfs: {command}: {answer}");
    }

    private async Task ReadAsync()
    {
        while (await _process.StandardOutput.ReadLineAsync().ConfigureAwait(false) is { } line)
        {
            if (!line.StartsWith('!'))
            {
                _answer.TrySetResult(line);
                continue;
            }
            lock (_gate) _events.Add(line);
            if (line == "! stalled") _stalled.TrySetResult();
            if (line.StartsWith("! cut", StringComparison.Ordinal)) _cut.TrySetResult();
        }
        _answer.TrySetException(new InvalidOperationException("faultfs ended"));
    }

    private static string Word(FileOperation operation) => operation switch
    {
        FileOperation.Write => "write",
        FileOperation.Sync => "sync",
        FileOperation.Meta => "meta",
        _ => "any",
    };
}
