using System.Net;
using System.Net.Http.Json;

namespace K3sFast.ApiServer.Tests;

public sealed class AuthenticationTests(TestServer server)
{
    [Theory]
    [InlineData("/api/v1/namespaces")]
    [InlineData("/healthz")]
    [InlineData("/version")]
    public async Task Nobody_Anywhere_IsUnauthorized(string path)
    {
        var answer = await server.GetAsync(path, server.Client());
        Assert.Equal((401, "Unauthorized", "Unauthorized"), (answer.Code, answer.Reason, answer.Message));
    }

    [Fact]
    public async Task Certificate_OfAnotherAuthority_IsUnauthorized()
    {
        var answer = await server.GetAsync("/version", server.Client(new TestCertificates().Client("system:admin", "system:masters")));
        Assert.Equal(401, answer.Code);
    }

    [Fact]
    public async Task Certificate_OutOfTime_IsUnauthorized()
    {
        Assert.Equal(401, (await server.GetAsync("/version", server.Client(server.Certificates.Expired("alice")))).Code);
    }

    [Theory]
    [InlineData("x")]
    [InlineData("a.b.c")]
    [InlineData("eyJhbGciOiJub25lIn0.eyJzdWIiOiJzeXN0ZW06bWFzdGVycyJ9.")]
    public async Task Token_ThatIsBad_IsUnauthorized(string token)
    {
        Assert.Equal(401, (await server.GetAsync("/version", server.Client(token: token))).Code);
    }

    [Fact]
    public async Task Token_OfAnAccount_IsThatAccountUntilTheAccountGoes()
    {
        var ns = await server.NamespaceAsync();
        await server.CreateAsync($"/api/v1/namespaces/{ns}/serviceaccounts", """{"metadata":{"name":"robot"}}""");
        var request = await server.CreateAsync($"/api/v1/namespaces/{ns}/serviceaccounts/robot/token", """{"spec":{}}""");
        var client = server.Client(token: (string)request["status"]!["token"]!);

        var who = await server.SendAsync(HttpMethod.Post, "/apis/authentication.k8s.io/v1/selfsubjectreviews", "{}", client: client);
        Assert.Equal($"system:serviceaccount:{ns}:robot", (string?)who.Json["status"]!["userInfo"]!["username"]);

        await server.SendAsync(HttpMethod.Delete, $"/api/v1/namespaces/{ns}/serviceaccounts/robot");
        Assert.Equal(401, (await server.GetAsync("/version", client)).Code);
    }

    [Fact]
    public async Task Token_Tampered_IsUnauthorized()
    {
        var request = await server.CreateAsync("/api/v1/namespaces/default/serviceaccounts/default/token", """{"spec":{}}""");
        var token = (string)request["status"]!["token"]!;
        var at = token.IndexOf('.', StringComparison.Ordinal) + 10;
        var tampered = token[..at] + (token[at] == 'A' ? 'B' : 'A') + token[(at + 1)..];
        Assert.Equal(401, (await server.GetAsync("/version", server.Client(token: tampered))).Code);
    }

    [Fact]
    public async Task TokenReview_OfAGoodToken_NamesItsUser()
    {
        var request = await server.CreateAsync("/api/v1/namespaces/default/serviceaccounts/default/token", """{"spec":{}}""");
        var review = await server.CreateAsync(
            "/apis/authentication.k8s.io/v1/tokenreviews", $$$"""{"spec":{"token":"{{{(string)request["status"]!["token"]!}}}"}}""");
        Assert.True((bool)review["status"]!["authenticated"]!);
        Assert.Equal("system:serviceaccount:default:default", (string?)review["status"]!["user"]!["username"]);
    }

    [Fact]
    public async Task Impersonation_ByAnAdministrator_ActsAsTheOther()
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/api/v1/pods");
        request.Headers.Add("Impersonate-User", "alice");
        using var response = await server.Admin.SendAsync(request, TestContext.Current.CancellationToken);
        Assert.Equal(HttpStatusCode.Forbidden, response.StatusCode);
    }

    [Fact]
    public async Task Impersonation_WithoutTheRight_IsForbidden()
    {
        var client = server.ClientAs("mallory");
        using var request = new HttpRequestMessage(HttpMethod.Get, "/api/v1/pods");
        request.Headers.Add("Impersonate-User", "alice");
        using var response = await client.SendAsync(request, TestContext.Current.CancellationToken);
        var text = await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        Assert.Contains("pods is forbidden: User \\\"mallory\\\" cannot impersonate-on:user-info:list resource \\\"pods\\\" in API group \\\"\\\" at the cluster scope", text);
    }

    [Fact]
    public async Task Certificate_OverBothProtocols_IsTheSameUser()
    {
        var certificate = server.Certificates.Client("system:admin", "system:masters");
        foreach (var version in new[] { HttpVersion.Version11, HttpVersion.Version20 })
        {
            using var response = await server.Client(certificate, version: version).GetAsync("/version", TestContext.Current.CancellationToken);
            Assert.Equal(HttpStatusCode.OK, response.StatusCode);
            Assert.Equal(version, response.Version);
        }
    }
}
