using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer.Tests;

public sealed class RbacTests(TestServer server)
{
    [Theory]
    [InlineData("GET", "/api/v1/namespaces/default/pods", "pods is forbidden: User \"eve\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"")]
    [InlineData("GET", "/api/v1/nodes/n", "nodes \"n\" is forbidden: User \"eve\" cannot get resource \"nodes\" in API group \"\" at the cluster scope")]
    [InlineData("GET", "/api/v1/namespaces/default/pods/p/log", "pods \"p\" is forbidden: User \"eve\" cannot get resource \"pods/log\" in API group \"\" in the namespace \"default\"")]
    [InlineData("DELETE", "/apis/apps/v1/namespaces/a/deployments", "deployments.apps is forbidden: User \"eve\" cannot deletecollection resource \"deployments\" in API group \"apps\" in the namespace \"a\"")]
    [InlineData("GET", "/metrics", "forbidden: User \"eve\" cannot get path \"/metrics\"")]
    public async Task Stranger_Asking_IsForbiddenInUpstreamsWords(string method, string path, string message)
    {
        var answer = await server.SendAsync(new HttpMethod(method), path, client: server.ClientAs("eve"));
        Assert.Equal((403, "Forbidden", message), (answer.Code, answer.Reason, answer.Message));
    }

    [Fact]
    public async Task Role_BoundInANamespace_HoldsThereOnlyAndUntilUnbound()
    {
        var ns = await server.NamespaceAsync();
        var rbac = $"/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}";
        await server.CreateAsync($"{rbac}/rolebindings", """{"metadata":{"name":"view"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"view"},"subjects":[{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"bob"}]}""");
        var bob = server.ClientAs("bob");
        await UntilAsync(async () => (await server.GetAsync($"/api/v1/namespaces/{ns}/pods", bob)).Code == 200);
        Assert.Equal(403, (await server.GetAsync("/api/v1/namespaces/default/pods", bob)).Code);
        Assert.Equal(403, (await server.GetAsync($"/api/v1/namespaces/{ns}/secrets", bob)).Code);
        Assert.Equal(403, (await server.SendAsync(HttpMethod.Post, $"/api/v1/namespaces/{ns}/configmaps", """{"metadata":{"name":"a"}}""", client: bob)).Code);

        await server.SendAsync(HttpMethod.Delete, $"{rbac}/rolebindings/view");
        await UntilAsync(async () => (await server.GetAsync($"/api/v1/namespaces/{ns}/pods", bob)).Code == 403);
    }

    [Fact]
    public async Task RoleWriter_GrantingWhatHeHasNot_IsForbidden()
    {
        var ns = await server.NamespaceAsync();
        var rbac = $"/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}";
        await server.CreateAsync($"{rbac}/rolebindings", """{"metadata":{"name":"admin"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"admin"},"subjects":[{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"carol"}]}""");
        var carol = server.ClientAs("carol");
        await UntilAsync(async () => (await server.GetAsync($"{rbac}/roles", carol)).Code == 200);
        var granted = await server.SendAsync(HttpMethod.Post, $"{rbac}/roles", """{"metadata":{"name":"ok"},"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}]}""", client: carol);
        Assert.True(granted.Code == 201, granted.Text);
        var refused = await server.SendAsync(HttpMethod.Post, $"{rbac}/roles", """{"metadata":{"name":"no"},"rules":[{"apiGroups":[""],"resources":["nodes"],"verbs":["get"]}]}""", client: carol);
        Assert.Equal(403, refused.Code);
        Assert.Contains("is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\"]}", refused.Message);
    }

    [Fact]
    public async Task AggregatedRole_AfterStart_HoldsTheRulesOfItsParts()
    {
        var admin = await server.GetAsync("/apis/rbac.authorization.k8s.io/v1/clusterroles/admin");
        Assert.Contains("\"deployments\"", admin.Text);
        Assert.Contains("\"rolebindings\"", admin.Text);
        Assert.DoesNotContain("\"nodes\"", admin.Text);
        // By server-side apply, as the controller of that name.
        var owner = admin.Json["metadata"]!["managedFields"]!.AsArray().Single(static entry => (string?)entry!["manager"] == "clusterrole-aggregation-controller")!;
        Assert.Equal("Apply", (string?)owner["operation"]);
        Assert.Equal("""{"f:rules":{}}""", owner["fieldsV1"]!.ToJsonString());
    }

    [Theory]
    [InlineData("GET", "/api/v1/nodes/n1", 404)]
    [InlineData("GET", "/api/v1/nodes/n2", 403)]
    [InlineData("GET", "/api/v1/nodes", 403)]
    [InlineData("GET", "/api/v1/pods", 403)]
    [InlineData("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1", 200)]
    [InlineData("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn2", 403)]
    [InlineData("GET", "/api/v1/namespaces/default/secrets/none", 403)]
    [InlineData("GET", "/api/v1/services", 200)]
    [InlineData("GET", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1", 404)]
    [InlineData("GET", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n2", 403)]
    [InlineData("GET", "/api/v1/secrets", 403)]
    public async Task Node_Asking_GetsItsOwn(string method, string path, int code)
    {
        var answer = await server.SendAsync(new HttpMethod(method), path, client: server.ClientAs("system:node:n1", "system:nodes"));
        Assert.True(code == answer.Code, answer.Text);
    }

    [Fact]
    public async Task Node_OfAPod_ReadsItsSecretsOnly()
    {
        var ns = await server.NamespaceAsync();
        foreach (var name in new[] { "used", "unused" })
            await server.CreateAsync($"/api/v1/namespaces/{ns}/secrets", $$$"""{"metadata":{"name":"{{{name}}}"}}""");
        await server.CreateAsync($"/api/v1/namespaces/{ns}/pods", """{"metadata":{"name":"p"},"spec":{"nodeName":"n7","containers":[{"name":"c","image":"i","envFrom":[{"secretRef":{"name":"used"}}]}]}}""");
        var node = server.ClientAs("system:node:n7", "system:nodes");
        Assert.Equal(200, (await server.GetAsync($"/api/v1/namespaces/{ns}/secrets/used", node)).Code);
        var refused = await server.GetAsync($"/api/v1/namespaces/{ns}/secrets/unused", node);
        Assert.Equal(403, refused.Code);
        Assert.EndsWith("no relationship found between node 'n7' and this object", refused.Message);
    }

    [Fact]
    public void Decision_Remembered_AllocatesNothing()
    {
        var policy = new RbacPolicy();
        using var role = JsonCodec.Decode("""{"rules":[{"apiGroups":["apps"],"resources":["deployments"],"verbs":["get"]}]}"""u8, null, DecodeOptions.Free, null);
        using var binding = JsonCodec.Decode("""{"roleRef":{"kind":"ClusterRole","name":"r"},"subjects":[{"kind":"Group","name":"g"}]}"""u8, null, DecodeOptions.Free, null);
        policy.SetClusterRole("r", role.Root);
        policy.SetBinding("", "b", binding.Root);
        var user = new UserInfo("u", ["g", UserInfo.AuthenticatedGroup]);
        var allowed = 0;
        for (var i = 0; i < 100; i++)
            allowed += Decide(policy, user) ? 1 : 0;
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
            allowed += Decide(policy, user) ? 1 : 0;
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal(1100, allowed);
    }

    private static bool Decide(RbacPolicy policy, UserInfo user) => policy.Authorize(
        new AuthorizationAttributes { User = user, Verb = "get"u8, IsResourceRequest = true, Group = "apps"u8, Resource = "deployments"u8, Namespace = "x"u8, Name = "y"u8 }).IsAllowed;

    private static async Task UntilAsync(Func<Task<bool>> condition)
    {
        var deadline = DateTime.UtcNow.AddSeconds(90);
        while (!await condition())
        {
            Assert.True(DateTime.UtcNow < deadline, "condition not met in 10 s");
            await Task.Delay(5, TestContext.Current.CancellationToken);
        }
    }
}
