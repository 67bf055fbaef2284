using System.Text.Json.Nodes;

namespace K3sFast.ApiServer.Tests;

public sealed class ListWatchTests(TestServer server)
{
    [Fact]
    public async Task List_InPages_ShowsOneStateWhole()
    {
        var ns = await server.NamespaceAsync();
        var path = $"/api/v1/namespaces/{ns}/configmaps";
        for (var i = 0; i < 5; i++)
            await server.CreateAsync(path, "{\"metadata\":{\"name\":\"c" + i + "\"}}");
        var first = await server.GetAsync($"{path}?limit=2");
        Assert.Equal(3, (int)first.Json["metadata"]!["remainingItemCount"]!);
        await server.SendAsync(HttpMethod.Delete, $"{path}/c4");
        var names = Names(first);
        var next = (string?)first.Json["metadata"]!["continue"];
        while (next is not null)
        {
            var page = await server.GetAsync($"{path}?limit=2&continue={Uri.EscapeDataString(next)}");
            Assert.True(page.Code == 200, page.Text);
            Assert.Equal((string?)first.Json["metadata"]!["resourceVersion"], (string?)page.Json["metadata"]!["resourceVersion"]);
            names.AddRange(Names(page));
            next = (string?)page.Json["metadata"]!["continue"];
        }
        Assert.Equal(["c0", "c1", "c2", "c3", "c4"], names);
    }

    [Fact]
    public async Task List_Items_CarryNoKindOfTheirOwn()
    {
        var list = await server.GetAsync("/api/v1/namespaces");
        Assert.Equal("NamespaceList", (string?)list.Json["kind"]);
        Assert.Null(list.Json["items"]![0]!["kind"]);
    }

    [Theory]
    [InlineData("labelSelector=app%3Da", "p1")]
    [InlineData("labelSelector=app+in+(a,b)", "p1,p2")]
    [InlineData("labelSelector=!app", "p3")]
    [InlineData("fieldSelector=spec.nodeName%3Dn1", "p1,p3")]
    [InlineData("fieldSelector=metadata.name!%3Dp1,status.phase%3DPending", "p2,p3")]
    public async Task Selector_OnAList_PicksWhatMatches(string query, string expected)
    {
        var ns = await server.NamespaceAsync();
        var path = $"/api/v1/namespaces/{ns}/pods";
        const string Spec = "\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]";
        await server.CreateAsync(path, $$$"""{"metadata":{"name":"p1","labels":{"app":"a"}},"spec":{"nodeName":"n1",{{{Spec}}} } }""");
        await server.CreateAsync(path, $$$"""{"metadata":{"name":"p2","labels":{"app":"b"}},"spec":{ {{{Spec}}} }}""");
        await server.CreateAsync(path, $$$"""{"metadata":{"name":"p3"},"spec":{"nodeName":"n1",{{{Spec}}} } }""");
        var list = await server.GetAsync($"{path}?{query}");
        Assert.True(list.Code == 200, list.Text);
        Assert.Equal(expected, string.Join(',', Names(list)));
    }

