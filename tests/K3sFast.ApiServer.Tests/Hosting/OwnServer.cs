using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using K3sFast.Client;
using K3sFast.Datastore;
using K3sFast.Datastore.Sqlite;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.ApiServer.Tests;

/// <summary>
/// A server of a test's own, for options that the shared one has not, spoken to over HTTP or in process. Its directory is there for files that it is told
/// to read. Restarting keeps the store.
/// </summary>
internal sealed class OwnServer : IAsyncDisposable
{
    private readonly List<HttpClient> _clients = [];
    private readonly Func<ApiServerOptions, ApiServerOptions> _change;
    private readonly Func<SqliteDatastoreOptions, SqliteDatastoreOptions> _changeStore;
    private SqliteDatastore _store = null!;

    private OwnServer(
        TestCertificates certificates, string directory, Func<ApiServerOptions, ApiServerOptions> change, Func<SqliteDatastoreOptions, SqliteDatastoreOptions> changeStore)
    {
        Certificates = certificates;
        Directory = directory;
        _change = change;
        _changeStore = changeStore;
    }

    internal TestCertificates Certificates { get; }

    internal string Directory { get; }

    internal ApiServer Server { get; private set; } = null!;

    internal HttpClient Admin => Client(Certificates.Client("system:admin", "system:masters"));

    /// <summary>A directory for files; the server that is started with it removes it.</summary>
    internal static string NewDirectory() => System.IO.Directory.CreateTempSubdirectory("apiserver-own-").FullName;

    internal static async Task<OwnServer> StartAsync(
        Func<ApiServerOptions, ApiServerOptions>? change = null, string? directory = null, TestCertificates? certificates = null,
        Func<SqliteDatastoreOptions, SqliteDatastoreOptions>? changeStore = null)
    {
        var own = new OwnServer(certificates ?? new TestCertificates(), directory ?? NewDirectory(), change ?? (static options => options), changeStore ?? (static options => options));
        try
        {
            await own.OpenAsync();
            return own;
        }
        catch
        {
            System.IO.Directory.Delete(own.Directory, recursive: true);
            throw;
        }
    }

    /// <summary>Forgets all history.</summary>
    internal Task CompactAsync() => _store.CompactAsync(_store.CurrentRevision).AsTask();

    /// <summary>Stops, forgets all history, starts again.</summary>
    internal async Task RestartCompactedAsync()
    {
        await CompactAsync();
        await CloseAsync();
        await OpenAsync();
    }

    /// <summary>Who speaks HTTP/2 under that name.</summary>
    internal HttpClient ClientAs(string user, params string[] groups)
    {
        var client = Client(Certificates.Client(user, groups));
        client.DefaultRequestVersion = HttpVersion.Version20;
        client.DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact;
        return client;
    }

    internal HttpClient Client(X509Certificate2? certificate = null, string? token = null)
    {
        var handler = new SocketsHttpHandler { UseProxy = false };
        handler.SslOptions.RemoteCertificateValidationCallback = static (_, _, _, _) => true;
        if (certificate is not null)
            handler.SslOptions.ClientCertificates = [certificate];
        var client = new HttpClient(handler) { BaseAddress = new Uri($"https://127.0.0.1:{Server.Port}"), Timeout = TimeSpan.FromSeconds(120) };
        if (token is not null)
            client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
        lock (_clients)
            _clients.Add(client);
        return client;
    }

    internal Task<JsonNode> GetAsync(string path) => SendAsync("GET", path, "");

    internal Task<JsonNode> CreateAsync(string path, string body) => SendAsync("POST", path, body);

    /// <summary>In process, as the administrator.</summary>
    internal async Task<JsonNode> SendAsync(string method, string path, string body, string contentType = "application/json")
    {
        var transport = Server.InProcess(UserInfo.Admin);
        var answer = await transport.SendAsync(new ApiRequest(method, path) { Body = Encoding.UTF8.GetBytes(body), ContentType = contentType }, TestContext.Current.CancellationToken);
        return JsonNode.Parse(answer.Body.Span)!;
    }

    internal static async Task<Answer> SendAsync(
        HttpClient client, HttpMethod method, string path, string? body = null, string contentType = "application/json", params (string Name, string Value)[] headers)
    {
        using var request = new HttpRequestMessage(method, path);
        foreach (var (name, value) in headers)
            request.Headers.TryAddWithoutValidation(name, value);
        if (body is not null)
        {
            request.Content = new ByteArrayContent(Encoding.UTF8.GetBytes(body));
            request.Content.Headers.TryAddWithoutValidation("Content-Type", contentType);
        }
        using var response = await client.SendAsync(request, TestContext.Current.CancellationToken);
        return new Answer((int)response.StatusCode, await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken),
            response.Headers.TryGetValues("Warning", out var warnings) ? [.. warnings] : [], response.Content.Headers.ContentType?.ToString() ?? "");
    }

    /// <summary>The user that the server takes the client for: name and groups; null when it takes it for nobody.</summary>
    internal static async Task<string?> WhoAmIAsync(HttpClient client, params (string Name, string Value)[] headers)
    {
        var answer = await SendAsync(client, HttpMethod.Post, "/apis/authentication.k8s.io/v1/selfsubjectreviews", "{}", "application/json", headers);
        if (answer.Code == 401)
            return null;
        Assert.True(answer.Code == 201, answer.Text);
        var user = answer.Json["status"]!["userInfo"]!;
        return $"{user["username"]} {user["uid"]} [{string.Join(' ', user["groups"]!.AsArray())}]".Replace("  ", " ", StringComparison.Ordinal);
    }

    internal static async Task UntilAsync(Func<Task<bool>> condition)
    {
        var deadline = DateTime.UtcNow.AddSeconds(90);
        while (!await condition())
        {
            Assert.True(DateTime.UtcNow < deadline, "condition not met in 90 s");
            await Task.Delay(20, TestContext.Current.CancellationToken);
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var client in _clients)
            client.Dispose();
        await CloseAsync();
        System.IO.Directory.Delete(Directory, recursive: true);
    }

    private async Task OpenAsync()
    {
        _store = SqliteDatastore.Open(_changeStore(new SqliteDatastoreOptions { Path = Path.Combine(Directory, "state.db") }));
        try
        {
            Server = new ApiServer(_change(Certificates.ServerOptions), _store, NullLoggerFactory.Instance);
            await Server.StartAsync(TestContext.Current.CancellationToken);
        }
        catch
        {
            await CloseAsync();
            throw;
        }
    }

    private async Task CloseAsync()
    {
        if (Server is not null)
            await Server.DisposeAsync();
        await _store.DisposeAsync();
    }
}
