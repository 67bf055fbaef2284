using System.Net.Http.Headers;
using System.Text;
using System.Text.Json.Nodes;
using K3sFast.Datastore;
using K3sFast.Datastore.Sqlite;

namespace K3sFast.ApiServer.Tests;

/// <summary>A store that kube-apiserver filled: values in protobuf, as k3s stores them.</summary>
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

    private static async Task<byte[]> ProtobufAsync(HttpClient client)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/api/v1/namespaces/default/configmaps/a");
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("application/vnd.kubernetes.protobuf"));
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
