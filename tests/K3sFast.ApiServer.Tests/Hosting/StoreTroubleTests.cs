using System.Text;
using K3sFast.Datastore.FailPoints;

namespace K3sFast.ApiServer.Tests;

/// <summary>What a client sees of a store that is full or does not keep up, and what operators see.</summary>
public sealed class StoreTroubleTests
{
    [Fact]
    public async Task Store_Full_RefusesWritesClearly_IsNotReady_AndComesBack()
    {
        long free = 1L << 40;
        await using var server = await OwnServer.StartAsync(static options => options, changeStore: options => options with { FreeDiskBytes = _ => Volatile.Read(ref free) });
        var admin = server.Admin;
        Assert.Equal(201, await CreateAsync(admin, "before"));
        Assert.Equal((200, "ok"), await GetAsync(admin, "/readyz/datastore-space"));
        free = 0;
        // The file system is asked every quarter of a second.
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        for (int i = 0; await CreateAsync(admin, $"until-{i}") != 507; i++) await Task.Delay(20, deadline.Token);
        var (code, text) = await SendAsync(admin, HttpMethod.Post, "/api/v1/namespaces/default/configmaps", """{"metadata":{"name":"full"}}""");
        Assert.Equal(507, code);
        Assert.Contains("\"reason\":\"InsufficientStorage\"", text);
        Assert.Contains("etcdserver: mvcc: database space exceeded", text);
        var (readyCode, readyText) = await GetAsync(admin, "/readyz");
        Assert.Equal(500, readyCode);
        Assert.Contains("[-]datastore-space failed", readyText);
        Assert.Contains("database space exceeded: 0 bytes are free", (await GetAsync(admin, "/readyz/datastore-space")).Text);
        Assert.Equal(200, (await GetAsync(admin, "/livez")).Code);
        Assert.Contains("k3sfast_datastore_full 1\n", (await GetAsync(admin, "/metrics")).Text);
        // Reads and deletions go on.
        Assert.Equal(200, (await SendAsync(admin, HttpMethod.Delete, "/api/v1/namespaces/default/configmaps/before", null)).Code);
        free = 1L << 40;
        Assert.Equal(201, await CreateAsync(admin, "after"));
        Assert.Equal((200, "ok"), await GetAsync(admin, "/readyz/datastore-space"));
    }

    [Theory]
    [InlineData(FailPointNames.CommitInFlush)]
    [InlineData(FailPointNames.CommitInWrite)]
    public async Task Store_MediumFails_IsNotReady_AndComesBack(string point)
    {
        string path = "";
        await using var server = await OwnServer.StartAsync(static options => options, changeStore: options =>
        {
            path = options.Path;
            return options;
        });
        var admin = server.Admin;
        Assert.Equal((200, "ok"), await GetAsync(admin, "/readyz/datastore-medium"));
        using (FailPoint.Set(point, "error(EIO)", path))
        {
            Assert.Equal(500, await CreateAsync(admin, "lost"));
            var (code, text) = await GetAsync(admin, "/readyz");
            Assert.Equal(500, code);
            Assert.Contains("[-]datastore-medium failed", text);
            Assert.Contains("the newest write failed: ", (await GetAsync(admin, "/readyz/datastore-medium")).Text);
            // A restart mends no disk; what was read is still whole.
            Assert.Equal(200, (await GetAsync(admin, "/livez")).Code);
            Assert.Equal(200, (await GetAsync(admin, "/api/v1/namespaces/default/configmaps")).Code);
        }
        Assert.Equal(201, await CreateAsync(admin, "after"));
        Assert.Equal((200, "ok"), await GetAsync(admin, "/readyz/datastore-medium"));
    }

