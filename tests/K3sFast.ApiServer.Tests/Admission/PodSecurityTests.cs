namespace K3sFast.ApiServer.Tests;

public sealed class PodSecurityTests(TestServer server)
{
    [Fact]
    public async Task Pod_AgainstBaseline_IsRefusedWithEachViolation()
    {
        var ns = await NamespaceAsync("enforce", "baseline");
        var answer = await CreateAsync(ns, "p", """
            {"hostNetwork":true,"hostPID":true,"volumes":[{"name":"h","hostPath":{"path":"/"}}],
             "containers":[{"name":"a","image":"i","ports":[{"containerPort":80,"hostPort":80}],"securityContext":{"privileged":true,"capabilities":{"add":["SYS_ADMIN","CHOWN"]}}},
                           {"name":"b","image":"i","securityContext":{"seLinuxOptions":{"user":"u"}}}]}
            """);
        Assert.Equal(403, answer.Code);
        Assert.Equal(
            "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": "
            + "non-default capabilities (container \"a\" must not include \"SYS_ADMIN\" in securityContext.capabilities.add), "
            + "host namespaces (hostNetwork=true, hostPID=true), hostPath volumes (volume \"h\"), hostPort (container \"a\" uses hostPort 80), "
            + "privileged (container \"a\" must not set securityContext.privileged=true), "
            + "seLinuxOptions (container \"b\" set forbidden securityContext.seLinuxOptions: user may not be set)",
            answer.Message);
    }

    [Fact]
    public async Task Pod_AgainstRestricted_IsToldWhatAHardenedPodNeeds()
    {
        var ns = await NamespaceAsync("enforce", "restricted");
        var answer = await CreateAsync(ns, "p", """{"containers":[{"name":"a","image":"i"}]}""");
        Assert.Equal(
            "pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\": "
            + "allowPrivilegeEscalation != false (container \"a\" must set securityContext.allowPrivilegeEscalation=false), "
            + "unrestricted capabilities (container \"a\" must set securityContext.capabilities.drop=[\"ALL\"]), "
            + "runAsNonRoot != true (pod or container \"a\" must set securityContext.runAsNonRoot=true), "
            + "seccompProfile (pod or container \"a\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")",
            answer.Message);
        var hardened = await CreateAsync(ns, "q", """
            {"securityContext":{"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}},
             "containers":[{"name":"a","image":"i","securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}}}]}
            """);
        Assert.True(hardened.Code == 201, hardened.Text);
    }

    [Fact]
    public async Task Version_OfTheStandard_DecidesWhichRulesCount()
    {
        var ns = await NamespaceAsync("enforce", "restricted", "v1.18");
        var answer = await CreateAsync(ns, "p", """{"securityContext":{"runAsNonRoot":true},"containers":[{"name":"a","image":"i","securityContext":{"allowPrivilegeEscalation":false}}]}""");
        Assert.True(answer.Code == 201, answer.Text);
    }

    [Fact]
    public async Task Deployment_WhosePodsWouldBeRefused_IsWarnedOf()
    {
        var ns = await NamespaceAsync("enforce", "baseline");
        var answer = await server.SendAsync(HttpMethod.Post, $"/apis/apps/v1/namespaces/{ns}/deployments", """
            {"metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"hostIPC":true,"containers":[{"name":"a","image":"i"}]}}}}
            """);
        Assert.True(answer.Code == 201, answer.Text);
        Assert.Contains("would violate PodSecurity \\\"baseline:latest\\\": host namespaces (hostIPC=true)", Assert.Single(answer.Warnings));
    }

    [Fact]
    public async Task Namespace_ThatBecomesStricter_WarnsOfItsPods()
    {
        var ns = await server.NamespaceAsync();
        Assert.Equal(201, (await CreateAsync(ns, "a", """{"hostIPC":true,"containers":[{"name":"a","image":"i"}]}""")).Code);
        Assert.Equal(201, (await CreateAsync(ns, "b", """{"hostIPC":true,"containers":[{"name":"a","image":"i"}]}""")).Code);
        var answer = await server.SendAsync(
            HttpMethod.Patch, $"/api/v1/namespaces/{ns}", """{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"baseline"}}}""", "application/merge-patch+json");
        Assert.True(answer.Code == 200, answer.Text);
        Assert.Equal(2, answer.Warnings.Length);
        Assert.Contains($"existing pods in namespace \\\"{ns}\\\" violate the new PodSecurity enforce level \\\"baseline:latest\\\"", answer.Warnings[0]);
        Assert.Contains("a (and 1 other pod): host namespaces", answer.Warnings[1]);
    }

    [Fact]
    public async Task Namespace_WithALabelThatMakesNoSense_IsInvalid()
    {
        var answer = await server.SendAsync(HttpMethod.Post, "/api/v1/namespaces", """{"metadata":{"name":"psa-bad","labels":{"pod-security.kubernetes.io/enforce":"none","pod-security.kubernetes.io/warn-version":"1.20"}}}""");
        Assert.Equal(422, answer.Code);
        Assert.Equal(
            "Namespace \"psa-bad\" is invalid: [metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"none\": must be one of privileged, baseline, restricted, "
            + "metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: \"1.20\": must be \"latest\" or \"v1.x\"]",
            answer.Message);
    }

    [Fact]
    public async Task EphemeralContainer_IsHeldToTheStandardToo()
    {
        var ns = await NamespaceAsync("enforce", "baseline");
        Assert.Equal(201, (await CreateAsync(ns, "p", """{"containers":[{"name":"a","image":"i"}]}""")).Code);
        var answer = await server.SendAsync(
            HttpMethod.Patch, $"/api/v1/namespaces/{ns}/pods/p/ephemeralcontainers",
            """{"spec":{"ephemeralContainers":[{"name":"debug","image":"i","securityContext":{"privileged":true}}]}}""", "application/strategic-merge-patch+json");
        Assert.Equal(403, answer.Code);
        Assert.Contains("privileged (container \"debug\" must not set securityContext.privileged=true)", answer.Message);
    }

    private Task<Answer> CreateAsync(string ns, string name, string spec) => server.SendAsync(
        HttpMethod.Post, $"/api/v1/namespaces/{ns}/pods", $$$"""{"metadata":{"name":"{{{name}}}"},"spec":{{{spec}}}}""");

    private async Task<string> NamespaceAsync(string mode, string level, string version = "latest")
    {
        var ns = await server.NamespaceAsync();
        var prefix = $"pod-security.kubernetes.io/{mode}";
        var labels = $$$$"""{"metadata":{"labels":{"{{{{prefix}}}}":"{{{{level}}}}","{{{{prefix}}}}-version":"{{{{version}}}}"}}}""";
        var answer = await server.SendAsync(HttpMethod.Patch, $"/api/v1/namespaces/{ns}", labels, "application/merge-patch+json");
        Assert.True(answer.Code == 200, answer.Text);
        return ns;
    }
}
