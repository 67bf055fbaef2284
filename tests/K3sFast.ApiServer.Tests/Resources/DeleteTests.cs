using System.Text.Json.Nodes;

namespace K3sFast.ApiServer.Tests;

/// <summary>Grace periods, propagation and collections of deletes.</summary>
public sealed class DeleteTests(TestServer server)
{
    [Fact]
    public async Task Grace_UnderWay_CanOnlyBeShortened()
    {
        var clock = new AheadClock();
        await using var own = new TestServer { Adjust = options => options with { Clock = clock } };
        await own.InitializeAsync();
        var path = await PodAsync(own, "default", "\"nodeName\":\"n\",");
        Assert.Equal(30, await DeleteAsync(own, path, """{"gracePeriodSeconds":30}"""));
        Assert.Equal(30, await DeleteAsync(own, path, """{"gracePeriodSeconds":60}"""));
        Assert.Equal(30, await DeleteAsync(own, path, "{}"));
        // A policy that comes after the deletion has begun comes too late.
        var late = await own.SendAsync(HttpMethod.Delete, path, """{"propagationPolicy":"Foreground"}""");
        Assert.Null(late.Json["metadata"]!["finalizers"]);
        Assert.Equal(10, await DeleteAsync(own, path, """{"gracePeriodSeconds":10}"""));
        clock.Ahead = TimeSpan.FromSeconds(2);
        // One second after the beginning is over: the shortest period from now on.
        var short1 = await own.SendAsync(HttpMethod.Delete, path, """{"gracePeriodSeconds":1}""");
        Assert.Equal(1, (int)short1.Json["metadata"]!["deletionGracePeriodSeconds"]!);
        Assert.Equal(200, (await own.GetAsync(path)).Code);
        await own.SendAsync(HttpMethod.Delete, path, """{"gracePeriodSeconds":0}""");
        Assert.Equal(404, (await own.GetAsync(path)).Code);
    }

    [Fact]
    public async Task Pod_WithoutNode_IsGoneAtOnce()
    {
        var ns = await server.NamespaceAsync();
        var path = await PodAsync(server, ns, "");
        await server.SendAsync(HttpMethod.Delete, path, """{"gracePeriodSeconds":30}""");
        Assert.Equal(404, (await server.GetAsync(path)).Code);
    }

    [Theory]
    [InlineData("", "p", "")]
    [InlineData("", "p", """{"gracePeriodSeconds":30}""")]
    [InlineData("", "", "")]
    [InlineData("\"nodeName\":\"n\",", "p", """{"gracePeriodSeconds":0}""")]
    public async Task Pod_GoneAtOnce_IsSeenMarkedBeforeItIsSeenGone(string fields, string name, string options)
    {
        var ns = await server.NamespaceAsync();
        var path = await PodAsync(server, ns, fields);
        await using var watch = await WatchClient.OpenAsync(server, $"/api/v1/namespaces/{ns}/pods?watch=1");
        Assert.Equal("ADDED", (await watch.NextAsync()).Type);
        var answer = await server.SendAsync(HttpMethod.Delete, name.Length > 0 ? path : $"/api/v1/namespaces/{ns}/pods", options);
        Assert.True(answer.Code == 200, answer.Text);
        var (first, marked) = await watch.NextAsync();
        var (second, gone) = await watch.NextAsync();
        Assert.Equal(("MODIFIED", "DELETED"), (first, second));
        Assert.Equal(0, (int)marked["metadata"]!["deletionGracePeriodSeconds"]!);
        Assert.NotNull(marked["metadata"]!["deletionTimestamp"]);
        Assert.Equal(marked["metadata"]!["deletionTimestamp"]!.ToString(), gone["metadata"]!["deletionTimestamp"]!.ToString());
        Assert.True(long.Parse((string)gone["metadata"]!["resourceVersion"]!, null) > long.Parse((string)marked["metadata"]!["resourceVersion"]!, null));
        if (name.Length > 0)
            Assert.Equal((string)gone["metadata"]!["resourceVersion"]!, (string)answer.Json["metadata"]!["resourceVersion"]!);
    }

    [Fact]
    public async Task Pod_DeletedDry_IsAnsweredAsMarkedAndStays()
    {
        var ns = await server.NamespaceAsync();
        var path = await PodAsync(server, ns, "");
        var answer = await server.SendAsync(HttpMethod.Delete, path + "?dryRun=All");
        Assert.Equal(0, (int)answer.Json["metadata"]!["deletionGracePeriodSeconds"]!);
        Assert.Null((await server.GetAsync(path)).Json["metadata"]!["deletionTimestamp"]);
    }

    [Fact]
    public async Task Collection_WithALimit_DeletesAsManyAndNamesThem()
    {
        var ns = await server.NamespaceAsync();
        var path = $"/api/v1/namespaces/{ns}/configmaps";
        foreach (var name in (string[])["a", "b", "c"])
            await server.CreateAsync(path, $$$"""{"metadata":{"name":"{{{name}}}"}}""");
        var first = await server.SendAsync(HttpMethod.Delete, path + "?limit=2");
        Assert.Equal(["a", "b"], Names(first.Json));
        Assert.Equal(["c"], Names((await server.GetAsync(path)).Json));
        var rest = await server.SendAsync(HttpMethod.Delete, path);
        Assert.Equal(["c"], Names(rest.Json));
        Assert.Empty(Names((await server.GetAsync(path)).Json));
    }

    [Fact]
    public async Task Orphans_DeniedTheOldWay_AnswersAcceptedWhileTheObjectIsThere()
    {
        var ns = await server.NamespaceAsync();
        var path = $"/api/v1/namespaces/{ns}/configmaps";
        await server.CreateAsync(path, """{"metadata":{"name":"a","finalizers":["example.com/hold"]}}""");
        Assert.Equal(202, (await server.SendAsync(HttpMethod.Delete, $"{path}/a", """{"orphanDependents":false}""")).Code);
        Assert.Equal(200, (await server.SendAsync(HttpMethod.Delete, $"{path}/a", """{"propagationPolicy":"Background"}""")).Code);
    }

    [Fact]
    public async Task Job_DeletedWithoutAPolicy_IsWarnedOf()
    {
        var ns = await server.NamespaceAsync();
        var path = $"/apis/batch/v1/namespaces/{ns}/jobs";
        await server.CreateAsync(path, """{"metadata":{"name":"j"},"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"a","image":"i"}]}}}}""");
        var answer = await server.SendAsync(HttpMethod.Delete, $"{path}/j");
        Assert.Contains("child pods are preserved by default when jobs are deleted", Assert.Single(answer.Warnings));
    }

    private static async Task<string> PodAsync(TestServer server, string ns, string fields)
    {
        await server.CreateAsync($"/api/v1/namespaces/{ns}/pods", "{\"metadata\":{\"name\":\"p\"},\"spec\":{" + fields + "\"containers\":[{\"name\":\"a\",\"image\":\"i\"}]}}");
        return $"/api/v1/namespaces/{ns}/pods/p";
    }

    private static async Task<int> DeleteAsync(TestServer server, string path, string options)
    {
        var answer = await server.SendAsync(HttpMethod.Delete, path, options);
        Assert.True(answer.Code == 200, answer.Text);
        return (int)answer.Json["metadata"]!["deletionGracePeriodSeconds"]!;
    }

    private static List<string> Names(JsonNode list) => [.. ((JsonArray)list["items"]!).Select(static item => (string)item!["metadata"]!["name"]!)];
}
