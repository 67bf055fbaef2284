using K3sFast.Datastore.Sql;

namespace K3sFast.Datastore.PostgreSql;

/// <summary>A PostgreSQL endpoint in the form of libpq's and pgx's URLs: <c>postgres://user:password@host:port,host2/database?sslmode=…</c>.</summary>
internal sealed record PgOptions
{
    public required IReadOnlyList<(string Host, int Port)> Hosts { get; init; }
    public required string User { get; init; }
    public required string Password { get; init; }
    public required string Database { get; init; }
    public required TlsTrust Trust { get; init; }
    public required DatastoreTls Tls { get; init; }

    /// <summary>Settings of the session that the URL gives and that are not the client's own: the server judges them.</summary>
    public required IReadOnlyList<KeyValuePair<string, string>> Settings { get; init; }

    /// <summary>For messages: without the password.</summary>
    public string Name => $"postgres://{string.Join(',', Hosts.Select(static host => host.Host.StartsWith('/') ? host.Host : $"{host.Host}:{host.Port}"))}/{Database}";

    /// <summary>Reads an endpoint. Files of k3s's TLS flags make the server prove its name, as k3s has it.</summary>
    /// <exception cref="FormatException">The endpoint makes no sense; the message says what.</exception>
    public static PgOptions Parse(string endpoint, DatastoreTls tls)
    {
        var url = DatastoreUrl.Parse(endpoint);
        string database = url.Path.TrimStart('/');
        var query = new Dictionary<string, string>(url.Query);
        string Take(string name) => query.Remove(name, out string? value) ? value : "";
        string socketOrHost = Take("host");
        string port = Take("port");
        var files = new DatastoreTls(
            Take("sslrootcert") is { Length: > 0 } root ? root : tls.AuthorityFile,
            Take("sslcert") is { Length: > 0 } certificate ? certificate : tls.CertificateFile,
            Take("sslkey") is { Length: > 0 } key ? key : tls.KeyFile);
        string mode = Take("sslmode");
        // The database must be one that takes writes, so this is looked at anyhow.
        if (Take("target_session_attrs") is not ("" or "any" or "read-write" or "primary"))
            throw new FormatException("target_session_attrs must be any, read-write or primary: k3sfast writes to its datastore");
        Take("connect_timeout");
        Take("pool_max_conns");
        return new PgOptions
        {
            Hosts = socketOrHost.Length > 0 ? DatastoreUrl.ParseHosts($"{socketOrHost}{(port.Length > 0 && !socketOrHost.StartsWith('/') ? ":" + port : "")}", 5432)
                : url.Hosts.Length > 0 ? DatastoreUrl.ParseHosts(url.Hosts, 5432) : [("localhost", 5432)],
            User = url.User.Length > 0 ? url.User : Take("user") is { Length: > 0 } user ? user : "postgres",
            Password = url.User.Length > 0 ? url.Password : Take("password") is { Length: > 0 } password ? password : "postgres",
            Database = database.Length > 0 ? database : Take("dbname") is { Length: > 0 } named ? named : "kubernetes",
            Trust = mode switch
            {
                "disable" => TlsTrust.None,
                "" when !files.IsEmpty => TlsTrust.Name,
                "" or "prefer" or "allow" => TlsTrust.IfOffered,
                "require" => files.AuthorityFile.Length > 0 ? TlsTrust.Authority : TlsTrust.Encrypt,
                "verify-ca" => TlsTrust.Authority,
                "verify-full" => TlsTrust.Name,
                _ => throw new FormatException($"sslmode \"{mode}\" is none of disable, allow, prefer, require, verify-ca, verify-full"),
            },
            Tls = files,
            Settings = [.. query],
        };
    }
}