    [Fact]
    public async Task Table_OfPods_HasKubectlsColumns()
    {
        var table = await server.GetAsync("/api/v1/namespaces/default/services", accept: "application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
        Assert.Equal("Table", (string?)table.Json["kind"]);
        Assert.Equal("Name", (string?)table.Json["columnDefinitions"]![0]!["name"]);
        Assert.Equal("kubernetes", (string?)table.Json["rows"]![0]!["cells"]![0]);
        Assert.Equal("PartialObjectMetadata", (string?)table.Json["rows"]![0]!["object"]!["kind"]);
    }

    [Fact]
    public async Task PartialObjectMetadata_OfAList_HasNoSpec()
    {
        var list = await server.GetAsync("/api/v1/namespaces/default/services", accept: "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io");
        Assert.Equal("PartialObjectMetadataList", (string?)list.Json["kind"]);
        Assert.Null(list.Json["items"]![0]!["spec"]);
    }

    [Fact]
    public async Task Protobuf_InAndOut_IsTheSameObject()
    {
        var ns = await server.NamespaceAsync();
        var path = $"/api/v1/namespaces/{ns}/configmaps";
        await server.CreateAsync(path, """{"metadata":{"name":"a"},"data":{"k":"v"}}""");
        using var request = new HttpRequestMessage(HttpMethod.Get, $"{path}/a");
        request.Headers.TryAddWithoutValidation("Accept", "application/vnd.kubernetes.protobuf");
        using var response = await server.Admin.SendAsync(request, TestContext.Current.CancellationToken);
        var bytes = await response.Content.ReadAsByteArrayAsync(TestContext.Current.CancellationToken);
        Assert.Equal("k8s\0"u8.ToArray(), bytes[..4]);
        using var put = new HttpRequestMessage(HttpMethod.Put, $"{path}/a") { Content = new ByteArrayContent(bytes) };
        put.Content.Headers.TryAddWithoutValidation("Content-Type", "application/vnd.kubernetes.protobuf");
        using var answer = await server.Admin.SendAsync(put, TestContext.Current.CancellationToken);
        var text = await answer.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        Assert.True(answer.IsSuccessStatusCode, text);
        Assert.Contains("\"data\":{\"k\":\"v\"}", text);
    }

    [Fact]
    public async Task Watch_WithASelector_SeesObjectsComeChangeAndLeave()
    {
        var ns = await server.NamespaceAsync();
        var path = $"/api/v1/namespaces/{ns}/configmaps";
        var start = (string)(await server.GetAsync(path)).Json["metadata"]!["resourceVersion"]!;
        await using var watch = await OpenAsync($"{path}?watch=true&labelSelector=a%3Db&resourceVersion={start}");
        await server.CreateAsync(path, """{"metadata":{"name":"x"}}""");
        await PatchAsync($"{path}/x", """{"metadata":{"labels":{"a":"b"}}}""");
        await PatchAsync($"{path}/x", """{"data":{"k":"v"}}""");
        var left = await PatchAsync($"{path}/x", """{"metadata":{"labels":{"a":"c"}}}""");
        await PatchAsync($"{path}/x", """{"metadata":{"labels":{"a":"b"}}}""");
        await server.SendAsync(HttpMethod.Delete, $"{path}/x");
        var seen = new List<JsonNode>();
        for (var i = 0; i < 5; i++)
            seen.Add(await watch.NextAsync());
        Assert.Equal(["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"], seen.Select(static e => (string)e["type"]!));
        Assert.Equal((string)left["metadata"]!["resourceVersion"]!, (string)seen[2]["object"]!["metadata"]!["resourceVersion"]!);
        Assert.Equal("b", (string)seen[2]["object"]!["metadata"]!["labels"]!["a"]!);
    }

    [Fact]
    public async Task Watch_SendingInitialEvents_EndsThemWithABookmark()
    {
        var ns = await server.NamespaceAsync();
        var path = $"/api/v1/namespaces/{ns}/serviceaccounts";
        await using var watch = await OpenAsync($"{path}?watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&resourceVersion=");
        Assert.Equal("ADDED", (string?)(await watch.NextAsync())["type"]);
        var bookmark = await watch.NextAsync();
        Assert.Equal("BOOKMARK", (string?)bookmark["type"]);
        Assert.Equal("true", (string?)bookmark["object"]!["metadata"]!["annotations"]!["k8s.io/initial-events-end"]);
    }

    [Fact]
    public async Task Watch_PastItsTimeout_EndsInOrder()
    {
        var ns = await server.NamespaceAsync();
        await using var watch = await OpenAsync($"/api/v1/namespaces/{ns}/configmaps?watch=true&resourceVersion=0&timeoutSeconds=1");
        Assert.Null(await watch.TryNextAsync());
    }

    [Fact]
    public async Task Watch_AsTable_CarriesHeadersOnce()
    {
        var ns = await server.NamespaceAsync();
        await using var watch = await OpenAsync($"/api/v1/namespaces/{ns}/serviceaccounts?watch=true", "application/json;as=Table;v=v1;g=meta.k8s.io");
        var first = await watch.NextAsync();
        Assert.Equal("Table", (string?)first["object"]!["kind"]);
        Assert.NotNull(first["object"]!["columnDefinitions"]);
        await server.CreateAsync($"/api/v1/namespaces/{ns}/serviceaccounts", """{"metadata":{"name":"second"}}""");
        Assert.Null((await watch.NextAsync())["object"]!["columnDefinitions"]);
    }

    private async Task<JsonNode> PatchAsync(string path, string patch)
    {
        var answer = await server.SendAsync(HttpMethod.Patch, path, patch, "application/merge-patch+json");
        Assert.True(answer.Code == 200, answer.Text);
        return answer.Json;
    }

    private async Task<WatchReader> OpenAsync(string path, string? accept = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        if (accept is not null)
            request.Headers.TryAddWithoutValidation("Accept", accept);
        var response = await server.Admin.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, TestContext.Current.CancellationToken);
        Assert.True(response.IsSuccessStatusCode);
        return new WatchReader(response, new StreamReader(await response.Content.ReadAsStreamAsync(TestContext.Current.CancellationToken)));
    }

    private static List<string> Names(Answer list) => [.. list.Json["items"]!.AsArray().Select(static i => (string)i!["metadata"]!["name"]!)];

    private sealed class WatchReader(HttpResponseMessage response, StreamReader reader) : IAsyncDisposable
    {
        internal async Task<JsonNode> NextAsync() => await TryNextAsync() ?? throw new InvalidOperationException("the watch ended");

        internal async Task<JsonNode?> TryNextAsync()
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
            limit.CancelAfter(TimeSpan.FromSeconds(90));
            return await reader.ReadLineAsync(limit.Token) is { } line ? JsonNode.Parse(line) : null;
        }

        public ValueTask DisposeAsync()
        {
            reader.Dispose();
            response.Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
