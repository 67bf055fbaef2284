using System.Runtime.InteropServices;

namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// Reads a whole state: first the index, which tells the newest row of each key in key order, then those rows in the order in which they lie in the
/// file, by several readers. Every page is read once, and one after the other, which counts most where nothing is cached yet.
/// </summary>
internal static class StateScan
{
    // More readers than this only wait for the disk.
    private const int MaxParts = 4;

    // Ids that are this thick are put in order by their place among all, which takes a tenth of the time of comparing them.
    private const int MaxIdsPerRow = 4;

    // Below this another reader costs more than it saves.
    private const int MinRowsPerPart = 2_000;

    /// <summary>The newest row of each key with a prefix at a revision, in the order in which they lie in the file.</summary>
    public static IndexedRow[] ReadIndex(SqliteReaders readers, string prefix, long revision, CancellationToken cancellationToken)
    {
        List<IndexedRow> found;
        using (var lent = readers.Rent()) found = lent.Reader.ReadIndex(prefix, revision, cancellationToken);
        return InOrderOfIds(found);
    }

    /// <summary>The rows in the order of their ids.</summary>
    internal static IndexedRow[] InOrderOfIds(List<IndexedRow> rows)
    {
        var ordered = new IndexedRow[rows.Count];
        if (TryPlace(CollectionsMarshal.AsSpan(rows), ordered)) return ordered;
        rows.CopyTo(ordered);
        Array.Sort(ordered);
        return ordered;
    }

    /// <summary>Puts rows in the order of their ids by counting. False = the ids lie too far apart, or two rows have the same, which is damage that whoever reads them finds.</summary>
    private static bool TryPlace(ReadOnlySpan<IndexedRow> rows, Span<IndexedRow> ordered)
    {
        if (rows.IsEmpty) return true;
        long first = long.MaxValue, last = long.MinValue;
        foreach (ref readonly var row in rows)
        {
            first = Math.Min(first, row.Id);
            last = Math.Max(last, row.Id);
        }
        if ((ulong)(last - first) >= (ulong)rows.Length * MaxIdsPerRow) return false;
        // One more than the row's place among the keys; 0 = no row has the id.
        int[] byId = new int[(int)(last - first) + 1];
        for (int i = 0; i < rows.Length; i++)
        {
            ref int place = ref byId[(int)(rows[i].Id - first)];
            if (place != 0) return false;
            place = i + 1;
        }
        int count = 0;
        foreach (int place in byId)
        {
            if (place != 0) ordered[count++] = rows[place - 1];
        }
        return true;
    }

    /// <summary>Shows the live keys of a prefix at a revision, each with its rank. <paramref name="rows"/>: what <see cref="ReadIndex"/> told of them.</summary>
    public static async Task ReadAsync(
        SqliteReaders readers, IndexedRow[] rows, string prefix, long revision, Func<int, IDatastoreVisitor> openPart, CancellationToken cancellationToken)
    {
        int count = Math.Clamp(rows.Length / MinRowsPerPart, 1, Math.Min(MaxParts, Environment.ProcessorCount));
        var parts = new Part[count];
        for (int i = 0; i < count; i++)
        {
            int from = (int)((long)rows.Length * i / count), to = (int)((long)rows.Length * (i + 1) / count);
            parts[i] = new Part(rows.AsMemory(from, to - from), openPart(rows.Length), []);
        }
        await Task.WhenAll(parts.Select(part => Task.Run(() => part.Read(readers, cancellationToken), cancellationToken))).ConfigureAwait(false);
        List<IndexedRow> missing = [.. parts.SelectMany(static part => part.Missing)];
        if (missing.Count == 0) return;
        // Deletions that were compacted away since the index was read are in it no more; anything else is damage.
        using (var lent = readers.Rent()) lent.Reader.CheckGone(missing, prefix, revision, cancellationToken);
    }

    private sealed record Part(ReadOnlyMemory<IndexedRow> Rows, IDatastoreVisitor Visitor, List<IndexedRow> Missing)
    {
        public void Read(SqliteReaders readers, CancellationToken cancellationToken)
        {
            using var lent = readers.Rent();
            lent.Reader.ReadRows(Rows.Span, Visitor, Missing, cancellationToken);
        }
    }
}

/// <summary>A key's newest row, as the index tells of it; in the order of the table.</summary>
/// <param name="Id">The row.</param>
/// <param name="Rank">The key's place among all keys.</param>
/// <param name="NameSum">Of the key's bytes, so that the row is known to be that key's.</param>
internal readonly record struct IndexedRow(long Id, int Rank, uint NameSum) : IComparable<IndexedRow>
{
    public int CompareTo(IndexedRow other) => Id.CompareTo(other.Id);

    public static bool operator <(IndexedRow left, IndexedRow right) => left.Id < right.Id;

    public static bool operator >(IndexedRow left, IndexedRow right) => left.Id > right.Id;

    public static bool operator <=(IndexedRow left, IndexedRow right) => left.Id <= right.Id;

    public static bool operator >=(IndexedRow left, IndexedRow right) => left.Id >= right.Id;
}
