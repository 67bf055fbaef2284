using System.Buffers;
using System.Text;

namespace K3sFast.Datastore.Sqlite;

/// <summary>Read-only connections, lent one caller each. Readers never block the writer nor each other (WAL).</summary>
internal sealed class SqliteReaders(string path) : IDisposable
{
    // Idle ones kept: lists come in bursts, each connection holds a page cache.
    private const int MaxIdle = 2;

    private readonly Lock _gate = new();
    private readonly Stack<SqliteReader> _idle = new();
    private bool _isDisposed;

    public Lent Rent()
    {
        SqliteReader? reader;
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            _idle.TryPop(out reader);
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
        lock (_gate)
        {
            if (!_isDisposed && _idle.Count < MaxIdle)
            {
                _idle.Push(reader);
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
                    // Bytes, not a string: a start reads every key there is.
                    var name = row.Name;
                    if (!KineSchema.IsInternal(name))
                    {
                        if (request.Limit > 0 && count == request.Limit) return new RangeResult(revision, count, HasMore: true);
                        visitor.OnEntry(new DatastoreEntry
                        {
                            KeyUtf8 = name,
                            Value = row.Value,
                            Revision = id,
                            CreateRevision = row.CreateRevision,
                            LeaseSeconds = row.Lease,
                            Kind = row.CreateRevision == id ? AppendKind.Create : AppendKind.Update,
                        });
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

    /// <summary>Shows up to <paramref name="limit"/> changes after a revision. Returns the last revision read (also of internal rows).</summary>
    public long ReadHistory(long afterRevision, int limit, SqliteWatch watch)
    {
        long last = afterRevision;
        try
        {
            _history.Bind(1, afterRevision).Bind(2, limit);
            while (_history.Step())
            {
                var row = StoredRow.Read(_history, _connection.Path);
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

    /// <summary>Keys that cut a prefix's into about equal parts, by samples: some dozens of rows are looked at, whatever there is.</summary>
    public List<string> SplitKeys(string prefix, int parts, long currentRevision)
    {
        const int Samples = 64;
        // Below this a second reader costs more than it saves.
        if (parts < 2 || currentRevision < 4_000) return [];
        var names = new List<string>();
        using var statement = _connection.Prepare(KineSchema.NameAt);
        for (int i = 0; i < Samples; i++)
        {
            statement.Bind(1, (currentRevision * i / Samples) + 1);
            if (statement.Step() && statement.Text(0) is var name && name.StartsWith(prefix, StringComparison.Ordinal)) names.Add(name);
            statement.Reset();
        }
        // UTF-16 and UTF-8 may order rare names differently; any cut that is a key is a right one, as long as all compare its bytes.
        names.Sort(string.CompareOrdinal);
        var cuts = new List<string>();
        for (int i = 1; i < parts && names.Count >= Samples / 4; i++) cuts.Add(names[names.Count * i / parts]);
        return [.. cuts.Distinct()];
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

    /// <summary>Ends the statement that runs, from another thread.</summary>
    public void Interrupt() => _connection.Interrupt();

    /// <summary>Checks the whole file: structure, order, and that index and table say the same. Null = whole.</summary>
    public string? FindDamage() => _connection.QueryText("PRAGMA integrity_check(1)"u8) is var finding and not "ok" ? finding ?? "no answer" : null;

    public void Dispose()
    {
        foreach (var statement in (ReadOnlySpan<SqliteConnection.Statement>)[_begin, _commit, _rangeIds, _row, _history]) statement.Dispose();
        _connection.Dispose();
    }

    /// <summary>A text after all keys with a prefix: UTF-8 has no 0xff byte.</summary>
    /// <remarks>
    /// Raising the prefix's last byte instead would make "0" of "/", which is compared as a number in the files of old k3s, whose column
    /// name is declared INTEGER: every key would lie above it.
    /// </remarks>
    private static byte[] PrefixEnd(byte[] prefix) => [.. prefix, 0xff];
}
