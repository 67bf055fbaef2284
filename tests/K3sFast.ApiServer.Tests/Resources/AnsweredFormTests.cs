using System.Text.Json.Nodes;

namespace K3sFast.ApiServer.Tests;

/// <summary>What is answered of objects beyond what was sent, where upstream makes it while it reads what it stored.</summary>
public sealed class AnsweredFormTests(TestServer server)
{
    private const string Template = """{"metadata":{"labels":{"a":"b"}},"spec":{"restartPolicy":"Always","containers":[{"name":"c","image":"i"}]}}""";

    [Fact]
    public async Task StatefulSet_WithClaims_SaysWhatTheyAre()
    {
        var path = $"/apis/apps/v1/namespaces/{await server.NamespaceAsync()}/statefulsets";
        var body = $$"""{"metadata":{"name":"s"},"spec":{"selector":{"matchLabels":{"a":"b"} },"template":{{Template}},"volumeClaimTemplates":[{"metadata":{"name":"d"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"} } } }]} }""";
        var created = await server.CreateAsync(path, body);
        Assert.StartsWith("""{"kind":"PersistentVolumeClaim","apiVersion":"v1","metadata":{"name":"d"}""", created["spec"]!["volumeClaimTemplates"]![0]!.ToJsonString(), StringComparison.Ordinal);
        // Who does not say it changes nothing.
        var put = JsonNode.Parse(body)!;
        put["metadata"]!["uid"] = (string?)created["metadata"]!["uid"];
        var same = await server.SendAsync(HttpMethod.Put, $"{path}/s", put.ToJsonString());
        Assert.Equal((200, (string?)created["metadata"]!["resourceVersion"]), (same.Code, (string?)same.Json["metadata"]!["resourceVersion"]));
    }

    [Theory]
    [InlineData("", false)]
    [InlineData("?dryRun=All", false)]
    [InlineData("", true)]
    public async Task Job_WithoutLabels_HasThoseOfItsPods(string query, bool isLabelled)
    {
        var path = $"/apis/batch/v1/namespaces/{await server.NamespaceAsync()}/jobs";
        var labels = isLabelled ? """{"own":"1"}""" : "{}";
        var created = await server.CreateAsync(
            path + query, $$"""{"metadata":{"name":"j","labels":{{labels}} },"spec":{"suspend":true,"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]} } } }""");
        var uid = (string?)created["metadata"]!["uid"];
        var expected = isLabelled ? labels : $$"""{"batch.kubernetes.io/controller-uid":"{{uid}}","batch.kubernetes.io/job-name":"j","controller-uid":"{{uid}}","job-name":"j"}""";
        Assert.Equal(expected, created["metadata"]!["labels"]!.ToJsonString());
        // They are nobody's.
        Assert.DoesNotContain("controller-uid", created["metadata"]!["managedFields"]!.ToJsonString(), StringComparison.Ordinal);
    }
}
