using K3sFast.Datastore.Shared;

namespace K3sFast.Datastore.Sql;

/// <summary>Rows of kine's table as changes.</summary>
internal static class KineRows
{
    /// <summary>A row of <see cref="KineStatements.History"/>; null for rows that are the engine's own.</summary>
    public static Change? ToChange(SqlRow row)
    {
        string name = row.Text(1);
        if (StoreKeys.IsInternal(name)) return null;
        long id = row.Int64(0);
        bool isCreate = row.Int64(2) != 0;
        bool isDelete = row.Int64(3) != 0;
        return new Change(
            name,
            isDelete ? default : row.Bytes(6).ToArray(),
            id,
            isCreate ? id : row.Int64(4),
            row.Int64(5),
            isDelete ? AppendKind.Delete : isCreate ? AppendKind.Create : AppendKind.Update);
    }

    /// <summary>A row that begins with name, id, create_revision, lease, value, as a range shows it; lent as the row is.</summary>
    public static DatastoreEntry ToEntry(SqlRow row, string name, int rank = 0)
    {
        long id = row.Int64(1);
        long created = row.Int64(2) is var stored and not 0 ? stored : id;
        return new DatastoreEntry
        {
            Key = name,
            Value = row.Bytes(4),
            Revision = id,
            CreateRevision = created,
            LeaseSeconds = row.Int64(3),
            Kind = created == id ? AppendKind.Create : AppendKind.Update,
            Rank = rank,
        };
    }

    /// <summary>Puts fillers in the places of revisions that nobody commits. A place that somebody takes meanwhile is his.</summary>
    public static async ValueTask FillAsync(ISqlConnection connection, long first, long end, CancellationToken cancellationToken)
    {
        for (long id = first; id < end; id++)
        {
            try
            {
                await connection.RunAsync(new[] { KineStatements.Fill(id) }, null, cancellationToken).ConfigureAwait(false);
            }
            catch (SqlException error) when (error.Failure is SqlFailure.Duplicate)
            {
            }
        }
    }

    /// <summary>Revisions that are missing among the newest: a writer was slow, or gave up, shortly before we came.</summary>
    public static async Task<List<(long First, long End)>> FindHolesAsync(ISqlConnection connection, long newest, long compacted, CancellationToken cancellationToken)
    {
        // As many as kine reads at once; what is older was resolved by whoever was here.
        const int Newest = 500;
        long next = Math.Max(compacted, newest - Newest) + 1;
        var holes = new List<(long, long)>();
        var ids = new SqlStatement("SELECT id FROM kine WHERE id >= $1 AND id <= $2 ORDER BY id", next, newest);
        await connection.RunAsync(
            new[] { ids },
            (_, row) =>
            {
                long id = row.Int64(0);
                if (id > next) holes.Add((next, id));
                next = id + 1;
            },
            cancellationToken).ConfigureAwait(false);
        return holes;
    }
}
