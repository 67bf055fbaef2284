using System.Globalization;
using System.Text;

namespace K3sFast.ApiServer.Tests;

public sealed class ListOptionsTests(TestServer server)
{
    private const string Path = "/api/v1/namespaces/default/configmaps";
    private const string Invalid = "ListOptions.meta.k8s.io \"\" is invalid: ";

    [Theory]
    [InlineData("resourceVersionMatch=Exact", 422, Invalid + "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided")]
    [InlineData("resourceVersion=0&resourceVersionMatch=Exact", 422, Invalid + "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"")]
    [InlineData("resourceVersion=5&resourceVersionMatch=Foo", 422, Invalid + "resourceVersionMatch: Unsupported value: \"Foo\": supported values: \"Exact\", \"NotOlderThan\", \"\"")]
    [InlineData("resourceVersionMatch=Exact&continue=xx", 422, Invalid + "[resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided, resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided]")]
    [InlineData("sendInitialEvents=abc", 422, Invalid + "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list")]
    [InlineData("resourceVersion=abc", 400, "invalid resource version: resourceVersion: Invalid value: \"abc\": strconv.ParseUint: parsing \"abc\": invalid syntax")]
    [InlineData("resourceVersion=-1&limit=2", 400, "invalid resource version: resourceVersion: Invalid value: \"-1\": strconv.ParseUint: parsing \"-1\": invalid syntax")]
    [InlineData("limit=abc", 400, "strconv.ParseInt: parsing \"abc\": invalid syntax")]
    [InlineData("timeoutSeconds=x", 400, "strconv.ParseInt: parsing \"x\": invalid syntax")]
    [InlineData("continue=e30=", 400, "invalid continue token: continue key is not valid: illegal base64 data at input byte 3")]
    [InlineData("continue=e30", 400, "invalid continue token: continue key is not valid: server does not recognize this encoded version ")]
    [InlineData("continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MCwic3RhcnQiOiIvZGVmYXVsdFx1MDAwMCJ9", 400, "invalid continue token: continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)")]
    [InlineData("watch=true&resourceVersionMatch=Exact", 422, Invalid + "[resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided, resourceVersionMatch: Unsupported value: \"Exact\": supported values: \"NotOlderThan\"]")]
    [InlineData("watch=true&sendInitialEvents=true", 422, Invalid + "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")]
    [InlineData("watch=true&resourceVersion=abc", 500, "resourceVersion: Invalid value: \"abc\": strconv.ParseUint: parsing \"abc\": invalid syntax")]
    public async Task Options_ThatDoNotFit_AreRefusedInUpstreamsWords(string query, int code, string message)
    {
        var answer = await server.GetAsync($"{Path}?{query}");
        Assert.Equal(code, answer.Code);
        Assert.Equal(message, answer.Message);
    }

    [Fact]
    public async Task Continue_BesideAResourceVersion_IsRefused()
    {
        var token = new ContinueToken(5, "/a\0").Write();
        var answer = await server.GetAsync($"{Path}?continue={token}&resourceVersion=7");
        Assert.Equal((400, "specifying resource version is not allowed when using continue"), (answer.Code, answer.Message));
        Assert.Equal(200, (await server.GetAsync($"{Path}?continue={new ContinueToken(-1, "/a\0").Write()}&resourceVersion=0")).Code);
    }

    [Theory]
    [InlineData("/../secrets/default/x")]
    [InlineData("a//b")]
    [InlineData("a/./b")]
    public async Task Continue_OutOfThePrefix_IsRefused(string start)
    {
        var answer = await server.GetAsync($"{Path}?continue={new ContinueToken(5, start).Write()}");
        Assert.Equal((400, $"invalid continue token: continue key is not valid: {start}"), (answer.Code, answer.Message));
    }

    [Theory]
    [InlineData("&resourceVersionMatch=NotOlderThan")]
    [InlineData("&limit=1")]
    public async Task Revision_ThatHasNotCome_TimesOutAsTooLarge(string more)
    {
        var answer = await server.GetAsync($"{Path}?resourceVersion=99999999{more}");
        Assert.Equal(504, answer.Code);
        Assert.StartsWith("Timeout: Too large resource version: 99999999, current: ", answer.Message);
        Assert.Equal("ResourceVersionTooLarge", (string?)answer.Json["details"]!["causes"]![0]!["reason"]);
        Assert.Equal(1, (int)answer.Json["details"]!["retryAfterSeconds"]!);
    }

    [Fact]
    public async Task List_AtAnOldRevision_ShowsThatState()
    {
        var ns = await server.NamespaceAsync();
        var path = $"/api/v1/namespaces/{ns}/configmaps";
        await server.CreateAsync(path, """{"metadata":{"name":"a"}}""");
        var then = (string)(await server.GetAsync(path)).Json["metadata"]!["resourceVersion"]!;
        await server.CreateAsync(path, """{"metadata":{"name":"b"}}""");
        await server.SendAsync(HttpMethod.Delete, $"{path}/a");
        Assert.Equal("a", Names(await server.GetAsync($"{path}?resourceVersion={then}&resourceVersionMatch=Exact")));
        Assert.Equal("a", Names(await server.GetAsync($"{path}?resourceVersion={then}&limit=5")));
        Assert.Equal("b", Names(await server.GetAsync($"{path}?resourceVersion={then}")));
        Assert.Equal("b", Names(await server.GetAsync($"{path}?resourceVersion={then}&resourceVersionMatch=NotOlderThan&limit=5")));
        Assert.Equal("b", Names(await server.GetAsync($"{path}?resourceVersion=0&limit=5")));
    }

    [Fact]
    public async Task List_FromAnyRevision_IgnoresTheLimit()
    {
        var ns = await server.NamespaceAsync();
        var path = $"/api/v1/namespaces/{ns}/configmaps";
        await server.CreateAsync(path, """{"metadata":{"name":"a"}}""");
        await server.CreateAsync(path, """{"metadata":{"name":"b","labels":{"l":"x"}}}""");
        await server.CreateAsync(path, """{"metadata":{"name":"c","labels":{"l":"x"}}}""");
        Assert.Equal("a,b,c", Names(await server.GetAsync($"{path}?resourceVersion=0&limit=1")));
        Assert.Equal("a,b,c", Names(await server.GetAsync($"{path}?limit=-5")));
        var page = await server.GetAsync($"{path}?limit=1&labelSelector=l");
        Assert.Equal("b", Names(page));
        // What a selector leaves out is not counted, so nothing is said about the rest.
        Assert.Null(page.Json["metadata"]!["remainingItemCount"]);
        var token = (string)page.Json["metadata"]!["continue"]!;
        var text = Encoding.UTF8.GetString(System.Buffers.Text.Base64Url.DecodeFromChars(token));
        Assert.Equal($$"""{"v":"meta.k8s.io/v1","rv":{{(string)page.Json["metadata"]!["resourceVersion"]!}},"start":"/b\u0000"}""", text);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Continue_WhoseRevisionIsCompacted_OffersAnInconsistentOne(bool isRestarted)
    {
        await using var small = await OwnServer.StartAsync();
        const string Path = "/api/v1/namespaces/default/configmaps";
        foreach (var name in (string[])["a", "b", "c"])
            await small.CreateAsync(Path, $$$"""{"metadata":{"name":"{{{name}}}"}}""");
        var first = await small.GetAsync($"{Path}?limit=1");
        var token = (string)first["metadata"]!["continue"]!;
        await small.CreateAsync(Path, """{"metadata":{"name":"d"}}""");
        await (isRestarted ? small.RestartCompactedAsync() : small.CompactAsync());
        var expired = await small.GetAsync($"{Path}?limit=1&continue={token}");
        Assert.Equal((410, "Expired"), ((int)expired["code"]!, (string?)expired["reason"]));
        Assert.StartsWith("The provided continue parameter is too old to display a consistent list result.", (string?)expired["message"]);
        var rest = await small.GetAsync($"{Path}?continue={(string)expired["metadata"]!["continue"]!}");
        Assert.Equal(["b", "c", "d"], rest["items"]!.AsArray().Select(static i => (string)i!["metadata"]!["name"]!));
        var old = await small.GetAsync($"{Path}?resourceVersion={(string)first["metadata"]!["resourceVersion"]!}&resourceVersionMatch=Exact");
        Assert.Equal("The resourceVersion for the provided list is too old.", (string?)old["message"]);
    }

    [Fact]
    public async Task DeleteCollection_ByPages_AnswersWhatWasThere()
    {
        var ns = await server.NamespaceAsync();
        var path = $"/api/v1/namespaces/{ns}/configmaps";
        foreach (var name in (string[])["a", "b", "c"])
            await server.CreateAsync(path, $$$"""{"metadata":{"name":"{{{name}}}","labels":{"l":"x"} } }""");
        var first = await server.SendAsync(HttpMethod.Delete, $"{path}?limit=2");
        Assert.Equal((200, "a,b"), (first.Code, Names(first)));
        Assert.NotNull(first.Json["metadata"]!["continue"]);
        Assert.Equal("c", Names(await server.GetAsync(path)));
        var rest = await server.SendAsync(HttpMethod.Delete, $"{path}?labelSelector=l", accept: "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io");
        Assert.Equal(("PartialObjectMetadataList", "c"), ((string?)rest.Json["kind"], Names(rest)));
        Assert.Empty((await server.GetAsync(path)).Json["items"]!.AsArray());
    }

    [Fact]
    public async Task DeleteCollection_OfMany_DeletesEachOnceAndTellsAll()
    {
        var ns = await server.NamespaceAsync();
        var path = $"/api/v1/namespaces/{ns}/configmaps";
        await Parallel.ForAsync(0, 300, async (i, _) => await server.CreateAsync(path, $$$"""{"metadata":{"name":"m-{{{i:000}}}","labels":{"l":"x"},"finalizers":["{{{(i % 100 == 0 ? "example.com/held" : "")}}}"] } }""".Replace(""","finalizers":[""]""", "", StringComparison.Ordinal)));
        var deleted = await server.SendAsync(HttpMethod.Delete, $"{path}?labelSelector=l%3Dx");
        Assert.Equal(200, deleted.Code);
        Assert.Equal(Enumerable.Range(0, 300).Select(static i => $"m-{i:000}"), Names(deleted).Split(','));
        var left = await server.GetAsync($"{path}?labelSelector=l%3Dx");
        Assert.Equal("m-000,m-100,m-200", Names(left));
        Assert.All(left.Json["items"]!.AsArray(), static held => Assert.NotNull(held!["metadata"]!["deletionTimestamp"]));
    }

    [Fact]
    public async Task Get_WithARevision_WaitsForItAndRefusesNonsense()
    {
        var now = (await server.GetAsync(Path)).Json["metadata"]!["resourceVersion"]!.ToString();
        Assert.Equal(200, (await server.GetAsync($"/api/v1/namespaces/default?resourceVersion={now}")).Code);
        var nonsense = await server.GetAsync("/api/v1/namespaces/default?resourceVersion=abc");
        Assert.Equal((500, "resourceVersion: Invalid value: \"abc\": strconv.ParseUint: parsing \"abc\": invalid syntax"), (nonsense.Code, nonsense.Message));
        Assert.Equal(504, (await server.GetAsync($"/api/v1/namespaces/default?resourceVersion={long.MaxValue.ToString(CultureInfo.InvariantCulture)}")).Code);
    }

    private static string Names(Answer list) => string.Join(',', list.Json["items"]!.AsArray().Select(static i => (string)i!["metadata"]!["name"]!));
}
