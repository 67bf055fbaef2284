using K3sFast.Datastore.Etcd;
using K3sFast.Datastore.MySql;
using K3sFast.Datastore.PostgreSql;
using K3sFast.Datastore.Sql;
using K3sFast.Datastore.Sqlite;
using Microsoft.Extensions.Logging;

namespace K3sFast.Datastore;

/// <summary>The engines.</summary>
public enum DatastoreKind
{
    /// <summary>One file of this server.</summary>
    Sqlite,

    /// <summary>An etcd cluster.</summary>
    Etcd,

    /// <summary>MySQL or MariaDB.</summary>
    MySql,

    /// <summary>PostgreSQL.</summary>
    PostgreSql,
}

/// <summary>Where the datastore is, in the forms of k3s's --datastore-endpoint. Checked when it is read, so that nonsense is refused before anything starts.</summary>
public sealed class DatastoreEndpoint
{
    private readonly string _endpoint;
    private readonly DatastoreTls _tls;

    private DatastoreEndpoint(DatastoreKind kind, string endpoint, DatastoreTls tls, string path = "")
    {
        (Kind, _endpoint, _tls, SqlitePath) = (kind, endpoint, tls, path);
    }

    /// <summary>Which engine.</summary>
    public DatastoreKind Kind { get; }

    /// <summary>True = other servers may use it at the same time.</summary>
    public bool IsShared => Kind != DatastoreKind.Sqlite;

    /// <summary>The file of SQLite; empty for the others.</summary>
    public string SqlitePath { get; }

    /// <summary>Reads an endpoint.</summary>
    /// <param name="text">As the user wrote it: empty, <c>sqlite://…</c>, <c>mysql://…</c>, <c>postgres://…</c>, <c>http(s)://a,https://b</c>, <c>unix://…</c>.</param>
    /// <param name="tls">k3s's TLS files.</param>
    /// <param name="sqlitePath">The file when none is named.</param>
    /// <param name="folder">What a relative file is relative to.</param>
    /// <exception cref="FormatException">It makes no sense; the message says what, without the password.</exception>
    public static DatastoreEndpoint Parse(string text, DatastoreTls tls, string sqlitePath, string folder)
    {
        ArgumentNullException.ThrowIfNull(text);
        text = text.Trim();
        int colon = text.IndexOf("://", StringComparison.Ordinal);
        string scheme = colon < 0 ? text : text[..colon];
        switch (scheme)
        {
            case "" when text.Length == 0:
            case "sqlite":
                return new DatastoreEndpoint(DatastoreKind.Sqlite, text, tls, FileOf(text, sqlitePath, folder));
            case "mysql":
                MySqlOptions.Parse(Whole(text, scheme), tls);
                return new DatastoreEndpoint(DatastoreKind.MySql, Whole(text, scheme), tls);
            case "postgres" or "postgresql":
                PgOptions.Parse(Whole(text, scheme), tls);
                return new DatastoreEndpoint(DatastoreKind.PostgreSql, Whole(text, scheme), tls);
            case "http" or "https" or "unix":
                EtcdUris(text);
                return new DatastoreEndpoint(DatastoreKind.Etcd, text, tls);
            case "nats" or "jetstream" or "litestream" or "t4" or "memory" or "dqlite" or "unixs":
                throw new FormatException($"{scheme}:// is not in this version of k3sfast: sqlite, mysql, postgres and etcd by http(s) are");
            default:
                throw new FormatException("it must begin with sqlite://, mysql://, postgres://, http:// or https://");
        }
    }

    /// <summary>Opens it.</summary>
    /// <exception cref="DatastoreException">It cannot be used; the message says why and what to do.</exception>
    public async Task<IDatastore> OpenAsync(ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        var sql = new SqlOptions { LoggerFactory = loggers };
        return Kind switch
        {
            DatastoreKind.MySql => await MySqlEngine.OpenAsync(_endpoint, _tls, sql, cancellationToken).ConfigureAwait(false),
            DatastoreKind.PostgreSql => await PgEngine.OpenAsync(_endpoint, _tls, sql, cancellationToken).ConfigureAwait(false),
            DatastoreKind.Etcd => await EtcdDatastore.OpenAsync(new EtcdOptions { Endpoints = EtcdUris(_endpoint), Tls = _tls, LoggerFactory = loggers }, cancellationToken).ConfigureAwait(false),
            // Its file's pages are read on the caller's thread.
            _ => await Task.Run(() => SqliteDatastore.Open(new SqliteDatastoreOptions { Path = SqlitePath, LoggerFactory = loggers }), cancellationToken).ConfigureAwait(false),
        };
    }

    // The scheme alone means the server's defaults.
    private static string Whole(string text, string scheme) => text == scheme ? $"{scheme}://" : text;

    private static string FileOf(string text, string standard, string folder)
    {
        string path = text.StartsWith("sqlite://", StringComparison.Ordinal) ? text["sqlite://".Length..] : "";
        // Settings of k3s's SQLite driver; ours are its best ones.
        if (path.IndexOf('?') is >= 0 and var query) path = path[..query];
        return path.Length == 0 ? standard : Path.GetFullPath(path, folder);
    }

    private static List<Uri> EtcdUris(string text)
    {
        var uris = new List<Uri>();
        foreach (string part in text.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            if (!Uri.TryCreate(part, UriKind.Absolute, out var uri) || uri.Scheme is not ("http" or "https" or "unix") || (uri.Scheme != "unix" && uri.Host.Length == 0))
                throw new FormatException($"\"{(part.Contains('@', StringComparison.Ordinal) ? part[(part.LastIndexOf('@') + 1)..] : part)}\" is no http:// or https:// address of an etcd member");
            uris.Add(uri);
        }
        return uris;
    }
}
