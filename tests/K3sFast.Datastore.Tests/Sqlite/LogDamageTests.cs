using System.Diagnostics;
using K3sFast.Datastore.Sqlite;

namespace K3sFast.Datastore.Tests.Sqlite;

/// <summary>The log of a killed process: what a power cut tears is forgiven, what rots is not.</summary>
public sealed class LogDamageTests : IDisposable
{
    private const int FrameBytes = 24 + 4096;
    private readonly string _directory = $"/dev/shm/store-log-{Guid.NewGuid():N}";

    private string KilledPath => $"{_directory}/killed/state.db";

    private string LogPath => $"{KilledPath}-wal";

    [Fact]
    public async Task Open_BitTurnedInAcknowledgedFrames_IsRefused()
    {
        await LeaveAsync(appends: 200);
        byte[] good = await File.ReadAllBytesAsync($"{KilledPath}-wal");
        int frames = good.Length / FrameBytes;
        foreach (int at in (int[])[1, frames / 4, frames / 2])
        {
            // The page, its number, its place in the transaction, its checksum.
            foreach (int offset in (int[])[24 + 1000, 3, 7, 17])
            {
                byte[] bad = [.. good];
                bad[32 + (at * FrameBytes) + offset] ^= 4;
                await File.WriteAllBytesAsync($"{KilledPath}-wal", bad);
                File.Delete($"{KilledPath}-shm");
                var error = Assert.Throws<DatastoreOpenException>(Open);
                Assert.Equal(DatastoreOpenFailure.Corrupt, error.Failure);
                Assert.Contains($"frame {at + 1} of", error.Message);
                Assert.Equal(bad, await File.ReadAllBytesAsync($"{KilledPath}-wal"));
            }
        }
        await File.WriteAllBytesAsync($"{KilledPath}-wal", good);
        await using var whole = Open();
        Assert.Equal(201, whole.CurrentRevision);
    }

    /// <summary>The newest frames have nothing behind them; the note of what was flushed tells them from a torn tail.</summary>
    [Fact]
    public async Task Open_BitTurnedInTheNewestFrames_IsRefused()
    {
        await LeaveAsync(appends: 30);
        byte[] good = await File.ReadAllBytesAsync(LogPath);
        int frames = (good.Length - 32) / FrameBytes;
        foreach (int at in (int[])[frames - 1, frames - 2, frames / 2, 0])
        {
            foreach (int offset in (int[])[24 + 1000, 3, 7, 12, 17])
            {
                byte[] bad = [.. good];
                bad[32 + (at * FrameBytes) + offset] ^= 4;
                await RefuseAsync(bad, $"frame {at + 1} of");
            }
        }
        await RefuseAsync(good[..^FrameBytes], $"ends with frame {frames - 1}, and {frames} were flushed");
        await OpensAtAsync(good, 31);
    }

    /// <summary>A torn head is forgiven where the log had begun anew; here what stands behind it is nowhere else.</summary>
    [Fact]
    public async Task Open_BitTurnedInTheHead_IsRefusedUnlessAllWasCopied()
    {
        await LeaveAsync(appends: 30);
        byte[] good = await File.ReadAllBytesAsync(LogPath);
        foreach (int offset in (int[])[0, 10, 18, 30])
        {
            byte[] bad = [.. good];
            bad[offset] ^= 4;
            await RefuseAsync(bad, "the head of");
        }
        byte[] torn = [.. good];
        torn.AsSpan(0, 32).Clear();
        await File.WriteAllBytesAsync(LogPath, good);
        using (var hand = SqliteConnection.Open(KilledPath, 0))
        {
            hand.Execute("SELECT count(*) FROM kine"u8);
            hand.Checkpoint(truncate: false);
            await CopyAsync("copied", KilledPath);
        }
        File.Move($"{_directory}/copied", KilledPath, overwrite: true);
        await OpensAtAsync(torn, 31);
    }

