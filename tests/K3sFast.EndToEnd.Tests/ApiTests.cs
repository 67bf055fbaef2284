namespace K3sFast.EndToEnd.Tests;

/// <summary>kubectl against the API: what needs no pods.</summary>
public sealed class ApiTests(Cluster cluster) : ClusterTest(cluster)
{
    [Fact]
    public async Task ApiResources_EveryBuiltInGroup_IsListed()
    {
        var resources = await K("api-resources");
        foreach (var line in (string[])["pods  ", "deployments  ", "endpointslices  ", "cronjobs  ", "ingresses  ", "storageclasses  ", "leases  "])
        {
            Assert.Contains(line, resources);
        }
        Assert.Contains("apps/v1", await K("api-versions"));
        Assert.Matches(@"Server Version: v1\.36\.\d+\+k3sfast", await K("version"));
    }

    [Fact]
    public async Task Explain_Field_IsFound()
    {
        Assert.Contains("livenessProbe", await K("explain", "pod.spec.containers"));
        Assert.Contains("<integer>", await K("explain", "deployment.spec.replicas"));
    }

    [Fact]
    public async Task Apply_UnknownField_IsRefusedWithItsPath()
    {
        var result = await Node.KubectlAsync(["-n", Namespace, "apply", "-f", "-"], "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containerz: []}\n");
        Assert.Equal(1, result.ExitCode);
        Assert.Contains("unknown field \"spec.containerz\"", result.Error);
    }

    [Fact]
    public async Task Create_InvalidPod_IsRefusedWithEveryCause()
    {
        var result = await Node.KubectlAsync(["-n", Namespace, "create", "-f", "-"], "apiVersion: v1\nkind: Pod\nmetadata: {name: UPPER}\nspec: {containers: [{name: c}]}\n");
        Assert.Contains("The Pod \"UPPER\" is invalid", result.Error);
        Assert.Contains("metadata.name: Invalid value: \"UPPER\"", result.Error);
        Assert.Contains("spec.containers[0].image: Required value", result.Error);
    }

    [Fact]
    public async Task AuthCanI_ServiceAccount_FollowsItsRole()
    {
        await K("create", "serviceaccount", "robot");
        await K("create", "role", "reader", "--verb=get,list", "--resource=pods");
        await K("create", "rolebinding", "reader", "--role=reader", $"--serviceaccount={Namespace}:robot");
        var identity = $"--as=system:serviceaccount:{Namespace}:robot";
        await Eventually.GetAsync(() => Try("auth", "can-i", "list", "pods", identity), answer => answer.Output.Trim() == "yes", "the role is in force");
        Assert.Equal("no", (await Try("auth", "can-i", "delete", "pods", identity)).Output.Trim());
        var refused = await Try("delete", "pod", "x", identity);
        Assert.Contains($"pods \"x\" is forbidden: User \"system:serviceaccount:{Namespace}:robot\" cannot delete resource \"pods\" in API group \"\" in the namespace \"{Namespace}\"", refused.Error);

        var token = await K("create", "token", "robot");
        var answer = await Node.RunAsync(
            "curl", "-sk", "-H", $"Authorization: Bearer {token}", $"https://127.0.0.1:6443/api/v1/namespaces/{Namespace}/pods");
        Assert.Contains("\"kind\":\"PodList\"", answer.Ok().Replace(" ", "", StringComparison.Ordinal));
    }

    [Fact]
    public async Task NoCredentials_AreRefused()
    {
        var answer = await Node.RunAsync("curl", "-sk", "https://127.0.0.1:6443/api/v1/namespaces");
        Assert.Contains("\"code\": 401", answer.Ok().Replace("\":401", "\": 401", StringComparison.Ordinal));
    }

    [NeedsNode]
    [Fact]
    public async Task Nodes_Wide_ShowTheNode() =>
        Assert.Matches(@"node1\s+Ready\s+control-plane\s+\S+\s+v1\.36\.\d+\+k3sfast\d+\s+192\.0\.2\.11", await K("get", "nodes", "-o", "wide"));

    [Fact]
    public async Task Edit_ByEditor_ChangesTheObject()
    {
        await K("create", "configmap", "m", "--from-literal=a=old");
        var result = await Node.RunAsync("env", "KUBE_EDITOR=sed -i s/old/new/", "kubectl", "--kubeconfig", Node.Kubeconfig, "-n", Namespace, "edit", "configmap", "m");
        Assert.Contains("configmap/m edited", result.Ok());
        Assert.Equal("new", await K("get", "configmap", "m", "-o", "jsonpath={.data.a}"));
    }
}
