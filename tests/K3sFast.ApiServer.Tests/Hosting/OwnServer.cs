using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using K3sFast.Datastore.Sqlite;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.ApiServer.Tests;

/// <summary>A server of a test's own, for options that the shared one has not. Its directory is there for files that it is told to read.</summary>
internal sealed class OwnServer : IAsyncDisposable
{
    private readonly List<HttpClient> _clients = [];
    private readonly SqliteDatastore _store;

    private OwnServer(TestCertificates certificates, string directory, SqliteDatastore store, ApiServer server)
    {
        Certificates = certificates;
        Directory = directory;
        _store = store;
        Server = server;
    }

    internal TestCertificates Certificates { get; }

    internal string Directory { get; }

    internal ApiServer Server { get; }

    internal HttpClient Admin => Client(Certificates.Client("system:admin", "system:masters"));

    /// <summary>A directory for files; the server that is started with it removes it.</summary>
    internal static string NewDirectory() => System.IO.Directory.CreateTempSubdirectory("apiserver-own-").FullName;

    internal static async Task<OwnServer> StartAsync(
        Func<ApiServerOptions, ApiServerOptions> change, string? directory = null, TestCertificates? certificates = null, Func<SqliteDatastoreOptions, SqliteDatastoreOptions>? changeStore = null)
    {
        directory ??= NewDirectory();
        certificates ??= new TestCertificates();
        var storeOptions = new SqliteDatastoreOptions { Path = Path.Combine(directory, "state.db") };
        var store = SqliteDatastore.Open(changeStore?.Invoke(storeOptions) ?? storeOptions);
        ApiServer? server = null;
        try
        {
            server = new ApiServer(change(certificates.ServerOptions), store, NullLoggerFactory.Instance);
            await server.StartAsync(TestContext.Current.CancellationToken);
            return new OwnServer(certificates, directory, store, server);
        }
        catch
        {
            if (server is not null)
                await server.DisposeAsync();
            await store.DisposeAsync();
            System.IO.Directory.Delete(directory, recursive: true);
            throw;
        }
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
            Assert.True(DateTime.UtcNow < deadline, "condition not met in 20 s");
            await Task.Delay(20, TestContext.Current.CancellationToken);
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var client in _clients)
            client.Dispose();
        await Server.DisposeAsync();
        await _store.DisposeAsync();
        System.IO.Directory.Delete(Directory, recursive: true);
    }
}
