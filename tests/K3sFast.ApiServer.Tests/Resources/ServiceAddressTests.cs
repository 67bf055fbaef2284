using System.Net;
using System.Text.Json.Nodes;

namespace K3sFast.ApiServer.Tests;

/// <summary>Cluster addresses as objects, in one family and in two.</summary>
public sealed class ServiceAddressTests(TestServer server)
{
    private const string Addresses = "/apis/networking.k8s.io/v1/ipaddresses";

    [Fact]
    public async Task Address_OfAService_IsAnObjectAsLongAsTheServiceLives()
    {
        var ns = await server.NamespaceAsync();
        var service = await CreateAsync(server, ns, "s", "");
        var ip = (string)service["spec"]!["clusterIP"]!;
        var address = (await server.GetAsync($"{Addresses}/{ip}")).Json;
        Assert.Equal("ipallocator.k8s.io", (string?)address["metadata"]!["labels"]!["ipaddress.kubernetes.io/managed-by"]);
        Assert.Equal("IPv4", (string?)address["metadata"]!["labels"]!["ipaddress.kubernetes.io/ip-family"]);
        Assert.Equal($$"""{"resource":"services","namespace":"{{ns}}","name":"s"}""", address["spec"]!["parentRef"]!.ToJsonString());
        await server.SendAsync(HttpMethod.Delete, $"/api/v1/namespaces/{ns}/services/s");
        Assert.Equal(404, (await server.GetAsync($"{Addresses}/{ip}")).Code);
    }

    [Fact]
    public async Task Address_OfARefusedOrDryRunService_IsNotTaken()
    {
        var ns = await server.NamespaceAsync();
        var path = $"/api/v1/namespaces/{ns}/services";
        Assert.Equal(422, (await server.SendAsync(HttpMethod.Post, path, """{"metadata":{"name":"s"},"spec":{"clusterIP":"10.43.9.9","ports":[{"port":0}]}}""")).Code);
        Assert.Equal(201, (await server.SendAsync(HttpMethod.Post, path + "?dryRun=All", """{"metadata":{"name":"s"},"spec":{"clusterIP":"10.43.9.9","ports":[{"port":1}]}}""")).Code);
        Assert.Equal(404, (await server.GetAsync($"{Addresses}/10.43.9.9")).Code);
    }

    [Fact]
    public async Task DefaultRange_IsAnObjectThatIsReady()
    {
        var range = (await server.GetAsync("/apis/networking.k8s.io/v1/servicecidrs/kubernetes")).Json;
        Assert.Equal("""["10.43.0.0/16"]""", range["spec"]!["cidrs"]!.ToJsonString());
        Assert.Equal("True", (string?)range["status"]!["conditions"]![0]!["status"]);
    }

    [Fact]
    public async Task Range_AddedLater_GivesAddressesToo()
    {
        await server.CreateAsync("/apis/networking.k8s.io/v1/servicecidrs", """{"metadata":{"name":"extra"},"spec":{"cidrs":["10.98.0.0/24"]}}""");
        var ns = await server.NamespaceAsync();
        await CreateAsync(server, ns, "s", "\"clusterIP\":\"10.98.0.7\",");
        var edge = await server.SendAsync(HttpMethod.Post, $"/api/v1/namespaces/{ns}/services", """{"metadata":{"name":"t"},"spec":{"clusterIP":"10.98.0.255","ports":[{"port":80}]}}""");
        Assert.Equal(
            "Service \"t\" is invalid: spec.clusterIPs: Invalid value: [\"10.98.0.255\"]: failed to allocate IP 10.98.0.255: the provided network does not match the current range",
            edge.Message);
    }

    [Theory]
    [InlineData("\"ipFamilyPolicy\":\"RequireDualStack\",", "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services")]
    [InlineData("\"ipFamilies\":[\"IPv6\"],", "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster")]
    [InlineData("\"ipFamilies\":[\"IPv4\",\"IPv6\"],", "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified")]
    [InlineData("\"clusterIP\":\"10.43.0.300\",", "spec.clusterIPs[0]: Invalid value: \"10.43.0.300\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")]
    public async Task Families_ThatTheClusterDoesNotHave_AreInvalid(string fields, string why)
    {
        var answer = await server.SendAsync(
            HttpMethod.Post, "/api/v1/namespaces/default/services", "{\"metadata\":{\"name\":\"bad\"},\"spec\":{" + fields + "\"ports\":[{\"port\":80}]}}");
        Assert.Equal(422, answer.Code);
        Assert.Equal($"Service \"bad\" is invalid: {why}", answer.Message);
    }

    [Fact]
    public async Task Ports_OfOneNumberAndTwoProtocols_ShareTheNodePort()
    {
        var ns = await server.NamespaceAsync();
        var service = await server.CreateAsync($"/api/v1/namespaces/{ns}/services",
            """{"metadata":{"name":"dns"},"spec":{"type":"NodePort","ports":[{"name":"udp","port":53,"protocol":"UDP"},{"name":"tcp","port":53,"protocol":"TCP"}]}}""");
        Assert.Equal((int)service["spec"]!["ports"]![0]!["nodePort"]!, (int)service["spec"]!["ports"]![1]!["nodePort"]!);
    }

