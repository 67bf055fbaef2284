namespace K3sFast.EndToEnd.Tests;

/// <summary>Verbs that change what is there: apply, diff, replace, patch, edit, label, annotate, set, scale, expose, autoscale, kustomize.</summary>
public sealed class KubectlChangeTests(Cluster cluster) : ClusterTest(cluster)
{
    [Fact]
    public async Task Diff_Changed_ShowsTheLinesAndExitsWithOne()
    {
        await Apply(Map("a: '1'"));
        Assert.Equal(0, (await Node.KubectlAsync(["-n", Namespace, "diff", "-f", "-"], Map("a: '1'"))).ExitCode);
        var changed = await Node.KubectlAsync(["-n", Namespace, "diff", "-f", "-"], Map("a: '2'"));
        Assert.Equal(1, changed.ExitCode);
        Assert.Contains("-  a: \"1\"\n+  a: \"2\"", changed.Output);
        Assert.Equal("1", await Value("a"));
        var server = await Node.KubectlAsync(["-n", Namespace, "diff", "--server-side", "--force-conflicts", "-f", "-"], Map("a: '2'"));
        Assert.Contains("+  a: \"2\"", server.Output);
    }

    [Fact]
    public async Task Apply_ServerSide_ConflictsUntilForced()
    {
        async Task<CommandResult> ServerApply(string data, params string[] more) =>
            await Node.KubectlAsync(["-n", Namespace, "apply", "--server-side", "-f", "-", .. more], Map(data));
        Assert.Contains("configmap/m serverside-applied", (await ServerApply("a: '1'", "--field-manager=one")).Ok());
        var conflict = await ServerApply("a: '2'", "--field-manager=two");
        Assert.Equal(1, conflict.ExitCode);
        Assert.Contains("Apply failed with 1 conflict: conflict with \"one\": .data.a", conflict.Error);
        (await ServerApply("a: '2'", "--field-manager=two", "--force-conflicts")).Ok();
        Assert.Equal("2", await Value("a"));
        var fields = await K("get", "configmap", "m", "-o", "yaml", "--show-managed-fields");
        Assert.Contains("manager: two", fields);
        Assert.Contains("f:a: {}", fields);
    }

    [Fact]
    public async Task Apply_LastAppliedPruneAndView_Work()
    {
        await Apply(Map("a: '1', b: '2'"));
        Assert.Contains("b: \"2\"", await K("apply", "view-last-applied", "configmap/m"));
        await Node.KubectlAsync(["-n", Namespace, "apply", "set-last-applied", "-f", "-"], Map("a: '1'"));
        Assert.DoesNotContain("b: \"2\"", await K("apply", "view-last-applied", "configmap/m"));
        await K("label", "configmap", "m", "set=mine");
        var pruned = await Node.KubectlAsync(["-n", Namespace, "apply", "-f", "-", "--prune", "-l", "set=mine", "--prune-allowlist=core/v1/ConfigMap"],
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other, labels: {set: mine}}\n");
        Assert.Contains("configmap/m pruned", pruned.Ok());
    }

    [Fact]
    public async Task Apply_EditLastApplied_ChangesWhatTheNextApplyRemoves()
    {
        await Apply(Map("a: '1', b: '2'"));
        var edited = await Node.RunAsync(
            "env", "KUBE_EDITOR=sed -i /b:/d", "kubectl", "--kubeconfig", Node.Kubeconfig, "-n", Namespace, "apply", "edit-last-applied", "configmap/m");
        Assert.Contains("configmap/m edited", edited.Ok());
        Assert.DoesNotContain("b: \"2\"", await K("apply", "view-last-applied", "configmap/m"));
        await Apply(Map("a: '1'"));
        // What the last apply did not know, this one does not take away.
        Assert.Equal("2", await Value("b"));
    }

