using System.Text.Json.Nodes;

namespace K3sFast.ApiServer.Tests;

public sealed class AuditTests
{
    private const string Policy = """
        apiVersion: audit.k8s.io/v1
        kind: Policy
        omitStages: [RequestReceived]
        rules:
        - {level: None, nonResourceURLs: ["/version*"]}
        - {level: RequestResponse, resources: [{group: "", resources: [configmaps]}], omitManagedFields: true}
        - {level: Request, resources: [{group: "", resources: ["serviceaccounts/*"]}]}
        - {level: Metadata, resources: [{group: "", resources: [secrets]}], verbs: [create, get, watch]}
        - {level: Metadata, users: [eve]}
        """;

    [Fact]
    public async Task Request_UnderAPolicy_IsRecordedAtItsLevel()
    {
        var directory = OwnServer.NewDirectory();
        var log = Path.Combine(directory, "logs", "audit.log");
        await using var server = await StartAsync(directory, new() { LogPath = log });
        var admin = server.Admin;
        await OwnServer.SendAsync(admin, HttpMethod.Get, "/version");
        await OwnServer.SendAsync(admin, HttpMethod.Post, "/api/v1/namespaces/default/configmaps", """{"metadata":{"name":"c"},"data":{"a":"b"}}""",
            "application/json", ("Audit-ID", "my-id"), ("User-Agent", "tester"), ("Impersonate-User", "system:admin"), ("Impersonate-Group", "system:masters"));
        await OwnServer.SendAsync(admin, HttpMethod.Post, "/api/v1/namespaces/default/secrets", """{"metadata":{"name":"s"},"stringData":{"a":"hidden"}}""");
        var eve = server.Client(server.Certificates.Client("eve"));
        await OwnServer.SendAsync(eve, HttpMethod.Get, "/api/v1/namespaces/default/pods/p");
        await OwnServer.SendAsync(server.Client(), HttpMethod.Get, "/api/v1/namespaces/default/secrets/s");

        // The end of a request is recorded when its answer is on its way.
        await OwnServer.UntilAsync(() => Task.FromResult(Read(log).Count == 4));
        var events = Read(log);
        Assert.Equal(("ResponseStarted", 401, "Unauthorized"),
            ((string)events[3]["stage"]!, (int)events[3]["responseStatus"]!["code"]!, (string)events[3]["responseStatus"]!["message"]!));
        var created = events[0];
        Assert.Equal(("RequestResponse", "ResponseComplete", "my-id", "create", "/api/v1/namespaces/default/configmaps", "tester", 201),
            ((string)created["level"]!, (string)created["stage"]!, (string)created["auditID"]!, (string)created["verb"]!, (string)created["requestURI"]!, (string)created["userAgent"]!, (int)created["responseStatus"]!["code"]!));
        Assert.Equal("system:admin", (string?)created["impersonatedUser"]!["username"]);
        Assert.Equal("""{"resource":"configmaps","namespace":"default","name":"c","apiVersion":"v1"}""", created["objectRef"]!.ToJsonString());
        Assert.Equal("b", (string?)created["requestObject"]!["data"]!["a"]);
        Assert.Equal("c", (string?)created["responseObject"]!["metadata"]!["name"]);
        Assert.Null(created["responseObject"]!["metadata"]!["managedFields"]);
        Assert.Equal("allow", (string?)created["annotations"]!["authorization.k8s.io/decision"]);
        Assert.Equal("127.0.0.1", (string?)created["sourceIPs"]![0]);

        var secret = events[1];
        Assert.Equal(("Metadata", "s"), ((string)secret["level"]!, (string)secret["objectRef"]!["name"]!));
        Assert.DoesNotContain("hidden", secret.ToJsonString());
        var refused = events[2];
        Assert.Equal(("eve", "forbid", 403, "Forbidden"),
            ((string)refused["user"]!["username"]!, (string)refused["annotations"]!["authorization.k8s.io/decision"]!, (int)refused["responseStatus"]!["code"]!, (string)refused["responseStatus"]!["reason"]!));
    }

    [Fact]
    public async Task Answer_WithoutAnyAuditLog_NamesTheRequestAllTheSame()
    {
        await using var server = await OwnServer.StartAsync(static options => options, OwnServer.NewDirectory());
        using var request = new HttpRequestMessage(HttpMethod.Get, "/version");
        using var given = await server.Admin.SendAsync(request, TestContext.Current.CancellationToken);
        Assert.True(Guid.TryParse(given.Headers.GetValues("Audit-Id").Single(), out _));
        using var named = new HttpRequestMessage(HttpMethod.Get, "/nowhere");
        named.Headers.Add("Audit-ID", "mine");
        using var answer = await server.Admin.SendAsync(named, TestContext.Current.CancellationToken);
        Assert.Equal("mine", answer.Headers.GetValues("Audit-Id").Single());
    }

