using System.Text;
using K3sFast.Client;

namespace K3sFast.ApiServer.Tests.Requests;

/// <summary>Bodies of three megabytes that are wide instead of deep: as many keys, elements and owners as fit.</summary>
public sealed class WideBodyTests(TestServer server)
{
    private const int Most = 100_000;

    // What is not linear takes many minutes, on any machine.
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(4);

    private static readonly Dictionary<string, (string Method, string Path, string Type, string Text, (int Count, Func<int, string> Part)[] Parts)> s_bodies = new()
    {
        ["a map of many keys"] = ("POST", "configmaps", "application/json", """{"metadata":{"name":"wide"},"data":{@}}""", [(Most, static i => $"\"k{i}\":\"\"")]),
        ["a map of many keys in YAML"] = ("POST", "configmaps", "application/yaml", "metadata: {name: wide-yaml}\ndata: {@}", [(Most, static i => $"k{i}: ''")]),
        ["a map of equal keys"] = ("POST", "configmaps", "application/json", """{"metadata":{"name":"equal"},"data":{@}}""", [(Most, static _ => "\"k\":\"\"")]),
        ["unknown fields"] = ("POST", "configmaps", "application/json", """{"metadata":{"name":"unknown"},@}""", [(Most, static i => $"\"f{i}\":0")]),
        ["many labels"] = ("POST", "configmaps", "application/json", """{"metadata":{"name":"labels","labels":{@}}}""", [(Most, static i => $"\"k{i}\":\"\"")]),
        ["many bad labels"] = ("POST", "configmaps", "application/json", """{"metadata":{"name":"bad-labels","labels":{@}}}""", [(Most, static i => $"\"k {i}\":\"\"")]),
        ["many owners"] = ("POST", "configmaps", "application/json", """{"metadata":{"name":"owners","ownerReferences":[@]}}""", [(Most / 4, static i => $$"""{"apiVersion":"v1","kind":"Pod","name":"a","uid":"{{i}}"}""")]),
        ["equal owners"] = ("POST", "configmaps", "application/json", """{"metadata":{"name":"equal-owners","ownerReferences":[@]}}""", [(Most / 4, static _ => """{"apiVersion":"v1","kind":"Pod","name":"a","uid":"u"}""")]),
        ["many finalizers"] = ("POST", "configmaps", "application/json", """{"metadata":{"name":"finalizers","finalizers":[@]}}""", [(Most, static i => $"\"a.b/f{i}\"")]),
        ["many managers"] = ("POST", "configmaps", "application/json", """{"metadata":{"name":"managers","managedFields":[@]}}""", [(Most / 4, static i => $$$"""{"manager":"m{{{i}}}","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{}}""")]),
    };

    public static TheoryData<string> Names => [.. s_bodies.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public async Task Body_OfThreeMegabytes_IsAnswered(string name)
    {
        var (method, path, type, text, parts) = s_bodies[name];
        var ns = await server.NamespaceAsync();
        await server.CreateAsync($"/api/v1/namespaces/{ns}/configmaps", Fill("""{"metadata":{"name":"wide-base"},"data":{@}}""", [(Most, static i => $"\"k{i}\":\"\"")]));
        await server.CreateAsync($"/api/v1/namespaces/{ns}/pods", """{"metadata":{"name":"base"},"spec":{"containers":[{"name":"c","image":"i"}]}}""");
        var transport = server.Server.InProcess(UserInfo.Admin);
        var bytes = Encoding.UTF8.GetBytes(Fill(text, parts));
        var answer = await transport.SendAsync(new ApiRequest(method, $"/api/v1/namespaces/{ns}/{path}") { Body = bytes, ContentType = type }, TestContext.Current.CancellationToken).AsTask().WaitAsync(s_patience, TestContext.Current.CancellationToken);
        Assert.InRange(answer.StatusCode, 200, 422);
    }

    private static string Fill(string text, (int Count, Func<int, string> Part)[] parts)
    {
        foreach (var (count, part) in parts)
        {
            var at = text.IndexOf('@', StringComparison.Ordinal);
            text = string.Concat(text.AsSpan(0, at), string.Join(',', Enumerable.Range(0, count).Select(part)), text.AsSpan(at + 1));
        }
        return text;
    }
}