    [Fact]
    public async Task Replace_OldObject_ConflictsAndForceMakesItAnew()
    {
        await Apply(Map("a: '1'"));
        var old = await K("get", "configmap", "m", "-o", "json");
        await K("patch", "configmap", "m", "--type=merge", "-p", """{"data":{"a":"2"}}""");
        var stale = await Node.KubectlAsync(["-n", Namespace, "replace", "-f", "-"], old);
        Assert.Contains("Operation cannot be fulfilled on configmaps \"m\": the object has been modified; please apply your changes to the latest version and try again", stale.Error);
        Assert.Equal("configmap/m replaced", (await Node.KubectlAsync(["-n", Namespace, "replace", "-f", "-"], Map("a: '3'"))).Ok());
        Assert.Equal("3", await Value("a"));
        var uid = await K("get", "configmap", "m", "-o", "jsonpath={.metadata.uid}");
        Assert.Contains("configmap/m replaced", (await Node.KubectlAsync(["-n", Namespace, "replace", "--force", "-f", "-"], Map("a: '4'"))).Ok());
        Assert.NotEqual(uid, await K("get", "configmap", "m", "-o", "jsonpath={.metadata.uid}"));
    }

    [NeedsNode]
    [Fact]
    public async Task Patch_Subresources_ChangeOnlyTheirs()
    {
        await K("create", "deployment", "d", "--image=busybox:1.35", "--replicas=0", "--", "sleep", "1000");
        Assert.Equal("scale.autoscaling/d patched", await K("patch", "deployment", "d", "--subresource=scale", "--type=merge", "-p", """{"spec":{"replicas":1}}"""));
        Assert.Equal("1", await K("get", "deployment", "d", "-o", "jsonpath={.spec.replicas}"));
        await K("rollout", "status", "deployment/d", "--timeout=240s");
        await K("patch", "deployment", "d", "--subresource=status", "--type=merge", "-p", """{"spec":{"replicas":5},"status":{"observedGeneration":99}}""");
        Assert.Equal("1", await K("get", "deployment", "d", "-o", "jsonpath={.spec.replicas}"));
        Assert.Contains("1", await K("get", "deployment", "d", "--subresource=scale", "-o", "jsonpath={.spec.replicas}"));
        var refused = await Try("patch", "deployment", "d", "--type=json", "-p", """[{"op":"test","path":"/spec/replicas","value":7}]""");
        Assert.Equal(1, refused.ExitCode);
    }

    [Theory]
    [InlineData("s/one/two/", 0, "edited", "two")]
    [InlineData("s/nothing/x/", 0, "no changes made", "one")]
    [InlineData("s/^  a:/  a b:/", 1, "is invalid", "one")]
    public async Task Edit_ByEditor_ChangesOrSaysWhyNot(string script, int code, string says, string value)
    {
        await Apply(Map("a: one"));
        var result = await Node.RunAsync("env", $"KUBE_EDITOR=sed -i \"{script}\"", "kubectl", "--kubeconfig", Node.Kubeconfig, "-n", Namespace, "edit", "configmap", "m");
        Assert.Equal(code, result.ExitCode);
        Assert.Contains(says, result.Output + result.Error);
        Assert.Equal(value, await Value("a"));
    }

    [Fact]
    public async Task Edit_Status_ChangesOnlyThat()
    {
        await Apply("apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: p}\nspec: {minAvailable: 1, selector: {matchLabels: {app: none}}}\n");
        var result = await Node.RunAsync(
            "env", "KUBE_EDITOR=sed -i -e \"s/minAvailable: 1/minAvailable: 2/\" -e \"s/^status:/status:\\n  disruptedPods: {x: 2026-01-01T00:00:00Z}/\"", "kubectl", "--kubeconfig", Node.Kubeconfig,
            "-n", Namespace, "edit", "poddisruptionbudget", "p", "--subresource=status");
        Assert.Contains("edited", result.Ok());
        Assert.Equal("1", await K("get", "poddisruptionbudget", "p", "-o", "jsonpath={.spec.minAvailable}"));
    }

