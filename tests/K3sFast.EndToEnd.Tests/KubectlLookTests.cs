namespace K3sFast.EndToEnd.Tests;

/// <summary>Verbs that only look: get in its forms, describe, explain, api-resources, wait, events, cluster-info, version, config.</summary>
public sealed class KubectlLookTests(Cluster cluster) : ClusterTest(cluster)
{
    [Fact]
    public async Task Get_EachOutput_ShowsTheSameObjects()
    {
        foreach (var (name, value) in ((string, string)[])[("c", "1"), ("a", "2"), ("b", "3")])
            await K("create", "configmap", name, $"--from-literal=k={value}");
        const string Mine = "metadata.name!=kube-root-ca.crt";
        Assert.Equal("configmap/a\nconfigmap/b\nconfigmap/c", await K("get", "configmap", "--field-selector", Mine, "-o", "name"));
        Assert.Equal("2 3 1", await K("get", "configmap", "--field-selector", Mine, "-o", "jsonpath={.items[*].data.k}"));
        Assert.Equal("2,3,1,", await K("get", "configmap", "--field-selector", Mine, "-o", "go-template={{range .items}}{{.data.k}},{{end}}"));
        Assert.Matches(@"^N\s+K\na\s+2\nb\s+3\nc\s+1$", await K("get", "configmap", "--field-selector", Mine, "-o", "custom-columns=N:.metadata.name,K:.data.k"));
        Assert.Contains("\"kind\": \"List\"", await K("get", "configmap", "-o", "json"));
        Assert.Contains("kind: ConfigMap", await K("get", "configmap", "a", "-o", "yaml"));
        Assert.DoesNotContain("managedFields", await K("get", "configmap", "a", "-o", "yaml"));
        Assert.Contains("manager: kubectl-create", await K("get", "configmap", "a", "-o", "yaml", "--show-managed-fields"));
        Assert.Equal("configmap/c\nconfigmap/a\nconfigmap/b", await K("get", "configmap", "--field-selector", Mine, "--sort-by={.data.k}", "-o", "name"));
        Assert.Equal(4, (await K("get", "configmap", "--chunk-size=1", "--no-headers")).Split('\n').Length);
        Assert.Contains("No resources found in", (await Try("get", "configmap", "-l", "no=such")).Error);
        Assert.Contains("error: the server doesn't have a resource type \"nonsense\"", (await Try("get", "nonsense")).Error);
        Assert.Contains("(NotFound): configmaps \"zz\" not found", (await Try("get", "configmap", "zz")).Error);
        Assert.Equal("", await K("get", "configmap", "zz", "--ignore-not-found"));
        Assert.Contains("\"resourceVersion\"", await K("get", "--raw", $"/api/v1/namespaces/{Namespace}/configmaps?limit=1"));
    }

    [Fact]
    public async Task GetWatch_ShowsWhatHappens()
    {
        await K("create", "configmap", "m");
        using var watch = Node.StartCommand("kubectl", "--kubeconfig", Node.Kubeconfig, "-n", Namespace, "get", "configmap", "m", "-w", "-o", "jsonpath={.data.k}{\"\\n\"}", "--output-watch-events=false");
        try
        {
            await watch.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(TimeSpan.FromSeconds(120), TestContext.Current.CancellationToken);
            await K("patch", "configmap", "m", "-p", """{"data":{"k":"seen"}}""");
            Assert.Equal("seen", await watch.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(TimeSpan.FromSeconds(120), TestContext.Current.CancellationToken));
        }
        finally
        {
            watch.Kill(entireProcessTree: true);
        }
    }

