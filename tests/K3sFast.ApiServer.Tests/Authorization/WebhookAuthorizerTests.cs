using System.Text.Json.Nodes;

namespace K3sFast.ApiServer.Tests;

public sealed class WebhookAuthorizerTests
{
    [Fact]
    public async Task Webhook_InTheChain_DecidesWhereNobodyElseDid()
    {
        await using var webhook = await TestWebhook.StartAsync(static (_, review) => (200, new JsonObject
        {
            ["status"] = (string?)review!["spec"]!["user"] switch
            {
                "friend" => JsonNode.Parse("""{"allowed":true,"reason":"known"}"""),
                "enemy" => JsonNode.Parse("""{"allowed":false,"denied":true,"reason":"never"}"""),
                _ => JsonNode.Parse("""{"allowed":false,"reason":"who?"}"""),
            },
        }));
        var directory = OwnServer.NewDirectory();
        var file = Path.Combine(directory, "authz.yaml");
        var kubeconfig = webhook.WriteKubeconfig(directory);
        await File.WriteAllTextAsync(file, Configuration(kubeconfig, "Deny"), TestContext.Current.CancellationToken);
        await using var server = await OwnServer.StartAsync(o => o with { Authorization = new() { ConfigurationFile = file } }, directory);

        const string Path_ = "/api/v1/namespaces/default/pods?fieldSelector=spec.nodeName%3Dn1&labelSelector=a%20in%20(b)";
        var friend = server.Client(server.Certificates.Client("friend", "g"));
        for (var i = 0; i < 3; i++)
            Assert.Equal(200, (await OwnServer.SendAsync(friend, HttpMethod.Get, Path_)).Code);
        Assert.Equal(1, webhook.Count);
        var spec = webhook.Requests[0].Body!["spec"]!;
        Assert.Equal("""{"namespace":"default","verb":"list","version":"v1","resource":"pods","fieldSelector":{"requirements":[{"key":"spec.nodeName","operator":"In","values":["n1"]}]},"labelSelector":{"requirements":[{"key":"a","operator":"In","values":["b"]}]}}""",
            spec["resourceAttributes"]!.ToJsonString());
        Assert.Equal("""["g","system:authenticated"]""", spec["groups"]!.ToJsonString());

        var refused = await OwnServer.SendAsync(server.Client(server.Certificates.Client("stranger")), HttpMethod.Get, "/api/v1/nodes/n");
        Assert.Equal((403, "nodes \"n\" is forbidden: User \"stranger\" cannot get resource \"nodes\" in API group \"\" at the cluster scope: who?"), (refused.Code, refused.Message));
        // A denial ends the chain even where RBAC would allow.
        Assert.Equal(403, (await OwnServer.SendAsync(server.Client(server.Certificates.Client("enemy")), HttpMethod.Get, "/version")).Code);
        var review = await OwnServer.SendAsync(server.Admin, HttpMethod.Post, "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            """{"spec":{"user":"enemy","resourceAttributes":{"verb":"get","resource":"pods"}}}""");
        Assert.Equal("""{"allowed":false,"denied":true,"reason":"never"}""", review.Json["status"]!.ToJsonString());
    }

    [Fact]
    public async Task Webhook_ThatDoesNotAnswer_IsADenialOrAnErrorAsConfigured()
    {
        await using var webhook = await TestWebhook.StartAsync(static (_, _) => (403, null));
        var directory = OwnServer.NewDirectory();
        var file = Path.Combine(directory, "authz.yaml");
        var kubeconfig = webhook.WriteKubeconfig(directory);
        await File.WriteAllTextAsync(file, Configuration(kubeconfig, "Deny"), TestContext.Current.CancellationToken);
        await using var server = await OwnServer.StartAsync(o => o with { Authorization = new() { ConfigurationFile = file } }, directory);
        var client = server.Client(server.Certificates.Client("somebody"));
        var answer = await OwnServer.SendAsync(client, HttpMethod.Get, "/api/v1/pods");
        Assert.Equal(500, answer.Code);
        Assert.StartsWith("Internal Server Error: \"/api/v1/pods\": Post ", answer.Text);

        // The file is read again, and RBAC gets its word before the error counts.
        await File.WriteAllTextAsync(file, Configuration(kubeconfig, "NoOpinion"), TestContext.Current.CancellationToken);
        await OwnServer.UntilAsync(async () => (await OwnServer.SendAsync(client, HttpMethod.Get, "/version")).Code == 200);
    }

    [Theory]
    [InlineData("authorizers: []", "authorizers: Required value: at least one authorization mode must be defined")]
    [InlineData("authorizers: [{type: Foo, name: foo}]", "authorizers[0].type: Unsupported value: \"Foo\": supported values: \"ABAC\", \"AlwaysAllow\", \"AlwaysDeny\", \"Node\", \"RBAC\", \"Webhook\"")]
    [InlineData("authorizers: [{type: RBAC, name: rbac}, {type: RBAC, name: rbac2}]", "authorizers[1].type: Duplicate value: \"RBAC\"")]
    [InlineData("authorizers: [{type: Webhook, name: w}]", "authorizers[0].webhook: Required value: required when type=Webhook")]
    [InlineData("authorizers: [{type: RBAC, name: r}]", "expected name rbac for authorizer RBAC instead of r")]
    [InlineData("authorizers: [{type: RBAC, name: rbac, x: 1}]", "unknown field \"authorizers[0].x\"")]
    [InlineData("authorizers: [{type: Webhook, name: w, webhook: {timeout: 40s}}]", "authorizers[0].timeout: Invalid value: \"40s\": must be > 0s and <= 30s")]
    [InlineData("authorizers: [{type: Webhook, name: w, webhook: {matchConditions: [{expression: 'request.nope'}]}}]", "authorizers[0].matchConditions[0].expression: Invalid value: \"request.nope\": compilation failed: ERROR: <input>:1:8: undefined field 'nope'")]
    [InlineData("authorizers: [{type: Webhook, name: w, webhook: {matchConditions: [{expression: 'request.user'}]}}]", "must evaluate to bool")]
    [InlineData("authorizers: [{type: Webhook, name: w, webhook: {matchConditions: [{expression: 'true'}]}}]", "authorizers[0].matchConditionSubjectAccessReviewVersion: Required value: required if match conditions are specified")]
    public void AuthorizationConfiguration_ThatIsWrong_SaysWhere(string text, string message)
    {
        var bytes = System.Text.Encoding.UTF8.GetBytes($"apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\n{text}\n");
        Assert.Contains(message, Assert.Throws<ApiServerStartException>(() => AuthorizationConfiguration.Read("f.yaml", bytes)).Message);
    }

    private static string Configuration(string kubeconfig, string policy) => $$"""
        apiVersion: apiserver.config.k8s.io/v1
        kind: AuthorizationConfiguration
        authorizers:
        - type: Webhook
          name: mine
          webhook:
            timeout: 3s
            subjectAccessReviewVersion: v1
            matchConditionSubjectAccessReviewVersion: v1
            failurePolicy: {{policy}}
            connectionInfo: {type: KubeConfigFile, kubeConfigFile: "{{kubeconfig}}"}
        - {type: Node, name: node}
        - {type: RBAC, name: rbac}
        """;
}
