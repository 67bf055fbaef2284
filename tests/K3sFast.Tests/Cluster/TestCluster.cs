using System.Collections.Concurrent;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using K3sFast.ApiServer;
using K3sFast.ApiServer.Tests;
using K3sFast.Client;
using K3sFast.Controllers;
using K3sFast.Datastore.Sqlite;
using K3sFast.Tests;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

[assembly: AssemblyFixture(typeof(TestCluster))]

namespace K3sFast.Tests;

/// <summary>The real API server and the real controllers over an SQLite store in a temporary directory; no node. Shared by all test classes.</summary>
public sealed class TestCluster : IAsyncLifetime
{
    private readonly string _directory = Directory.CreateTempSubdirectory("cluster-test-").FullName;
    private readonly TestCertificates _certificates = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly TroubleLog _log = new();
    private SqliteDatastore _store = null!;
    private ApiServer.ApiServer _api = null!;
    private Task _controllers = Task.CompletedTask;
    private ApiClient _admin = null!;

    public async ValueTask InitializeAsync()
    {
        _store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = Path.Combine(_directory, "state.db") });
        var options = _certificates.ServerOptions with { KubeletClientCertificate = _certificates.Client("system:apiserver", "system:masters") };
        _api = new ApiServer.ApiServer(options, _store, NullLoggerFactory.Instance);
        await _api.StartAsync(CancellationToken.None);
        _admin = new ApiClient(_api.InProcess(UserInfo.Admin));
        var controllers = new ControllerManagerOptions { ClusterCidr = "10.42.0.0/16", ServiceCidr = "10.43.0.0/16", RootCaPem = "pem" };
        _controllers = new ControllerManager(controllers, ClientOf, _log).RunAsync(_stop.Token);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _controllers;
        await _api.DisposeAsync();
        await _store.DisposeAsync();
        _stop.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    /// <summary>One request as the administrator.</summary>
    internal async Task<(int Code, JsonNode Body)> SendAsync(string method, string path, string? body = null, string contentType = "application/json")
    {
        var request = new ApiRequest(method, path, body is null ? default : Encoding.UTF8.GetBytes(body), body is null ? null : contentType);
        var answer = await _admin.Transport.SendAsync(request, TestContext.Current.CancellationToken);
        return (answer.StatusCode, JsonNode.Parse(answer.Body.Span)!);
    }

    internal async Task<JsonNode> GetAsync(string path) => (await SendAsync("GET", path)).Body;

    internal async Task<JsonNode> CreateAsync(string path, string body)
    {
        var (code, made) = await SendAsync("POST", path, body);
        Assert.True(code == 201, made.ToJsonString());
        return made;
    }

    internal async Task<JsonNode> MergeAsync(string path, string patch)
    {
        var (code, made) = await SendAsync("PATCH", path, patch, "application/merge-patch+json");
        Assert.True(code == 200, made.ToJsonString());
        return made;
    }

    internal async Task DeleteAsync(string path)
    {
        var (code, answer) = await SendAsync("DELETE", path);
        Assert.True(code is 200 or 202, answer.ToJsonString());
    }

    /// <summary>A namespace of its own for a test, once its service account is there.</summary>
    internal async Task<string> NamespaceAsync()
    {
        var name = (string)(await CreateAsync("/api/v1/namespaces", """{"metadata":{"generateName":"test-"}}"""))["metadata"]!["name"]!;
        await UntilAsync($"/api/v1/namespaces/{name}/serviceaccounts/default", static account => account["kind"]!.ToString() == "ServiceAccount");
        return name;
    }

    /// <summary>Waits until the object there satisfies the condition; fails with what it is after 20 seconds.</summary>
    internal async Task<JsonNode> UntilAsync(string path, Func<JsonNode, bool> condition)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(90));
        while (true)
        {
            var found = await GetAsync(path);
            if (condition(found)) return found;
            if (deadline.IsCancellationRequested) Assert.Fail($"{path} stays {found.ToJsonString()}\n{_log}");
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }
    }

    private ApiClient ClientOf(string name) => new(_api.InProcess(name == ControllerManager.SharedIdentity
        ? new UserInfo("system:kube-controller-manager", [UserInfo.AuthenticatedGroup])
        : new UserInfo(
            "system:serviceaccount:kube-system:" + name, ["system:serviceaccounts", "system:serviceaccounts:kube-system", UserInfo.AuthenticatedGroup])));
}

/// <summary>Keeps the last warnings and errors of the controllers, for the message of a test that failed.</summary>
internal sealed class TroubleLog : ILoggerFactory, ILogger
{
    private const int MaxLines = 20;

    private readonly ConcurrentQueue<string> _lines = new();

    public void AddProvider(ILoggerProvider provider)
    {
    }

    public ILogger CreateLogger(string categoryName) => this;

    public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Warning;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (!IsEnabled(logLevel)) return;
        _lines.Enqueue($"{formatter(state, exception)} {exception?.Message}");
        if (_lines.Count > MaxLines) _lines.TryDequeue(out _);
    }

    public void Dispose()
    {
    }

    public override string ToString() => string.Join('\n', _lines);
}
