using K3sFast.Datastore.Shared;

namespace K3sFast.Datastore.Sql;

/// <summary>
/// Reads a whole state by several sessions at once: first which row of each key is the newest, in key order, then those rows in the order of their ids, in batches. No
/// session makes the database sort the values, or hold a list of them.
/// </summary>
internal sealed class SqlStateScan(SqlReaders readers)
{
    // As many sessions as SqlReaders keeps: more would be opened for this alone.
    private const int MaxParts = 3;

    // Below this another session costs more than it saves.
    private const int MinRowsPerPart = 2_000;

    // Rows per question: 1.5 MB of objects of 3 KB.
    private const int Batch = 500;

    /// <summary>As <see cref="IStateReader.ReadStateAsync"/>, for a revision that nothing is still to come up to. Returns up to where history is compacted after it.</summary>
    public async Task<long> ReadAsync(string prefix, long revision, Func<int, IDatastoreVisitor> openPart, CancellationToken cancellationToken)
    {
        var rows = new List<(long Id, int Rank)>();
        await readers.AskAsync(
            new[] { new SqlStatement(KineStatements.NewestRows, prefix, StoreKeys.PrefixEnd(prefix), revision) },
            (_, row) => rows.Add((row.Int64(0), rows.Count)),
            () =>
            {
                rows.Clear();
                return true;
            },
            cancellationToken).ConfigureAwait(false);
        rows.Sort(static (left, right) => left.Id.CompareTo(right.Id));
        int count = Math.Clamp(rows.Count / MinRowsPerPart, 1, Math.Min(MaxParts, Environment.ProcessorCount));
        var parts = new Task<long>[count];
        var visitors = new IDatastoreVisitor[count];
        for (int i = 0; i < count; i++) visitors[i] = openPart(rows.Count);
        for (int i = 0; i < count; i++)
        {
            int from = (int)((long)rows.Count * i / count), to = (int)((long)rows.Count * (i + 1) / count);
            var visitor = visitors[i];
            parts[i] = Task.Run(() => ReadPartAsync(rows, from, to, visitor, cancellationToken), cancellationToken);
        }
        return (await Task.WhenAll(parts).ConfigureAwait(false)).Max();
    }

    private async Task<long> ReadPartAsync(List<(long Id, int Rank)> rows, int from, int to, IDatastoreVisitor visitor, CancellationToken cancellationToken)
    {
        long compacted = 0;
        var ranks = new Dictionary<long, int>(Batch);
        for (; from < to; from += Batch)
        {
            ranks.Clear();
            for (int i = from; i < Math.Min(to, from + Batch); i++) ranks.Add(rows[i].Id, rows[i].Rank);
            int shown = 0;
            await readers.AskAsync(
                // Read after the rows: a compaction that took some of them shows here.
                new[] { KineStatements.Entries([.. ranks.Keys]), new(KineStatements.Revisions) },
                (statement, row) =>
                {
                    if (statement == 1)
                    {
                        compacted = row.Int64(1);
                        return;
                    }
                    // The newest row of a key that is gone.
                    if (row.Int64(5) != 0) return;
                    string name = row.Text(0);
                    if (StoreKeys.IsInternal(name)) return;
                    shown++;
                    visitor.OnEntry(KineRows.ToEntry(row, name, ranks[row.Int64(1)]));
                },
                () => shown == 0,
                cancellationToken).ConfigureAwait(false);
        }
        return compacted;
    }
}