    [Fact]
    public async Task Component_ThatListsAndWatches_IsRecordedAtEachStageAndCounted()
    {
        var directory = OwnServer.NewDirectory();
        var log = Path.Combine(directory, "audit.log");
        var policy = Path.Combine(directory, "all.yaml");
        await File.WriteAllTextAsync(policy, "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata, users: [\"system:component\"]}, {level: None}]\n", TestContext.Current.CancellationToken);
        await using var server = await OwnServer.StartAsync(o => o with { Audit = new() { LogPath = log, PolicyFile = policy } }, directory);
        var transport = server.Server.InProcess(new UserInfo("system:component", ["system:masters"]));
        await transport.ListAsync("/api/v1/configmaps", TestContext.Current.CancellationToken);
        await foreach (var _ in transport.WatchAsync("/api/v1/secrets?watch=1&timeoutSeconds=1", TestContext.Current.CancellationToken))
        {
            // What there is.
        }
        var stranger = server.Server.InProcess(new UserInfo("system:component", []));
        await Assert.ThrowsAsync<K3sFast.Client.ApiException>(async () => await stranger.ListAsync("/api/v1/pods", TestContext.Current.CancellationToken));
        await OwnServer.UntilAsync(() => Task.FromResult(Read(log).Count == 7));
        Assert.Equal(
            [
                "list configmaps RequestReceived ", "list configmaps ResponseComplete 200", "watch secrets RequestReceived ", "watch secrets ResponseStarted 200",
                "watch secrets ResponseComplete 200", "list pods RequestReceived ", "list pods ResponseComplete 403",
            ],
            Read(log).Select(static e => $"{e["verb"]} {e["objectRef"]!["resource"]} {e["stage"]} {e["responseStatus"]?["code"]}"));
        var metrics = await (await server.Admin.GetAsync("/metrics", TestContext.Current.CancellationToken)).Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        Assert.Contains("apiserver_audit_event_total 7\n", metrics);
        Assert.Contains("apiserver_audit_level_total{level=\"Metadata\"} 3\n", metrics);
        Assert.Contains("apiserver_audit_requests_rejected_total 0\n", metrics);
    }

    [Fact]
    public async Task Watch_IsRecordedWhenItBeginsAndWhenItEnds()
    {
        var directory = OwnServer.NewDirectory();
        var log = Path.Combine(directory, "audit.log");
        await using var server = await StartAsync(directory, new() { LogPath = log });
        await OwnServer.SendAsync(server.Admin, HttpMethod.Get, "/api/v1/namespaces/default/secrets?watch=1&timeoutSeconds=1");
        await OwnServer.UntilAsync(() => Task.FromResult(Read(log).Count == 2));
        Assert.Equal(["ResponseStarted", "ResponseComplete"], Read(log).Select(static e => (string)e["stage"]!));
    }

    [Fact]
    public async Task LegacyFormat_IsALineOfWords()
    {
        var directory = OwnServer.NewDirectory();
        var log = Path.Combine(directory, "audit.log");
        await using var server = await StartAsync(directory, new() { LogPath = log, LogFormat = "legacy" });
        await OwnServer.SendAsync(server.Admin, HttpMethod.Get, "/api/v1/namespaces/default/secrets/none");
        await OwnServer.UntilAsync(async () => (await File.ReadAllTextAsync(log, TestContext.Current.CancellationToken)).EndsWith('\n'));
        var line = (await File.ReadAllTextAsync(log, TestContext.Current.CancellationToken)).Trim();
        Assert.Contains(" AUDIT: id=\"", line);
        Assert.EndsWith(" stage=\"ResponseComplete\" ip=\"127.0.0.1\" method=\"get\" user=\"system:admin\" groups=\"\\\"system:masters\\\",\\\"system:authenticated\\\"\" as=\"<self>\" asgroups=\"<lookup>\" user-agent=\"\" namespace=\"default\" uri=\"/api/v1/namespaces/default/secrets/none\" response=\"404\"",
            line[line.IndexOf(" stage=", StringComparison.Ordinal)..]);
    }

