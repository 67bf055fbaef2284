using System.Text;
using K3sFast.Datastore.Sqlite;

namespace K3sFast.FaultRig.Children;

/// <summary>
/// The store as k3s ships it, for comparison: kine's table in SQLite with write-ahead log, <c>synchronous = NORMAL</c> (the default of the
/// driver that kine is built with), one transaction per write. Watches show the log that is there when they begin, and end there.
/// </summary>
internal sealed class KineStore : IDatastore
{
    private readonly Lock _gate = new();
    private readonly SqliteConnection _connection;

    private KineStore(SqliteConnection connection) => _connection = connection;

    public long CurrentRevision { get; private set; }

    public long CompactRevision => 1;

    public static KineStore Open(string path)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        try
        {
            var connection = SqliteConnection.Open(path, busyTimeoutMs: 30_000);
            connection.Execute("PRAGMA journal_mode = WAL"u8);
            connection.Execute("PRAGMA synchronous = NORMAL"u8);
            connection.Execute("""
                CREATE TABLE IF NOT EXISTS kine (id INTEGER PRIMARY KEY AUTOINCREMENT, name INTEGER, created INTEGER, deleted INTEGER,
                    create_revision INTEGER, prev_revision INTEGER, lease INTEGER, value BLOB, old_value BLOB)
                """u8);
            connection.Execute("CREATE INDEX IF NOT EXISTS kine_name_index ON kine (name)"u8);
            connection.Execute("CREATE INDEX IF NOT EXISTS kine_name_id_index ON kine (name,id)"u8);
            connection.Execute("CREATE INDEX IF NOT EXISTS kine_id_deleted_index ON kine (id,deleted)"u8);
            connection.Execute("CREATE INDEX IF NOT EXISTS kine_prev_revision_index ON kine (prev_revision)"u8);
            connection.Execute("CREATE UNIQUE INDEX IF NOT EXISTS kine_name_prev_revision_uindex ON kine (name, prev_revision)"u8);
            return new KineStore(connection) { CurrentRevision = Math.Max(1, connection.QueryInt64("SELECT max(id) FROM kine"u8)) };
        }
        catch (SqliteException error)
        {
            throw new DatastoreOpenException(error.IsCorrupt ? DatastoreOpenFailure.Corrupt : DatastoreOpenFailure.Other, error.Message, error);
        }
    }

    public ValueTask<AppendResult> AppendAsync(in AppendRequest request, CancellationToken cancellationToken = default)
    {
        lock (_gate)
        {
            try
            {
                return ValueTask.FromResult(AppendLocked(request));
            }
            catch (SqliteException error)
            {
                throw new DatastoreException(error.Message, error);
            }
        }
    }

    public ValueTask<RangeResult> RangeAsync(in RangeRequest request, IDatastoreVisitor visitor, CancellationToken cancellationToken = default)
    {
        lock (_gate)
        {
            long revision = request.Revision == 0 ? CurrentRevision : request.Revision;
            int count = 0;
            using var rows = _connection.Prepare("""
                SELECT k.name, k.id, k.create_revision, k.value, k.deleted FROM kine AS k
                JOIN (SELECT max(id) AS id FROM kine WHERE name >= ?1 AND name < ?1 || x'ff' AND id <= ?2 GROUP BY name) AS m ON k.id = m.id WHERE k.deleted = 0 ORDER BY k.name
                """u8);
            rows.BindText(1, Encoding.UTF8.GetBytes(request.Prefix)).Bind(2, revision);
            while (rows.Step())
            {
                long id = rows.Int64(1), created = rows.Int64(2) is var began and not 0 ? began : id;
                visitor.OnEntry(new DatastoreEntry { Key = rows.Text(0), Value = rows.Blob(3), Revision = id, CreateRevision = created, Kind = created == id ? AppendKind.Create : AppendKind.Update });
                count++;
            }
            return ValueTask.FromResult(new RangeResult(revision, count, false));
        }
    }

    public IDatastoreWatch Watch(long afterRevision, IDatastoreObserver observer)
    {
        lock (_gate)
        {
            using var rows = _connection.Prepare("SELECT id, name, created, deleted, create_revision, value FROM kine WHERE id > ?1 ORDER BY id"u8);
            rows.Bind(1, afterRevision);
            while (rows.Step())
            {
                long id = rows.Int64(0);
                bool isCreate = rows.Int64(2) != 0, isDelete = rows.Int64(3) != 0;
                observer.OnEntry(new DatastoreEntry
                {
                    Key = rows.Text(1),
                    Value = isDelete ? default : rows.Blob(5),
                    Revision = id,
                    CreateRevision = isCreate ? id : rows.Int64(4),
                    Kind = isDelete ? AppendKind.Delete : isCreate ? AppendKind.Create : AppendKind.Update,
                });
            }
            observer.OnRevision(CurrentRevision);
            return new EndedWatch();
        }
    }

    public ValueTask CompactAsync(long revision, CancellationToken cancellationToken = default) => throw new NotSupportedException();

    public ValueTask DisposeAsync()
    {
        _connection.Dispose();
        return ValueTask.CompletedTask;
    }

    private AppendResult AppendLocked(in AppendRequest request)
    {
        byte[] key = Encoding.UTF8.GetBytes(request.Key);
        long id, created;
        bool isLive;
        using (var newest = _connection.Prepare("SELECT id, deleted, create_revision FROM kine WHERE name = ?1 ORDER BY id DESC LIMIT 1"u8))
        {
            bool exists = newest.BindText(1, key).Step();
            (id, isLive) = exists ? (newest.Int64(0), newest.Int64(1) == 0) : (0, false);
            created = !exists ? 0 : newest.Int64(2) is var began and not 0 ? began : id;
        }
        if (request.Kind == AppendKind.Create && isLive) return new AppendResult(AppendOutcome.Conflict, id);
        if (request.Kind != AppendKind.Create && !isLive) return new AppendResult(AppendOutcome.NotFound, 0);
        if (request.Kind != AppendKind.Create && id != request.ExpectedRevision) return new AppendResult(AppendOutcome.Conflict, id);
        using var insert = _connection.Prepare("""
            INSERT INTO kine (id, name, created, deleted, create_revision, prev_revision, lease, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7)
            """u8);
        insert.Bind(1, CurrentRevision + 1).BindText(2, key).Bind(3, request.Kind == AppendKind.Create ? 1 : 0).Bind(4, request.Kind == AppendKind.Delete ? 1 : 0);
        insert.Bind(5, request.Kind == AppendKind.Create ? 0 : created).Bind(6, id).BindBlob(7, request.Value.Span);
        insert.Run();
        return new AppendResult(AppendOutcome.Committed, ++CurrentRevision);
    }

    private sealed class EndedWatch : IDatastoreWatch
    {
        public Task CaughtUp => Task.CompletedTask;

        public void Dispose()
        {
        }
    }
}