    [Fact]
    public async Task Open_NoteOfFlushesTornOrGone_SaysNothing()
    {
        await LeaveAsync(appends: 30);
        byte[] good = await File.ReadAllBytesAsync(LogPath);
        byte[] mark = await File.ReadAllBytesAsync($"{KilledPath}-flushed");
        foreach (byte[] torn in (byte[][])[[], mark[..20], [.. mark[..15], (byte)(mark[15] + 1), .. mark[16..]]])
        {
            await File.WriteAllBytesAsync($"{KilledPath}-flushed", torn);
            await OpensAtAsync(good[..^1000], 30);
        }
    }

    /// <summary>k3s opens what a kill left, goes on in the same log, and is killed as well: what we noted is still true.</summary>
    [Fact]
    public async Task Open_K3sWentOnInTheLog_IsServed()
    {
        await LeaveAsync(appends: 30);
        Directory.CreateDirectory($"{_directory}/later");
        using (var kine = SqliteConnection.Open(KilledPath, 5000))
        {
            KineReader.LayOut(kine);
            for (int i = 0; i < 20; i++) KineReader.Insert(kine, $"/later/{i}", true, false, 0, 0, new byte[300], null);
            await CopyAsync("later", KilledPath, LogPath, $"{KilledPath}-flushed");
        }
        await using var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = $"{_directory}/later/state.db" });
        var seen = new RecordingObserver();
        Assert.Equal(50, (await store.RangeAsync(new RangeRequest("/l"), seen)).Count);
    }

    /// <summary>The last group's flush was under way when the power went: its frames are torn, those before it are whole.</summary>
    [Fact]
    public async Task Open_LastFramesTorn_IsForgiven()
    {
        await LeaveAsync(appends: 200, more: 3);
        byte[] log = await File.ReadAllBytesAsync($"{KilledPath}-wal");
        int frames = (log.Length - 32) / FrameBytes;
        log.AsSpan(32 + ((frames - 1) * FrameBytes) + 600, 512).Clear();
        await File.WriteAllBytesAsync($"{KilledPath}-wal", log[..^1000]);
        await using var store = Open();
        Assert.InRange(store.CurrentRevision, 201, 203);
        Assert.Equal(AppendOutcome.Committed, (await store.AppendAsync(AppendRequest.Create("/after", "x"u8.ToArray()))).Outcome);
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private SqliteDatastore Open() => SqliteDatastore.Open(new SqliteDatastoreOptions { Path = KilledPath });

    private async Task RefuseAsync(byte[] log, string finding)
    {
        await File.WriteAllBytesAsync(LogPath, log);
        File.Delete($"{KilledPath}-shm");
        var error = Assert.Throws<DatastoreOpenException>(Open);
        Assert.Equal(DatastoreOpenFailure.Corrupt, error.Failure);
        Assert.Contains(finding, error.Message);
        Assert.Equal(log, await File.ReadAllBytesAsync(LogPath));
    }

    private async Task OpensAtAsync(byte[] log, long revision)
    {
        File.Copy(KilledPath, $"{_directory}/kept", overwrite: true);
        await File.WriteAllBytesAsync(LogPath, log);
        File.Delete($"{KilledPath}-shm");
        await using (var store = Open()) Assert.Equal(revision, store.CurrentRevision);
        File.Move($"{_directory}/kept", KilledPath, overwrite: true);
    }

    /// <summary>What a killed process leaves; <paramref name="more"/> = the log holds so many appends more than the note of flushes knows of.</summary>
    private async Task LeaveAsync(int appends, int more = 0)
    {
        await using var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = $"{_directory}/state.db" });
        for (int i = 0; i < appends; i++) await store.AppendAsync(AppendRequest.Create($"/log/{i}", new byte[300]));
        Directory.CreateDirectory($"{_directory}/killed");
        await CopyAsync("killed", $"{_directory}/state.db-flushed");
        for (int i = 0; i < more; i++) await store.AppendAsync(AppendRequest.Create($"/log/{appends + i}", new byte[300]));
        await CopyAsync("killed", $"{_directory}/state.db", $"{_directory}/state.db-wal");
    }

    // By another process: closing a file here would drop SQLite's locks on it.
    private async Task CopyAsync(string to, params string[] files)
    {
        using var copy = Process.Start("cp", [.. files, $"{_directory}/{to}"]);
        await copy.WaitForExitAsync();
        Assert.Equal(0, copy.ExitCode);
    }
}
