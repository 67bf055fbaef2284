using K3sFast.Datastore.MySql;
using K3sFast.Datastore.PostgreSql;
using K3sFast.Datastore.Sql;

namespace K3sFast.Datastore.Tests;

/// <summary>The forms of --datastore-endpoint.</summary>
public sealed class DatastoreEndpointTests
{
    [Theory]
    [InlineData("", DatastoreKind.Sqlite)]
    [InlineData("sqlite", DatastoreKind.Sqlite)]
    [InlineData("sqlite://", DatastoreKind.Sqlite)]
    [InlineData("sqlite:///var/x.db?_journal=WAL", DatastoreKind.Sqlite)]
    [InlineData("mysql", DatastoreKind.MySql)]
    [InlineData("mysql://", DatastoreKind.MySql)]
    [InlineData("mysql://root:p@tcp(db:3306)/kine", DatastoreKind.MySql)]
    [InlineData("postgres://", DatastoreKind.PostgreSql)]
    [InlineData("postgresql://u:p@db:5432/kine?sslmode=disable", DatastoreKind.PostgreSql)]
    [InlineData("http://127.0.0.1:2379", DatastoreKind.Etcd)]
    [InlineData("https://a:2379,https://b:2379,https://c:2379", DatastoreKind.Etcd)]
    [InlineData("unix:///run/kine.sock", DatastoreKind.Etcd)]
    public void Parse_FormOfK3s_IsKnown(string text, DatastoreKind kind)
    {
        var endpoint = Parse(text);
        Assert.Equal((kind, kind != DatastoreKind.Sqlite), (endpoint.Kind, endpoint.IsShared));
    }

    [Theory]
    [InlineData("", "/d/state.db")]
    [InlineData("sqlite://", "/d/state.db")]
    [InlineData("sqlite://?_journal=WAL", "/d/state.db")]
    [InlineData("sqlite:///var/x.db?_journal=WAL", "/var/x.db")]
    [InlineData("sqlite://db/x.db", "/home/db/x.db")]
    public void Parse_Sqlite_NamesTheFile(string text, string path) => Assert.Equal(path, Parse(text).SqlitePath);

    [Theory]
    [InlineData("oracle://db", "must begin with")]
    [InlineData("just words", "must begin with")]
    [InlineData("nats://host", "not in this version")]
    [InlineData("http://", "no http:// or https://")]
    [InlineData("https://a:2379,b:2379", "no http:// or https://")]
    [InlineData("mysql://root:secret@pipe(x)/y", "neither tcp nor unix")]
    [InlineData("mysql://root:secret@tcp(db:3306/y", "parenthesis")]
    [InlineData("mysql://root:secret@tcp(db:99999)/y", "is no port")]
    [InlineData("mysql://root:secret@tcp(db)/y?tls=perhaps", "tls=perhaps")]
    [InlineData("postgres://u:secret@db/x?sslmode=maybe", "sslmode")]
    [InlineData("postgres://u:secret@db:x/y", "is no port")]
    [InlineData("postgres://u:secret@db/y?nonsense", "no name=value")]
    [InlineData("postgres://u:secret@db/y?target_session_attrs=standby", "target_session_attrs")]
    public void Parse_Nonsense_SaysWhatAndKeepsThePassword(string text, string words)
    {
        var refused = Assert.Throws<FormatException>(() => Parse(text));
        Assert.Contains(words, refused.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", refused.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("mysql://", "/var/run/mysqld/mysqld.sock", 0, "root", "", "kubernetes")]
    [InlineData("mysql://u:p@w@tcp(db:3307)/kine?parseTime=true", "db", 3307, "u", "p@w", "kine")]
    [InlineData("mysql://u:p@unix(/tmp/s.sock)/", "/tmp/s.sock", 0, "u", "p", "kubernetes")]
    [InlineData("mysql://u@tcp([::1]:3306)/x", "::1", 3306, "u", "", "x")]
    [InlineData("mysql://u:p@tcp(db)/x", "db", 3306, "u", "p", "x")]
    public void MySql_GoForm_IsTakenApart(string text, string host, int port, string user, string password, string database)
    {
        var options = MySqlOptions.Parse(text, new DatastoreTls());
        Assert.Equal((host, port, user, password, database), (options.Host, options.Port, options.User, options.Password, options.Database));
        Assert.DoesNotContain("p@w", options.Name, StringComparison.Ordinal);
    }

    [Fact]
    public void Postgres_SeveralHostsAndSettings_AreTakenApart()
    {
        var options = PgOptions.Parse("postgres://u%40x:p%2Fw@a:5433,b/db?sslmode=require&search_path=s", new DatastoreTls());
        Assert.Equal([("a", 5433), ("b", 5432)], options.Hosts);
        Assert.Equal(("u@x", "p/w", "db", TlsTrust.Encrypt), (options.User, options.Password, options.Database, options.Trust));
        Assert.Equal([new("search_path", "s")], options.Settings);
        var standard = PgOptions.Parse("postgres://", new DatastoreTls());
        Assert.Equal(("postgres", "postgres", "kubernetes", TlsTrust.IfOffered), (standard.User, standard.Password, standard.Database, standard.Trust));
    }

    [Fact]
    public void TlsFiles_MakeTheServerProveItsName()
    {
        var files = new DatastoreTls("/ca.crt");
        Assert.Equal(TlsTrust.Name, PgOptions.Parse("postgres://u:p@db/x", files).Trust);
        Assert.Equal(TlsTrust.Name, MySqlOptions.Parse("mysql://u:p@tcp(db)/x", files).Trust);
    }

    private static DatastoreEndpoint Parse(string text) => DatastoreEndpoint.Parse(text, new DatastoreTls(), "/d/state.db", "/home");
}
