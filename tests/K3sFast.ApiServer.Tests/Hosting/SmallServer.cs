using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using K3sFast.Client;
using K3sFast.Datastore;
using K3sFast.Datastore.Sqlite;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.ApiServer.Tests;

/// <summary>A server of a test's own, with its own options, spoken to over HTTP or in process. Restarting keeps the store.</summary>
internal sealed class SmallServer : IAsyncDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("apiserver-small-").FullName;
    private readonly Func<ApiServerOptions, ApiServerOptions> _configure;
    private readonly List<HttpClient> _clients = [];
    private SqliteDatastore _store = null!;

    private SmallServer(Func<ApiServerOptions, ApiServerOptions> configure) => _configure = configure;

    internal TestCertificates Certificates { get; } = new();

    internal ApiServer Server { get; private set; } = null!;

    internal static async Task<SmallServer> StartAsync(Func<ApiServerOptions, ApiServerOptions>? configure = null)
    {
        var server = new SmallServer(configure ?? (static options => options));
        await server.OpenAsync();
        return server;
    }

    /// <summary>Forgets all history.</summary>
    internal Task CompactAsync() => _store.CompactAsync(_store.CurrentRevision).AsTask();

    /// <summary>Stops, forgets all history, starts again.</summary>
    internal async Task RestartCompactedAsync()
    {
        await CompactAsync();
        await Server.DisposeAsync();
        await _store.DisposeAsync();
        await OpenAsync();
    }

    internal HttpClient ClientAs(string user, params string[] groups)
    {
        var handler = new SocketsHttpHandler { UseProxy = false };
        handler.SslOptions.RemoteCertificateValidationCallback = static (_, _, _, _) => true;
        handler.SslOptions.ClientCertificates = [Certificates.Client(user, groups)];
        var client = new HttpClient(handler)
        {
            BaseAddress = new Uri($"https://127.0.0.1:{Server.Port}"),
            DefaultRequestVersion = HttpVersion.Version20,
            DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Timeout = TimeSpan.FromSeconds(120),
        };
        _clients.Add(client);
        return client;
    }

    internal async Task<JsonNode> GetAsync(string path) => await SendAsync("GET", path, "");

    internal async Task<JsonNode> CreateAsync(string path, string body) => await SendAsync("POST", path, body);

    internal async Task<JsonNode> SendAsync(string method, string path, string body, string contentType = "application/json")
    {
        var transport = Server.InProcess(UserInfo.Admin);
        var answer = await transport.SendAsync(new ApiRequest(method, path) { Body = Encoding.UTF8.GetBytes(body), ContentType = contentType }, TestContext.Current.CancellationToken);
        return JsonNode.Parse(answer.Body.Span)!;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var client in _clients)
            client.Dispose();
        await Server.DisposeAsync();
        await _store.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    private async Task OpenAsync()
    {
        _store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = Path.Combine(_directory, "state.db") });
        Server = new ApiServer(_configure(Certificates.ServerOptions), _store, NullLoggerFactory.Instance);
        await Server.StartAsync(CancellationToken.None);
    }
}