    [Fact]
    public async Task LabelAndAnnotate_SetChangeAndRemove()
    {
        await Apply(Map("a: '1'"));
        Assert.Equal("configmap/m labeled", await K("label", "configmap", "m", "x=1"));
        Assert.Contains("'x' already has a value (1), and --overwrite is false", (await Try("label", "configmap", "m", "x=2")).Error);
        await K("label", "configmap", "m", "x=2", "--overwrite");
        Assert.Equal("m", await K("get", "configmap", "-l", "x in (2,3)", "-o", "jsonpath={.items[*].metadata.name}"));
        Assert.Contains("configmap/m labeled", await K("label", "configmap", "--all", "y=1"));
        Assert.Equal("configmap/m unlabeled", await K("label", "configmap", "m", "x-"));
        Assert.Contains("a valid label must be", (await Try("label", "configmap", "m", "z=a/b")).Error);
        Assert.Contains("y=1", await K("label", "configmap", "m", "--list"));
        Assert.Equal("configmap/m annotated", await K("annotate", "configmap", "m", "note=hello world"));
        Assert.Equal("hello world", await K("get", "configmap", "m", "-o", "jsonpath={.metadata.annotations.note}"));
        await K("annotate", "configmap", "m", "note-");
        Assert.Equal("", await K("get", "configmap", "m", "-o", "jsonpath={.metadata.annotations.note}"));
        Assert.Contains("the object has been modified", (await Try("annotate", "configmap", "m", "note=x", "--resource-version=1")).Error);
    }

    [Fact]
    public async Task Set_EachPart_ChangesTheTemplate()
    {
        await K("create", "deployment", "d", "--image=busybox:1.35", "--replicas=0");
        await K("create", "serviceaccount", "robot");
        await K("create", "configmap", "conf", "--from-literal=FROM_MAP=1");
        Assert.Equal("deployment.apps/d env updated", await K("set", "env", "deployment/d", "A=1", "B=2"));
        Assert.Contains("A=1\nB=2", await K("set", "env", "deployment/d", "--list"));
        await K("set", "env", "deployment/d", "A-", "--from=configmap/conf");
        Assert.Equal("B FROM_MAP", await K("get", "deployment", "d", "-o", "jsonpath={.spec.template.spec.containers[0].env[*].name}"));
        Assert.Equal("deployment.apps/d image updated", await K("set", "image", "deployment/d", "busybox=busybox:next"));
        Assert.Equal("deployment.apps/d resource requirements updated", await K("set", "resources", "deployment/d", "--requests=cpu=10m", "--limits=cpu=100m,memory=64Mi"));
        Assert.Equal("deployment.apps/d serviceaccount updated", await K("set", "serviceaccount", "deployment/d", "robot"));
        Assert.Equal("busybox:next|10m|64Mi|robot", await K("get", "deployment", "d", "-o",
            "jsonpath={.spec.template.spec.containers[0].image}|{.spec.template.spec.containers[0].resources.requests.cpu}|{.spec.template.spec.containers[0].resources.limits.memory}|{.spec.template.spec.serviceAccountName}"));
        await K("create", "service", "clusterip", "s", "--tcp=80");
        Assert.Equal("service/s selector updated", await K("set", "selector", "service", "s", "app=d"));
        await K("create", "rolebinding", "b", "--clusterrole=view", "--user=u");
        Assert.Equal("rolebinding.rbac.authorization.k8s.io/b subjects updated", await K("set", "subject", "rolebinding", "b", "--group=g"));
        Assert.Equal("u g", await K("get", "rolebinding", "b", "-o", "jsonpath={.subjects[*].name}"));
    }

    [NeedsNode]
    [Fact]
    public async Task ScaleExposeAutoscale_DoWhatTheySay()
    {
        await Apply(WebDeployment("web"));
        await K("rollout", "status", "deployment/web", "--timeout=240s");
        Assert.Contains("Expected replicas to be 7, was 1", (await Try("scale", "deployment/web", "--current-replicas=7", "--replicas=2")).Error);
        Assert.Equal("deployment.apps/web scaled", await K("scale", "deployment/web", "--current-replicas=1", "--replicas=2"));
        Assert.Equal("service/front exposed", await K("expose", "deployment", "web", "--name=front", "--port=90", "--target-port=8080"));
        var ip = await K("get", "service", "front", "-o", "jsonpath={.spec.clusterIP}");
        await Eventually.GetAsync(() => Node.RunAsync("curl", "-s", "--max-time", "2", $"http://{ip}:90/"), answer => answer.Output.StartsWith("web-", StringComparison.Ordinal), "the exposed Service answers");
        Assert.Equal("horizontalpodautoscaler.autoscaling/web autoscaled", await K("autoscale", "deployment", "web", "--min=1", "--max=3", "--cpu-percent=50"));
        Assert.Matches(@"web\s+Deployment/web\s+cpu: \S+/50%\s+1\s+3", await K("get", "hpa", "web"));
        Assert.Equal("50", await K("get", "horizontalpodautoscalers.v1.autoscaling", "web", "-o", "jsonpath={.spec.targetCPUUtilizationPercentage}"));
    }

