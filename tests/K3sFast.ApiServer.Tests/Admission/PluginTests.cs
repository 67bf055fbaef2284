namespace K3sFast.ApiServer.Tests;

/// <summary>Which plugins are on, and those that are off unless somebody asks for them, on a server of their own.</summary>
public sealed class PluginTests
{
    private const string Pod = """{"metadata":{"name":"p"},"spec":{"containers":[{"name":"a","image":"i:1","imagePullPolicy":"IfNotPresent"}]}}""";

    [Theory]
    [InlineData("Nonsense", "", "enable-admission-plugins plugin \"Nonsense\" is unknown")]
    [InlineData("", "Nonsense", "disable-admission-plugins plugin \"Nonsense\" is unknown")]
    [InlineData("LimitRanger", "LimitRanger", "[LimitRanger] in enable-admission-plugins and disable-admission-plugins overlapped")]
    [InlineData("ImagePolicyWebhook", "", "admission plugin \"ImagePolicyWebhook\" is not in this server: take it from enable-admission-plugins")]
    [InlineData("EventRateLimit", "", "EventRateLimit: limits: Invalid value: null: must not be empty")]
    public async Task Names_ThatMakeNoSense_AreRefusedAtStart(string enabled, string disabled, string why)
    {
        var server = new TestServer { Adjust = options => options with { EnabledAdmissionPlugins = Words(enabled), DisabledAdmissionPlugins = Words(disabled) } };
        var refused = await Assert.ThrowsAsync<ApiServerStartException>(async () => await server.InitializeAsync());
        Assert.Equal(why, refused.Message);
    }

    [Fact]
    public async Task Plugins_SwitchedByName_AreOnAndOff()
    {
        await using var server = await StartAsync("AlwaysPullImages,NamespaceAutoProvision,DenyServiceExternalIPs", "ServiceAccount,DefaultTolerationSeconds");
        var pod = await server.CreateAsync("/api/v1/namespaces/made/pods", Pod);
        Assert.Equal("Always", (string?)pod["spec"]!["containers"]![0]!["imagePullPolicy"]);
        Assert.Null(pod["spec"]!["serviceAccountName"]);
        Assert.Null(pod["spec"]!["tolerations"]);
        Assert.Equal(200, (await server.GetAsync("/api/v1/namespaces/made")).Code);
        var service = await server.SendAsync(HttpMethod.Post, "/api/v1/namespaces/made/services", """{"metadata":{"name":"s"},"spec":{"externalIPs":["192.0.2.9"],"ports":[{"port":80}]}}""");
        Assert.Equal("services \"s\" is forbidden: Use of external IPs is denied by admission control", service.Message);
    }

    [Fact]
    public async Task Configuration_OfPlugins_ComesFromTheFile()
    {
        var file = Path.GetTempFileName();
        await File.WriteAllTextAsync(file, """
            apiVersion: apiserver.config.k8s.io/v1
            kind: AdmissionConfiguration
            plugins:
            - name: PodSecurity
              configuration:
                apiVersion: pod-security.admission.config.k8s.io/v1
                kind: PodSecurityConfiguration
                defaults: {enforce: baseline, enforce-version: latest}
                exemptions: {namespaces: [kube-system]}
            - name: ResourceQuota
              configuration:
                apiVersion: apiserver.config.k8s.io/v1
                kind: ResourceQuotaConfiguration
                limitedResources:
                - {resource: persistentvolumeclaims, matchContains: [requests.storage]}
            - name: PodNodeSelector
              configuration:
                podNodeSelectorPluginConfig: {clusterDefaultNodeSelector: "zone=a"}
            - name: EventRateLimit
              configuration:
                apiVersion: eventratelimit.admission.k8s.io/v1alpha1
                kind: Configuration
                limits: [{type: Namespace, qps: 1, burst: 1}]
            """, TestContext.Current.CancellationToken);
        await using var server = await StartAsync("PodNodeSelector,EventRateLimit", "", file);
        var refused = await server.SendAsync(HttpMethod.Post, "/api/v1/namespaces/default/pods", """{"metadata":{"name":"h"},"spec":{"hostPID":true,"containers":[{"name":"a","image":"i"}]}}""");
        Assert.Equal("pods \"h\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostPID=true)", refused.Message);
        await server.CreateAsync("/api/v1/namespaces/kube-system/serviceaccounts", """{"metadata":{"name":"default"}}""");
        var pod = await server.CreateAsync("/api/v1/namespaces/kube-system/pods", """{"metadata":{"name":"h"},"spec":{"hostPID":true,"containers":[{"name":"a","image":"i"}]}}""");
        Assert.Equal("""{"zone":"a"}""", pod["spec"]!["nodeSelector"]!.ToJsonString());
        var claim = await server.SendAsync(HttpMethod.Post, "/api/v1/namespaces/default/persistentvolumeclaims",
            """{"metadata":{"name":"c"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}""");
        Assert.Equal("persistentvolumeclaims \"c\" is forbidden: insufficient quota to consume: requests.storage", claim.Message);
        const string Event = """{"metadata":{"generateName":"e-"},"involvedObject":{"namespace":"default"},"reason":"r","type":"Normal"}""";
        var events = new List<Answer>();
        for (var i = 0; i < 3; i++)
            events.Add(await server.SendAsync(HttpMethod.Post, "/api/v1/namespaces/default/events", Event));
        Assert.Equal(201, events[0].Code);
        Assert.Contains(events, static answer => answer.Code == 429 && answer.Message == "limit reached on type Namespace for key default");
    }

    private static string[] Words(string list) => list.Split(',', StringSplitOptions.RemoveEmptyEntries);

    private static async Task<TestServer> StartAsync(string enabled, string disabled, string file = "")
    {
        var server = new TestServer
        {
            Adjust = options => options with
            {
                EnabledAdmissionPlugins = Words(enabled), DisabledAdmissionPlugins = Words(disabled), AdmissionControlConfigFile = file,
            },
        };
        await server.InitializeAsync();
        return server;
    }
}
