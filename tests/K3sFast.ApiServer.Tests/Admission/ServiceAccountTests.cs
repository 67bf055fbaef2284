namespace K3sFast.ApiServer.Tests;

public sealed class ServiceAccountTests(TestServer server)
{
    [Fact]
    public async Task Pod_FasterThanItsAccount_WaitsForIt()
    {
        var created = await server.CreateAsync("/api/v1/namespaces", """{"metadata":{"generateName":"test-"}}""");
        var ns = (string)created["metadata"]!["name"]!;
        var pod = server.SendAsync(HttpMethod.Post, $"/api/v1/namespaces/{ns}/pods", """{"metadata":{"name":"p"},"spec":{"containers":[{"name":"a","image":"i"}]}}""");
        await server.CreateAsync($"/api/v1/namespaces/{ns}/serviceaccounts", """{"metadata":{"name":"default"}}""");
        var answer = await pod;
        Assert.True(answer.Code == 201, answer.Text);
    }

    [Theory]
    [InlineData("\"serviceAccountName\":\"default\",", "a mirror pod may not reference service accounts")]
    [InlineData("\"volumes\":[{\"name\":\"v\",\"secret\":{\"secretName\":\"s\"}}],", "a mirror pod may not reference secrets")]
    [InlineData("\"volumes\":[{\"name\":\"v\",\"projected\":{\"sources\":[{\"serviceAccountToken\":{\"path\":\"t\"}}]}}],", "a mirror pod may not use ServiceAccountToken volume projections")]
    public async Task MirrorPod_HasNoIdentityAndNoSecrets(string fields, string why)
    {
        var ns = await server.NamespaceAsync();
        var answer = await server.SendAsync(HttpMethod.Post, $"/api/v1/namespaces/{ns}/pods",
            "{\"metadata\":{\"name\":\"p\",\"annotations\":{\"kubernetes.io/config.mirror\":\"x\"}},\"spec\":{\"nodeName\":\"n\"," + fields + "\"containers\":[{\"name\":\"a\",\"image\":\"i\"}]}}");
        Assert.Equal($"pods \"p\" is forbidden: {why}", answer.Message);
    }

    [Fact]
    public async Task Account_ThatLimitsSecrets_LendsOnlyThoseItNames()
    {
        var ns = await server.NamespaceAsync();
        await server.CreateAsync($"/api/v1/namespaces/{ns}/serviceaccounts",
            """{"metadata":{"name":"strict","annotations":{"kubernetes.io/enforce-mountable-secrets":"true"}},"secrets":[{"name":"mine"}]}""");
        const string Pod = """{"metadata":{"name":"p"},"spec":{"serviceAccountName":"strict","volumes":[{"name":"v","secret":{"secretName":"SECRET"}}],"containers":[{"name":"a","image":"i"}]}}""";
        var refused = await server.SendAsync(HttpMethod.Post, $"/api/v1/namespaces/{ns}/pods", Pod.Replace("SECRET", "other", StringComparison.Ordinal));
        Assert.Equal("pods \"p\" is forbidden: volume with secret.secretName=\"other\" is not allowed because service account strict does not reference that secret", refused.Message);
        await server.CreateAsync($"/api/v1/namespaces/{ns}/pods", Pod.Replace("SECRET", "mine", StringComparison.Ordinal));
    }
}
