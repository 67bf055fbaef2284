using System.Diagnostics;
using K3sFast.Datastore.Sqlite;

namespace K3sFast.Datastore.Tests.Sqlite;

/// <summary>The log of a killed process: what a power cut tears is forgiven, what rots is not.</summary>
public sealed class LogDamageTests : IDisposable
{
    private const int FrameBytes = 24 + 4096;
    private readonly string _directory = $"/dev/shm/store-log-{Guid.NewGuid():N}";

    private string KilledPath => $"{_directory}/killed/state.db";

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

    /// <summary>The last group's flush was under way when the power went: its frames are torn, those before it are whole.</summary>
    [Fact]
    public async Task Open_LastFramesTorn_IsForgiven()
    {
        await LeaveAsync(appends: 200);
        byte[] log = await File.ReadAllBytesAsync($"{KilledPath}-wal");
        int frames = (log.Length - 32) / FrameBytes;
        log.AsSpan(32 + ((frames - 1) * FrameBytes) + 600, 512).Clear();
        await File.WriteAllBytesAsync($"{KilledPath}-wal", log[..^1000]);
        await using var store = Open();
        Assert.InRange(store.CurrentRevision, 195, 200);
        Assert.Equal(AppendOutcome.Committed, (await store.AppendAsync(AppendRequest.Create("/after", "x"u8.ToArray()))).Outcome);
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private SqliteDatastore Open() => SqliteDatastore.Open(new SqliteDatastoreOptions { Path = KilledPath });

    private async Task LeaveAsync(int appends)
    {
        await using var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = $"{_directory}/state.db" });
        for (int i = 0; i < appends; i++) await store.AppendAsync(AppendRequest.Create($"/log/{i}", new byte[300]));
        Directory.CreateDirectory($"{_directory}/killed");
        // Copied by another process: closing a file here would drop SQLite's locks on it.
        using var copy = Process.Start("cp", [$"{_directory}/state.db", $"{_directory}/state.db-wal", $"{_directory}/killed"]);
        await copy.WaitForExitAsync();
        Assert.Equal(0, copy.ExitCode);
    }
}
