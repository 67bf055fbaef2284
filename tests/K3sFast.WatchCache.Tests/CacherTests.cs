using System.Text;
using K3sFast.Datastore;

namespace K3sFast.WatchCache.Tests;

public sealed class CacherTests
{
    [Fact]
    public async Task Write_Create_IsReadableWhenItCompletes()
    {
        await using var host = await CacheHost.StartAsync();
        var result = await host.Cacher.WriteAsync(AppendRequest.Create(CacheHost.PodKey("a"), Encoding.UTF8.GetBytes(CacheHost.PodJson("a"))));
        using var written = result.Object!;
        using var read = host.Pods.Get(CacheHost.PodKey("a"))!;
        Assert.Same(written, read);
        Assert.Equal(result.Revision, host.Cacher.CurrentRevision);
        Assert.Equal(result.Revision, read.Revision);
        string expected = CacheHost.PodJson("a").Replace("\"uid\":\"u-a\",", $"\"uid\":\"u-a\",\"resourceVersion\":\"{result.Revision}\",");
        Assert.Equal(expected, read.Json.Text());
        Assert.Equal($$"""{"type":"ADDED","object":{{expected}}}""" + "\n", read.Frame.Text());
    }

    [Fact]
    public async Task Write_Conflict_AnswersThePresentRevision()
    {
        await using var host = await CacheHost.StartAsync();
        long revision = await host.CreatePod("a");
        var result = await host.Cacher.WriteAsync(AppendRequest.Create(CacheHost.PodKey("a"), "{}"u8.ToArray()));
        Assert.Equal(new WriteResult(AppendOutcome.Conflict, revision, null), result);
    }

    [Fact]
    public async Task Write_Delete_HandsBackTheLastStateWithTheDeletionsRevision()
    {
        await using var host = await CacheHost.StartAsync();
        long created = await host.CreatePod("a");
        var result = await host.Cacher.WriteAsync(AppendRequest.Delete(CacheHost.PodKey("a"), created));
        using var written = result.Object!;
        Assert.Equal(created + 1, written.Revision);
        Assert.Contains($"\"resourceVersion\":\"{created + 1}\"", written.Json.Text());
        Assert.StartsWith("{\"type\":\"DELETED\",\"object\":{\"kind\":\"Pod\"", written.Frame.Text());
        Assert.Null(host.Pods.Get(CacheHost.PodKey("a")));
        Assert.Equal(0, host.Pods.Count);
    }

    [Fact]
    public async Task Write_KeyOfNoResource_CommitsWithoutAnObject()
    {
        await using var host = await CacheHost.StartAsync();
        var result = await host.Cacher.WriteAsync(AppendRequest.Create("/registry/unknown/a", "{}"u8.ToArray()));
        Assert.True(result.IsCommitted);
        Assert.Null(result.Object);
        Assert.Equal(result.Revision, host.Cacher.CurrentRevision);
    }

    [Fact]
    public async Task Register_AfterStart_LoadsWhatIsThereAndFollows()
    {
        await using var host = await CacheHost.StartAsync();
        var append = AppendRequest.Create("/registry/configmaps/default/a", """{"metadata":{"name":"a"}}"""u8.ToArray());
        long before = (await host.Cacher.WriteAsync(append)).Revision;
        var configMaps = host.Cacher.Register("/registry/configmaps/", []);
        Assert.Same(configMaps, host.Cacher.Register("/registry/configmaps/", []));
        using (var list = configMaps.List()) Assert.Equal(["a"], list.Names());
        using var cursor = configMaps.OpenCursor(before);
        await host.CreatePod("other");
        long after = await host.Create("/registry/configmaps/default/b", """{"metadata":{"name":"b"}}""");
        Assert.Equal([$"Added b@{after}"], cursor.ReadAll());
        using var expired = configMaps.OpenCursor(before - 1);
        Assert.Equal(["EXPIRED"], expired.ReadAll());
    }

    [Fact]
    public async Task Start_AfterRestart_ShowsTheSameAndResumesOldWatches()
    {
        await using var host = await CacheHost.StartAsync();
        long first = await host.CreatePod("a");
        long second = await host.CreatePod("b");
        long third = await host.UpdatePod("a", first, """{"app":"db"}""");
        long fourth = await host.DeletePod("b", second);
        await host.RestartAsync();
        Assert.Equal(fourth, host.Cacher.CurrentRevision);
        using (var list = host.Pods.List()) Assert.Equal(["a"], list.Names());
        using var cursor = host.Pods.OpenCursor(first);
        Assert.Equal([$"Added b@{second}", $"Modified a@{third}", $"Deleted b@{fourth}"], cursor.ReadAll());
    }

    [Fact]
    public async Task Start_UnreadableValue_IsLeftOut()
    {
        await using var host = await CacheHost.StartAsync();
        await host.CreatePod("a");
        await host.Store.AppendAsync(AppendRequest.Create(CacheHost.PodKey("broken"), "{\"metadata\":{\"na"u8.ToArray()));
        await host.Store.AppendAsync(AppendRequest.Create(CacheHost.PodKey("binary"), new byte[] { 0x6b, 0x38, 0x73, 0 }));
        await host.CreatePod("c");
        using var list = host.Pods.List();
        Assert.Equal(["a", "c"], list.Names());
    }

    [Fact]
    public async Task Start_ValuesThatAreNotJson_GoThroughTheTransformer()
    {
        var options = new CacherOptions { Transformer = static (key, value, json) => System.Buffers.BuffersExtensions.Write(json, "{\"metadata\":{\"name\":\"t\"}}"u8) };
        await using var host = await CacheHost.StartAsync(options);
        await host.Store.AppendAsync(AppendRequest.Create(CacheHost.PodKey("t"), new byte[] { 0x6b, 0x38, 0x73, 0 }));
        using var read = host.Pods.Get(CacheHost.PodKey("t"))!;
        Assert.Equal($$$"""{"metadata":{"name":"t","resourceVersion":"{{{read.Revision}}}"}}""", read.Json.Text());
    }
}