    [Fact]
    public async Task Webhook_GetsBatches_WithLongEventsWithoutTheirObjects()
    {
        await using var webhook = await TestWebhook.StartAsync(static (_, _) => (200, null));
        var directory = OwnServer.NewDirectory();
        var options = new AuditOptions
        {
            WebhookFile = webhook.WriteKubeconfig(directory),
            Webhook = new() { Mode = AuditMode.Batch, MaxBatchEvents = 10, MaxBatchWait = TimeSpan.FromMilliseconds(200), Truncates = true, MaxEventBytes = 4096 },
        };
        await using (var server = await StartAsync(directory, options))
        {
            foreach (var (name, length) in new[] { ("small", 10), ("large", 9000) })
                await OwnServer.SendAsync(server.Admin, HttpMethod.Post, "/api/v1/namespaces/default/configmaps", $$$"""{"metadata":{"name":"{{{name}}}"},"data":{"a":"{{{new string('x', length)}}}"}}""");
            await OwnServer.UntilAsync(() => Task.FromResult(Items(webhook).Count == 2));
        }
        // Two batches, if it were two, may overtake each other.
        var items = Items(webhook);
        var whole = Assert.Single(items, static item => item["requestObject"] is not null);
        Assert.Equal("small", (string?)whole["requestObject"]!["metadata"]!["name"]);
        var cut = Assert.Single(items, static item => item["requestObject"] is null);
        Assert.Equal("true", (string?)cut["annotations"]!["audit.k8s.io/truncated"]);
        Assert.Equal("EventList", (string?)webhook.Requests[0].Body!["kind"]);
    }

    [Theory]
    [InlineData(1, 2)]
    [InlineData(5, 4)]
    public async Task LogFile_ThatIsFull_IsPutAside(int backups, int files)
    {
        var directory = OwnServer.NewDirectory();
        var log = Path.Combine(directory, "audit.log");
        await using (var output = new AuditLogFile(new AuditOptions { LogPath = log, LogMaxMegabytes = 1, LogMaxBackups = backups }, new StoppedClock(), Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance))
        {
            for (var i = 0; i < 4; i++)
                Assert.True(await output.WriteAsync([new byte[700_000]], CancellationToken.None));
        }
        Assert.Equal(files, Directory.GetFiles(directory, "audit*").Length);
        Assert.Equal(700_001, new FileInfo(log).Length);
        Directory.Delete(directory, recursive: true);
    }

    [Theory]
    [InlineData("rules: []", "loaded illegal policy with 0 rules")]
    [InlineData("rules: [{level: Loud}]", "rules[0].level: Unsupported value: \"Loud\"")]
    [InlineData("rules: [{level: Metadata, nonResourceURLs: [x]}]", "rules[0].nonResourceURLs[0]: Invalid value: \"x\": non-resource URL rules must begin with a '/' character")]
    [InlineData("rules: [{level: Metadata, omitStages: [Never]}]", "rules[0].omitStages[0]: Invalid value: \"Never\": allowed stages are Panic,RequestReceived,ResponseComplete,ResponseStarted")]
    [InlineData("rules: [{level: Metadata, resources: [{resourceNames: [a]}]}]", "using resourceNames requires at least one resource")]
    [InlineData("rules: [{level: Metadata, what: 1}]", "unknown field \"rules[0].what\"")]
    public async Task Policy_ThatIsWrong_StopsTheStart(string text, string message)
    {
        var path = Path.GetTempFileName();
        await File.WriteAllTextAsync(path, $"apiVersion: audit.k8s.io/v1\nkind: Policy\n{text}\n", TestContext.Current.CancellationToken);
        Assert.Contains(message, Assert.Throws<ApiServerStartException>(() => AuditPolicy.Load(path)).Message);
        File.Delete(path);
    }

    private static async Task<OwnServer> StartAsync(string directory, AuditOptions options)
    {
        var policy = Path.Combine(directory, "policy.yaml");
        await File.WriteAllTextAsync(policy, Policy, TestContext.Current.CancellationToken);
        return await OwnServer.StartAsync(o => o with { Audit = options with { PolicyFile = policy } }, directory);
    }

    // In the order in which requests came: the end of one may be written after the beginning of the next.
    private static List<JsonNode> Read(string log)
    {
        if (!File.Exists(log))
            return [];
        using var file = new FileStream(log, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        using var reader = new StreamReader(file);
        var text = reader.ReadToEnd();
        // The last line may not be written whole yet.
        return [.. text[..(text.LastIndexOf('\n') + 1)].Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(static line => JsonNode.Parse(line)!)
            .OrderBy(static e => (string)e["requestReceivedTimestamp"]!, StringComparer.Ordinal)];
    }

    private static List<JsonNode> Items(TestWebhook webhook)
    {
        lock (webhook.Requests)
            return [.. webhook.Requests.SelectMany(static request => request.Body!["items"]!.AsArray()).Select(static item => item!)];
    }

    // Every rotation falls on the same millisecond.
    private sealed class StoppedClock : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);
    }
}
