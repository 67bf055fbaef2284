using K3sFast.Datastore.Shared;

namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// kine's table, so that an existing k3s <c>state.db</c> is readable and ours is by k3s: one row per change, id = revision. A row is
/// superseded by the row whose prev_revision is its id. Row <c>compact_rev_key</c> carries the compacted revision in prev_revision;
/// rows <c>gap-…</c> fill ids that other engines skipped.
/// </summary>
/// <remarks>
/// Where the layout leaves a choice, a change touches as few pages as it can:
/// - Of kine's six indexes one is kept, (name, id). The other five only serve statements of kine's; k3s makes what is missing when it
///   starts (CREATE INDEX IF NOT EXISTS), and we drop them again. A change of a key then writes two pages instead of eight.
/// - sqlite_sequence, which every insert would write, runs <see cref="SequenceAhead"/> ids ahead: SQLite leaves it alone until it is
///   reached. Closing sets it right. k3s fills the ids that a killed server left unused with gap rows, as it fills any others.
/// - old_value is left null but for deletions: there kube-apiserver's watch needs it, while of an update it is the superseded row's value.
/// One column is ours, <c>k3sfast_crc32c</c>, see <see cref="RowChecksum"/>. kine names the columns in all its statements, so that it reads past it,
/// and leaves it null in the rows that it writes.
/// </remarks>
internal static class KineSchema
{
    /// <summary>How far sqlite_sequence runs ahead.</summary>
    public const int SequenceAhead = 64;

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
            old_value BLOB,
            k3sfast_crc32c INTEGER)
        """u8;

    public static ReadOnlySpan<byte> HasChecksumColumn => "SELECT count(*) FROM pragma_table_info('kine') WHERE name = 'k3sfast_crc32c'"u8;

    /// <summary>Changes the schema's text only, no row.</summary>
    public static ReadOnlySpan<byte> AddChecksumColumn => "ALTER TABLE kine ADD COLUMN k3sfast_crc32c INTEGER"u8;

    public static ReadOnlySpan<byte> CreateNameIdIndex => "CREATE INDEX IF NOT EXISTS kine_name_id_index ON kine (name,id)"u8;

    /// <summary>kine's own, which it makes anew when it is missing. The user's own indexes stay.</summary>
    public static ReadOnlySpan<byte> DropNameIndex => "DROP INDEX IF EXISTS kine_name_index"u8;
    public static ReadOnlySpan<byte> DropIdDeletedIndex => "DROP INDEX IF EXISTS kine_id_deleted_index"u8;
    public static ReadOnlySpan<byte> DropPrevRevisionIndex => "DROP INDEX IF EXISTS kine_prev_revision_index"u8;
    public static ReadOnlySpan<byte> DropNamePrevRevisionIndex => "DROP INDEX IF EXISTS kine_name_prev_revision_uindex"u8;
    public static ReadOnlySpan<byte> DropCompactIndex => "DROP INDEX IF EXISTS kine_id_compact_rev_key_with_prev_revision_index"u8;

    public static ReadOnlySpan<byte> InsertCompactRow => """
        INSERT INTO kine (name, created, deleted, create_revision, prev_revision, lease, value, old_value)
        SELECT 'compact_rev_key', 0, 1, 0, 0, 0, x'', NULL WHERE NOT EXISTS (SELECT 1 FROM kine WHERE name = 'compact_rev_key')
        """u8;

    public static ReadOnlySpan<byte> SelectCompactRevision => "SELECT coalesce(max(prev_revision), 0) FROM kine WHERE name = 'compact_rev_key'"u8;

    public static ReadOnlySpan<byte> SelectLastId => "SELECT coalesce(max(id), 0) FROM kine"u8;

    public static ReadOnlySpan<byte> SelectSequence => "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'kine'"u8;

    public static ReadOnlySpan<byte> SetSequence => "UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'kine'"u8;

    /// <summary>The newest row of a key. 1 = name; columns as <see cref="RowColumns"/>.</summary>
    public static ReadOnlySpan<byte> Probe => """
        SELECT id, name, created, deleted, create_revision, prev_revision, lease, value, k3sfast_crc32c FROM kine WHERE name = ?1 ORDER BY id DESC LIMIT 1
        """u8;

    /// <summary>1 id, 2 name, 3 created, 4 deleted, 5 create_revision, 6 prev_revision, 7 lease, 8 value, 9 checksum.</summary>
    public static ReadOnlySpan<byte> Insert => """
        INSERT INTO kine (id, name, created, deleted, create_revision, prev_revision, lease, value, old_value, k3sfast_crc32c)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, NULL, ?9)
        """u8;

    /// <summary>As <see cref="Insert"/>; old_value is the superseded row's value.</summary>
    public static ReadOnlySpan<byte> InsertDeletion => """
        INSERT INTO kine (id, name, created, deleted, create_revision, prev_revision, lease, value, old_value, k3sfast_crc32c)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, (SELECT value FROM kine WHERE id = ?6), ?9)
        """u8;

    /// <summary>Newest change of every key in [1, 2) up to revision 3, in key order. Runs on the covering index alone.</summary>
    public static ReadOnlySpan<byte> RangeIds => """
        SELECT name, max(id) FROM kine INDEXED BY kine_name_id_index WHERE name >= ?1 AND name < ?2 AND id <= ?3 GROUP BY name ORDER BY name
        """u8;

    /// <summary>Every change of every key in [1, 2) up to revision 3, in key order and then in their own. Runs on the covering index alone.</summary>
    public static ReadOnlySpan<byte> IndexOrder => """
        SELECT name, id FROM kine INDEXED BY kine_name_id_index WHERE name >= ?1 AND name < ?2 AND id <= ?3 ORDER BY name, id
        """u8;

    /// <summary>The rows with ids in [1, 2], in the order of the table; columns as <see cref="RowColumns"/>.</summary>
    public static ReadOnlySpan<byte> TableOrder => """
        SELECT id, name, created, deleted, create_revision, prev_revision, lease, value, k3sfast_crc32c FROM kine WHERE id >= ?1 AND id <= ?2 ORDER BY id
        """u8;

    /// <summary>One row by id; columns as <see cref="RowColumns"/>.</summary>
    public static ReadOnlySpan<byte> Row => """
        SELECT id, name, created, deleted, create_revision, prev_revision, lease, value, k3sfast_crc32c FROM kine WHERE id = ?1
        """u8;

    /// <summary>Changes after revision 1, at most 2 of them; columns as <see cref="RowColumns"/>.</summary>
    public static ReadOnlySpan<byte> History => """
        SELECT id, name, created, deleted, create_revision, prev_revision, lease, value, k3sfast_crc32c FROM kine WHERE id > ?1 ORDER BY id LIMIT ?2
        """u8;

    /// <summary>Live keys with a lease. Columns id, name, lease.</summary>
    public static ReadOnlySpan<byte> Leases => """
        SELECT id, name, lease FROM kine AS k WHERE lease > 0 AND deleted = 0
        AND NOT EXISTS (SELECT 1 FROM kine AS n WHERE n.name = k.name AND n.id > k.id)
        """u8;

    /// <summary>Ids and superseded ids of the changes in (1, 2]. Columns id, prev_revision, deleted.</summary>
    public static ReadOnlySpan<byte> SelectSuperseded => """
        SELECT id, prev_revision, deleted FROM kine WHERE id > ?1 AND id <= ?2 AND name != 'compact_rev_key' ORDER BY id
        """u8;

    /// <summary>Bytes of a row's values, known without reading them.</summary>
    public static ReadOnlySpan<byte> RowBytes => "SELECT coalesce(length(value), 0) + coalesce(length(old_value), 0) FROM kine WHERE id = ?1"u8;

    public static ReadOnlySpan<byte> DeleteRow => "DELETE FROM kine WHERE id = ?1"u8;

    /// <summary>Its checksum is a copy. kine raises the revision alone, so the copy is never the greater one in a whole file.</summary>
    public static ReadOnlySpan<byte> SetCompactRevision => "UPDATE kine SET prev_revision = ?1, k3sfast_crc32c = ?1 WHERE name = 'compact_rev_key'"u8;

    public static ReadOnlySpan<byte> SelectCompactRevisionCopy => "SELECT coalesce(max(k3sfast_crc32c), 0) FROM kine WHERE name = 'compact_rev_key'"u8;

    /// <summary>The columns of every statement that reads rows, in this order.</summary>
    public enum RowColumns
    {
        Id,
        Name,
        Created,
        Deleted,
        CreateRevision,
        PrevRevision,
        Lease,
        Value,
        Checksum,
    }

    /// <summary>True for rows that are the engine's own and not a user's change.</summary>
    public static bool IsInternal(ReadOnlySpan<byte> name) => StoreKeys.IsInternal(name);

    /// <summary>True for rows that are the engine's own and not a user's change.</summary>
    public static bool IsInternal(string name) => StoreKeys.IsInternal(name);
}
