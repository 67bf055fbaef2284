using System.Diagnostics;
using System.Globalization;
using K3sFast.Datastore.FailPoints;
using K3sFast.Datastore.Sqlite;

namespace K3sFast.Datastore.Tests.Crash;

/// <summary>Every named point is reached, and what happens there loses nothing that was acknowledged.</summary>
public sealed class FailPointTests : IDisposable
{
    private readonly string _directory = $"/tmp/store-fail-{Guid.NewGuid():N}";

    public FailPointTests() => Directory.CreateDirectory(_directory);

    private string DatabasePath => Path.Combine(_directory, "state.db");

    public static TheoryData<string, bool> StorePoints
    {
        get
        {
            var points = new TheoryData<string, bool>();
            foreach (string name in FailPointNames.All)
            {
                points.Add(name, false);
                if (name.StartsWith("commit.", StringComparison.Ordinal)) points.Add(name, true);
            }
            return points;
        }
    }

    [Theory]
    [MemberData(nameof(StorePoints))]
    public async Task Kill_AtThePoint_LosesNoAcknowledgedAppendAndReusesNoRevision(string point, bool isFlushedBeside)
    {
        var acknowledged = new SortedDictionary<long, string>();
        for (int round = 0; round < 2; round++)
        {
            // The first reach happens while the store is laid out or filled; a later one finds it in full use.
            using var child = Process.Start(new ProcessStartInfo(Environment.ProcessPath!, ["churn", DatabasePath, $"{isFlushedBeside}"])
            {
                RedirectStandardOutput = true,
                Environment = { ["K3SFAST_FAILPOINTS"] = $"{point}=kill@{1 + (round * 2)}" },
            })!;
            while (await child.StandardOutput.ReadLineAsync().WaitAsync(TimeSpan.FromMinutes(5)) is { } line)
            {
                if (line.Split(' ') is ["ack", var revision, var key]) acknowledged.Add(long.Parse(revision, CultureInfo.InvariantCulture), key);
            }
            await child.WaitForExitAsync();
            // 128 + SIGKILL: the child ended at the point, not by itself.
            Assert.Equal(137, child.ExitCode);
        }
        await using var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = DatabasePath });
        var seen = new RecordingObserver();
        await store.RangeAsync(new RangeRequest("/churn/"), seen);
        var stored = seen.Changes.ToDictionary(change => change.Key, change => change.Revision);
        foreach (var newest in acknowledged.GroupBy(pair => pair.Value, pair => pair.Key))
        {
            Assert.True(stored.TryGetValue(newest.Key, out long revision), $"{newest.Key} is lost");
            Assert.True(revision >= newest.Max(), $"{newest.Key} is at {revision}, {newest.Max()} was acknowledged");
        }
        Assert.True(store.CurrentRevision >= acknowledged.Keys.LastOrDefault());
        // Every newer revision than the compacted one is there, once.
        var history = new RecordingObserver();
        // Revision 1 is the compaction's own row.
        long from = Math.Max(1, store.CompactRevision);
        using var watch = store.Watch(from, history);
        await watch.CaughtUp.WaitAsync(TimeSpan.FromSeconds(60));
        Assert.Equal(Enumerable.Range(1, (int)(store.CurrentRevision - from)).Select(i => from + i), history.Changes.Select(change => change.Revision));
    }

    [Theory]
    [InlineData("error(EIO)")]
    [InlineData("error(ENOSPC)")]
    public async Task Error_AtEveryPointOfACommit_IsNeverAcknowledgedAsWritten_AndWritesGoOnAfterIt(string term)
    {
        await using var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = DatabasePath, FlushBesideFrom = TimeSpan.MaxValue });
        long last = (await store.AppendAsync(AppendRequest.Create("/f/0", "x"u8.ToArray()))).Revision;
        int i = 0;
        foreach (string point in (string[])[
            FailPointNames.CommitBeforeBegin, FailPointNames.CommitAfterInsert, FailPointNames.CommitBeforeCommit, FailPointNames.CommitInWrite, FailPointNames.CommitInFlush])
        {
            string key = $"/f/{++i}";
            using (FailPoint.Set(point, term, DatabasePath))
            {
                if (term == "error(ENOSPC)")
                {
                    Assert.Equal(AppendOutcome.Full, (await store.AppendAsync(AppendRequest.Create(key, "x"u8.ToArray()))).Outcome);
                }
                else
                {
                    await Assert.ThrowsAsync<DatastoreException>(async () => await store.AppendAsync(AppendRequest.Create(key, "x"u8.ToArray())));
                }
            }
            Assert.Equal(new AppendResult(AppendOutcome.Committed, ++last), await store.AppendAsync(AppendRequest.Create(key, "y"u8.ToArray())));
        }
    }

    /// <summary>Set while the process runs, by writing the file that the environment names.</summary>
    [Fact]
    public async Task Kill_SetInAFileMeanwhile_IsObeyed()
    {
        string file = $"{_directory}/points";
        using var child = Process.Start(new ProcessStartInfo(Environment.ProcessPath!, ["churn", DatabasePath, "false"])
        {
            RedirectStandardOutput = true,
            Environment = { ["K3SFAST_FAILPOINTS"] = $"@{file}" },
        })!;
        for (int i = 0; i < 20; i++) Assert.NotNull(await child.StandardOutput.ReadLineAsync().WaitAsync(TimeSpan.FromMinutes(5)));
        await File.WriteAllTextAsync($"{file}.new", "commit.before-begin=kill\n");
        File.Move($"{file}.new", file);
        while (await child.StandardOutput.ReadLineAsync().WaitAsync(TimeSpan.FromMinutes(5)) is not null)
        {
        }
        await child.WaitForExitAsync();
        Assert.Equal(137, child.ExitCode);
    }

    [Fact]
    public void Term_Malformed_IsRefusedWithItsText()
    {
        foreach (string term in (string[])["explode", "delay", "delay(x)", "kill@", "kill*x", "error(EPERM)"])
        {
            Assert.Contains(term, Assert.Throws<FormatException>(() => FailPoint.Set(FailPointNames.CommitInFlush, term)).Message);
        }
        Assert.Throws<ArgumentException>(() => FailPoint.Set("commit.nowhere", "kill"));
    }

    [Fact]
    public void Term_FirstAndTimes_BoundWhenItActs()
    {
        using var set = FailPoint.Set(FailPointNames.CheckpointBefore, "error(EIO)@3*2", _directory);
        var answers = Enumerable.Range(0, 6).Select(_ => FailPoint.Reach(FailPointNames.CheckpointBefore, _directory));
        Assert.Equal([FailPointError.None, FailPointError.None, FailPointError.Io, FailPointError.Io, FailPointError.None, FailPointError.None], answers);
        Assert.Equal(FailPointError.None, FailPoint.Reach(FailPointNames.CheckpointBefore, "/elsewhere"));
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);
}
