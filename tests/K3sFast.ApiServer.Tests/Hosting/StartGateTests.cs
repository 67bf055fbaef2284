using System.Text.Json.Nodes;
using K3sFast.Datastore;
using K3sFast.Datastore.Sqlite;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace K3sFast.ApiServer.Tests;

/// <summary>Requests that come before the caches are full.</summary>
public sealed class StartGateTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("apiserver-gate-").FullName;
    private readonly TestCertificates _certificates = new();

    [Fact]
    public async Task Request_WhileTheCachesLoad_IsAnsweredOnceTheyAreFull()
    {
        var cancel = TestContext.Current.CancellationToken;
        await using var store = await FillAsync();
        var held = new HeldStore(store);
        await using var server = Held(held);
        var starting = await BeginAsync(server);
        using var client = Client(server);
        var ready = client.GetAsync("/readyz", cancel);
        var list = client.GetAsync("/api/v1/namespaces/default/configmaps?resourceVersion=0", cancel);
        await OwnServer.UntilAsync(() => Task.FromResult(server.WaitingRequests == 2));
        Assert.False(ready.IsCompleted || list.IsCompleted || starting.IsCompleted || server.IsReady);

        held.Release();
        Assert.Equal("ok", await (await ready).Content.ReadAsStringAsync(cancel));
        var items = JsonNode.Parse(await (await list).Content.ReadAsStringAsync(cancel))!["items"]!.AsArray();
        Assert.Equal(["kept-0", "kept-1", "kept-2"], items.Select(static item => (string)item!["metadata"]!["name"]!).Where(static name => name.StartsWith("kept", StringComparison.Ordinal)));
        await starting;
        Assert.Equal(0, server.WaitingRequests);
    }

    [Fact]
    public async Task Request_OfAServerThatStopsWhileItLoads_IsRefused()
    {
        var cancel = TestContext.Current.CancellationToken;
        await using var store = await FillAsync();
        var held = new HeldStore(store);
        await using var server = Held(held);
        var starting = await BeginAsync(server);
        using var client = Client(server);
        var asked = client.GetAsync("/api/v1/namespaces/default/configmaps/kept-0", cancel);
        await OwnServer.UntilAsync(() => Task.FromResult(server.WaitingRequests == 1));

        await server.DisposeAsync();
        using var answer = await asked;
        Assert.Equal(503, (int)answer.StatusCode);
        var status = JsonNode.Parse(await answer.Content.ReadAsStringAsync(cancel))!;
        Assert.Equal("ServiceUnavailable", (string)status["reason"]!);
        Assert.Equal("the server is starting and has not read its objects yet", (string)status["message"]!);
        Assert.Equal("1", answer.Headers.GetValues("Retry-After").Single());
        // A load that was cut off has failed; it does not leave the caches half full and served.
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => starting);
        Assert.False(server.IsReady);
    }

    [Fact]
    public async Task Wait_PastItsPatience_IsRefused()
    {
        var clock = new FakeTimeProvider();
        var gate = new StartGate(maxWaiting: 8, clock);
        var waits = gate.WaitAsync(CancellationToken.None).AsTask();
        clock.Advance(StartGate.Patience - TimeSpan.FromMilliseconds(1));
        Assert.False(waits.IsCompleted);
        clock.Advance(TimeSpan.FromMilliseconds(1));
        var refused = await Assert.ThrowsAsync<ApiMachinery.ApiStatusException>(() => waits);
        Assert.Equal((503, 1), (refused.Status.Code, refused.Status.RetryAfterSeconds));
        // It did not open by that.
        Assert.False(gate.IsOpen);
    }

    [Fact]
    public async Task Wait_BesideAsManyAsMay_IsRefusedAtOnce()
    {
        var gate = new StartGate(maxWaiting: 2, new FakeTimeProvider());
        Task[] waiting = [gate.WaitAsync(CancellationToken.None).AsTask(), gate.WaitAsync(CancellationToken.None).AsTask()];
        await Assert.ThrowsAsync<ApiMachinery.ApiStatusException>(() => gate.WaitAsync(CancellationToken.None).AsTask());
        gate.Open();
        await Task.WhenAll(waiting);
        Assert.Equal(0, gate.Waiting);
    }

    [Fact]
    public async Task Wait_OfAClientThatGoes_Ends()
    {
        var gate = new StartGate(maxWaiting: 2, new FakeTimeProvider());
        using var gone = new CancellationTokenSource();
        var waits = gate.WaitAsync(gone.Token).AsTask();
        await gone.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waits);
        Assert.Equal(0, gate.Waiting);
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    /// <summary>A store in which a server has left three objects.</summary>
    private async Task<SqliteDatastore> FillAsync()
    {
        var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = Path.Combine(_directory, "state.db") });
        await using var server = new ApiServer(_certificates.ServerOptions, store, NullLoggerFactory.Instance);
        await server.StartAsync(TestContext.Current.CancellationToken);
        var api = server.InProcess(UserInfo.Admin);
        for (var i = 0; i < 3; i++)
        {
            var body = System.Text.Encoding.UTF8.GetBytes($$$"""{"metadata":{"name":"kept-{{{i}}}"}}""");
            Assert.Equal(201, (await api.SendAsync(new("POST", "/api/v1/namespaces/default/configmaps", body, "application/json"), TestContext.Current.CancellationToken)).StatusCode);
        }
        return store;
    }

    /// <summary>Its clock stands still: nobody loses patience, however slow the machine.</summary>
    private ApiServer Held(HeldStore store) =>
        new(_certificates.ServerOptions with { Clock = new FakeTimeProvider(DateTimeOffset.UtcNow) }, store, NullLoggerFactory.Instance);

    /// <summary>Starts a server as far as it comes by itself; returns the start.</summary>
    private static async Task<Task> BeginAsync(ApiServer server)
    {
        var starting = server.StartAsync(TestContext.Current.CancellationToken);
        await OwnServer.UntilAsync(() => Task.FromResult(server.Port != 0));
        return starting;
    }

    private HttpClient Client(ApiServer server)
    {
        var handler = new SocketsHttpHandler { UseProxy = false };
        handler.SslOptions.RemoteCertificateValidationCallback = static (_, _, _, _) => true;
        handler.SslOptions.ClientCertificates = [_certificates.Client("system:admin", "system:masters")];
        return new HttpClient(handler) { BaseAddress = new Uri($"https://127.0.0.1:{server.Port}"), Timeout = TimeSpan.FromSeconds(120) };
    }

    /// <summary>A store whose state is not read until it is let go.</summary>
    private sealed class HeldStore(SqliteDatastore inner) : IDatastore, IStateReader
    {
        private readonly TaskCompletionSource _released = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public long CurrentRevision => inner.CurrentRevision;

        public long CompactRevision => inner.CompactRevision;

        public void Release() => _released.SetResult();

        public async Task ReadStateAsync(string prefix, long revision, Func<int, IDatastoreVisitor> openPart, CancellationToken cancellationToken = default)
        {
            await _released.Task.WaitAsync(cancellationToken);
            await inner.ReadStateAsync(prefix, revision, openPart, cancellationToken);
        }

        public ValueTask<AppendResult> AppendAsync(in AppendRequest request, CancellationToken cancellationToken = default) => inner.AppendAsync(request, cancellationToken);

        public ValueTask<RangeResult> RangeAsync(in RangeRequest request, IDatastoreVisitor visitor, CancellationToken cancellationToken = default) =>
            inner.RangeAsync(request, visitor, cancellationToken);

        public IDatastoreWatch Watch(long afterRevision, IDatastoreObserver observer) => inner.Watch(afterRevision, observer);

        public ValueTask CompactAsync(long revision, CancellationToken cancellationToken = default) => inner.CompactAsync(revision, cancellationToken);

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
