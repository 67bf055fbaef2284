namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// kine's table, so that an existing k3s <c>state.db</c> is readable and ours is by k3s: one row per change, id = revision. A row is
/// superseded by the row whose prev_revision is its id. Row <c>compact_rev_key</c> carries the compacted revision in prev_revision;
/// rows <c>gap-…</c> fill ids that other engines skipped. old_value is left null: it repeats the superseded row's value, which is
/// still there for as long as anybody may ask.
/// </summary>
internal static class KineSchema
{
    public const string CompactKey = "compact_rev_key";
    public const string GapPrefix = "gap-";

    public static ReadOnlySpan<byte> CreateTable => """
        CREATE TABLE IF NOT EXISTS kine (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT NOT NULL,
            created INTEGER,
            deleted INTEGER,
            create_revision INTEGER NOT NULL,
            prev_revision INTEGER,
            lease INTEGER,
            value BLOB,
            old_value BLOB)
        """u8;

    public static ReadOnlySpan<byte> CreateNameIndex => "CREATE INDEX IF NOT EXISTS kine_name_index ON kine (name)"u8;
    public static ReadOnlySpan<byte> CreateNameIdIndex => "CREATE INDEX IF NOT EXISTS kine_name_id_index ON kine (name,id)"u8;
    public static ReadOnlySpan<byte> CreateIdDeletedIndex => "CREATE INDEX IF NOT EXISTS kine_id_deleted_index ON kine (id,deleted)"u8;
    public static ReadOnlySpan<byte> CreatePrevRevisionIndex => "CREATE INDEX IF NOT EXISTS kine_prev_revision_index ON kine (prev_revision)"u8;

    public static ReadOnlySpan<byte> CreateNamePrevRevisionIndex =>
        "CREATE UNIQUE INDEX IF NOT EXISTS kine_name_prev_revision_uindex ON kine (name, prev_revision)"u8;

    public static ReadOnlySpan<byte> CreateCompactIndex => """
        CREATE INDEX IF NOT EXISTS kine_id_compact_rev_key_with_prev_revision_index
        ON kine (id, name, prev_revision) WHERE name != 'compact_rev_key' AND prev_revision != 0
        """u8;

    public static ReadOnlySpan<byte> InsertCompactRow => """
        INSERT INTO kine (name, created, deleted, create_revision, prev_revision, lease, value, old_value)
        SELECT 'compact_rev_key', 0, 1, 0, 0, 0, x'', NULL WHERE NOT EXISTS (SELECT 1 FROM kine WHERE name = 'compact_rev_key')
        """u8;

    public static ReadOnlySpan<byte> SelectCompactRevision => "SELECT max(prev_revision) FROM kine WHERE name = 'compact_rev_key'"u8;

    /// <summary>The sequence remembers ids whose rows were compacted away: no revision is used twice.</summary>
    public static ReadOnlySpan<byte> SelectCurrentRevision =>
        "SELECT max(coalesce((SELECT max(id) FROM kine), 0), coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'kine'), 0))"u8;

    /// <summary>The newest row of a key. 1 = name; columns id, deleted, create_revision.</summary>
    public static ReadOnlySpan<byte> Probe => "SELECT id, deleted, create_revision FROM kine WHERE name = ?1 ORDER BY id DESC LIMIT 1"u8;

    /// <summary>1 id, 2 name, 3 created, 4 deleted, 5 create_revision, 6 prev_revision, 7 lease, 8 value.</summary>
    public static ReadOnlySpan<byte> Insert => """
        INSERT INTO kine (id, name, created, deleted, create_revision, prev_revision, lease, value, old_value)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, NULL)
        """u8;

    /// <summary>Newest change of every key in [1, 2) up to revision 3, in key order. Runs on the covering index alone.</summary>
    public static ReadOnlySpan<byte> RangeIds => """
        SELECT name, max(id) FROM kine INDEXED BY kine_name_id_index WHERE name >= ?1 AND name < ?2 AND id <= ?3 GROUP BY name ORDER BY name
        """u8;

    /// <summary>One row by id. Columns deleted, create_revision, lease, value.</summary>
    public static ReadOnlySpan<byte> Row => "SELECT deleted, create_revision, lease, value FROM kine WHERE id = ?1"u8;

    /// <summary>Changes after revision 1, at most 2 of them. Columns id, name, created, deleted, create_revision, lease, value.</summary>
    public static ReadOnlySpan<byte> History =>
        "SELECT id, name, created, deleted, create_revision, lease, value FROM kine WHERE id > ?1 ORDER BY id LIMIT ?2"u8;

    /// <summary>Live keys with a lease. Columns id, name, lease.</summary>
    public static ReadOnlySpan<byte> Leases => """
        SELECT id, name, lease FROM kine AS k WHERE lease > 0 AND deleted = 0
        AND NOT EXISTS (SELECT 1 FROM kine AS n WHERE n.name = k.name AND n.id > k.id)
        """u8;

    /// <summary>Rows that the changes in (1, 2] superseded, and the deletions among those changes.</summary>
    public static ReadOnlySpan<byte> CompactRows => """
        DELETE FROM kine WHERE id IN (
            SELECT prev_revision FROM kine WHERE id > ?1 AND id <= ?2 AND name != 'compact_rev_key' AND prev_revision != 0
            UNION
            SELECT id FROM kine WHERE id > ?1 AND id <= ?2 AND name != 'compact_rev_key' AND deleted != 0)
        """u8;

    public static ReadOnlySpan<byte> SetCompactRevision => "UPDATE kine SET prev_revision = ?1 WHERE name = 'compact_rev_key'"u8;

    /// <summary>True for rows that are the engine's own and not a user's change.</summary>
    public static bool IsInternal(string name) => name is CompactKey || name.StartsWith(GapPrefix, StringComparison.Ordinal);
}
