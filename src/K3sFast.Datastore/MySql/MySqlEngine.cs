using K3sFast.Datastore.Sql;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Datastore.MySql;

/// <summary>kine's table in MySQL (5.7 or newer) or MariaDB (10.3 or newer).</summary>
internal sealed class MySqlEngine(MySqlOptions options, ILogger logger) : ISqlEngine
{
    /// <inheritdoc/>
    public string Name => options.Name;

    /// <inheritdoc/>
    public bool HasNotices => false;

    /// <inheritdoc/>
    public IReadOnlyList<SqlStatement> BeginLocked { get; } =
        [new("START TRANSACTION"), new("SELECT prev_revision FROM kine WHERE name = 'compact_rev_key' FOR UPDATE")];

    /// <inheritdoc/>
    public string Size => "SELECT data_length + index_length FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'kine'";

    /// <inheritdoc/>
    public string CompactRows => """
        DELETE old FROM kine AS old JOIN (
            SELECT prev_revision AS id FROM kine WHERE id <= $1 AND id > $2 AND name != 'compact_rev_key' AND prev_revision != 0
            UNION
            SELECT id FROM kine WHERE id <= $1 AND id > $2 AND name != 'compact_rev_key' AND deleted != 0) AS done ON old.id = done.id
        """;

    /// <summary>Opens a store.</summary>
    public static Task<SqlDatastore> OpenAsync(string endpoint, DatastoreTls tls, SqlOptions options, CancellationToken cancellationToken)
    {
        var logger = (options.LoggerFactory ?? NullLoggerFactory.Instance).CreateLogger("K3sFast.Datastore");
        return SqlDatastore.OpenAsync(new MySqlEngine(MySqlOptions.Parse(endpoint, tls), logger), options, cancellationToken);
    }

    /// <inheritdoc/>
    public IReadOnlyList<SqlStatement> Commit(long newest) => [new("COMMIT")];