    [NeedsNode]
    [Fact]
    public async Task Describe_ManyKinds_TellsWhatMatters()
    {
        await Apply(WebDeployment("web"));
        await K("rollout", "status", "deployment/web", "--timeout=240s");
        await K("create", "ingress", "i", "--rule=a.test/*=web:http");
        await K("create", "cronjob", "c", "--image=busybox:1.35", "--schedule=0 0 1 1 *");
        await K("create", "pdb", "p", "--selector=app=web", "--min-available=1");
        await K("create", "role", "r", "--verb=get", "--resource=pods");
        await K("create", "rolebinding", "b", "--role=r", "--user=u");
        Assert.Matches(@"Replicas:\s+1 desired \| 1 updated \| 1 total \| 1 available", await K("describe", "deployment", "web"));
        Assert.Matches(@"Replicas:\s+1 current / 1 desired", await K("describe", "replicaset", "-l", "app=web"));
        // Endpoints follow the pod in their own time.
        foreach (var (kind, name, says) in ((string, string, string)[])[("service", "web", @"Endpoints:\s+10\.42\.\d+\.\d+:8080"), ("endpoints", "web", @"Addresses:\s+10\.42\."), ("ingress", "i", @"/\s+web:http \(10\.42\.")])
            await Eventually.GetAsync(() => K("describe", kind, name), text => System.Text.RegularExpressions.Regex.IsMatch(text, says), says);
        Assert.Matches(@"Schedule:\s+0 0 1 1 \*", await K("describe", "cronjob", "c"));
        Assert.Matches(@"Min available:\s+1", await K("describe", "pdb", "p"));
        Assert.Matches(@"pods\s+\[\]\s+\[\]\s+\[get\]", await K("describe", "role", "r"));
        Assert.Matches(@"User\s+u", await K("describe", "rolebinding", "b"));
        Assert.Matches(@"Status:\s+Active", await K("describe", "namespace", Namespace));
        var node = await K("describe", "node", "node1");
        Assert.Matches(@"Ready\s+True", node);
        Assert.Contains("Allocated resources:", node);
        Assert.Matches(@"Name:\s+default", await K("describe", "serviceaccount", "default"));
        Assert.Contains("ca.crt:", await K("describe", "configmap", "kube-root-ca.crt"));
    }

    [Fact]
    public async Task Explain_Field_ReadsAsUpstream()
    {
        var image = await K("explain", "pod.spec.containers.image");
        Assert.Contains("FIELD: image <string>", image);
        Assert.Contains("Container image name.", image);
        var all = await K("explain", "deployment", "--recursive");
        Assert.Contains("GROUP:      apps", all);
        Assert.Contains("maxSurge\t<IntOrString>", all);
        Assert.Contains("-required-", all);
        var old = await K("explain", "pod.spec.restartPolicy", "--output=plaintext-openapiv2");
        Assert.Contains("Restart policy for all containers within the pod", old);
        Assert.Contains("field \"nope\" does not exist", (await Try("explain", "pod.spec.nope")).Error);
    }

    [Fact]
    public async Task ApiResources_Filters_Narrow()
    {
        Assert.Contains("nodes", await K("api-resources", "--namespaced=false", "-o", "name"));
        Assert.DoesNotContain("pods", await K("api-resources", "--namespaced=false", "-o", "name"));
        var batch = await K("api-resources", "--api-group=batch", "-o", "wide");
        Assert.Contains("create,delete,deletecollection,get,list,patch,update,watch", batch);
        Assert.Matches(@"cronjobs\s+cj\s+batch/v1\s+true\s+CronJob", batch);
        Assert.Contains("autoscaling/v2", await K("api-versions"));
    }

    [NeedsNode]
    [Fact]
    public async Task Wait_EachForm_Returns()
    {
        await Apply(ShellPod("box"));
        Assert.Equal("pod/box condition met", await K("wait", "pod/box", "--for=create", "--timeout=240s"));
        Assert.Equal("pod/box condition met", await K("wait", "pod/box", "--for=condition=Ready", "--timeout=240s"));
        Assert.Equal("pod/box condition met", await K("wait", "pod", "-l", "app=box", "--for=jsonpath={.status.phase}=Running", "--timeout=240s"));
        Assert.Contains("timed out waiting for the condition on pods/box", (await Try("wait", "pod/box", "--for=condition=Nope", "--timeout=1s")).Error);
        await K("delete", "pod", "box", "--wait=false");
        Assert.Equal("", (await K("wait", "pod/box", "--for=delete", "--timeout=240s")).Replace("pod/box condition met", "", StringComparison.Ordinal));
    }

    [NeedsNode]
    [Fact]
    public async Task Events_OfAPod_TellItsStory()
    {
        await Apply(ShellPod("box"));
        await K("wait", "pod/box", "--for=condition=Ready", "--timeout=240s");
        var events = await Eventually.GetAsync(() => K("events", "--for", "pod/box"), text => text.Contains("Started"), "event Started");
        Assert.Matches(@"Normal\s+Scheduled\s+Pod/box\s+Successfully assigned", events);
        Assert.Contains("Started", await K("get", "events", "--field-selector", "involvedObject.name=box,reason=Started"));
        var warnings = await Try("events", "--types=Warning");
        Assert.Contains("No events found", warnings.Error + warnings.Output);
    }

    [Fact]
    public async Task Top_WithoutMetrics_SaysSo()
    {
        // No metrics server yet: the refusal is clear, and turns into numbers once metrics.k8s.io is served.
        if ((await K("api-versions")).Contains("metrics.k8s.io", StringComparison.Ordinal))
            Assert.Contains("node1", await K("top", "nodes"));
        else
            Assert.Contains("error: Metrics API not available", (await Try("top", "nodes")).Error);
    }

