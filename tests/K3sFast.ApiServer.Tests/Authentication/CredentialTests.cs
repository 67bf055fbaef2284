using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;

namespace K3sFast.ApiServer.Tests;

public sealed class CredentialTests
{
    private static readonly DateTimeOffset s_later = DateTimeOffset.UtcNow.AddHours(1);

    [Fact]
    public async Task Anonymous_WhereAllowed_MayWhatRbacGivesEverybody()
    {
        await using var server = await OwnServer.StartAsync(static o => o with { Authentication = o.Authentication with { Anonymous = AnonymousAccess.On } });
        Assert.Equal(200, (await OwnServer.SendAsync(server.Client(), HttpMethod.Get, "/version")).Code);
        Assert.Equal(200, (await OwnServer.SendAsync(server.Client(), HttpMethod.Get, "/livez")).Code);
        var refused = await OwnServer.SendAsync(server.Client(), HttpMethod.Get, "/api/v1/pods");
        Assert.Equal((403, "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" at the cluster scope"), (refused.Code, refused.Message));
        Assert.Equal(401, (await OwnServer.SendAsync(server.Client(token: "wrong"), HttpMethod.Get, "/version")).Code);
        Assert.Equal(401, (await OwnServer.SendAsync(server.Client(new TestCertificates().Client("eve")), HttpMethod.Get, "/version")).Code);
    }

    [Fact]
    public async Task TokenFile_Tokens_AreItsUsers()
    {
        var directory = OwnServer.NewDirectory();
        var file = Path.Combine(directory, "tokens.csv");
        await File.WriteAllTextAsync(file, "abc,alice,uid-1,\"dev,ops\"\nxyz,bob,uid-2\n", TestContext.Current.CancellationToken);
        await using var server = await OwnServer.StartAsync(o => o with { Authentication = o.Authentication with { TokenFile = file } }, directory);
        Assert.Equal("alice uid-1 [dev ops system:authenticated]", await OwnServer.WhoAmIAsync(server.Client(token: "abc")));
        Assert.Equal("bob uid-2 [system:authenticated]", await OwnServer.WhoAmIAsync(server.Client(token: "xyz")));
        Assert.Null(await OwnServer.WhoAmIAsync(server.Client(token: "other")));
    }

    [Fact]
    public async Task TokenFile_WithTooFewColumns_StopsTheStart()
    {
        var directory = OwnServer.NewDirectory();
        var file = Path.Combine(directory, "tokens.csv");
        await File.WriteAllTextAsync(file, "abc,alice\n", TestContext.Current.CancellationToken);
        var error = await Assert.ThrowsAsync<ApiServerStartException>(() => OwnServer.StartAsync(o => o with { Authentication = o.Authentication with { TokenFile = file } }, directory));
        Assert.Equal($"token file '{file}' must have at least 3 columns (token, user name, user uid), found 2", error.Message);
    }

    [Theory]
    [InlineData("", "system:bootstrap:abcdef [system:bootstrappers system:bootstrappers:x:y system:authenticated]")]
    [InlineData("\"expiration\":\"2099-01-01T00:00:00Z\"", "system:bootstrap:abcdef [system:bootstrappers system:bootstrappers:x:y system:authenticated]")]
    [InlineData("\"expiration\":\"2001-01-01T00:00:00Z\"", null)]
    [InlineData("\"expiration\":\"soon\"", null)]
    [InlineData("\"usage-bootstrap-authentication\":\"false\"", null)]
    [InlineData("\"auth-extra-groups\":\"system:masters\"", null)]
    [InlineData("\"token-secret\":\"0123456789abcdee\"", null)]
    public async Task BootstrapToken_OfASecret_IsItsUser(string change, string? user)
    {
        await using var server = await OwnServer.StartAsync(static o => o);
        var data = new JsonObject
        {
            ["token-id"] = "abcdef", ["token-secret"] = "0123456789abcdef", ["usage-bootstrap-authentication"] = "true", ["auth-extra-groups"] = "system:bootstrappers:x:y",
        };
        foreach (var (name, value) in JsonNode.Parse($"{{{change}}}")!.AsObject())
            data[name] = value!.DeepClone();
        var secret = new JsonObject
        {
            ["metadata"] = new JsonObject { ["name"] = "bootstrap-token-abcdef" }, ["type"] = "bootstrap.kubernetes.io/token", ["stringData"] = data,
        };
        var made = await OwnServer.SendAsync(server.Admin, HttpMethod.Post, "/api/v1/namespaces/kube-system/secrets", secret.ToJsonString());
        Assert.True(made.Code == 201, made.Text);
        Assert.Equal(user, await OwnServer.WhoAmIAsync(server.Client(token: "abcdef.0123456789abcdef")));
    }

    [Fact]
    public async Task FrontProxy_WithItsCertificate_SpeaksForTheUserOfItsHeaders()
    {
        var proxies = new TestCertificates();
        await using var server = await OwnServer.StartAsync(o => o with { Authentication = o.Authentication with { RequestHeaders = new() { Authorities = [proxies.Authority] } } });
        (string, string)[] headers = [("X-Remote-User", "alice"), ("X-Remote-Uid", "42"), ("X-Remote-Group", "dev"), ("X-Remote-Extra-Scopes", "a")];
        Assert.Equal("alice 42 [dev system:authenticated]", await OwnServer.WhoAmIAsync(server.Client(proxies.Client("system:auth-proxy")), headers));
        // Another name, another authority, or none: the headers are worth nothing.
        Assert.Null(await OwnServer.WhoAmIAsync(server.Client(proxies.Client("somebody")), headers));
        Assert.Equal("bob [system:authenticated]", await OwnServer.WhoAmIAsync(server.Client(server.Certificates.Client("bob")), headers));
        Assert.Null(await OwnServer.WhoAmIAsync(server.Client(), headers));
    }

    [Fact]
    public async Task Certificate_WithManyOrganizationsAndAUid_IsThatUser()
    {
        await using var server = await OwnServer.StartAsync(static o => o);
        var subject = new X500DistinguishedNameBuilder();
        subject.AddOrganizationName("dev");
        subject.AddOrganizationName("ops");
        subject.Add(new Oid("1.3.6.1.4.1.57683.2"), "uid-7");
        subject.AddCommonName("alice");
        Assert.Equal("alice uid-7 [dev ops system:authenticated]", Sorted(await OwnServer.WhoAmIAsync(server.Client(server.Certificates.Client(subject.Build())))));
    }

    [Fact]
    public async Task Webhook_ThatKnowsAToken_IsAskedOnce()
    {
        await using var webhook = await TestWebhook.StartAsync(static (_, review) => (200, new JsonObject
        {
            ["kind"] = "TokenReview",
            ["apiVersion"] = "authentication.k8s.io/v1",
            ["status"] = (string?)review!["spec"]!["token"] == "good"
                ? JsonNode.Parse("""{"authenticated":true,"user":{"username":"carol","uid":"9","groups":["g"],"extra":{"k":["v"]}}}""")
                : JsonNode.Parse("""{"authenticated":false,"error":"who is that"}"""),
        }));
        var directory = OwnServer.NewDirectory();
        var file = webhook.WriteKubeconfig(directory);
        await using var server = await OwnServer.StartAsync(o => o with { Authentication = o.Authentication with { WebhookFile = file, WebhookVersion = "v1" } }, directory);
        for (var i = 0; i < 3; i++)
            Assert.Equal("carol 9 [g system:authenticated]", await OwnServer.WhoAmIAsync(server.Client(token: "good")));
        Assert.Equal(1, webhook.Count);
        var review = await OwnServer.SendAsync(server.Admin, HttpMethod.Post, "/apis/authentication.k8s.io/v1/tokenreviews", """{"spec":{"token":"bad"}}""");
        Assert.Equal("who is that", (string?)review.Json["status"]!["error"]);
        Assert.Equal("authentication.k8s.io/v1", (string?)webhook.Requests[0].Body!["apiVersion"]);
    }

    [Fact]
    public async Task OpenId_Token_IsTheUserOfItsClaims()
    {
        await using var issuer = await TestIssuer.StartAsync();
        await using var server = await OwnServer.StartAsync(o => o with
        {
            Authentication = o.Authentication with
            {
                Issuers =
                [
                    new()
                    {
                        Url = issuer.Url, Audiences = ["k8s"], UsernameClaim = "email", UsernamePrefix = "oidc:", GroupsClaim = "groups", GroupsPrefix = "oidc:",
                        RequiredClaims = new Dictionary<string, string> { ["hd"] = "example.org" }, Authorities = [issuer.Authority],
                    },
                ],
            },
        });
        string Token(string claims = "", string kid = "", string algorithm = "RS256") => issuer.Sign(
            $$"""{"iss":"{{issuer.Url}}","aud":"k8s","exp":{{s_later.ToUnixTimeSeconds()}},"email":"a@x","hd":"example.org","groups":["dev","ops"],"jti":"1"{{claims}}}""", kid, algorithm);
        await OwnServer.UntilAsync(async () => await OwnServer.WhoAmIAsync(server.Client(token: Token())) is not null);
        const string Alice = "oidc:a@x [oidc:dev oidc:ops system:authenticated]";
        Assert.Equal(Alice, await OwnServer.WhoAmIAsync(server.Client(token: Token())));
        Assert.Equal(Alice, await OwnServer.WhoAmIAsync(server.Client(token: Token(algorithm: "PS384"))));
        Assert.Equal(Alice, await OwnServer.WhoAmIAsync(server.Client(token: Token(algorithm: "ES256"))));

        foreach (var (token, error) in new[]
        {
            (Token(""","aud":"other" """), "oidc: verify token: oidc: expected audience \"k8s\" got [\"other\"]"),
            (Token(""","exp":1000"""), "oidc: verify token: oidc: token is expired (Token Expiry: 1970-01-01 00:16:40 +0000 UTC)"),
            (Token(""","hd":"evil.org" """), "oidc: required claim hd value does not match. Got = evil.org, want = example.org"),
            (Token(""","email_verified":false"""), "oidc: email not verified"),
            (Token()[..^8] + "AAAAAAAA", "oidc: verify token: failed to verify signature: failed to verify id token signature"),
            (Token(algorithm: "HS256"), "oidc: verify token: oidc: id token signed with unsupported algorithm, expected [\"ES256\" \"ES384\" \"ES512\" \"PS256\" \"PS384\" \"PS512\" \"RS256\" \"RS384\" \"RS512\"] got \"HS256\""),
        })
        {
            Assert.Null(await OwnServer.WhoAmIAsync(server.Client(token: token)));
            var review = await OwnServer.SendAsync(server.Admin, HttpMethod.Post, "/apis/authentication.k8s.io/v1/tokenreviews", $$$"""{"spec":{"token":"{{{token}}}"}}""");
            Assert.Equal(error, (string?)review.Json["status"]!["error"]);
        }

        // A key that the issuer made since is asked for when a token names it.
        issuer.Rotate();
        await OwnServer.UntilAsync(async () => await OwnServer.WhoAmIAsync(server.Client(token: Token())) == Alice);
    }

    [Fact]
    public async Task AuthenticationConfiguration_Changed_IsInForceWithoutARestart()
    {
        await using var issuer = await TestIssuer.StartAsync();
        var directory = OwnServer.NewDirectory();
        var file = Path.Combine(directory, "authn.yaml");
        string Configuration(string prefix) => $$"""
            apiVersion: apiserver.config.k8s.io/v1
            kind: AuthenticationConfiguration
            jwt:
            - issuer:
                url: {{issuer.Url}}
                audiences: [k8s]
                certificateAuthority: |
            {{string.Join('\n', issuer.Authority.ExportCertificatePem().Split('\n').Select(static line => "      " + line))}}
              claimMappings:
                username: {claim: sub, prefix: "{{prefix}}"}
            anonymous:
              enabled: true
              conditions: [{path: /livez}]
            """;
        await File.WriteAllTextAsync(file, Configuration("a:"), TestContext.Current.CancellationToken);
        await using var server = await OwnServer.StartAsync(o => o with { Authentication = o.Authentication with { ConfigurationFile = file } }, directory);
        string Token() => issuer.Sign($$"""{"iss":"{{issuer.Url}}","aud":["k8s"],"exp":{{s_later.ToUnixTimeSeconds()}},"sub":"joe","nonce":"{{Guid.NewGuid()}}"}""");
        await OwnServer.UntilAsync(async () => await OwnServer.WhoAmIAsync(server.Client(token: Token())) == "a:joe [system:authenticated]");
        Assert.Equal(200, (await OwnServer.SendAsync(server.Client(), HttpMethod.Get, "/livez")).Code);
        Assert.Equal(401, (await OwnServer.SendAsync(server.Client(), HttpMethod.Get, "/version")).Code);

        await File.WriteAllTextAsync(file, "kind: nonsense\n", TestContext.Current.CancellationToken);
        Assert.Equal("a:joe [system:authenticated]", await OwnServer.WhoAmIAsync(server.Client(token: Token())));
        await File.WriteAllTextAsync(file, Configuration("other:"), TestContext.Current.CancellationToken);
        await OwnServer.UntilAsync(async () => await OwnServer.WhoAmIAsync(server.Client(token: Token())) == "other:joe [system:authenticated]");
    }

    [Theory]
    [InlineData("jwt: [{issuer: {url: 'http://x', audiences: [a]}, claimMappings: {username: {claim: sub, prefix: ''}}}]", "jwt[0].issuer.url: Invalid value: \"http://x\": URL scheme must be https")]
    [InlineData("jwt: [{issuer: {url: 'https://x', audiences: []}, claimMappings: {username: {claim: sub, prefix: ''}}}]", "jwt[0].issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required")]
    [InlineData("jwt: [{issuer: {url: 'https://x', audiences: [a]}, claimMappings: {username: {claim: sub}}}]", "jwt[0].claimMappings.username.prefix: Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing")]
    [InlineData("jwt: [{issuer: {url: 'https://x', audiences: [a]}, claimMappings: {username: {expression: 'claims.sub +'}}}]", "jwt[0].claimMappings.username.expression: Invalid value: \"claims.sub +\": compilation failed: ERROR: <input>:1:13: Syntax error: mismatched input '<EOF>'")]
    [InlineData("jwt: [{issuer: {url: 'https://x', audiences: [a]}, claimMappings: {username: {expression: 'claims.email'}}}]", "claims.email_verified must be used in claimMappings.username.expression or")]
    [InlineData("jwt: [{issuer: {url: 'https://x', audiences: [a]}, claimMappings: {username: {claim: sub, expression: 'claims.sub', prefix: ''}}}]", "jwt[0].claimMappings.username: Invalid value: \"\": claim and expression can't both be set")]
    [InlineData("jwt: [{issuer: {url: 'https://x', audiences: [a]}, claimValidationRules: [{expression: '1'}], claimMappings: {username: {expression: 'claims.sub'}}}]", "jwt[0].claimValidationRules[0].expression: Invalid value: \"1\": must evaluate to bool")]
    [InlineData("jwt: [{issuer: {url: 'https://x', audiences: [a]}, claimMappings: {username: {expression: 'claims.sub'}, extra: [{key: foo, valueExpression: 'claims.x'}]}}]", "jwt[0].claimMappings.extra[0].key: Invalid value: \"foo\": must be a domain-prefixed path (such as \"acme.io/foo\")")]
    [InlineData("jwt: [{issuer: {url: 'https://x', audiences: [a]}, claimMappings: {username: {expression: 'claims.sub'}, extra: [{key: x.k8s.io/foo, valueExpression: 'claims.x'}]}}]", "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use")]
    [InlineData("jwt: [{issuer: {url: 'https://x', audiences: [a]}, claimMappings: {username: {expression: 'claims.sub'}}, userValidationRules: [{expression: 'user.nope == 1'}]}]", "ERROR: <input>:1:5: undefined field 'nope'")]
    [InlineData("jwt: [{issuer: {url: 'https://x', audience: a}}]", "unknown field \"jwt[0].issuer.audience\"")]
    [InlineData("anonymous: {enabled: false, conditions: [{path: /x}]}", "enabled should be set to true when conditions are defined")]
    public void AuthenticationConfiguration_ThatIsWrong_SaysWhere(string text, string message)
    {
        var bytes = System.Text.Encoding.UTF8.GetBytes($"apiVersion: apiserver.config.k8s.io/v1beta1\nkind: AuthenticationConfiguration\n{text}\n");
        var error = Assert.Throws<ApiServerStartException>(() => AuthenticationConfiguration.Read("f.yaml", bytes, []));
        Assert.StartsWith("--authentication-config: f.yaml", error.Message);
        Assert.Contains(message, error.Message);
    }

    private static string? Sorted(string? who)
    {
        if (who is null)
            return null;
        var open = who.IndexOf('[', StringComparison.Ordinal);
        return $"{who[..open]}[{string.Join(' ', who[(open + 1)..^1].Split(' ').Order(StringComparer.Ordinal))}]";
    }
}
