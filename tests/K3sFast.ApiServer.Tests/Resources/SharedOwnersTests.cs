using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using K3sFast.ApiMachinery;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer.Tests;

/// <summary>What pods of one maker own is held once in the cache; in whatever form one of them is asked for, it looks like a pod that holds its owners alone.</summary>
public sealed partial class SharedOwnersTests(TestServer server)
{
    private const string Protobuf = "application/vnd.kubernetes.protobuf";

    // The first holds its owners alone, as nobody has had the same before; the last shares them, though what tests beside this write may make the cache
    // forget once or twice that it has seen them.
    private static readonly string[] s_names = ["pod-1", .. Enumerable.Range(0, 6).Select(static i => $"more-{i}"), "pod-3"];

    [Theory]
    [InlineData("", "application/json")]
    [InlineData("?pretty=true", "application/json")]
    [InlineData("", "application/yaml")]
    [InlineData("", Protobuf)]
    [InlineData("?includeObject=Object", "application/json;as=Table;v=v1;g=meta.k8s.io")]
    [InlineData("", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io")]
    [InlineData("", Protobuf + ";as=PartialObjectMetadata;v=v1;g=meta.k8s.io")]
    public async Task Get_OfAPodThatShares_IsThatOfOneThatDoesNot(string query, string accept)
    {
        var (path, mark) = await MakeAsync();
        AssertSame(await ReadAsync($"{path}/pod-1{query}", accept), await ReadAsync($"{path}/pod-3{query}", accept), mark);
    }

    [Theory]
    [InlineData("", "application/json")]
    [InlineData("&pretty=true", "application/json")]
    [InlineData("", "application/yaml")]
    [InlineData("", Protobuf)]
    [InlineData("&includeObject=Object", "application/json;as=Table;v=v1;g=meta.k8s.io")]
    [InlineData("", "application/json;as=Table;v=v1;g=meta.k8s.io")]
    [InlineData("", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")]
    [InlineData("", Protobuf + ";as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")]
    public async Task List_OfAPodThatShares_IsThatOfOneThatDoesNot(string query, string accept)
    {
        var (path, mark) = await MakeAsync();
        AssertSame(
            await ReadAsync($"{path}?fieldSelector=metadata.name%3Dpod-1{query}", accept), await ReadAsync($"{path}?fieldSelector=metadata.name%3Dpod-3{query}", accept), mark);
    }

    [Theory]
    [InlineData("application/json")]
    [InlineData("application/json;as=Table;v=v1;g=meta.k8s.io")]
    [InlineData("application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io")]
    public async Task Watch_OfAPodThatShares_IsThatOfOneThatDoesNot(string accept)
    {
        var (path, mark) = await MakeAsync();
        var frames = new List<List<string>>();
        foreach (var name in (string[])["pod-1", "pod-3"])
        {
            await using var all = await WatchClient.OpenAsync(server, $"{path}?watch=1&resourceVersion=0&includeObject=Object&fieldSelector=metadata.name%3D{name}", accept);
            await using var selected = await WatchClient.OpenAsync(server, $"{path}?watch=1&resourceVersion=0&includeObject=Object&labelSelector=chosen%3D{name}", accept);
            var seen = new List<string>();
            foreach (var label in (string[])[$"\"{name}\"", "null", $"\"{name}\""])
                Assert.Equal(200, (await server.SendAsync(HttpMethod.Patch, $"{path}/{name}", $$$"""{"metadata":{"labels":{"chosen":{{{label}}} } } }""", "application/merge-patch+json")).Code);
            Assert.Equal(200, (await server.SendAsync(HttpMethod.Delete, $"{path}/{name}?gracePeriodSeconds=0")).Code);
            await ReadAsync(all, seen, deletions: 1);
            await ReadAsync(selected, seen, deletions: 2);
            frames.Add(seen);
        }
        Assert.Equal(frames[0].Count, frames[1].Count);
        for (var i = 0; i < frames[0].Count; i++)
            AssertSame(frames[0][i], frames[1][i], mark);

        static async Task ReadAsync(WatchClient watch, List<string> seen, int deletions)
        {
            while (deletions > 0)
            {
                seen.Add(await watch.TryLineAsync() ?? throw new InvalidOperationException("the watch ended"));
                if ((string?)JsonNode.Parse(seen[^1])!["type"] == "DELETED")
                    deletions--;
            }
        }
    }

    [Fact]
    public async Task Watch_InProtobuf_CarriesWhatIsShared()
    {
        var (path, mark) = await MakeAsync();
        foreach (var name in (string[])["pod-1", "pod-3"])
        {
            await using var watch = await WatchClient.OpenAsync(server, $"{path}?watch=1&resourceVersion=0&fieldSelector=metadata.name%3D{name}", Protobuf);
            var frame = await watch.NextBytesAsync();
            using var pod = ProtobufCodec.Decode(frame.AsSpan(frame.AsSpan().IndexOf("k8s\0"u8)), Schema.BuiltIn);
            AssertSame(await ReadAsync($"{path}/{name}", Protobuf), Text(pod), mark);
        }
    }

    [Fact]
    public async Task Writes_OfAPodThatShares_AnswerWhatIsStored()
    {
        var (path, mark) = await MakeAsync();
        var pod = $"{path}/pod-3";
        var patched = await server.SendAsync(HttpMethod.Patch, pod, """{"metadata":{"annotations":{"a":"1"}}}""", "application/merge-patch+json");
        await IsStoredAsync(patched);
        var put = JsonNode.Parse(patched.Text)!;
        put["metadata"]!["labels"]!["more"] = "1";
        await IsStoredAsync(await server.SendAsync(HttpMethod.Put, pod, put.ToJsonString()));
        // Nothing changes: the stored object itself is the answer.
        var now = await server.GetAsync(pod);
        await IsStoredAsync(await server.SendAsync(HttpMethod.Put, pod, now.Text));
        await IsStoredAsync(await server.SendAsync(
            HttpMethod.Patch, $"{pod}?fieldManager=other", """{"kind":"Pod","apiVersion":"v1","metadata":{"name":"pod-3","labels":{"applied":"1"}}}""", "application/apply-patch+yaml"));
        await IsStoredAsync(await server.SendAsync(HttpMethod.Patch, $"{pod}/status", """{"status":{"message":"m"}}""", "application/merge-patch+json"));
        var dry = await server.SendAsync(HttpMethod.Delete, $"{pod}?dryRun=All&gracePeriodSeconds=0");
        Assert.Equal((200, 2), (dry.Code, mark.Count(dry.Text)));
        now = await server.GetAsync(pod);
        var gone = await server.SendAsync(HttpMethod.Delete, $"{pod}?gracePeriodSeconds=0");
        Assert.Equal(200, gone.Code);
        Assert.Equal(mark.Count(now.Text), mark.Count(gone.Text));
        Assert.Equal(404, (await server.GetAsync(pod)).Code);

        async Task IsStoredAsync(Answer answer)
        {
            Assert.True(answer.Code == 200, answer.Text);
            AssertSame((await server.GetAsync(pod)).Text, answer.Text, mark);
        }
    }

    [Fact]
    public async Task OtherVersion_OfAnObjectThatShares_IsConverted()
    {
        var ns = await server.NamespaceAsync();
        var mark = new Mark();
        var metrics = string.Join(',', Enumerable.Range(0, 3).Select(static i => $$$"""{"type":"Pods","pods":{"metric":{"name":"m{{{i}}}"},"target":{"type":"AverageValue","averageValue":"1"} } }"""));
        foreach (var name in s_names)
        {
            await server.CreateAsync(
                $"/apis/autoscaling/v2/namespaces/{ns}/horizontalpodautoscalers",
                $$$"""{"metadata":{"name":"{{{name}}}","labels":{"{{{mark.Label}}}":"1","longer-than-a-short-name-of-a-label":"1"}},"spec":{"maxReplicas":3,"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"d"},"metrics":[{{{metrics}}}]}}""");
        }
        AssertShares("autoscaling", "horizontalpodautoscalers", ns);
        foreach (var form in (string[])["", "?watch=1&resourceVersion=0&timeoutSeconds=1&fieldSelector=metadata.name%3D"])
        {
            string Path(string name) => $"/apis/autoscaling/v1/namespaces/{ns}/horizontalpodautoscalers{(form.Length == 0 ? "/" : form)}{name}";
            var (alone, holder) = (await server.GetAsync(Path("pod-1")), await server.GetAsync(Path("pod-3")));
            Assert.Contains("autoscaling/v1", holder.Text, StringComparison.Ordinal);
            AssertSame(alone.Text, holder.Text, mark);
        }
    }

    // Pods that differ in their names alone.
    private async Task<(string Path, Mark Mark)> MakeAsync()
    {
        var ns = await server.NamespaceAsync();
        var mark = new Mark();
        foreach (var name in s_names)
        {
            await server.CreateAsync(
                $"/api/v1/namespaces/{ns}/pods",
                $$$"""{"metadata":{"name":"{{{name}}}","labels":{"{{{mark.Label}}}":"1"}},"spec":{"automountServiceAccountToken":false,"nodeName":"n1","containers":[{"name":"c","image":"i","env":[{"name":"A","value":"1"}]}]}}""");
        }
        AssertShares("", "pods", ns);
        return ($"/api/v1/namespaces/{ns}/pods", mark);
    }

    private void AssertShares(string group, string resource, string ns)
    {
        var storage = server.Server.Catalog.Storage(group, resource);
        using StoredObject alone = storage.Get(ns, "pod-1")!, holder = storage.Get(ns, "pod-3")!;
        Assert.True(alone.Json.Shared.IsEmpty);
        Assert.False(holder.Json.Shared.IsEmpty);
        Assert.Equal(LengthWithoutRevision(alone), LengthWithoutRevision(holder));

        // Writes of tests beside this one may have brought the later revision a digit more.
        static int LengthWithoutRevision(StoredObject item) => item.Json.Length - item.Revision.ToString(CultureInfo.InvariantCulture).Length;
    }

    private async Task<string> ReadAsync(string path, string accept)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        request.Headers.TryAddWithoutValidation("Accept", accept);
        using var response = await server.Admin.SendAsync(request, TestContext.Current.CancellationToken);
        var body = await response.Content.ReadAsByteArrayAsync(TestContext.Current.CancellationToken);
        Assert.Equal(200, (int)response.StatusCode);
        if (!accept.StartsWith(Protobuf, StringComparison.Ordinal))
            return Encoding.UTF8.GetString(body);
        using var decoded = ProtobufCodec.Decode(body, Schema.BuiltIn);
        return Text(decoded);
    }

    private static string Text(ApiObject decoded)
    {
        using var json = new PooledBuffer();
        decoded.Root.WriteJson(json);
        return Encoding.UTF8.GetString(json.Span);
    }

    private static void AssertSame(string alone, string holder, Mark mark)
    {
        Assert.Equal(Plain(alone), Plain(holder));
        // Once among the labels, once among the names of who owns them.
        Assert.Equal(2, mark.Count(holder));
    }

    // Without what tells one pod from another.
    private static string Plain(string text) =>
        Time().Replace(Revision().Replace(Uid().Replace(Name().Replace(text, "pod"), "uid"), "$1revision"), "time");

    [GeneratedRegex("pod-[13]")]
    private static partial Regex Name();

    [GeneratedRegex("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")]
    private static partial Regex Uid();

    [GeneratedRegex("(resourceVersion\"?: ?\"?)[0-9]+")]
    private static partial Regex Revision();

    [GeneratedRegex("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z|[0-9]+s\"")]
    private static partial Regex Time();

    // A label that no other test has.
    private sealed class Mark
    {
        internal string Label { get; } = $"m{Guid.NewGuid():N}";

        internal int Count(string text) => Regex.Count(text, Label);
    }
}
