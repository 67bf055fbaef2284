using System.Buffers;
using System.Text;

namespace K3sFast.Datastore.Sqlite;

/// <summary>Read-only connections, lent one caller each. Readers never block the writer nor each other (WAL).</summary>
internal sealed class SqliteReaders(string path) : IDisposable
{
    // Idle ones kept: lists come in bursts. Closing one is no small thing: SQLite closes files under a lock that opening takes too, and where a close waits for a
    // flush of the same file (FUSE, NFS), all readers would.
    private const int MaxIdle = 32;

    // Of those, so many keep their page caches.
    private const int MaxWarm = 2;

    private readonly Lock _gate = new();
    private readonly Stack<SqliteReader> _idle = new();
    private bool _isDisposed;

    // Written under _gate, read by anyone
    private int _idleCount;

    public Lent Rent()
    {
        SqliteReader? reader;
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            _idle.TryPop(out reader);
            Volatile.Write(ref _idleCount, _idle.Count);
        }
        return new Lent(this, reader ?? new SqliteReader(path));
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _isDisposed = true;
            while (_idle.TryPop(out var reader)) reader.Dispose();
        }
    }

    private void Return(SqliteReader reader)
    {
        if (Volatile.Read(ref _idleCount) >= MaxWarm) reader.Shrink();
        lock (_gate)
        {
            if (!_isDisposed && _idle.Count < MaxIdle)
            {
                _idle.Push(reader);
                Volatile.Write(ref _idleCount, _idle.Count);
                return;
            }
        }
        reader.Dispose();
    }

    /// <summary>A lent reader; dispose to give it back.</summary>
    internal readonly struct Lent(SqliteReaders owner, SqliteReader reader) : IDisposable
    {
        public SqliteReader Reader => reader;

        public void Dispose() => owner.Return(reader);
    }
}

/// <summary>One reading connection with its statements.</summary>
internal sealed class SqliteReader : IDisposable
{
    private readonly SqliteConnection _connection;
    private readonly SqliteConnection.Statement _begin;
    private readonly SqliteConnection.Statement _commit;
    private readonly SqliteConnection.Statement _rangeIds;
    private readonly SqliteConnection.Statement _row;
    private readonly SqliteConnection.Statement _history;

    public SqliteReader(string path)
    {
        _connection = SqliteConnection.Open(path, busyTimeoutMs: 30_000);
        _connection.Execute("PRAGMA query_only = 1"u8);
        // KiB of page cache per reader: the kernel's own cache is the real one.
        _connection.Execute("PRAGMA cache_size = -512"u8);
        _begin = _connection.Prepare("BEGIN"u8);
        _commit = _connection.Prepare("COMMIT"u8);
        _rangeIds = _connection.Prepare(KineSchema.RangeIds);
        _row = _connection.Prepare(KineSchema.Row);
        _history = _connection.Prepare(KineSchema.History);
    }