    /// <inheritdoc/>
    public async Task<ISqlConnection> ConnectAsync(CancellationToken cancellationToken)
    {
        var connection = await LogInAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            await connection.RunAsync(new[] { new SqlStatement($"USE {Quoted}") }, null, cancellationToken).ConfigureAwait(false);
            return connection;
        }
        catch (Exception)
        {
            await connection.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <inheritdoc/>
    public Task<ISqlConnection> ListenAsync(CancellationToken cancellationToken) => ConnectAsync(cancellationToken);

    /// <inheritdoc/>
    public async Task PrepareAsync(CancellationToken cancellationToken)
    {
        await using var connection = await LogInAsync(cancellationToken).ConfigureAwait(false);
        await UseDatabaseAsync(connection, cancellationToken).ConfigureAwait(false);
        string collation = "";
        bool hasIndexes = false;
        // Two servers that make the same table at once would stumble over each other.
        await connection.RunAsync(new[] { new SqlStatement("SELECT GET_LOCK('kine-schema', 10)") }, null, cancellationToken).ConfigureAwait(false);
        await connection.RunAsync(
            new SqlStatement[]
            {
                new("""
                    CREATE TABLE IF NOT EXISTS kine (
                        id BIGINT UNSIGNED AUTO_INCREMENT, name VARCHAR(630) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, created INTEGER, deleted INTEGER,
                        create_revision BIGINT UNSIGNED, prev_revision BIGINT UNSIGNED, lease INTEGER, value MEDIUMBLOB, old_value MEDIUMBLOB, PRIMARY KEY (id))
                    """),
                new("SELECT collation_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'kine' AND column_name = 'name'"),
                new("SELECT 1 FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = 'kine' AND index_name = 'kine_name_prev_revision_uindex' LIMIT 1"),
            },
            (statement, row) =>
            {
                if (statement == 1) collation = row.Text(0);
                else hasIndexes = true;
            },
            cancellationToken).ConfigureAwait(false);
        if (!collation.EndsWith("_bin", StringComparison.Ordinal))
        {
            // kine leaves the column's order to ASCII without case; names with capitals are names of their own to Kubernetes.
            Log.TableMended(logger, Name, "keys are compared and ordered by their bytes");
            await connection.RunAsync(new[] { new SqlStatement("ALTER TABLE kine MODIFY COLUMN name VARCHAR(630) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin") }, null, cancellationToken).ConfigureAwait(false);
        }
        if (!hasIndexes) await CreateIndexesAsync(connection, cancellationToken).ConfigureAwait(false);
        await connection.RunAsync(
            new SqlStatement[]
            {
                new("""
                    INSERT INTO kine (name, created, deleted, create_revision, prev_revision, lease, value, old_value)
                    SELECT 'compact_rev_key', 0, 1, 0, 0, 0, NULL, NULL FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM kine AS k WHERE k.name = 'compact_rev_key')
                    """),
                new("SELECT RELEASE_LOCK('kine-schema')"),
            },
            null,
            cancellationToken).ConfigureAwait(false);
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private string Quoted => $"`{options.Database.Replace("`", "``", StringComparison.Ordinal)}`";

    private async Task UseDatabaseAsync(MySqlConnection connection, CancellationToken cancellationToken)
    {
        const string NoSuchDatabase = "1049";
        try
        {
            await connection.RunAsync(new[] { new SqlStatement($"USE {Quoted}") }, null, cancellationToken).ConfigureAwait(false);
        }
        catch (SqlException error) when (error.Code == NoSuchDatabase)
        {
            await connection.RunAsync(new SqlStatement[] { new($"CREATE DATABASE IF NOT EXISTS {Quoted}"), new($"USE {Quoted}") }, null, cancellationToken).ConfigureAwait(false);
        }
    }

    // MySQL knows no "IF NOT EXISTS" here: an index of that name is as good.
    private static async Task CreateIndexesAsync(MySqlConnection connection, CancellationToken cancellationToken)
    {
        const string Exists = "1061";
        foreach (string index in (string[])
        [
            "CREATE INDEX kine_name_index ON kine (name)",
            "CREATE INDEX kine_name_id_index ON kine (name, id)",
            "CREATE INDEX kine_id_deleted_index ON kine (id, deleted)",
            "CREATE INDEX kine_prev_revision_index ON kine (prev_revision)",
            "CREATE UNIQUE INDEX kine_name_prev_revision_uindex ON kine (name, prev_revision)",
        ])
        {
            try
            {
                await connection.RunAsync(new[] { new SqlStatement(index) }, null, cancellationToken).ConfigureAwait(false);
            }
            catch (SqlException error) when (error.Code == Exists)
            {
            }
        }
    }

    private async Task<MySqlConnection> LogInAsync(CancellationToken cancellationToken)
    {
        var connection = await MySqlConnection.OpenAsync(options, cancellationToken).ConfigureAwait(false);
        try
        {
            // A session that stops in the middle of a transaction (a frozen server) is ended by the database, and its lock with it.
            // MySQL has no such limit for transactions alone, and from 8.0 on tells sizes of yesterday unless it is told not to; a session that it ends for idleness is made again when it is needed.
            bool isMariaDb = connection.ServerVersion.Contains("MariaDB", StringComparison.OrdinalIgnoreCase);
            SqlStatement[] settings =
            [
                new("SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', autocommit = 1, innodb_lock_wait_timeout = 5"),
                new("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"),
                new(isMariaDb ? "SET SESSION idle_transaction_timeout = 10" : "SET SESSION wait_timeout = 60 /*!80000 , information_schema_stats_expiry = 0 */"),
            ];
            await connection.RunAsync(settings, null, cancellationToken).ConfigureAwait(false);
            bool isReadOnly = false;
            await connection.RunAsync(new[] { new SqlStatement("SELECT @@GLOBAL.read_only") }, (_, row) => isReadOnly = row.Int64(0) != 0, cancellationToken).ConfigureAwait(false);
            if (isReadOnly) throw new SqlException(SqlFailure.Lost, "", $"{options.Host} is read-only, as a replica is");
            return connection;
        }
        catch (Exception)
        {
            await connection.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }
}
