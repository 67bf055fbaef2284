using System.Text.Json.Nodes;

namespace K3sFast.ApiServer.Tests;

public sealed class ServiceTests(TestServer server)
{
    [Fact]
    public async Task KubernetesService_AfterStart_HasTheFirstAddressAndEndpoints()
    {
        var service = (await server.GetAsync("/api/v1/namespaces/default/services/kubernetes")).Json;
        Assert.Equal("10.43.0.1", (string?)service["spec"]!["clusterIP"]);
        Assert.Equal(server.Server.Port, (int)service["spec"]!["ports"]![0]!["targetPort"]!);
        var endpoints = (await server.GetAsync("/api/v1/namespaces/default/endpoints/kubernetes")).Json;
        Assert.Equal("192.0.2.1", (string?)endpoints["subsets"]![0]!["addresses"]![0]!["ip"]);
        var slice = (await server.GetAsync("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")).Json;
        Assert.Equal("192.0.2.1", (string?)slice["endpoints"]![0]!["addresses"]![0]);
    }

    [Fact]
    public async Task Services_CreatedInParallel_NeverShareAnAddressOrPort()
    {
        var ns = await server.NamespaceAsync();
        var made = await Task.WhenAll(Enumerable.Range(0, 20).Select(i => CreateAsync(ns, $"s{i}", "NodePort")));
        Assert.Equal(20, made.Select(static s => (string)s["spec"]!["clusterIP"]!).Distinct().Count());
        Assert.Equal(20, made.Select(static s => (int)s["spec"]!["ports"]![0]!["nodePort"]!).Distinct().Count());
        Assert.All(made, static s => Assert.Equal("SingleStack", (string?)s["spec"]!["ipFamilyPolicy"]));
        Assert.All(made, static s => Assert.InRange((int)s["spec"]!["ports"]![0]!["nodePort"]!, 30000, 32767));
    }

    [Fact]
    public async Task Address_AskedFor_IsGivenOnceAndAgainAfterDeletion()
    {
        var ns = await server.NamespaceAsync();
        const string Body = """{"metadata":{"name":"NAME"},"spec":{"clusterIP":"10.43.7.7","ports":[{"port":80}]}}""";
        var path = $"/api/v1/namespaces/{ns}/services";
        await server.CreateAsync(path, Body.Replace("NAME", "first", StringComparison.Ordinal));
        var second = await server.SendAsync(HttpMethod.Post, path, Body.Replace("NAME", "second", StringComparison.Ordinal));
        Assert.Equal(422, second.Code);
        Assert.Equal("Service \"second\" is invalid: spec.clusterIPs: Invalid value: [\"10.43.7.7\"]: failed to allocate IP 10.43.7.7: provided IP is already allocated", second.Message);
        await server.SendAsync(HttpMethod.Delete, $"{path}/first");
        await server.CreateAsync(path, Body.Replace("NAME", "second", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Address_OutsideTheRange_IsInvalid()
    {
        var answer = await server.SendAsync(HttpMethod.Post, "/api/v1/namespaces/default/services", """{"metadata":{"name":"far"},"spec":{"clusterIP":"10.99.0.1","ports":[{"port":80}]}}""");
        Assert.Equal(422, answer.Code);
        Assert.Equal("Service \"far\" is invalid: spec.clusterIPs: Invalid value: [\"10.99.0.1\"]: failed to allocate IP 10.99.0.1: the provided network does not match the current range", answer.Message);
    }

    [Fact]
    public async Task Service_ReplacedWithoutAddress_KeepsIt()
    {
        var ns = await server.NamespaceAsync();
        var made = await CreateAsync(ns, "s", "NodePort");
        var replaced = await server.SendAsync(HttpMethod.Put, $"/api/v1/namespaces/{ns}/services/s", """{"metadata":{"name":"s"},"spec":{"type":"NodePort","selector":{"a":"b"},"ports":[{"port":80}]}}""");
        Assert.True(replaced.Code == 200, replaced.Text);
        Assert.Equal((string?)made["spec"]!["clusterIP"], (string?)replaced.Json["spec"]!["clusterIP"]);
        Assert.Equal((int)made["spec"]!["ports"]![0]!["nodePort"]!, (int)replaced.Json["spec"]!["ports"]![0]!["nodePort"]!);
    }

    [Fact]
    public async Task Service_TurnedIntoClusterIP_GivesItsPortBack()
    {
        var ns = await server.NamespaceAsync();
        var made = await CreateAsync(ns, "s", "NodePort");
        var port = (int)made["spec"]!["ports"]![0]!["nodePort"]!;
        var patched = await server.SendAsync(HttpMethod.Patch, $"/api/v1/namespaces/{ns}/services/s", """{"spec":{"type":"ClusterIP"}}""", "application/merge-patch+json");
        Assert.True(patched.Code == 200, patched.Text);
        Assert.Null(patched.Json["spec"]!["ports"]![0]!["nodePort"]);
        await server.CreateAsync($"/api/v1/namespaces/{ns}/services", """{"metadata":{"name":"t"},"spec":{"type":"NodePort","ports":[{"port":80,"nodePort":PORT}]}}""".Replace("PORT", $"{port}", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Service_Headless_HasNoAddress()
    {
        var ns = await server.NamespaceAsync();
        var made = await server.CreateAsync($"/api/v1/namespaces/{ns}/services", """{"metadata":{"name":"h"},"spec":{"clusterIP":"None","selector":{"a":"b"},"ports":[{"port":80}]}}""");
        Assert.Equal("""["None"]""", made["spec"]!["clusterIPs"]!.ToJsonString());
    }

    private async Task<JsonNode> CreateAsync(string ns, string name, string type) => await server.CreateAsync(
        $"/api/v1/namespaces/{ns}/services", "{\"metadata\":{\"name\":\"" + name + "\"},\"spec\":{\"type\":\"" + type + "\",\"ports\":[{\"port\":80}]}}");
}
