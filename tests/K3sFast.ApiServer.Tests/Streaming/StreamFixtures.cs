namespace K3sFast.ApiServer.Tests;

/// <summary>Pods, nodes and endpoints whose addresses lead to a backend of the test.</summary>
internal static class StreamFixtures
{
    /// <summary>A running pod named p with that address; returns its path.</summary>
    internal static async Task<string> PodAtAsync(this TestServer server, string address, string spec = """ "containers":[{"name":"c","image":"i"}] """)
    {
        var ns = await server.NamespaceAsync();
        await server.CreateAsync($"/api/v1/namespaces/{ns}/pods", $$$"""{"metadata":{"name":"p"},"spec":{{{{spec}}}}}""");
        await server.SetPodAddressAsync(ns, "p", address);
        return $"/api/v1/namespaces/{ns}/pods/p";
    }

    internal static async Task SetPodAddressAsync(this TestServer server, string ns, string pod, string address)
    {
        var answer = await server.SendAsync(HttpMethod.Patch, $"/api/v1/namespaces/{ns}/pods/{pod}/status",
            $$$"""{"status":{"phase":"Running","podIP":"{{{address}}}","podIPs":[{"ip":"{{{address}}}"}]}}""", "application/merge-patch+json");
        Assert.True(answer.Code == 200, answer.Text);
    }

    /// <summary>A node with that address and kubelet port; returns its name.</summary>
    internal static async Task<string> NodeAtAsync(this TestServer server, string address, int port)
    {
        var created = await server.CreateAsync("/api/v1/nodes",
            $$$"""{"metadata":{"generateName":"node-"},"status":{"addresses":[{"type":"InternalIP","address":"{{{address}}}"}],"daemonEndpoints":{"kubeletEndpoint":{"Port":{{{port}}} } } } }""");
        return (string)created["metadata"]!["name"]!;
    }

    /// <summary>A user who may do only that on pods, nodes or services of the whole cluster.</summary>
    internal static async Task<HttpClient> UserAsync(this TestServer server, string verbs, string resources, Version? version = null)
    {
        var user = await server.UserNamedAsync(verbs, resources);
        return server.Client(server.Certificates.Client(user), version: version);
    }

    internal static async Task<string> UserNamedAsync(this TestServer server, string verbs, string resources)
    {
        var user = "user-" + Guid.NewGuid().ToString("N");
        static string Quoted(string list) => string.Join(',', list.Split(',').Select(word => $"\"{word}\""));
        await server.CreateAsync("/apis/rbac.authorization.k8s.io/v1/clusterroles",
            $$$"""{"metadata":{"name":"{{{user}}}"},"rules":[{"apiGroups":[""],"resources":[{{{Quoted(resources)}}}],"verbs":[{{{Quoted(verbs)}}}]}]}""");
        await server.CreateAsync("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            $$$"""{"metadata":{"name":"{{{user}}}"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"{{{user}}}"},"subjects":[{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"{{{user}}}"}]}""");
        // In force once the policy has seen it.
        var review = $$$"""{"spec":{"user":"{{{user}}}","resourceAttributes":{"verb":"{{{verbs.Split(',')[0]}}}","resource":"{{{resources.Split(',')[0].Split('/')[0]}}}","subresource":"{{{resources.Split(',')[0].Split('/').ElementAtOrDefault(1)}}}"} } }""";
        for (var tries = 0; tries < 200; tries++)
        {
            var answer = await server.SendAsync(HttpMethod.Post, "/apis/authorization.k8s.io/v1/subjectaccessreviews", review);
            if ((bool)answer.Json["status"]!["allowed"]!)
                return user;
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }
        Assert.Fail("the role did not come into force within 2 s");
        return user;
    }
}
