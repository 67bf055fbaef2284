using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using K3sFast.ApiServer.Tests;
using K3sFast.Datastore;
using K3sFast.Datastore.Sqlite;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

[assembly: AssemblyFixture(typeof(TestServer))]

namespace K3sFast.ApiServer.Tests;

/// <summary>The real API server on a free loopback port over an SQLite store in a temporary directory; shared by all test classes.</summary>
public sealed class TestServer : IAsyncLifetime
{
    private readonly string _directory = Directory.CreateTempSubdirectory("apiserver-test-").FullName;
    private readonly TestCertificates _certificates = new();
    private readonly List<HttpClient> _clients = [];
    private SqliteDatastore _store = null!;
    private HttpClient _admin = null!;

    internal ApiServer Server { get; private set; } = null!;

    /// <summary>Addresses of pods and nodes that tests answer for.</summary>
    internal BackendRoutes Backends { get; } = new();

    internal TestCertificates Certificates => _certificates;

    internal ApiServerOptions Options { get; private set; } = null!;

    /// <summary>What a server of a test's own has different.</summary>
    internal Func<ApiServerOptions, ApiServerOptions> Adjust { get; init; } = static options => options;

    public async ValueTask InitializeAsync()
    {
        Invariant.IsOn = true;
        _store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = Path.Combine(_directory, "state.db") });
        Options = Adjust(_certificates.ServerOptions with
        {
            KubeletClientCertificate = _certificates.Client("system:apiserver", "system:masters"),
            DialBackend = Backends.DialAsync,
        });
        Server = new ApiServer(Options, _store, NullLoggerFactory.Instance);
        await Server.StartAsync(CancellationToken.None);
        _admin = Client(_certificates.Client("system:admin", "system:masters"));
        // Pods need their namespace's account; its controller is not part of these tests.
        await CreateAsync("/api/v1/namespaces/default/serviceaccounts", """{"metadata":{"name":"default"}}""");
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var client in _clients)
            client.Dispose();
        await Server.DisposeAsync();
        await _store.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    /// <summary>A client with a certificate, a token, or nothing.</summary>
    internal HttpClient Client(X509Certificate2? certificate = null, string? token = null, Version? version = null)
    {
        var handler = new SocketsHttpHandler { UseProxy = false };
        handler.SslOptions.RemoteCertificateValidationCallback = static (_, _, _, _) => true;
        if (certificate is not null)
            handler.SslOptions.ClientCertificates = [certificate];
        var client = new HttpClient(handler)
        {
            BaseAddress = new Uri($"https://127.0.0.1:{Server.Port}"),
            DefaultRequestVersion = version ?? HttpVersion.Version20,
            DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Timeout = TimeSpan.FromSeconds(120),
        };
        if (token is not null)
            client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
        lock (_clients)
            _clients.Add(client);
        return client;
    }

    internal HttpClient ClientAs(string user, params string[] groups) => Client(_certificates.Client(user, groups));

    internal HttpClient Admin => _admin;

    internal async Task<Answer> SendAsync(HttpMethod method, string path, string? body = null, string contentType = "application/json", HttpClient? client = null, string? accept = null)
    {
        using var request = new HttpRequestMessage(method, path);
        if (body is not null)
        {
            request.Content = new ByteArrayContent(Encoding.UTF8.GetBytes(body));
            request.Content.Headers.TryAddWithoutValidation("Content-Type", contentType);
        }
        if (accept is not null)
            request.Headers.TryAddWithoutValidation("Accept", accept);
        using var response = await (client ?? _admin).SendAsync(request, TestContext.Current.CancellationToken);
        return new Answer((int)response.StatusCode, await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken),
            response.Headers.TryGetValues("Warning", out var warnings) ? [.. warnings] : [], response.Content.Headers.ContentType?.ToString() ?? "");
    }

    internal Task<Answer> GetAsync(string path, HttpClient? client = null, string? accept = null) => SendAsync(HttpMethod.Get, path, client: client, accept: accept);

    internal async Task<JsonNode> CreateAsync(string path, string body)
    {
        var answer = await SendAsync(HttpMethod.Post, path, body);
        Assert.True(answer.Code == 201, answer.Text);
        return answer.Json;
    }

    /// <summary>A namespace of its own for a test, with a default service account.</summary>
    internal async Task<string> NamespaceAsync()
    {
        var created = await CreateAsync("/api/v1/namespaces", """{"metadata":{"generateName":"test-"}}""");
        var name = (string)created["metadata"]!["name"]!;
        await CreateAsync($"/api/v1/namespaces/{name}/serviceaccounts", """{"metadata":{"name":"default"}}""");
        return name;
    }
}

/// <summary>What came back.</summary>
internal sealed record Answer(int Code, string Text, string[] Warnings, string ContentType)
{
    internal JsonNode Json => JsonNode.Parse(Text) ?? throw new InvalidOperationException("no JSON");

    internal string Reason => (string?)Json["reason"] ?? "";

    internal string Message => (string?)Json["message"] ?? "";
}
