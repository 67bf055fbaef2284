using K3sFast.Datastore.Sql;

namespace K3sFast.Datastore.MySql;

/// <summary>A MySQL or MariaDB endpoint in the form that k3s takes, which is that of Go's driver: <c>mysql://user:password@tcp(host:3306)/database?tls=…</c>.</summary>
internal sealed record MySqlOptions
{
    public required string Host { get; init; }
    public required int Port { get; init; }
    public required string User { get; init; }
    public required string Password { get; init; }
    public required string Database { get; init; }
    public required TlsTrust Trust { get; init; }
    public required DatastoreTls Tls { get; init; }

    /// <summary>For messages: without the password.</summary>
    public string Name => $"mysql://{(Host.StartsWith('/') ? Host : $"{Host}:{Port}")}/{Database}";

    /// <summary>Reads an endpoint; <c>mysql://</c> alone is root on the local socket. Files of k3s's TLS flags make the server prove its name.</summary>
    /// <exception cref="FormatException">The endpoint makes no sense; the message says what.</exception>
    public static MySqlOptions Parse(string endpoint, DatastoreTls tls)
    {
        var url = ParseParts(endpoint, out string network, out string address);
        var (host, port) = network switch
        {
            "" when address.Length == 0 => ("/var/run/mysqld/mysqld.sock", 0),
            "unix" when address.StartsWith('/') => (address, 0),
            "unix" => throw new FormatException($"\"{address}\" in unix(…) is no absolute path"),
            "tcp" or "tcp4" or "tcp6" or "" => Single(address),
            _ => throw new FormatException($"\"{network}\" is neither tcp nor unix"),
        };
        string database = url.Path.TrimStart('/');
        return new MySqlOptions
        {
            Host = host,
            Port = port,
            User = url.User.Length > 0 ? url.User : "root",
            Password = url.Password,
            Database = database.Length > 0 ? database : "kubernetes",
            Trust = url.Query.GetValueOrDefault("tls", "") switch
            {
                "" when !tls.IsEmpty => TlsTrust.Name,
                "" or "false" => TlsTrust.None,
                "true" => TlsTrust.Name,
                "skip-verify" => TlsTrust.Encrypt,
                "preferred" => TlsTrust.IfOffered,
                var mode => throw new FormatException($"tls={mode} is none of true, false, skip-verify, preferred"),
            },
            Tls = tls,
        };
    }

    private static (string Host, int Port) Single(string address) =>
        DatastoreUrl.ParseHosts(address.Length > 0 ? address : "127.0.0.1", 3306) is [var one] ? one : throw new FormatException("MySQL takes one host");

    // network(address) is no URL: it is cut out before the rest is read as one.
    private static DatastoreUrl ParseParts(string endpoint, out string network, out string address)
    {
        (network, address) = ("", "");
        int open = endpoint.IndexOf('(', endpoint.LastIndexOf('@') + 1);
        if (open < 0)
        {
            var plain = DatastoreUrl.Parse(endpoint);
            address = plain.Hosts;
            return plain;
        }
        int close = endpoint.IndexOf(')', open);
        if (close < 0) throw new FormatException("a closing parenthesis is missing");
        int begin = Math.Max(endpoint.LastIndexOf('@', open), endpoint.IndexOf("://", StringComparison.Ordinal) + 2) + 1;
        network = endpoint[begin..open];
        address = endpoint[(open + 1)..close];
        return DatastoreUrl.Parse(endpoint[..begin] + endpoint[(close + 1)..]);
    }
}
