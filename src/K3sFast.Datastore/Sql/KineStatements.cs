using System.Globalization;
using System.Text;

namespace K3sFast.Datastore.Sql;

/// <summary>kine's table in the words that both engines understand. See <see cref="Sqlite.KineSchema"/> for what its rows mean.</summary>
internal static class KineStatements
{
    /// <summary>Columns newest, compacted. Rows up to the compacted revision may be gone, so the newest is whichever is higher.</summary>
    public const string Revisions =
        "SELECT coalesce((SELECT max(id) FROM kine), 0), coalesce((SELECT max(prev_revision) FROM kine WHERE name = 'compact_rev_key'), 0)";

    /// <summary>Changes after $1 up to $2, at most $3. Columns id, name, created, deleted, create_revision, lease, value.</summary>
    public const string History =
        "SELECT id, name, created, deleted, create_revision, lease, value FROM kine WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3";

    /// <summary>Keys in [$1, $2) at revision $3, at most $4 (none = a very large number). Columns name, id, create_revision, lease, value.</summary>
    public const string Range = """
        SELECT k.name, k.id, k.create_revision, k.lease, k.value
        FROM (SELECT max(id) AS id FROM kine WHERE name >= $1 AND name < $2 AND id <= $3 GROUP BY name) AS newest
        JOIN kine AS k ON k.id = newest.id WHERE k.deleted = 0 ORDER BY k.name LIMIT $4
        """;

    /// <summary>The same for keys behind $1: no engine can compare with the zero that follows a key elsewhere.</summary>
    public const string RangeBehind = """
        SELECT k.name, k.id, k.create_revision, k.lease, k.value
        FROM (SELECT max(id) AS id FROM kine WHERE name > $1 AND name < $2 AND id <= $3 GROUP BY name) AS newest
        JOIN kine AS k ON k.id = newest.id WHERE k.deleted = 0 ORDER BY k.name LIMIT $4
        """;

    /// <summary>The newest row of each key in [$1, $2) at revision $3, deletions too, in key order. An index alone answers it.</summary>
    public const string NewestRows = "SELECT max(id) FROM kine WHERE name >= $1 AND name < $2 AND id <= $3 GROUP BY name ORDER BY name";

    /// <summary>Live keys with a lease. Columns id, name, lease.</summary>
    public const string Leases = """
        SELECT k.id, k.name, k.lease FROM kine AS k WHERE k.lease > 0 AND k.deleted = 0
        AND NOT EXISTS (SELECT 1 FROM kine AS n WHERE n.name = k.name AND n.id > k.id)
        """;

    public const string SetCompacted = "UPDATE kine SET prev_revision = $1 WHERE name = 'compact_rev_key' AND prev_revision < $1";

    /// <summary>The filler of a revision that nobody committed. Waits for a transaction that is about to, and then fails as a duplicate.</summary>
    public static SqlStatement Fill(long id) => new(
        "INSERT INTO kine (id, name, created, deleted, create_revision, prev_revision, lease, value, old_value) VALUES ($1, $2, 0, 1, 0, 0, 0, $3, NULL)",
        id, string.Create(CultureInfo.InvariantCulture, $"gap-{id}"), ReadOnlyMemory<byte>.Empty);

    /// <summary>Rows by id, those that are there. Columns id, name, prev_revision, value.</summary>
    public static SqlStatement Rows(IReadOnlyList<long> ids) => new($"SELECT id, name, prev_revision, value FROM kine WHERE id IN ({Places(ids.Count)})", [.. ids.Select(static id => (SqlValue)id)]);

    /// <summary>The same with the columns of a range, and last deleted.</summary>
    public static SqlStatement Entries(IReadOnlyList<long> ids) =>
        new($"SELECT name, id, create_revision, lease, value, deleted FROM kine WHERE id IN ({Places(ids.Count)})", [.. ids.Select(static id => (SqlValue)id)]);

    /// <summary>The newest rows of keys. Columns name, id, deleted, create_revision.</summary>
    public static SqlStatement Newest(IReadOnlyList<string> keys) => new(
        $"SELECT k.name, k.id, k.deleted, k.create_revision FROM (SELECT max(id) AS id FROM kine WHERE name IN ({Places(keys.Count)}) GROUP BY name) AS newest JOIN kine AS k ON k.id = newest.id",
        [.. keys.Select(static key => (SqlValue)key)]);

    /// <summary>All rows of a group in one statement.</summary>
    public static SqlStatement Insert(IReadOnlyList<KineRow> rows)
    {
        var text = new StringBuilder("INSERT INTO kine (id, name, created, deleted, create_revision, prev_revision, lease, value, old_value) VALUES ");
        var values = new List<SqlValue>(rows.Count * 7);
        foreach (var row in rows)
        {
            int at = values.Count;
            text.Append(CultureInfo.InvariantCulture, $"{(at == 0 ? "" : ", ")}(${at + 1}, ${at + 2}, {(row.Kind == AppendKind.Create ? 1 : 0)}, {(row.Kind == AppendKind.Delete ? 1 : 0)}, ${at + 3}, ${at + 4}, ${at + 5}, ${at + 6}, NULL)");
            values.AddRange([row.Id, row.Name, row.Kind == AppendKind.Create ? 0 : row.CreateRevision, row.PreviousRevision, row.Lease, row.Kind == AppendKind.Delete ? SqlValue.Null : row.Value]);
        }
        return new SqlStatement(text.ToString(), [.. values]);
    }

    private static string Places(int count) => string.Join(", ", Enumerable.Range(1, count).Select(static i => string.Create(CultureInfo.InvariantCulture, $"${i}")));
}

/// <summary>A row that a group adds.</summary>
internal readonly record struct KineRow(long Id, string Name, AppendKind Kind, long CreateRevision, long PreviousRevision, long Lease, ReadOnlyMemory<byte> Value);
