using System.Text;
using K3sFast.Datastore.Sqlite;

namespace K3sFast.Datastore.Tests.Sqlite;

/// <summary>
/// What k3s does with the file when it opens it: kine's table, indexes and statements, in the shape that it runs them. It stands for k3s in tests of
/// whether each can go on with what the other left.
/// </summary>
internal static class KineReader
{
    private const string Columns = "kv.id AS theid, kv.name AS thename, kv.created, kv.deleted, kv.create_revision, kv.prev_revision, kv.lease, kv.value, kv.old_value";
    private const string Newest = "(SELECT MAX(rkv.id) FROM kine AS rkv)";
    private const string Compacted = "(SELECT MAX(crkv.prev_revision) FROM kine AS crkv WHERE crkv.name = 'compact_rev_key')";

    /// <summary>The table as kine's first releases made it: name without a text type, nothing else than the plain indexes.</summary>
    public static readonly string[] OldLayout =
    [
        "CREATE TABLE IF NOT EXISTS kine (id INTEGER PRIMARY KEY AUTOINCREMENT, name INTEGER, created INTEGER, deleted INTEGER, create_revision INTEGER, prev_revision INTEGER, lease INTEGER, value BLOB, old_value BLOB)",
        "CREATE INDEX IF NOT EXISTS kine_name_index ON kine (name)",
        "CREATE UNIQUE INDEX IF NOT EXISTS kine_name_prev_revision_uindex ON kine (name, prev_revision)",
    ];

    /// <summary>As today's makes it.</summary>
    public static readonly string[] NewLayout =
    [
        "CREATE TABLE IF NOT EXISTS kine (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, created INTEGER, deleted INTEGER, create_revision INTEGER NOT NULL, prev_revision INTEGER, lease INTEGER, value BLOB, old_value BLOB)",
        "CREATE INDEX IF NOT EXISTS kine_name_index ON kine (name)",
        "CREATE INDEX IF NOT EXISTS kine_name_id_index ON kine (name,id)",
        "CREATE INDEX IF NOT EXISTS kine_id_deleted_index ON kine (id,deleted)",
        "CREATE INDEX IF NOT EXISTS kine_prev_revision_index ON kine (prev_revision)",
        "CREATE UNIQUE INDEX IF NOT EXISTS kine_name_prev_revision_uindex ON kine (name, prev_revision)",
        "CREATE INDEX IF NOT EXISTS kine_id_compact_rev_key_with_prev_revision_index ON kine (id, name, prev_revision) WHERE name != 'compact_rev_key' AND prev_revision != 0",
    ];

    public static void LayOut(SqliteConnection kine, bool isOld = false)
    {
        foreach (string statement in isOld ? OldLayout : NewLayout) Run(kine, statement);
    }

    /// <summary>A change as kine writes it; returns its id.</summary>
    public static long Insert(SqliteConnection kine, string name, bool created, bool deleted, long createRevision, long prevRevision, byte[]? value, byte[]? oldValue, long lease = 0)
    {
        using var insert = kine.Prepare(Encoding.UTF8.GetBytes("INSERT INTO kine(name, created, deleted, create_revision, prev_revision, lease, value, old_value) VALUES(?, ?, ?, ?, ?, ?, ?, ?)"));
        insert.BindText(1, Encoding.UTF8.GetBytes(name)).Bind(2, created ? 1 : 0).Bind(3, deleted ? 1 : 0).Bind(4, created ? 0 : createRevision).Bind(5, prevRevision).Bind(6, lease);
        if (value is null) insert.BindNull(7);
        else insert.BindBlob(7, value);
        if (oldValue is null) insert.BindNull(8);
        else insert.BindBlob(8, oldValue);
        insert.Run();
        return kine.QueryInt64("SELECT last_insert_rowid()"u8);
    }

    /// <summary>List: the live keys of a prefix, now or at a revision.</summary>
    public static List<KineRow> List(SqliteConnection kine, string like, long revision = 0, bool includeDeleted = false)
    {
        string at = revision == 0 ? "" : $"AND mkv.id <= {revision}";
        return Read(kine, $"SELECT * FROM (SELECT {Newest}, {Compacted}, {Columns} FROM kine AS kv JOIN (SELECT MAX(mkv.id) AS id FROM kine AS mkv WHERE mkv.name LIKE '{like}' {at} GROUP BY mkv.name) AS maxkv ON maxkv.id = kv.id WHERE kv.deleted = 0 OR {(includeDeleted ? 1 : 0)}) AS lkv ORDER BY lkv.thename ASC");
    }

    /// <summary>Watch: the changes of a prefix after a revision.</summary>
    public static List<KineRow> After(SqliteConnection kine, string like, long revision) =>
        Read(kine, $"SELECT {Newest}, {Compacted}, {Columns} FROM kine AS kv WHERE kv.name LIKE '{like}' AND kv.id > {revision} ORDER BY kv.id ASC");

    public static (long Revision, long Count) Count(SqliteConnection kine, string like)
    {
        using var count = kine.Prepare(Encoding.UTF8.GetBytes(
            $"SELECT {Newest}, COUNT(c.theid) FROM (SELECT {Columns} FROM kine AS kv JOIN (SELECT MAX(mkv.id) AS id FROM kine AS mkv WHERE mkv.name LIKE '{like}' GROUP BY mkv.name) AS maxkv ON maxkv.id = kv.id WHERE kv.deleted = 0) c"));
        Assert.True(count.Step());
        return (count.Int64(0), count.Int64(1));
    }

    /// <summary>Compaction up to a revision, as kine does it in one transaction.</summary>
    public static void Compact(SqliteConnection kine, long revision)
    {
        Run(kine, "BEGIN IMMEDIATE");
        Run(kine, $"DELETE FROM kine AS kv WHERE kv.id IN (SELECT kp.prev_revision AS id FROM kine AS kp WHERE kp.name != 'compact_rev_key' AND kp.prev_revision != 0 AND kp.id <= {revision} UNION SELECT kd.id AS id FROM kine AS kd WHERE kd.deleted != 0 AND kd.id <= {revision} AND kd.name != 'compact_rev_key')");
        Run(kine, $"UPDATE kine SET prev_revision = {revision} WHERE name = 'compact_rev_key'");
        Run(kine, "COMMIT");
    }

    public static void Run(SqliteConnection kine, string sql) => kine.Execute(Encoding.UTF8.GetBytes(sql));

    private static List<KineRow> Read(SqliteConnection kine, string sql)
    {
        var rows = new List<KineRow>();
        using var statement = kine.Prepare(Encoding.UTF8.GetBytes(sql));
        while (statement.Step())
        {
            rows.Add(new KineRow(
                statement.Int64(2), statement.Text(3), statement.Int64(4) != 0, statement.Int64(5) != 0, statement.Int64(6), statement.Int64(7), statement.Int64(8),
                Encoding.UTF8.GetString(statement.Blob(9)), Encoding.UTF8.GetString(statement.Blob(10))));
        }
        return rows;
    }
}

/// <summary>A row as kine sees it.</summary>
internal sealed record KineRow(long Id, string Name, bool Created, bool Deleted, long CreateRevision, long PrevRevision, long Lease, string Value, string OldValue);
