using System.Net;
using System.Net.WebSockets;
using System.Text;
using System.Text.Json.Nodes;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer.Tests;

public sealed class WatchFormTests(TestServer server)
{
    [Fact]
    public async Task Watch_FromNowWithBookmarks_EndsTheStateWithAnAnnotatedBookmark()
    {
        var (path, _) = await MakeAsync();
        await using var watch = await WatchClient.OpenAsync(server, $"{path}?watch=1&allowWatchBookmarks=true");
        Assert.Equal("ADDED", (await watch.NextAsync()).Type);
        var (type, bookmark) = await watch.NextAsync();
        Assert.Equal("BOOKMARK", type);
        Assert.Equal("true", (string?)bookmark["metadata"]!["annotations"]!["k8s.io/initial-events-end"]);
        Assert.Null(bookmark["metadata"]!["creationTimestamp"]);
        Assert.Equal("ConfigMap", (string?)bookmark["kind"]);
    }

    [Fact]
    public async Task Watch_OverTheOldPath_HasNoBookmark()
    {
        var (path, name) = await MakeAsync();
        await using var watch = await WatchClient.OpenAsync(server, $"{path.Replace("/api/v1/", "/api/v1/watch/", StringComparison.Ordinal)}/{name}?allowWatchBookmarks=true&timeoutSeconds=1");
        Assert.Equal("ADDED", (await watch.NextAsync()).Type);
        Assert.Null(await watch.TryLineAsync());
        var refused = await server.GetAsync($"{path.Replace("/api/v1/", "/api/v1/watch/", StringComparison.Ordinal)}/{name}?fieldSelector=metadata.name%3Dother");
        Assert.Equal((400, "fieldSelector metadata.name doesn't match requested name"), (refused.Code, refused.Message));
    }

    [Fact]
    public async Task Watch_ThatWantsNoState_StartsFromNow()
    {
        var (path, name) = await MakeAsync();
        await using var watch = await WatchClient.OpenAsync(server, $"{path}?watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan");
        await server.SendAsync(HttpMethod.Delete, $"{path}/{name}");
        Assert.Equal("DELETED", (await watch.NextAsync()).Type);
    }

    [Fact]
    public async Task Watch_FromAFutureRevision_WaitsSilently()
    {
        var (path, _) = await MakeAsync();
        await using var watch = await WatchClient.OpenAsync(server, $"{path}?watch=1&resourceVersion=99999999&timeoutSeconds=1");
        Assert.Null(await watch.TryLineAsync());
    }

    [Fact]
    public async Task StreamedList_FromAFutureRevision_EndsWithTooLarge()
    {
        var (path, _) = await MakeAsync();
        await using var watch = await WatchClient.OpenAsync(
            server, $"{path}?watch=1&resourceVersion=99999999&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan");
        var (type, status) = await watch.NextAsync();
        Assert.Equal("ERROR", type);
        Assert.Equal(504, (int)status["code"]!);
        Assert.Null(await watch.TryLineAsync());
    }

    [Fact]
    public async Task Watch_BeforeItsTimeout_SendsALastBookmark()
    {
        var (path, _) = await MakeAsync();
        var now = (string)(await server.GetAsync(path)).Json["metadata"]!["resourceVersion"]!;
        await using var watch = await WatchClient.OpenAsync(server, $"{path}?watch=1&resourceVersion={now}&allowWatchBookmarks=1&timeoutSeconds=3");
        var (type, bookmark) = await watch.NextAsync();
        Assert.Equal("BOOKMARK", type);
        Assert.Null(bookmark["metadata"]!["annotations"]);
        Assert.Null(await watch.TryLineAsync());
    }

    [Fact]
    public async Task Watch_AsTable_BookmarksWithARow()
    {
        var (path, _) = await MakeAsync();
        await using var watch = await WatchClient.OpenAsync(server, $"{path}?watch=1&allowWatchBookmarks=1&includeObject=None", "application/json;as=Table;v=v1;g=meta.k8s.io");
        var (_, first) = await watch.NextAsync();
        Assert.NotEmpty(first["columnDefinitions"]!.AsArray());
        var (type, table) = await watch.NextAsync();
        Assert.Equal("BOOKMARK", type);
        Assert.Null(table["columnDefinitions"]);
        Assert.Equal("[\"\",0,\"\\u003cunknown\\u003e\"]", table["rows"]![0]!["cells"]!.ToJsonString(), ignoreCase: true);
        Assert.Equal("true", (string?)table["rows"]![0]!["object"]!["metadata"]!["annotations"]!["k8s.io/initial-events-end"]);
    }