    /// <summary>Shows the live keys of a prefix at a revision, streaming: one row in memory at a time.</summary>
    public RangeResult ReadRange(in RangeRequest request, long revision, IDatastoreVisitor visitor, CancellationToken cancellationToken)
    {
        byte[] prefix = Encoding.UTF8.GetBytes(request.Prefix);
        byte[] low = Encoding.UTF8.GetBytes(request.StartKey ?? "");
        if (low.AsSpan().SequenceCompareTo(prefix) < 0) low = prefix;
        byte[] high = PrefixEnd(prefix);
        _begin.Run();
        try
        {
            _rangeIds.BindText(1, low).BindText(2, high).Bind(3, revision);
            int count = 0;
            var previous = new ArrayBufferWriter<byte>();
            while (_rangeIds.Step())
            {
                cancellationToken.ThrowIfCancellationRequested();
                long id = _rangeIds.Int64(1);
                var indexed = _rangeIds.Blob(0);
                if (indexed.SequenceCompareTo(previous.WrittenSpan) <= 0) throw StoredRow.Damaged(_connection.Path, id, indexed, "the index is out of order");
                previous.ResetWrittenCount();
                previous.Write(indexed);
                if (!_row.Bind(1, id).Step()) throw StoredRow.Damaged(_connection.Path, id, indexed, "the index leads to a row that is not there");
                var row = StoredRow.Read(_row, _connection.Path);
                if (!row.Name.SequenceEqual(indexed)) throw StoredRow.Damaged(_connection.Path, id, row.Name, $"the index leads to it under the name {Encoding.UTF8.GetString(indexed)}");
                if (!row.IsDeleted)
                {
                    if (!KineSchema.IsInternal(row.Name))
                    {
                        if (request.Limit > 0 && count == request.Limit) return new RangeResult(revision, count, HasMore: true);
                        visitor.OnEntry(EntryOf(row, count));
                        count++;
                    }
                }
                _row.Reset();
            }
            return new RangeResult(revision, count, HasMore: false);
        }
        finally
        {
            _row.Reset();
            _rangeIds.Reset();
            _commit.Run();
        }
    }

    /// <summary>Shows up to <paramref name="limit"/> changes after a revision and up to another. Returns the last revision read (also of internal rows).</summary>
    public long ReadHistory(long afterRevision, long upToRevision, int limit, SqliteWatch watch)
    {
        long last = afterRevision;
        try
        {
            _history.Bind(1, afterRevision).Bind(2, limit);
            while (_history.Step())
            {
                var row = StoredRow.Read(_history, _connection.Path);
                if (row.Id > upToRevision) break;
                last = row.Id;
                string name = Encoding.UTF8.GetString(row.Name);
                if (KineSchema.IsInternal(name)) continue;
                watch.Show(new DatastoreEntry
                {
                    Key = name,
                    Value = row.IsDeleted ? default : row.Value,
                    Revision = last,
                    CreateRevision = row.CreateRevision,
                    LeaseSeconds = row.Lease,
                    Kind = row.IsDeleted ? AppendKind.Delete : row.IsCreated ? AppendKind.Create : AppendKind.Update,
                });
            }
            return last;
        }
        finally
        {
            _history.Reset();
        }
    }

    /// <summary>The newest row of each key with a prefix up to a revision, as the index has them, in key order. Deletions and rows of the engine's own are among them.</summary>
    public List<IndexedRow> ReadIndex(string prefix, long revision, CancellationToken cancellationToken)
    {
        byte[] low = Encoding.UTF8.GetBytes(prefix);
        var found = new List<IndexedRow>();
        var previous = new ArrayBufferWriter<byte>(256);
        using var statement = _connection.Prepare(KineSchema.IndexOrder);
        statement.BindText(1, low).BindText(2, PrefixEnd(low)).Bind(3, revision);
        while (statement.Step())
        {
            cancellationToken.ThrowIfCancellationRequested();
            var name = statement.Blob(0);
            long id = statement.Int64(1);
            int order = found.Count == 0 ? 1 : name.SequenceCompareTo(previous.WrittenSpan);
            if (order == 0 && id > found[^1].Id)
            {
                found[^1] = found[^1] with { Id = id };
                continue;
            }
            if (order <= 0) throw StoredRow.Damaged(_connection.Path, id, name, "the index is out of order");
            previous.ResetWrittenCount();
            previous.Write(name);
            found.Add(new IndexedRow(id, found.Count, RowChecksum.OfName(name)));
        }
        return found;
    }

