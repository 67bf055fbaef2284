namespace K3sFast.Datastore.Sql;

/// <summary>
/// Compacts every interval, if no other server has since the last one: what is older than an interval goes, but never the newest revisions.
/// </summary>
internal sealed class SqlCompactor(ISqlEngine engine, SqlReaders readers, long keepRevisions)
{
    // Revisions per transaction: bounds how long rows stay locked.
    private const int StepRevisions = 500;

    private long _compactedThen = -1;
    private long _newestThen;

    /// <summary>One interval has passed. Returns up to where it was compacted by this server; 0 = not at all.</summary>
    public async Task<long> TickAsync(Action<long> onCompacting, CancellationToken cancellationToken)
    {
        var (newest, compacted) = await ReadAsync(cancellationToken).ConfigureAwait(false);
        long target = Math.Min(_newestThen, newest - keepRevisions);
        bool isOurTurn = compacted == _compactedThen;
        (_newestThen, _compactedThen) = (newest, compacted);
        if (!isOurTurn || target <= compacted) return 0;
        await CompactAsync(target, onCompacting, cancellationToken).ConfigureAwait(false);
        _compactedThen = target;
        return target;
    }

    /// <summary>Forgets what was superseded at or before a revision, in small transactions.</summary>
    /// <param name="target">The revision.</param>
    /// <param name="onCompacting">Told of each step before it: readers below it are refused from then on.</param>
    /// <param name="cancellationToken">Ends it between two steps.</param>
    public async Task CompactAsync(long target, Action<long> onCompacting, CancellationToken cancellationToken)
    {
        await using var connection = await engine.ConnectAsync(cancellationToken).ConfigureAwait(false);
        var (_, from) = await ReadAsync(cancellationToken).ConfigureAwait(false);
        while (from < target)
        {
            long to = Math.Min(target, from + StepRevisions);
            onCompacting(to);
            // Rows first: the row that says how far is every writer's lock in MySQL, and is held for the commit alone.
            SqlStatement[] step = [new("BEGIN"), new(engine.CompactRows, to, from), new(KineStatements.SetCompacted, to), new("COMMIT")];
            await connection.RunAsync(step, null, cancellationToken).ConfigureAwait(false);
            from = to;
        }
    }

    public async Task<(long Newest, long Compacted)> ReadAsync(CancellationToken cancellationToken)
    {
        long newest = 0;
        long compacted = 0;
        await readers.AskAsync(
            new[] { new SqlStatement(KineStatements.Revisions) },
            (_, row) =>
            {
                newest = Math.Max(row.Int64(0), row.Int64(1));
                compacted = row.Int64(1);
            },
            null,
            cancellationToken).ConfigureAwait(false);
        return (newest, compacted);
    }
}
