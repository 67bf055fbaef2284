using K3sFast.Datastore.Sqlite;

namespace K3sFast.Datastore.Tests.Sqlite;

/// <summary>The contract on a disk.</summary>
public sealed class SqliteOnDiskTests : SqliteContractTests
{
    protected override string Root => "/tmp";
}

/// <summary>The contract where a flush costs nothing: other interleavings.</summary>
public sealed class SqliteInMemoryFileTests : SqliteContractTests
{
    protected override string Root => "/dev/shm";
}

/// <summary>The contract with flushes beside the writer, as many at once as there may be.</summary>
public sealed class SqliteFlushedBesideTests : SqliteContractTests
{
    protected override string Root => "/tmp";

    protected override SqliteDatastoreOptions OptionsOf(string path) => new() { Path = path, Pace = new FlushPace(TimeSpan.Zero, isAlwaysBeside: true) };
}

public abstract class SqliteContractTests : DatastoreContractTests
{
    private string? _directory;

    protected abstract string Root { get; }

    protected virtual SqliteDatastoreOptions OptionsOf(string path) => new() { Path = path };

    protected override Task<IDatastore> OpenAsync()
    {
        _directory ??= Path.Combine(Root, $"store-tests-{Guid.NewGuid():N}");
        return Task.FromResult<IDatastore>(SqliteDatastore.Open(OptionsOf(Path.Combine(_directory, "state.db"))));
    }

    protected override void CleanUp()
    {
        if (_directory is not null && Directory.Exists(_directory)) Directory.Delete(_directory, recursive: true);
    }
}