    /// <summary>Shows those of some rows (in the order of their ids) that are live keys, with their ranks. Rows that are not there go to <paramref name="missing"/>.</summary>
    public void ReadRows(ReadOnlySpan<IndexedRow> rows, IDatastoreVisitor visitor, List<IndexedRow> missing, CancellationToken cancellationToken)
    {
        if (rows.IsEmpty) return;
        using var statement = _connection.Prepare(KineSchema.TableOrder);
        statement.Bind(1, rows[0].Id).Bind(2, rows[^1].Id);
        int at = 0;
        while (at < rows.Length && statement.Step())
        {
            cancellationToken.ThrowIfCancellationRequested();
            long id = statement.Int64((int)KineSchema.RowColumns.Id);
            while (at < rows.Length && rows[at].Id < id) missing.Add(rows[at++]);
            // Superseded, or another prefix's.
            if (at == rows.Length || rows[at].Id > id) continue;
            var row = StoredRow.Read(statement, _connection.Path);
            if (RowChecksum.OfName(row.Name) != rows[at].NameSum) throw StoredRow.Damaged(_connection.Path, id, row.Name, "the index leads to it under another name");
            if (!row.IsDeleted && !KineSchema.IsInternal(row.Name)) visitor.OnEntry(EntryOf(row, rows[at].Rank));
            at++;
        }
        missing.AddRange(rows[at..]);
    }

    /// <summary>Throws when one of some rows that the table lacks is in the index still.</summary>
    public void CheckGone(List<IndexedRow> missing, string prefix, long revision, CancellationToken cancellationToken)
    {
        var ids = missing.Select(static row => row.Id).ToHashSet();
        foreach (var row in ReadIndex(prefix, revision, cancellationToken))
        {
            if (ids.Contains(row.Id)) throw StoredRow.Damaged(_connection.Path, row.Id, "?"u8, "the index leads to a row that is not there");
        }
    }

    /// <summary>All live keys that have a lease.</summary>
    public List<(string Key, long Revision, long Seconds)> ReadLeases()
    {
        var leases = new List<(string, long, long)>();
        using var statement = _connection.Prepare(KineSchema.Leases);
        while (statement.Step())
        {
            string name = statement.Text(1);
            if (!KineSchema.IsInternal(name)) leases.Add((name, statement.Int64(0), statement.Int64(2)));
        }
        return leases;
    }

    /// <summary>Pages of the file, and those of them that hold nothing.</summary>
    public (long Pages, long FreePages) ReadPageCounts() =>
        (_connection.QueryInt64("PRAGMA page_count"u8), _connection.QueryInt64("PRAGMA freelist_count"u8));

    /// <summary>Gives the page cache back; what is read next is read from the kernel's.</summary>
    public void Shrink() => _connection.Execute("PRAGMA shrink_memory"u8);

    /// <summary>Ends the statement that runs, from another thread.</summary>
    public void Interrupt() => _connection.Interrupt();

    /// <summary>Checks the whole file: structure, order, and that index and table say the same. Null = whole.</summary>
    public string? FindDamage() => _connection.QueryText("PRAGMA integrity_check(1)"u8) is var finding and not "ok" ? finding ?? "no answer" : null;

    public void Dispose()
    {
        foreach (var statement in (ReadOnlySpan<SqliteConnection.Statement>)[_begin, _commit, _rangeIds, _row, _history]) statement.Dispose();
        _connection.Dispose();
    }

    // The key as bytes, not as a string: a start reads every key there is.
    private static DatastoreEntry EntryOf(in StoredRow row, int rank) => new()
    {
        KeyUtf8 = row.Name,
        Value = row.Value,
        Revision = row.Id,
        CreateRevision = row.CreateRevision,
        LeaseSeconds = row.Lease,
        Rank = rank,
        Kind = row.CreateRevision == row.Id ? AppendKind.Create : AppendKind.Update,
    };

    /// <summary>A text after all keys with a prefix: UTF-8 has no 0xff byte.</summary>
    /// <remarks>
    /// Raising the prefix's last byte instead would make "0" of "/", which is compared as a number in the files of old k3s, whose column
    /// name is declared INTEGER: every key would lie above it.
    /// </remarks>
    private static byte[] PrefixEnd(byte[] prefix) => [.. prefix, 0xff];
}
