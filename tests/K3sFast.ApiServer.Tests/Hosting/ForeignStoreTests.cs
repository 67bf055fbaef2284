using System.Net.Http.Headers;
using System.Text;
using System.Text.Json.Nodes;
using K3sFast.Datastore;
using K3sFast.Datastore.Sqlite;

namespace K3sFast.ApiServer.Tests;

/// <summary>A store that another API server filled: values in protobuf, as k3s stores them.</summary>
public sealed class ForeignStoreTests
{
    [Fact]
    public async Task Server_ValuesInProtobuf_ServesThemAndGoesOn()
    {
        byte[] stored;
        JsonNode was;
        await using (var first = await OwnServer.StartAsync(static options => options))
        {
            was = await SendAsync(first.Admin, HttpMethod.Post, "", """{"metadata":{"name":"a","labels":{"of":"k3s"},"finalizers":["example.com/keep"]},"data":{"k":"v"},"binaryData":{"b":"AAE="}}""");
            stored = await ProtobufAsync(first.Admin);
        }
        Assert.Equal("k8s\0"u8, stored.AsSpan(0, 4));
        string directory = OwnServer.NewDirectory();
        long revision;
        await using (var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = Path.Combine(directory, "state.db") }))
        {
            revision = (await store.AppendAsync(AppendRequest.Create("/registry/configmaps/default/a", stored))).Revision;
        }
        await using var server = await OwnServer.StartAsync(static options => options, directory);
        var got = await SendAsync(server.Admin, HttpMethod.Get, "/a", null);
        Assert.Equal($"{revision}", (string?)got["metadata"]!["resourceVersion"]);
        foreach (string part in (string[])["data", "binaryData"]) Assert.True(JsonNode.DeepEquals(was[part], got[part]), $"{got}");
        foreach (string part in (string[])["uid", "labels", "creationTimestamp", "finalizers", "managedFields"]) Assert.True(JsonNode.DeepEquals(was["metadata"]![part], got["metadata"]![part]), $"{part}: {got}");
        Assert.Single((JsonArray)(await SendAsync(server.Admin, HttpMethod.Get, "?labelSelector=of%3Dk3s", null))["items"]!);
        // The next one to write it stores JSON.
        got["data"]!["k"] = "w";
        var changed = await SendAsync(server.Admin, HttpMethod.Put, "/a", got.ToJsonString());
        Assert.Equal("w", (string?)changed["data"]!["k"]);
        Assert.NotEqual(stored, await ProtobufAsync(server.Admin));
    }

    // Members of protobuf come by their numbers, and what is empty does not come at all; what is served has the order of everything that is served.
    [Fact]
    public async Task Server_ValuesInProtobuf_ServesTheTextThatItWouldHaveStored()
    {
        string directory = OwnServer.NewDirectory();
        var objects = new List<(string Path, string Key, string Text, byte[] Stored)>();
        await using (var first = await OwnServer.StartAsync(static options => options))
        {
            foreach (var (collection, storedAs, key, body) in s_objects)
            {
                string name = (string)JsonNode.Parse(body)!["metadata"]!["name"]!;
                using var answer = await first.Admin.PostAsync(collection, new StringContent(body, Encoding.UTF8, "application/json"));
                Assert.True(answer.IsSuccessStatusCode, await answer.Content.ReadAsStringAsync());
                var stored = await ReadAsync(first.Admin, $"{storedAs}/{name}", Protobuf);
                objects.Add(($"{collection}/{name}", $"/registry/{key}/{name}", Encoding.UTF8.GetString(await ReadAsync(first.Admin, $"{collection}/{name}", "application/json")), stored));
            }
        }
        await using (var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = Path.Combine(directory, "state.db") }))
        {
            foreach (var (_, key, _, stored) in objects) await store.AppendAsync(AppendRequest.Create(key, stored));
        }
        await using var server = await OwnServer.StartAsync(static options => options, directory);
        foreach (var (path, _, text, _) in objects)
            Assert.Equal(WithoutVersion(text), WithoutVersion(Encoding.UTF8.GetString(await ReadAsync(server.Admin, path, "application/json"))));
    }

    [Fact]
    public async Task Server_ValuesThatItCannotRead_LeavesThemOut_AndServesTheOthers()
    {
        string directory = OwnServer.NewDirectory();
        byte[] sound;
        await using (var first = await OwnServer.StartAsync(static options => options))
        {
            await SendAsync(first.Admin, HttpMethod.Post, "", """{"metadata":{"name":"a"},"data":{"k":"v"}}""");
            sound = await ProtobufAsync(first.Admin);
        }
        await using (var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = Path.Combine(directory, "state.db") }))
        {
            // Cut off, of a kind and of a version that are not known, of a kind that belongs elsewhere, and nothing at all.
            (string Key, byte[] Value)[] values =
            [
                ("configmaps/default/cut", sound[..(sound.Length / 2)]), ("configmaps/default/kind", [.. "k8s\0"u8, 0x0a, 8, 0x0a, 2, .. "v1"u8, 0x12, 2, .. "No"u8]),
                ("poddisruptionbudgets/default/old", [.. "k8s\0"u8, 0x0a, 36, 0x0a, 13, .. "policy/v1gone"u8, 0x12, 19, .. "PodDisruptionBudget"u8]),
                ("secrets/default/a", sound), ("configmaps/default/none", []), ("configmaps/default/words", "not an object"u8.ToArray()),
                ("configmaps/default/open", "{\"metadata\":{\"name\""u8.ToArray()), ("configmaps/default/a", sound),
            ];
            foreach (var (key, value) in values) await store.AppendAsync(AppendRequest.Create($"/registry/{key}", value));
        }
        await using var server = await OwnServer.StartAsync(static options => options, directory);
        var items = (JsonArray)(await SendAsync(server.Admin, HttpMethod.Get, "", null))["items"]!;
        Assert.Equal("a", (string?)Assert.Single(items)!["metadata"]!["name"]);
        foreach (string path in (string[])["/apis/policy/v1/poddisruptionbudgets", "/api/v1/namespaces/default/secrets"])
            Assert.Empty((JsonArray)JsonNode.Parse(await ReadAsync(server.Admin, path, "application/json"))!["items"]!);
        Assert.Equal("w", (string?)(await SendAsync(server.Admin, HttpMethod.Post, "", """{"metadata":{"name":"b"},"data":{"k":"w"}}"""))["data"]!["k"]);
    }

    // Definitions are stored as JSON, each with a line end behind it.
    [Fact]
    public async Task Server_ValuesWithALineEnd_ServesThemWithoutIt()
    {
        const string Stored = """{"kind":"APIService","apiVersion":"apiregistration.k8s.io/v1","metadata":{"name":"v1.example.com","uid":"7d5f2c1e-7f0f-4f0e-9b57-0a6f5b9f7a11","creationTimestamp":"2026-03-01T10:20:30Z"},"spec":{"service":{"namespace":"default","name":"s","port":443},"group":"example.com","version":"v1","groupPriorityMinimum":1000,"versionPriority":15},"status":{}}""";
        const string Path = "/apis/apiregistration.k8s.io/v1/apiservices";
        string directory = OwnServer.NewDirectory();
        await using (var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = System.IO.Path.Combine(directory, "state.db") }))
        {
            await store.AppendAsync(AppendRequest.Create("/registry/apiregistration.k8s.io/apiservices/v1.example.com", Encoding.UTF8.GetBytes(Stored + "\n")));
        }
        await using var server = await OwnServer.StartAsync(static options => options, directory);
        Assert.Equal(Stored + "\n", WithoutVersion(Encoding.UTF8.GetString(await ReadAsync(server.Admin, Path + "/v1.example.com", "application/json"))));
        using var watch = await server.Admin.GetStreamAsync(Path + "?watch=true&resourceVersion=0&fieldSelector=metadata.name%3Dv1.example.com", TestContext.Current.CancellationToken);
        using var lines = new StreamReader(watch);
        Assert.Equal("ADDED", (string?)JsonNode.Parse((await lines.ReadLineAsync(TestContext.Current.CancellationToken))!)!["type"]);
    }

    private const string Protobuf = "application/vnd.kubernetes.protobuf";

    // Where it is made and read, where the protobuf of the version that is stored comes from, its key, and itself.
    private static readonly (string Collection, string StoredAs, string Key, string Body)[] s_objects =
    [
        ("/apis/apps/v1/namespaces/default/deployments", "/apis/apps/v1/namespaces/default/deployments", "deployments/default",
            """{"metadata":{"name":"d","annotations":{"b":"1","a":"<&>"}},"spec":{"replicas":0,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"initContainers":[{"name":"i","image":"i"}],"containers":[{"name":"c","image":"i","resources":{"limits":{"cpu":"0.5"}},"ports":[{"containerPort":80}]}],"volumes":[{"name":"v","emptyDir":{}}]}}}}"""),
        ("/api/v1/namespaces/default/secrets", "/api/v1/namespaces/default/secrets", "secrets/default", """{"metadata":{"name":"s","finalizers":["example.com/keep"]},"data":{"b":"","a":"AAE="}}"""),
        ("/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers", "horizontalpodautoscalers/default",
            """{"metadata":{"name":"h"},"spec":{"scaleTargetRef":{"kind":"Deployment","name":"d","apiVersion":"apps/v1"},"maxReplicas":3,"metrics":[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":50}}}]}}"""),
        ("/apis/policy/v1/namespaces/default/poddisruptionbudgets", "/apis/policy/v1/namespaces/default/poddisruptionbudgets", "poddisruptionbudgets/default",
            """{"metadata":{"name":"p"},"spec":{"maxUnavailable":"50%","selector":{}}}"""),
    ];

    private static string WithoutVersion(string text) => System.Text.RegularExpressions.Regex.Replace(text, "\"resourceVersion\":\"[0-9]+\",", "");

    private static Task<byte[]> ProtobufAsync(HttpClient client) => ReadAsync(client, "/api/v1/namespaces/default/configmaps/a", Protobuf);

    private static async Task<byte[]> ReadAsync(HttpClient client, string path, string accept)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue(accept));
        using var answer = await client.SendAsync(request);
        return await answer.Content.ReadAsByteArrayAsync();
    }

    private static async Task<JsonNode> SendAsync(HttpClient client, HttpMethod method, string path, string? body)
    {
        using var request = new HttpRequestMessage(method, $"/api/v1/namespaces/default/configmaps{path}");
        if (body is not null) request.Content = new StringContent(body, Encoding.UTF8, "application/json");
        using var answer = await client.SendAsync(request);
        string text = await answer.Content.ReadAsStringAsync();
        Assert.True(answer.IsSuccessStatusCode, text);
        return JsonNode.Parse(text)!;
    }
}