    [Theory]
    [InlineData("ReplicaSet")]
    [InlineData("StatefulSet")]
    [InlineData("ReplicationController")]
    public async Task ScaleExposeAutoscale_OtherKinds_DoWhatTheySay(string kind)
    {
        var isCore = kind == "ReplicationController";
        await Apply($$$"""
            apiVersion: {{{(isCore ? "v1" : "apps/v1")}}}
            kind: {{{kind}}}
            metadata: {name: x}
            spec:
              replicas: 0
              selector: {{{(isCore ? "{app: x}" : "{matchLabels: {app: x}}")}}}
              template: {metadata: {labels: {app: x}}, spec: {containers: [{name: c, image: busybox:1.35, ports: [{containerPort: 8080}]}]}}
            """);
        Assert.Matches("/x scaled", await K("scale", kind, "x", "--replicas=1"));
        Assert.Equal("1", await K("get", kind, "x", "-o", "jsonpath={.spec.replicas}"));
        Assert.Matches("/x autoscaled", await K("autoscale", kind, "x", "--max=2"));
        Assert.Equal(kind, await K("get", "hpa", "x", "-o", "jsonpath={.spec.scaleTargetRef.kind}"));
        if (kind == "StatefulSet")
            Assert.Contains("cannot expose a", (await Try("expose", kind, "x")).Error);
        else
            Assert.Equal("NodePort|8080|x", await Exposed(kind, "x"));
    }

    [Fact]
    public async Task Expose_PodsAndServices_TakesTheirSelectorAndPorts()
    {
        await K("run", "p", "--image=busybox:1.35", "--port=8080", "--labels=app=p", "--", "sleep", "1000");
        Assert.Equal("NodePort|8080|p", await Exposed("pod", "p"));
        Assert.Equal("service/second exposed", await K("expose", "service", "front", "--name=second", "--port=443", "--target-port=8443", "--protocol=UDP", "--external-ip=192.0.2.9", "--session-affinity=ClientIP"));
        Assert.Equal("UDP|8443|p|192.0.2.9|ClientIP", await K("get", "service", "second", "-o",
            "jsonpath={.spec.ports[0].protocol}|{.spec.ports[0].targetPort}|{.spec.selector.app}|{.spec.externalIPs[0]}|{.spec.sessionAffinity}"));
    }

    [Fact]
    public async Task Kustomize_Folder_IsBuiltAndApplied()
    {
        var folder = Directory.CreateDirectory(Path.Combine(Node.Folder, "kustomize-" + Namespace)).FullName;
        await File.WriteAllTextAsync(Path.Combine(folder, "kustomization.yaml"), """
            namePrefix: pre-
            labels: [{pairs: {team: a}}]
            configMapGenerator: [{name: gen, literals: [k=v]}]
            resources: [m.yaml]
            """);
        await File.WriteAllTextAsync(Path.Combine(folder, "m.yaml"), Map("a: '1'"));
        Assert.Contains("name: pre-m", (await Node.KubectlAsync(["kustomize", folder])).Ok());
        Assert.Contains("configmap/pre-m created", await K("apply", "-k", folder));
        Assert.Equal(2, (await K("get", "configmap", "-l", "team=a", "-o", "name")).Split('\n').Length);
        Assert.Contains("configmap/pre-m unchanged", await K("apply", "-k", folder));
        Assert.Contains("deleted", await K("delete", "-k", folder));
    }

    private async Task<string> Exposed(string kind, string name)
    {
        Assert.Equal("service/front exposed", await K("expose", kind, name, "--name=front", "--type=NodePort"));
        return await K("get", "service", "front", "-o", "jsonpath={.spec.type}|{.spec.ports[0].port}|{.spec.selector.app}");
    }

    private Task<string> Value(string key) => K("get", "configmap", "m", "-o", $"jsonpath={{.data.{key}}}");

    private static string Map(string data) => $"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m}}\ndata:\n  {data.Replace(", ", "\n  ", StringComparison.Ordinal)}\n";
}
