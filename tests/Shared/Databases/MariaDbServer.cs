namespace K3sFast.Tests.Databases;

/// <summary>
/// A MariaDB on a loopback port and a Unix socket, or the MySQL whose mysqld K3SFAST_MYSQLD names (Debian's releases have none, so that it is no package of the tests).
/// User k3s with the password "secret", which MySQL asks for by caching_sha2_password. Its temporary tables are in its own directory: one that starts takes
/// away all that it finds where it is to keep its own, also those of another that is at work.
/// </summary>
public sealed class MariaDbServer : DatabaseProcess
{
    private static readonly string? s_mySql = Environment.GetEnvironmentVariable("K3SFAST_MYSQLD") is { Length: > 0 } given ? given : null;
    private static readonly string? s_program = s_mySql ?? Find("/usr/sbin/mariadbd", "/usr/sbin/mysqld");
    private static readonly string? s_install = Find("/usr/bin/mariadb-install-db", "/usr/bin/mysql_install_db");
    private string _flags = "";

    private MariaDbServer(DatabasePlace? place)
        : base("mariadb", place)
    {
    }

    public static string? SkipReason => s_mySql is null && (s_program is null || s_install is null) ? "MariaDB is not installed (apt: mariadb-server)" : null;

    public string Socket => Path.Combine(Folder, "s.sock");

    public static async Task<MariaDbServer> StartNewAsync(string flags = "", DatabasePlace? place = null)
    {
        var server = new MariaDbServer(place) { _flags = flags };
        string user = $"--user={Environment.UserName}", data = $"--datadir={server.Folder}/data";
        string temporary = $"TMPDIR={server.Folder}";
        await (s_mySql is null
            ? RunAsync("env", temporary, s_install!, "--no-defaults", user, data, "--auth-root-authentication-method=normal", "--skip-test-db")
            : RunAsync("env", temporary, s_mySql, "--no-defaults", user, data, "--initialize-insecure"));
        await File.WriteAllTextAsync(Path.Combine(server.Folder, "init.sql"), "CREATE USER IF NOT EXISTS 'k3s'@'%' IDENTIFIED BY 'secret';\nGRANT ALL ON *.* TO 'k3s'@'%';\n");
        await server.StartAsync();
        return server;
    }

    /// <summary>k3s's form of an endpoint.</summary>
    public string Url(string database) => $"mysql://k3s:secret@tcp(127.0.0.1:{Port})/{database}";

    // InnoDB is as durable as in production; its buffers are small, since many servers run on one machine.
    protected override string CommandLine() =>
        $"{s_program} --no-defaults --user={Environment.UserName} --datadir={Folder}/data --tmpdir={Folder} --socket={Socket} --port={Port} --bind-address=127.0.0.1 "
        + $"--pid-file={Folder}/pid --init-file={Folder}/init.sql --innodb-buffer-pool-size=32M --performance-schema=OFF --max-allowed-packet=32M "
        + $"{(s_mySql is null ? "--innodb-log-file-size=16M" : "--mysqlx=OFF --secure-file-priv=NULL")} {_flags}";

    protected override Task<bool> AnswersAsync() => CanConnectAsync(Port);
}
