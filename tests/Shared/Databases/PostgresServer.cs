namespace K3sFast.Tests.Databases;

/// <summary>A PostgreSQL on a loopback port and a Unix socket: user postgres with the password "secret" over TCP. It refuses to run as root.</summary>
public sealed class PostgresServer : DatabaseProcess
{
    private static readonly string? s_programs = Directory.Exists("/usr/lib/postgresql")
        ? Directory.GetDirectories("/usr/lib/postgresql").Select(version => Path.Combine(version, "bin")).LastOrDefault(bin => File.Exists(Path.Combine(bin, "postgres")))
        : null;

    private string _flags = "";

    private PostgresServer(DatabasePlace? place)
        : base("postgres", place)
    {
    }

    public static string? SkipReason => s_programs is null ? "PostgreSQL is not installed (apt: postgresql)" : null;

    private static string[] Unprivileged => Environment.IsPrivilegedProcess ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] : [];

    /// <summary>A new database cluster; TCP asks for the password by <paramref name="authentication"/>.</summary>
    public static async Task<PostgresServer> StartNewAsync(string authentication = "scram-sha-256", string flags = "", DatabasePlace? place = null)
    {
        var server = new PostgresServer(place) { _flags = flags };
        await File.WriteAllTextAsync(Path.Combine(server.Folder, "password"), "secret");
        await File.WriteAllTextAsync(server.LogFile, "");
        if (Environment.IsPrivilegedProcess) await RunAsync("chown", "-R", "postgres:postgres", server.Folder);
        await RunAsync([
            .. Unprivileged, $"{s_programs}/initdb", "-D", $"{server.Folder}/data", "-U", "postgres", "--pwfile", $"{server.Folder}/password",
            "--auth-local=trust", $"--auth-host={authentication}", "-E", "UTF8", "--locale=C", "--no-sync",
        ]);
        await server.StartAsync();
        return server;
    }

    /// <summary>A standby of this server, which the server from now on waits for at each commit.</summary>
    public async Task<PostgresServer> StartStandbyAsync()
    {
        var standby = new PostgresServer(null);
        await File.WriteAllTextAsync(standby.LogFile, "");
        if (Environment.IsPrivilegedProcess) await RunAsync("chown", "-R", "postgres:postgres", standby.Folder);
        await RunAsync([.. Unprivileged, "env", "PGPASSWORD=secret", $"{s_programs}/pg_basebackup", "-h", "127.0.0.1", "-p", $"{Port}", "-U", "postgres", "-D", $"{standby.Folder}/data", "-R", "-X", "stream", "-c", "fast"]);
        await standby.StartAsync();
        await AskAsync("ALTER SYSTEM SET synchronous_standby_names = '*'");
        await AskAsync("SELECT pg_reload_conf()");
        return standby;
    }

    /// <summary>Makes this standby the one that takes writes.</summary>
    public Task PromoteAsync() => AskAsync("SELECT pg_promote(true, 90)");

    public string Url(string database) => $"postgres://postgres:secret@127.0.0.1:{Port}/{database}?sslmode=disable";

    // The processes of a killed server are not written to disk by it but by the kernel: nothing that a test asserts needs a flush.
    protected override string CommandLine() =>
        $"{string.Join(' ', Unprivileged)} {s_programs}/postgres -D {Folder}/data -k {Folder} -h 127.0.0.1 -p {Port} -c fsync=off -c shared_buffers=16MB -c max_connections=60 {_flags}";

    // By its Unix socket, where nobody is asked for a password.
    private Task AskAsync(string sql) => RunAsync($"{s_programs}/psql", "-h", Folder, "-p", $"{Port}", "-U", "postgres", "-d", "postgres", "-c", sql);

    protected override async Task<bool> AnswersAsync()
    {
        if (!await CanConnectAsync(Port)) return false;
        try
        {
            await RunThereAsync($"{s_programs}/pg_isready", "-q", "-h", "127.0.0.1", "-p", $"{Port}");
            return true;
        }
        catch (InvalidOperationException)
        {
            return false;
        }
    }
}