    [Fact]
    public async Task Store_NotKeepingUp_AsksClientsToComeAgain()
    {
        string path = "";
        await using var server = await OwnServer.StartAsync(static options => options, changeStore: options =>
        {
            path = options.Path;
            return options with { MaxQueuedAppends = 150 };
        });
        var admin = server.Admin;
        using var reached = new SemaphoreSlim(0);
        using var released = new ManualResetEventSlim();
        Task<int>[] creates;
        using (FailPoint.On(FailPointNames.CommitInFlush, Hold, path))
        {
            creates = [.. Enumerable.Range(0, 200).Select(i => CreateAsync(admin, $"many-{i}"))];
            Assert.True(await reached.WaitAsync(TimeSpan.FromSeconds(60)));
            // One is flushed, as many wait as may, and the first answers are refusals.
            Assert.Equal(429, await await Task.WhenAny(creates));
            released.Set();
            int[] codes = await Task.WhenAll(creates);
            Assert.All(codes, code => Assert.True(code is 201 or 429, $"{code}"));
            Assert.Contains(201, codes);
        }
        Assert.Equal(201, await CreateAsync(admin, "later"));

        FailPointError Hold()
        {
            reached.Release();
            return released.Wait(TimeSpan.FromSeconds(60)) ? FailPointError.None : FailPointError.Io;
        }
    }

    [Fact]
    public async Task Metrics_OfTheStore_AreThere()
    {
        await using var server = await OwnServer.StartAsync(static options => options);
        string text = (await GetAsync(server.Admin, "/metrics")).Text;
        foreach (string name in (string[])[
            "file_bytes", "log_bytes", "unused_bytes", "disk_free_bytes", "disk_reserved_bytes", "revision", "compact_revision", "written_pages_total", "commit_duration_seconds_count", "group_changes_sum"])
        {
            Assert.Matches($"(?m)^k3sfast_datastore_{name} [0-9.e+-]+$", text);
        }
        Assert.Matches("(?m)^k3sfast_datastore_commit_duration_seconds_bucket\\{le=\"0.001\"\\} [0-9]+$", text);
        Assert.Matches("(?m)^apiserver_storage_size_bytes\\{storage_cluster_id=\"etcd-0\"\\} [0-9.e+]+$", text);
    }

    [Fact]
    public async Task Metrics_OfTheStore_AreWhatTheMachineSays()
    {
        await using var server = await OwnServer.StartAsync(static options => options);
        var admin = server.Admin;
        string path = Path.Combine(server.Directory, "state.db");
        // The store goes on writing meanwhile, and a page's figures are of one moment.
        await OwnServer.UntilAsync(async () =>
        {
            var (file, log) = (new FileInfo(path).Length, new FileInfo(path + "-wal").Length);
            return await ReadAsync("file_bytes") == file && await ReadAsync("log_bytes") == log;
        });
        Assert.InRange(await ReadAsync("disk_free_bytes"), 1, new DriveInfo(server.Directory).TotalSize);
        Assert.InRange(await ReadAsync("unused_bytes"), 0, await ReadAsync("file_bytes"));
        var (flushes, seconds) = (await ReadAsync("commit_duration_seconds_count"), await ReadAsync("commit_duration_seconds_sum"));
        Assert.Equal(201, await CreateAsync(admin, "flushed"));
        await OwnServer.UntilAsync(async () => await ReadAsync("commit_duration_seconds_count") > flushes && await ReadAsync("commit_duration_seconds_sum") > seconds);

        async Task<double> ReadAsync(string name)
        {
            var line = (await GetAsync(admin, "/metrics")).Text.Split('\n').Single(line => line.StartsWith($"k3sfast_datastore_{name} ", StringComparison.Ordinal));
            return double.Parse(line[(line.IndexOf(' ') + 1)..], System.Globalization.CultureInfo.InvariantCulture);
        }
    }

    private static async Task<int> CreateAsync(HttpClient client, string name) =>
        (await SendAsync(client, HttpMethod.Post, "/api/v1/namespaces/default/configmaps", $$$"""{"metadata":{"name":"{{{name}}}"}}""")).Code;

    private static Task<(int Code, string Text)> GetAsync(HttpClient client, string path) => SendAsync(client, HttpMethod.Get, path, null);

    private static async Task<(int Code, string Text)> SendAsync(HttpClient client, HttpMethod method, string path, string? body)
    {
        using var request = new HttpRequestMessage(method, path);
        if (body is not null) request.Content = new StringContent(body, Encoding.UTF8, "application/json");
        using var answer = await client.SendAsync(request);
        return ((int)answer.StatusCode, await answer.Content.ReadAsStringAsync());
    }
}
