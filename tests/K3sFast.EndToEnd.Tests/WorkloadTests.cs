namespace K3sFast.EndToEnd.Tests;

/// <summary>Applying, looking at, scaling, updating and deleting what users deploy.</summary>
public sealed class WorkloadTests(Cluster cluster) : ClusterTest(cluster)
{
    [Fact]
    public async Task Apply_Deployment_PodsRunAndAreShown()
    {
        await Apply(WebDeployment("web", replicas: 2));
        await K("rollout", "status", "deployment/web", "--timeout=240s");

        var pods = await K("get", "pods", "-o", "wide");
        Assert.Equal(2, pods.Split('\n').Count(line => line.Contains("1/1") && line.Contains("Running") && line.Contains("10.42.") && line.Contains("node1")));
        Assert.Contains("NOMINATED NODE", pods);
        Assert.Matches(@"web\s+2/2\s+2\s+2", await K("get", "deployment", "web"));
        Assert.Matches(@"web\s+ClusterIP\s+10\.43\.\d+\.\d+\s+<none>\s+80/TCP", await K("get", "service", "web"));
        Assert.Contains("busybox:1.35", await K("get", "deployment", "web", "-o", "wide"));
    }

    [Fact]
    public async Task Describe_Pod_TellsItsStory()
    {
        await Apply(WebDeployment("web"));
        await K("rollout", "status", "deployment/web", "--timeout=240s");
        var story = await Eventually.GetAsync(() => K("describe", "pods", "-l", "app=web"), text => text.Contains("Started"), "event Started");
        Assert.Contains("Successfully assigned", story);
        Assert.Contains("Container image \"busybox:1.35\" already present on machine", story);
        Assert.Matches(@"Ready\s+True", story);
        Assert.Contains("QoS Class:                   BestEffort", story);
        Assert.Contains("kube-api-access-", story);
    }

    [Fact]
    public async Task Scale_UpAndDown_PodsFollow()
    {
        await Apply(WebDeployment("web"));
        await K("rollout", "status", "deployment/web", "--timeout=240s");
        await K("scale", "deployment/web", "--replicas=3");
        await K("rollout", "status", "deployment/web", "--timeout=240s");
        Assert.Equal("3", await K("get", "deployment", "web", "-o", "jsonpath={.status.readyReplicas}"));
        await K("scale", "deployment/web", "--replicas=1");
        await Eventually.GetAsync(() => K("get", "pods", "-l", "app=web", "-o", "name"), pods => pods.Split('\n').Length == 1, "one pod left");
    }

    [Fact]
    public async Task SetImage_ThenUndo_RollsForthAndBack()
    {
        await Apply(WebDeployment("web", replicas: 2));
        await K("rollout", "status", "deployment/web", "--timeout=240s");
        await K("set", "image", "deployment/web", "web=busybox:next");
        await K("rollout", "status", "deployment/web", "--timeout=240s");
        Assert.Equal("next", await Exec("deploy/web", "echo $IMAGE_VERSION"));
        Assert.Matches(@"(?m)^2\s", await K("rollout", "history", "deployment/web"));

        await K("rollout", "undo", "deployment/web");
        await K("rollout", "status", "deployment/web", "--timeout=240s");
        Assert.Equal("busybox:1.35", await K("get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}"));
        await Eventually.GetAsync(
            () => K("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].spec.containers[0].image}"),
            images => images == "busybox:1.35 busybox:1.35", "only old images run");
    }

    [Theory]
    [InlineData("strategic", """{"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"COLOUR","value":"red"}]}]}}}}""")]
    [InlineData("merge", """{"metadata":{"annotations":{"colour":"red"}}}""")]
    [InlineData("json", """[{"op":"add","path":"/metadata/annotations/colour","value":"red"}]""")]
    public async Task Patch_EachKind_ChangesOnlyWhatItNames(string type, string patch)
    {
        await Apply(WebDeployment("web"));
        await K("patch", "deployment", "web", "--type", type, "-p", patch);
        var json = await K("get", "deployment", "web", "-o", "json");
        Assert.Contains("red", json);
        Assert.Contains("busybox:1.35", json);
        Assert.Contains("readinessProbe", json);
    }

    [Fact]
    public async Task Apply_Again_ChangesFieldsAndLeavesOthers()
    {
        await Apply(Map("{a: '1', b: '2'}"));
        await K("annotate", "configmap", "m", "mine=kept");
        await Apply(Map("{a: '1', c: '3'}"));
        Assert.Equal("""{"a":"1","c":"3"}""", await K("get", "configmap", "m", "-o", "jsonpath={.data}"));
        Assert.Equal("kept", await K("get", "configmap", "m", "-o", "jsonpath={.metadata.annotations.mine}"));
    }

    [Fact]
    public async Task Wait_ForConditionAndDeletion_Returns()
    {
        await Apply(ShellPod("box"));
        await K("wait", "pod/box", "--for=condition=Ready", "--timeout=240s");
        await K("delete", "pod", "box", "--wait=false");
        await K("wait", "pod/box", "--for=delete", "--timeout=240s");
    }

    [Fact]
    public async Task Delete_Deployment_TakesReplicaSetsAndPodsAlong()
    {
        await Apply(WebDeployment("web", replicas: 2));
        await K("rollout", "status", "deployment/web", "--timeout=240s");
        await K("delete", "deployment", "web");
        await Eventually.GetAsync(() => K("get", "replicasets,pods", "-o", "name"), left => left.Length == 0, "nothing left of the deployment");
    }

    [Fact]
    public async Task Delete_WithOrphan_LeavesThePods()
    {
        await Apply(WebDeployment("web"));
        await K("rollout", "status", "deployment/web", "--timeout=240s");
        await K("delete", "deployment", "web", "--cascade=orphan");
        var sets = await K("get", "replicasets", "-o", "jsonpath={.items[*].metadata.ownerReferences}");
        Assert.Equal("", sets);
        Assert.Contains("Running", await K("get", "pods", "-l", "app=web"));
    }

    [Fact]
    public async Task Namespace_Deleted_TakesEverythingAlong()
    {
        var name = Namespace + "-gone";
        (await Node.KubectlAsync(["create", "namespace", name])).Ok();
        (await Node.KubectlAsync(["-n", name, "apply", "-f", "-"], WebDeployment("web") + ShellPod("box"))).Ok();
        (await Node.KubectlAsync(["-n", name, "rollout", "status", "deployment/web", "--timeout=240s"])).Ok();
        (await Node.KubectlAsync(["delete", "namespace", name, "--timeout=240s"])).Ok();
        Assert.Contains("NotFound", (await Node.KubectlAsync(["get", "namespace", name])).Error);
        Assert.Equal("", (await Node.KubectlAsync(["get", "pods", "-A", "--field-selector", $"metadata.namespace={name}", "-o", "name"])).Ok());
    }

    private static string Map(string data) => $"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m}}\ndata: {data}\n";
}
