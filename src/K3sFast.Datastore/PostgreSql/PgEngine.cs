using System.Globalization;
using K3sFast.Datastore.Sql;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Datastore.PostgreSql;

/// <summary>kine's table in PostgreSQL.</summary>
internal sealed class PgEngine(PgOptions options, ILogger logger) : ISqlEngine
{
    // Keys of advisory locks: "kine" in ASCII, and the next number. Database-wide, so other databases of the server are not held up.
    private const string WriterLock = "1802072677";
    private const string SchemaLock = "1802072678";

    // A session that stops in the middle of a transaction (a frozen server) is ended by the database, and its lock with it.
    private static readonly SqlStatement[] s_settings =
    [
        new("SET lock_timeout = '5s'"),
        new("SET idle_in_transaction_session_timeout = '10s'"),
        new("SET synchronous_commit = on"),
        new("SET default_transaction_isolation = 'read committed'"),
    ];

    private int _host;

    /// <inheritdoc/>
    public string Name => options.Name;

    /// <inheritdoc/>
    public bool HasNotices => true;

    /// <inheritdoc/>
    public IReadOnlyList<SqlStatement> BeginLocked { get; } = [new("BEGIN"), new($"SELECT pg_advisory_xact_lock({WriterLock})")];

    /// <inheritdoc/>
    public string Size => "SELECT pg_total_relation_size('kine')";

    /// <inheritdoc/>
    public string CompactRows => """
        DELETE FROM kine WHERE id IN (
            SELECT prev_revision FROM kine WHERE id <= $1 AND id > $2 AND name != 'compact_rev_key' AND prev_revision != 0
            UNION
            SELECT id FROM kine WHERE id <= $1 AND id > $2 AND name != 'compact_rev_key' AND deleted != 0)
        """;

    /// <summary>Opens a store.</summary>
    public static Task<SqlDatastore> OpenAsync(string endpoint, DatastoreTls tls, SqlOptions options, CancellationToken cancellationToken)
    {
        var logger = (options.LoggerFactory ?? NullLoggerFactory.Instance).CreateLogger("K3sFast.Datastore");
        return SqlDatastore.OpenAsync(new PgEngine(PgOptions.Parse(endpoint, tls), logger), options, cancellationToken);
    }

    /// <inheritdoc/>
    /// <remarks>The sequence is moved along, so that k3s finds free ids when it opens the table again.</remarks>
    public IReadOnlyList<SqlStatement> Commit(long newest) =>
    [
        new("SELECT setval(pg_get_serial_sequence('kine', 'id'), $1)", newest),
        new("SELECT pg_notify('kine', $1)", newest.ToString(CultureInfo.InvariantCulture)),
        new("COMMIT"),
    ];

    /// <inheritdoc/>
    public async Task<ISqlConnection> ConnectAsync(CancellationToken cancellationToken) =>
        await ConnectAsync(options.Database, cancellationToken).ConfigureAwait(false);

    /// <inheritdoc/>
    public async Task<ISqlConnection> ListenAsync(CancellationToken cancellationToken)
    {
        var connection = await ConnectAsync(cancellationToken).ConfigureAwait(false);
        await connection.RunAsync(new[] { new SqlStatement("LISTEN kine") }, null, cancellationToken).ConfigureAwait(false);
        return connection;
    }

