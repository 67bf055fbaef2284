using System.Diagnostics;
using K3sFast.Datastore.Sqlite;
using Microsoft.Extensions.Time.Testing;

namespace K3sFast.Datastore.Tests.Sqlite;

/// <summary>A file that is as it was closed is served at once and gone through later; any other is gone through at the door.</summary>
public sealed class CloseMarkTests : IDisposable
{
    private const int PageBytes = 4096;
    private readonly string _directory = $"/tmp/store-closed-{Guid.NewGuid():N}";
    private readonly FakeTimeProvider _time = new();

    public CloseMarkTests() => Directory.CreateDirectory(_directory);

    private string DatabasePath => Path.Combine(_directory, "state.db");

    private string MarkPath => CloseMark.PathOf(DatabasePath);

    [Fact]
    public async Task Open_AsItWasClosed_ServesAtOnceAndFindsDamageLater()
    {
        await FillAsync();
        Assert.True(File.Exists(MarkPath));
        DamageUnseen();
        await using var store = Open();
        Assert.False(File.Exists(MarkPath));
        Assert.Null(store.ReadStatus().Damage);
        await UntilAsync(() =>
        {
            _time.Advance(TimeSpan.FromSeconds(20));
            return store.ReadStatus().Damage is not null;
        });
        await Assert.ThrowsAsync<DatastoreCorruptException>(async () => await store.AppendAsync(AppendRequest.Create("/b", "x"u8.ToArray())));
    }

    [Fact]
    public async Task Dispose_BeforeTheCheck_LeavesNoMarkForTheNextStart()
    {
        await FillAsync();
        DamageUnseen();
        await Open().DisposeAsync();
        Assert.False(File.Exists(MarkPath));
        AssertFoundAtTheDoor();
    }

    /// <summary>Whoever may read the database may read what lies beside it, and nobody else.</summary>
    [Fact]
    public async Task FilesBesideTheDatabase_HaveItsMode()
    {
        const UnixFileMode OwnerAlone = UnixFileMode.UserRead | UnixFileMode.UserWrite, OwnerAndGroup = OwnerAlone | UnixFileMode.GroupRead;
        await FillAsync();
        foreach (var mode in (UnixFileMode[])[OwnerAlone, OwnerAndGroup])
        {
            File.SetUnixFileMode(DatabasePath, mode);
            await using (var store = Open())
            {
                Assert.Equal(mode, File.GetUnixFileMode(FlushMark.PathOf(DatabasePath)));
                await UntilAsync(() =>
                {
                    _time.Advance(TimeSpan.FromSeconds(20));
                    return store.IsKnownWhole;
                });
            }
            Assert.Equal(mode, File.GetUnixFileMode(MarkPath));
        }
    }

    [Fact]
    public async Task Dispose_AfterTheCheck_LeavesAMark()
    {
        await FillAsync();
        await using (var store = Open())
        {
            await UntilAsync(() =>
            {
                _time.Advance(TimeSpan.FromSeconds(20));
                return store.IsKnownWhole;
            });
        }
        Assert.True(File.Exists(MarkPath));
    }

    [Fact]
    public async Task Dispose_AfterDamageWasFound_LeavesNoMark()
    {
        await FillAsync();
        DamageUnseen();
        await using (var store = Open())
        {
            await UntilAsync(() =>
            {
                _time.Advance(TimeSpan.FromSeconds(20));
                return store.ReadStatus().Damage is not null;
            });
        }
        Assert.False(File.Exists(MarkPath));
        AssertFoundAtTheDoor();
    }

