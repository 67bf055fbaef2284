using System.Diagnostics;
using System.Globalization;
using K3sFast.Datastore.Sqlite;

namespace K3sFast.Datastore.Tests.Crash;

/// <summary>What was acknowledged survives the end of the process, however it comes.</summary>
public sealed class CrashTests : IDisposable
{
    private static readonly TimeSpan s_deadline = TimeSpan.FromMinutes(4);

    private readonly string _directory = $"/tmp/store-crash-{Guid.NewGuid():N}";

    public CrashTests() => Directory.CreateDirectory(_directory);

    private string DatabasePath => Path.Combine(_directory, "state.db");

    [Fact]
    public async Task Kill9_UnderLoad_LosesNoAcknowledgedAppendAndReusesNoRevision()
    {
        var acknowledged = new Dictionary<long, string>();
        for (int round = 0; round < 3; round++)
        {
            using var child = StartChild(preload: null);
            for (int i = 0; i < 300; i++) Note(await ReadLineAsync(child), acknowledged);
            child.Kill();
            // What it had said before it died counts as well.
            while (await ReadLineAsync(child) is { } line) Note(line, acknowledged);
            await child.WaitForExitAsync();
        }
        await CheckAsync(acknowledged);
    }

    /// <summary>A library laid over the child makes fdatasync and fsync fail while a file exists.</summary>
    [Fact]
    public async Task FailingFlush_IsNeverAcknowledged_AndWritesGoOnAfterIt()
    {
        string shim = await BuildFailingFlushAsync();
        var acknowledged = new Dictionary<long, string>();
        using var child = StartChild(shim);
        for (int i = 0; i < 50; i++) Note(await ReadLineAsync(child), acknowledged);
        await File.WriteAllTextAsync($"{_directory}/fail", "");
        // Answers that were under way may still come, and as many as a pipe holds were given before; then only errors do.
        using var deadline = new CancellationTokenSource(s_deadline);
        for (int errors = 0; errors < 8;)
        {
            string? line = await ReadLineAsync(child);
            errors = line!.StartsWith("error", StringComparison.Ordinal) ? errors + 1 : 0;
            Note(line, acknowledged);
            Assert.False(deadline.IsCancellationRequested, "appends are acknowledged though no flush works");
        }
        File.Delete($"{_directory}/fail");
        for (int before = acknowledged.Count; acknowledged.Count < before + 10;)
        {
            Note(await ReadLineAsync(child), acknowledged);
            Assert.False(deadline.IsCancellationRequested, "no append is acknowledged after flushes worked again");
        }
        child.Kill();
        while (await ReadLineAsync(child) is { } line) Note(line, acknowledged);
        await child.WaitForExitAsync();
        await CheckAsync(acknowledged);
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private Process StartChild(string? preload)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath!, ["append", DatabasePath, "8"]) { RedirectStandardOutput = true };
        if (preload is not null)
        {
            start.Environment["LD_PRELOAD"] = preload;
            start.Environment["FAILING_FLUSH_WHILE"] = $"{_directory}/fail";
        }
        return Process.Start(start)!;
    }

    private static async Task<string?> ReadLineAsync(Process child) =>
        await child.StandardOutput.ReadLineAsync(CancellationToken.None).AsTask().WaitAsync(TimeSpan.FromSeconds(120));

    private static void Note(string? line, Dictionary<long, string> acknowledged)
    {
        Assert.NotNull(line);
        string[] words = line.Split(' ');
        // Adding fails if a revision is acknowledged twice, also by different processes.
        if (words is ["ack", var revision, var key]) acknowledged.Add(long.Parse(revision, CultureInfo.InvariantCulture), key);
    }

    private async Task CheckAsync(Dictionary<long, string> acknowledged)
    {
        await using var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = DatabasePath });
        var seen = new RecordingObserver();
        await store.RangeAsync(new RangeRequest("/crash/"), seen);
        var stored = seen.Changes.ToDictionary(change => change.Revision, change => change.Key);
        foreach (var (revision, key) in acknowledged) Assert.Equal(key, stored.GetValueOrDefault(revision));
        // Unacknowledged ones may be there (committed, and killed before the answer), but revisions have no gap.
        Assert.Equal(Enumerable.Range(2, stored.Count).Select(i => (long)i), stored.Keys.Order());
        Assert.Equal(store.CurrentRevision, stored.Keys.Max());
    }

    private async Task<string> BuildFailingFlushAsync()
    {
        string source = $"{_directory}/failing-flush.c";
        string library = $"{_directory}/failing-flush.so";
        await File.WriteAllTextAsync(source, """
            #define _GNU_SOURCE
            #include <errno.h>
            #include <stdlib.h>
            #include <sys/syscall.h>
            #include <unistd.h>
            static int fails(void) { const char *path = getenv("FAILING_FLUSH_WHILE"); return path && access(path, F_OK) == 0; }
            int fdatasync(int fd) { if (fails()) { errno = EIO; return -1; } return (int)syscall(SYS_fdatasync, fd); }
            int fsync(int fd) { if (fails()) { errno = EIO; return -1; } return (int)syscall(SYS_fsync, fd); }
            """);
        using var compiler = Process.Start("cc", ["-shared", "-fPIC", "-O1", "-o", library, source]);
        await compiler.WaitForExitAsync();
        Assert.Equal(0, compiler.ExitCode);
        return library;
    }
}