    [NeedsNode]
    [Fact]
    public async Task ClusterInfo_AndItsDump_NameTheParts()
    {
        Assert.Contains("control plane", await K("cluster-info"));
        var folder = Path.Combine(Node.Folder, "dump-" + Namespace);
        await Apply(ShellPod("box"));
        await K("wait", "pod/box", "--for=condition=Ready", "--timeout=240s");
        await K("cluster-info", "dump", "--namespaces", Namespace, "--output-directory", folder);
        Assert.Contains("\"box\"", await File.ReadAllTextAsync(Path.Combine(folder, Namespace, "pods.json"), TestContext.Current.CancellationToken));
        Assert.True(File.Exists(Path.Combine(folder, Namespace, "box", "logs.txt")));
        Assert.True(File.Exists(Path.Combine(folder, "nodes.json")));
    }

    [Fact]
    public async Task Version_NamesBothSides()
    {
        var version = await K("version", "-o", "json");
        Assert.Matches("\"gitVersion\": \"v1\\.36\\.\\d+\\+k3sfast", version);
        Assert.Contains("\"minor\": \"36", version);
    }

    [Fact]
    public async Task Config_OfItsOwn_ChangesAndIsUsed()
    {
        var file = Path.Combine(Node.Folder, "config-" + Namespace);
        File.Copy(Node.Kubeconfig, file);
        async Task<CommandResult> Config(params string[] words) => await Node.RunAsync(["kubectl", "--kubeconfig", file, .. words]);
        Assert.Equal("default", (await Config("config", "current-context")).Ok());
        Assert.Contains("DATA+OMITTED", (await Config("config", "view")).Ok());
        var token = await K("create", "token", "default");
        Assert.Equal("User \"robot\" set.", (await Config("config", "set-credentials", "robot", "--token=" + token)).Ok());
        Assert.Contains("Context \"robot\" created.", (await Config("config", "set-context", "robot", "--cluster=default", "--user=robot", "--namespace=" + Namespace)).Ok());
        Assert.Contains("Switched to context \"robot\".", (await Config("config", "use-context", "robot")).Ok());
        Assert.Matches(@"\*\s+robot", (await Config("config", "get-contexts")).Ok());
        Assert.Contains($"system:serviceaccount:{Namespace}:default", (await Config("auth", "whoami")).Ok());
        Assert.Contains("is forbidden", (await Config("get", "pods")).Error);
        (await Config("config", "rename-context", "robot", "r2")).Ok();
        Assert.Contains("deleted context r2", (await Config("config", "delete-context", "r2")).Ok());
        Assert.Contains("robot", (await Config("config", "get-users")).Ok());
        (await Config("config", "delete-user", "robot")).Ok();
        Assert.Equal("Cluster \"away\" set.", (await Config("config", "set-cluster", "away", "--server=https://192.0.2.1:6443", "--insecure-skip-tls-verify")).Ok());
        (await Config("config", "set", "clusters.away.server", "https://192.0.2.2:6443")).Ok();
        Assert.Equal("https://192.0.2.2:6443", (await Config("config", "view", "-o", "jsonpath={.clusters[?(@.name=='away')].cluster.server}")).Ok());
        (await Config("config", "unset", "clusters.away.insecure-skip-tls-verify")).Ok();
        Assert.Contains("deleted cluster away", (await Config("config", "delete-cluster", "away")).Ok());
        (await Config("config", "use-context", "default")).Ok();
        Assert.Equal("default", (await Config("config", "get-clusters")).Ok().Split('\n')[^1]);
    }

    [Fact]
    public async Task CompletionPluginsOptions_AreThere()
    {
        Assert.Contains("__start_kubectl", (await Node.KubectlAsync(["completion", "bash"])).Ok());
        Assert.Contains("kube-root-ca.crt", (await Node.RunAsync("env", $"KUBECONFIG={Node.Kubeconfig}", "kubectl", "__complete", "get", "configmap", "-n", Namespace, "kube")).Ok());
        Assert.Contains("--kubeconfig", (await Node.KubectlAsync(["options"])).Ok());
        var folder = Directory.CreateDirectory(Path.Combine(Node.Folder, "plugin-" + Namespace)).FullName;
        var plugin = Path.Combine(folder, "kubectl-hello");
        await File.WriteAllTextAsync(plugin, "#!/bin/sh\necho hello $1\n");
        (await Node.RunAsync("chmod", "755", plugin)).Ok();
        Assert.Contains(plugin, (await Node.RunAsync("env", $"PATH={folder}:/usr/bin:/bin", "kubectl", "plugin", "list")).Ok());
        Assert.Equal("hello world", (await Node.RunAsync("env", $"PATH={folder}:/usr/bin:/bin", "kubectl", "hello", "world")).Ok());
    }
}