    /// <inheritdoc/>
    public async Task PrepareAsync(CancellationToken cancellationToken)
    {
        await using var connection = await ConnectOrCreateAsync(cancellationToken).ConfigureAwait(false);
        bool hasOrder = false;
        await connection.RunAsync(
            new SqlStatement[]
            {
                new("BEGIN"),
                // Two servers that make the same table at once would stumble over each other.
                new($"SELECT pg_advisory_xact_lock({SchemaLock})"),
                new("""
                    CREATE TABLE IF NOT EXISTS kine (
                        id BIGSERIAL PRIMARY KEY, name TEXT COLLATE "C", created INTEGER, deleted INTEGER, create_revision BIGINT,
                        prev_revision BIGINT, lease INTEGER, value BYTEA, old_value BYTEA)
                    """),
                new("CREATE INDEX IF NOT EXISTS kine_name_index ON kine (name)"),
                new("CREATE INDEX IF NOT EXISTS kine_name_id_index ON kine (name, id)"),
                new("CREATE INDEX IF NOT EXISTS kine_id_deleted_index ON kine (id, deleted)"),
                new("CREATE INDEX IF NOT EXISTS kine_prev_revision_index ON kine (prev_revision)"),
                new("CREATE UNIQUE INDEX IF NOT EXISTS kine_name_prev_revision_uindex ON kine (name, prev_revision)"),
                new("CREATE INDEX IF NOT EXISTS kine_list_query_index ON kine (name, id DESC, deleted)"),
                new("""
                    INSERT INTO kine (name, created, deleted, create_revision, prev_revision, lease, value, old_value)
                    SELECT 'compact_rev_key', 0, 1, 0, 0, 0, NULL, NULL WHERE NOT EXISTS (SELECT 1 FROM kine WHERE name = 'compact_rev_key')
                    """),
                new("COMMIT"),
                new("SELECT collation_name::text FROM information_schema.columns WHERE table_name = 'kine' AND column_name = 'name' AND table_schema = current_schema()"),
            },
            (_, row) => hasOrder |= row.Text(0) == "C",
            cancellationToken).ConfigureAwait(false);
        if (hasOrder) return;
        // An old kine left the order of names to the database's language; ranges need that of bytes.
        Log.TableMended(logger, Name, "keys are ordered by their bytes");
        await connection.RunAsync(new[] { new SqlStatement("""ALTER TABLE kine ALTER COLUMN name SET DATA TYPE TEXT COLLATE "C" USING name::TEXT COLLATE "C" """) }, null, cancellationToken).ConfigureAwait(false);
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private async Task<PgConnection> ConnectOrCreateAsync(CancellationToken cancellationToken)
    {
        const string NoSuchDatabase = "3D000";
        const string Exists = "42P04";
        try
        {
            return await ConnectAsync(options.Database, cancellationToken).ConfigureAwait(false);
        }
        catch (SqlException error) when (error.Code == NoSuchDatabase)
        {
            await using var connection = await ConnectAsync("postgres", cancellationToken).ConfigureAwait(false);
            string quoted = options.Database.Replace("\"", "\"\"", StringComparison.Ordinal);
            try
            {
                await connection.RunAsync(new[] { new SqlStatement($"CREATE DATABASE \"{quoted}\"") }, null, cancellationToken).ConfigureAwait(false);
            }
            // Another server was quicker; the two may meet in the catalogue's index as well.
            catch (SqlException creation) when (creation.Code == Exists || creation.Failure == SqlFailure.Duplicate)
            {
            }
            return await ConnectAsync(options.Database, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>A session with a host that takes writes: the last one first, then the others.</summary>
    private async Task<PgConnection> ConnectAsync(string database, CancellationToken cancellationToken)
    {
        for (int attempt = 1; ; attempt++)
        {
            int at = Volatile.Read(ref _host);
            var host = options.Hosts[(int)((uint)at % (uint)options.Hosts.Count)];
            PgConnection? connection = null;
            try
            {
                connection = await PgConnection.OpenAsync(options, host, database, cancellationToken).ConfigureAwait(false);
                bool isStandby = false;
                await connection.RunAsync((SqlStatement[])[.. s_settings, new("SELECT pg_is_in_recovery()::int")], (_, row) => isStandby = row.Int64(0) != 0, cancellationToken).ConfigureAwait(false);
                if (!isStandby) return connection;
                throw new SqlException(SqlFailure.Lost, "", $"{host.Host} is a standby, which takes no writes");
            }
            catch (Exception error)
            {
                if (connection is not null) await connection.DisposeAsync().ConfigureAwait(false);
                if (error is not SqlException { Failure: SqlFailure.Lost }) throw;
                Interlocked.CompareExchange(ref _host, at + 1, at);
                if (attempt >= options.Hosts.Count) throw;
            }
        }
    }
}