    [Theory]
    [InlineData("application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io")]
    [InlineData("application/json;as=Table;v=v1;g=meta.k8s.io")]
    public async Task Watch_OfOneForm_IsTheSameForAllItsWatchers(string accept)
    {
        var (path, name) = await MakeAsync();
        var now = (string)(await server.GetAsync(path)).Json["metadata"]!["resourceVersion"]!;
        await using var one = await WatchClient.OpenAsync(server, $"{path}?watch=1&resourceVersion={now}", accept);
        await using var two = await WatchClient.OpenAsync(server, $"{path}?watch=1&resourceVersion={now}", accept);
        await using var selected = await WatchClient.OpenAsync(server, $"{path}?watch=1&resourceVersion={now}&labelSelector=l%3Dx", accept);
        foreach (var patch in (string[])["""{"metadata":{"labels":{"l":"x"}}}""", """{"data":{"k":"v"}}""", """{"metadata":{"labels":{"l":"y"}}}"""])
            Assert.Equal(200, (await server.SendAsync(HttpMethod.Patch, $"{path}/{name}", patch, "application/merge-patch+json")).Code);
        for (var i = 0; i < 3; i++)
        {
            var (type, shown) = await one.NextAsync();
            Assert.Equal("MODIFIED", type);
            Assert.Equal(shown.ToJsonString(), (await two.NextAsync()).Object.ToJsonString());
        }
        Assert.Equal("ADDED", (await selected.NextAsync()).Type);
        Assert.Equal("MODIFIED", (await selected.NextAsync()).Type);
        var (last, left) = await selected.NextAsync();
        Assert.Equal("DELETED", last);
        var metadata = left["metadata"]!["labels"] is null ? left["rows"]![0]!["object"]!["metadata"]! : left["metadata"]!;
        Assert.Equal("x", (string?)metadata["labels"]!["l"]);
    }

    [Fact]
    public async Task Watch_InProtobuf_FramesEnvelopedObjects()
    {
        var (path, name) = await MakeAsync();
        await using var watch = await WatchClient.OpenAsync(server, $"{path}?watch=1&allowWatchBookmarks=1", "application/vnd.kubernetes.protobuf");
        Assert.Equal("application/vnd.kubernetes.protobuf; stream=watch", watch.ContentType.Replace(";stream", "; stream", StringComparison.Ordinal));
        using (var added = ObjectOf(await watch.NextBytesAsync(), "ADDED"))
            Assert.Equal(name, added.Root["metadata"u8]["name"u8].AsString());
        using (var bookmark = ObjectOf(await watch.NextBytesAsync(), "BOOKMARK"))
            Assert.Equal("true", bookmark.Root["metadata"u8]["annotations"u8]["k8s.io/initial-events-end"u8].AsString());
        await server.SendAsync(HttpMethod.Delete, $"{path}/{name}");
        using var deleted = ObjectOf(await watch.NextBytesAsync(), "DELETED");
        Assert.Equal(name, deleted.Root["metadata"u8]["name"u8].AsString());
    }

    [Theory]
    [InlineData("application/json")]
    [InlineData("application/vnd.kubernetes.protobuf")]
    public async Task Watch_OverWebSocket_SendsAFrameAMessage(string accept)
    {
        var (path, name) = await MakeAsync();
        using var socket = new ClientWebSocket();
        socket.Options.RemoteCertificateValidationCallback = static (_, _, _, _) => true;
        socket.Options.ClientCertificates.Add(server.Certificates.Client("root", "system:masters"));
        socket.Options.SetRequestHeader("Accept", accept);
        socket.Options.SetRequestHeader("Origin", "https://127.0.0.1");
        socket.Options.HttpVersion = HttpVersion.Version11;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(TimeSpan.FromSeconds(90));
        await socket.ConnectAsync(new Uri($"wss://127.0.0.1:{server.Server.Port}{path}?watch=1"), limit.Token);
        var (kind, first) = await ReceiveAsync(socket, limit.Token);
        Assert.Equal(accept == "application/json" ? WebSocketMessageType.Text : WebSocketMessageType.Binary, kind);
        await server.SendAsync(HttpMethod.Delete, $"{path}/{name}");
        var (_, second) = await ReceiveAsync(socket, limit.Token);
        if (kind == WebSocketMessageType.Text)
        {
            Assert.Equal("ADDED", (string?)JsonNode.Parse(first)!["type"]);
            Assert.Equal("DELETED", (string?)JsonNode.Parse(second)!["type"]);
        }
        else
        {
            ObjectOf(first, "ADDED").Dispose();
            ObjectOf(second, "DELETED").Dispose();
        }
        await socket.CloseAsync(WebSocketCloseStatus.NormalClosure, null, limit.Token);
        Assert.Equal(WebSocketState.Closed, socket.State);
    }

    // WatchEvent { 1: type, 2: RawExtension { 1: envelope } }.
    private static ApiObject ObjectOf(byte[] frame, string type)
    {
        Assert.Equal(0x0A, frame[0]);
        Assert.Equal(type, Encoding.UTF8.GetString(frame.AsSpan(2, frame[1])));
        var at = frame.AsSpan().IndexOf("k8s\0"u8);
        Assert.True(at > 0);
        return ProtobufCodec.Decode(frame.AsSpan(at), Schema.BuiltIn);
    }

    private static async Task<(WebSocketMessageType Type, byte[] Body)> ReceiveAsync(ClientWebSocket socket, CancellationToken cancel)
    {
        var buffer = new byte[64 * 1024];
        var received = await socket.ReceiveAsync(buffer.AsMemory(), cancel);
        Assert.True(received.EndOfMessage);
        return (received.MessageType, buffer[..received.Count]);
    }

    private async Task<(string Path, string Name)> MakeAsync()
    {
        var path = $"/api/v1/namespaces/{await server.NamespaceAsync()}/configmaps";
        await server.CreateAsync(path, """{"metadata":{"name":"a"},"data":{}}""");
        return (path, "a");
    }
}