    [Theory]
    [InlineData("gone")]
    [InlineData("empty")]
    [InlineData("torn")]
    [InlineData("a turned bit")]
    [InlineData("of another file")]
    public async Task Open_MarkThatSaysNothing_ChecksAtTheDoor(string mark)
    {
        await FillAsync();
        DamageUnseen();
        byte[] good = await File.ReadAllBytesAsync(MarkPath);
        switch (mark)
        {
            case "gone":
                File.Delete(MarkPath);
                break;
            case "empty":
                await File.WriteAllBytesAsync(MarkPath, []);
                break;
            case "torn":
                await File.WriteAllBytesAsync(MarkPath, good[..20]);
                break;
            case "a turned bit":
                good[18] ^= 4;
                await File.WriteAllBytesAsync(MarkPath, good);
                break;
            default:
                string other = Path.Combine(_directory, "other", "state.db");
                await using (var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = other })) await store.AppendAsync(AppendRequest.Create("/o", "x"u8.ToArray()));
                File.Copy(CloseMark.PathOf(other), MarkPath, overwrite: true);
                break;
        }
        AssertFoundAtTheDoor();
    }

    /// <summary>The very moment of the closing is told from any later one, though the kernel stamps writes by a coarse clock.</summary>
    [Fact]
    public async Task Open_FileWrittenRightAfterItsClosing_ChecksAtTheDoor()
    {
        for (int turn = 0; turn < 8; turn++)
        {
            await FillAsync();
            Damage();
            AssertFoundAtTheDoor();
            foreach (string file in Directory.GetFiles(_directory)) File.Delete(file);
        }
    }

    [Theory]
    [InlineData("older state restored with its times")]
    [InlineData("copied to another time")]
    [InlineData("grown")]
    [InlineData("head changed behind its times")]
    public async Task Open_AnotherFileThanWasClosed_ChecksAtTheDoor(string change)
    {
        await FillAsync();
        string backup = DatabasePath + ".backup";
        File.Copy(DatabasePath, backup);
        File.SetLastWriteTimeUtc(backup, File.GetLastWriteTimeUtc(DatabasePath));
        await using (var store = Open()) await UntilWholeAndWrittenAsync(store);
        Assert.True(File.Exists(MarkPath));
        var closedAt = File.GetLastWriteTimeUtc(DatabasePath);
        switch (change)
        {
            case "older state restored with its times":
                File.Copy(backup, DatabasePath, overwrite: true);
                DamageUnseen();
                File.SetLastWriteTimeUtc(DatabasePath, File.GetLastWriteTimeUtc(backup));
                break;
            case "copied to another time":
                DamageUnseen();
                File.SetLastWriteTimeUtc(DatabasePath, closedAt.AddTicks(1));
                break;
            case "grown":
                DamageUnseen();
                using (var file = File.OpenWrite(DatabasePath)) file.SetLength(file.Length + PageBytes);
                File.SetLastWriteTimeUtc(DatabasePath, closedAt);
                break;
            default:
                // What another program's transaction changes: the change counter.
                using (var file = File.OpenWrite(DatabasePath))
                {
                    file.Seek(27, SeekOrigin.Begin);
                    file.WriteByte(0xee);
                }
                DamageUnseen();
                File.SetLastWriteTimeUtc(DatabasePath, closedAt);
                break;
        }
        AssertFoundAtTheDoor();
    }

    /// <summary>A kill leaves a log; a mark that a power cut brought back beside it is of an earlier life.</summary>
    [Fact]
    public async Task Open_MarkBesideALog_ChecksAtTheDoor()
    {
        await FillAsync();
        byte[] mark = await File.ReadAllBytesAsync(MarkPath);
        var closedAt = File.GetLastWriteTimeUtc(DatabasePath);
        string killed = Path.Combine(_directory, "killed");
        Directory.CreateDirectory(killed);
        await using (var store = Open())
        {
            await store.AppendAsync(AppendRequest.Create("/later", "x"u8.ToArray()));
            // By another process: closing a file here would drop SQLite's locks on it.
            using var copy = Process.Start("cp", [DatabasePath, $"{DatabasePath}-wal", killed]);
            await copy.WaitForExitAsync();
            Assert.Equal(0, copy.ExitCode);
        }
        string database = Path.Combine(killed, "state.db");
        await File.WriteAllBytesAsync(CloseMark.PathOf(database), mark);
        Damage(database);
        File.SetLastWriteTimeUtc(database, closedAt);
        AssertFoundAtTheDoor(database);
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private SqliteDatastore Open() => SqliteDatastore.Open(new SqliteDatastoreOptions { Path = DatabasePath, TimeProvider = _time, CompactInterval = TimeSpan.Zero });

    private async Task FillAsync()
    {
        await using var store = Open();
        await Task.WhenAll(Enumerable.Range(0, 200).Select(i => store.AppendAsync(AppendRequest.Create($"/a/{i}", new byte[500])).AsTask()));
    }

    private async Task UntilWholeAndWrittenAsync(SqliteDatastore store)
    {
        await store.AppendAsync(AppendRequest.Create("/b", "x"u8.ToArray()));
        await UntilAsync(() =>
        {
            _time.Advance(TimeSpan.FromSeconds(20));
            return store.IsKnownWhole;
        });
    }

    private void AssertFoundAtTheDoor(string? database = null)
    {
        var options = new SqliteDatastoreOptions { Path = database ?? DatabasePath, TimeProvider = _time };
        Assert.Equal(DatastoreOpenFailure.Corrupt, Assert.Throws<DatastoreOpenException>(() => SqliteDatastore.Open(options)).Failure);
    }

    /// <summary>Leaves that no step of opening reads.</summary>
    private void Damage(string? database = null)
    {
        using var file = File.OpenWrite(database ?? DatabasePath);
        file.Seek(8 * PageBytes, SeekOrigin.Begin);
        file.Write(new byte[8 * PageBytes]);
    }

    /// <summary>The same as the medium does it: nobody wrote.</summary>
    private void DamageUnseen()
    {
        var changedAt = File.GetLastWriteTimeUtc(DatabasePath);
        Damage();
        File.SetLastWriteTimeUtc(DatabasePath, changedAt);
    }

    private static async Task UntilAsync(Func<bool> isSo)
    {
        var deadline = DateTime.UtcNow.AddSeconds(60);
        while (!isSo())
        {
            Assert.True(DateTime.UtcNow < deadline, "it did not come to be within a minute");
            await Task.Delay(5);
        }
    }
}