    [Fact]
    public async Task HealthCheckPort_ComesAndGoesWithTheLocalPolicy()
    {
        var ns = await server.NamespaceAsync();
        var path = $"/api/v1/namespaces/{ns}/services";
        var service = await server.CreateAsync(path, """{"metadata":{"name":"lb"},"spec":{"type":"LoadBalancer","externalTrafficPolicy":"Local","ports":[{"port":80}]}}""");
        var port = (int)service["spec"]!["healthCheckNodePort"]!;
        Assert.InRange(port, 30000, 32767);
        var changed = await server.SendAsync(HttpMethod.Patch, $"{path}/lb", """{"spec":{"externalTrafficPolicy":"Cluster"}}""", "application/merge-patch+json");
        Assert.True(changed.Code == 200, changed.Text);
        Assert.Null(changed.Json["spec"]!["healthCheckNodePort"]);
        await server.CreateAsync(path, """{"metadata":{"name":"np"},"spec":{"type":"NodePort","ports":[{"port":80,"nodePort":PORT}]}}""".Replace("PORT", $"{port}", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Service_TurnedIntoExternalName_GivesItsAddressBack()
    {
        var ns = await server.NamespaceAsync();
        var ip = (string)(await CreateAsync(server, ns, "s", ""))["spec"]!["clusterIP"]!;
        var changed = await server.SendAsync(
            HttpMethod.Patch, $"/api/v1/namespaces/{ns}/services/s", """{"spec":{"type":"ExternalName","externalName":"example.com"}}""", "application/merge-patch+json");
        Assert.True(changed.Code == 200, changed.Text);
        Assert.Null(changed.Json["spec"]!["clusterIP"]);
        Assert.Null(changed.Json["spec"]!["ipFamilyPolicy"]);
        Assert.Equal(404, (await server.GetAsync($"{Addresses}/{ip}")).Code);
        var back = await server.SendAsync(
            HttpMethod.Patch, $"/api/v1/namespaces/{ns}/services/s", """{"spec":{"type":"ClusterIP","externalName":null}}""", "application/merge-patch+json");
        Assert.True(back.Code == 200, back.Text);
        Assert.StartsWith("10.", (string?)back.Json["spec"]!["clusterIP"]);
    }

    [Fact]
    public async Task TwoFamilies_FollowThePolicy()
    {
        await using var dual = new TestServer { Adjust = options => options with { SecondaryServiceCidr = IPNetwork.Parse("fd00:43::/112") } };
        await dual.InitializeAsync();
        var single = await CreateAsync(dual, "default", "single", "");
        Assert.Equal("""["IPv4"]""", single["spec"]!["ipFamilies"]!.ToJsonString());
        var first = await CreateAsync(dual, "default", "both", "\"ipFamilyPolicy\":\"PreferDualStack\",");
        Assert.Equal("""["IPv4","IPv6"]""", first["spec"]!["ipFamilies"]!.ToJsonString());
        Assert.StartsWith("fd00:43::", (string?)first["spec"]!["clusterIPs"]![1]);
        var turned = await CreateAsync(dual, "default", "turned", "\"ipFamilyPolicy\":\"RequireDualStack\",\"ipFamilies\":[\"IPv6\",\"IPv4\"],");
        Assert.StartsWith("fd00:43::", (string?)turned["spec"]!["clusterIP"]);

        var second = (string)first["spec"]!["clusterIPs"]![1]!;
        const string Path = "/api/v1/namespaces/default/services/";
        var reduced = await dual.SendAsync(HttpMethod.Patch, Path + "both", """{"spec":{"ipFamilyPolicy":"SingleStack"}}""", "application/merge-patch+json");
        Assert.True(reduced.Code == 200, reduced.Text);
        Assert.Single((JsonArray)reduced.Json["spec"]!["clusterIPs"]!);
        Assert.Equal(404, (await dual.GetAsync($"{Addresses}/{Uri.EscapeDataString(second)}")).Code);
        var grown = await dual.SendAsync(HttpMethod.Patch, Path + "single", """{"spec":{"ipFamilyPolicy":"RequireDualStack"}}""", "application/merge-patch+json");
        Assert.True(grown.Code == 200, grown.Text);
        Assert.Equal(2, ((JsonArray)grown.Json["spec"]!["clusterIPs"]!).Count);
        Assert.Equal(200, (await dual.GetAsync($"{Addresses}/{Uri.EscapeDataString((string)grown.Json["spec"]!["clusterIPs"]![1]!)}")).Code);
        var changed = await dual.SendAsync(HttpMethod.Patch, Path + "single", """{"spec":{"clusterIPs":["10.43.1.1","fd00:43::99"],"clusterIP":"10.43.1.1"}}""", "application/merge-patch+json");
        Assert.Equal(422, changed.Code);
        Assert.Contains("may not change once set", changed.Message);
        // Without selector or address a Service may say both families, whatever the policy of others.
        var bare = await dual.CreateAsync("/api/v1/namespaces/default/services", """{"metadata":{"name":"bare"},"spec":{"clusterIP":"None"}}""");
        Assert.Equal("RequireDualStack", (string?)bare["spec"]!["ipFamilyPolicy"]);
        Assert.Equal("""["IPv4","IPv6"]""", bare["spec"]!["ipFamilies"]!.ToJsonString());
    }

    private static Task<JsonNode> CreateAsync(TestServer server, string ns, string name, string fields) => server.CreateAsync(
        $"/api/v1/namespaces/{ns}/services", "{\"metadata\":{\"name\":\"" + name + "\"},\"spec\":{" + fields + "\"selector\":{\"a\":\"b\"},\"ports\":[{\"port\":80}]}}");
}
