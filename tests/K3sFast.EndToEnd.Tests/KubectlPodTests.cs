namespace K3sFast.EndToEnd.Tests;

/// <summary>Verbs that reach into pods: run, debug, logs with their options, proxy, and what they refuse.</summary>
public sealed class KubectlPodTests(Cluster cluster) : ClusterTest(cluster)
{
    [Fact]
    public async Task Run_WithRm_ShowsTheOutputAndLeavesNothing()
    {
        var result = await Try("run", "once", "--image=busybox:1.35", "--rm", "-i", "--restart=Never", "--quiet", "--", "sh", "-c", "sleep 2; echo out; exit 3");
        Assert.Contains("out", result.Output);
        Assert.Equal(3, result.ExitCode);
        Assert.Contains("(NotFound)", (await Try("get", "pod", "once")).Error);
    }

    [Fact]
    public async Task Run_Terminal_IsInteractive()
    {
        var kubectl = $"kubectl --kubeconfig {Node.Kubeconfig} -n {Namespace}";
        var command = $"{kubectl} run term --image=busybox:1.35 --rm -it --restart=Never -- sh";
        // Typed once the shell runs; what kubectl has not read by then, the terminal keeps.
        var isReady = $"{kubectl} get pod term -o jsonpath='{{.status.containerStatuses[0].ready}}' 2>/dev/null | grep -q true";
        var result = await Shell.RunAsync(Lan.Inside(Node.NetworkNamespace, "sh", "-c",
            $"(until {isReady}; do sleep 0.2; done; sleep 1; echo 'tty && echo size $(stty size | wc -w)'; sleep 1; echo exit; sleep 3) | script -qec '{command}' /dev/null"));
        Assert.Contains("/dev/pts/0", result.Output);
        Assert.Contains("size 2", result.Output);
        await Eventually.GetAsync(() => Try("get", "pod", "term"), answer => answer.Error.Contains("NotFound"), "the pod is gone");
    }

    [Fact]
    public async Task Run_LabelsEnvAndPort_AreInThePod()
    {
        var made = await K("run", "p", "--image=busybox:1.35", "--env=A=b", "--labels=x=y", "--port=80", "--expose", "--command", "--", "sleep", "1000");
        Assert.Contains("service/p created", made);
        Assert.Contains("pod/p created", made);
        Assert.Equal("b y 80", await K("get", "pod", "p", "-o", "jsonpath={.spec.containers[0].env[0].value} {.metadata.labels.x} {.spec.containers[0].ports[0].containerPort}"));
        Assert.Contains("--image is required", (await Try("run", "q", "--image=")).Error);
    }

    [Fact]
    public async Task Debug_EachWay_OpensACotainerBesideOrACopy()
    {
        await Apply(ShellPod("box"));
        await K("wait", "pod/box", "--for=condition=Ready", "--timeout=240s");
        await K("debug", "box", "--image=busybox:1.35", "--container=dbg", "--target=shell", "--profile=general", "--", "sleep", "1000");
        await Eventually.GetAsync(() => K("get", "pod", "box", "-o", "jsonpath={.status.ephemeralContainerStatuses[0].state.running}"), state => state.Length > 0, "the ephemeral container runs");
        Assert.Contains("sleep 1000", await K("exec", "box", "-c", "dbg", "--", "ps"));
        Assert.Contains("Ephemeral Containers:", await K("describe", "pod", "box"));
        await K("debug", "box", "--image=busybox:1.35", "--copy-to=copy", "--container=extra", "--share-processes", "--profile=general", "--", "sleep", "1000");
        await K("wait", "pod/copy", "--for=condition=Ready", "--timeout=240s");
        Assert.Equal("shell extra", await K("get", "pod", "copy", "-o", "jsonpath={.spec.containers[*].name}"));
        var made = await K("debug", "node/node1", "--image=busybox:1.35", "--profile=sysadmin", "--", "chroot", "/host", "true");
        var pod = System.Text.RegularExpressions.Regex.Match(made, "node-debugger-node1-[a-z0-9]+").Value;
        await K("wait", $"pod/{pod}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=240s");
    }

    [Fact]
    public async Task Logs_EachOption_NarrowsThem()
    {
        await Apply("""
            apiVersion: v1
            kind: Pod
            metadata: {name: talk, labels: {app: talk}}
            spec:
              restartPolicy: Never
              initContainers: [{name: init, image: busybox:1.35, command: [sh, -c, echo init]}]
              containers:
              - {name: a, image: busybox:1.35, command: [sh, -c, "for i in 1 2 3 4 5; do echo line $i; done"]}
              - {name: b, image: busybox:1.35, command: [sh, -c, "echo error >&2; exit 1"]}
            """);
        await Eventually.GetAsync(() => K("get", "pod", "talk", "-o", "jsonpath={.status.phase}"), phase => phase == "Failed", "the pod has ended");
        Assert.Contains("Defaulted container \"a\" out of: a, b, init (init)", (await Try("logs", "talk")).Error);
        Assert.Equal("line 4\nline 5", await K("logs", "talk", "-c", "a", "--tail=2"));
        Assert.Equal("line 1\nli", await K("logs", "talk", "-c", "a", "--limit-bytes=9"));
        Assert.Matches(@"^\d{4}-\d\d-\d\dT\S+Z line 5$", await K("logs", "talk", "-c", "a", "--tail=1", "--timestamps"));
        Assert.Equal("init", await K("logs", "talk", "-c", "init"));
        Assert.Equal("error", await K("logs", "talk", "-c", "b"));
        Assert.Equal(7, (await K("logs", "talk", "--all-containers")).Split('\n').Length);
        Assert.Contains("[pod/talk/b] error", await K("logs", "-l", "app=talk", "--all-containers", "--prefix"));
        Assert.Equal("", await K("logs", "talk", "-c", "a", "--since-time=2100-01-01T00:00:00Z"));
        Assert.Equal(5, (await K("logs", "talk", "-c", "a", "--since=1h")).Split('\n').Length);
        Assert.Equal("line 1", (await K("logs", "-f", "talk", "-c", "a")).Split('\n')[0]);
        Assert.Contains("previous terminated container \"a\" in pod \"talk\" not found", (await Try("logs", "talk", "-c", "a", "-p")).Error);
        Assert.Contains("container zz is not valid for pod talk", (await Try("logs", "talk", "-c", "zz")).Error);
        Assert.Contains("tailLines: Invalid value: -1: must be greater than or equal to 0", (await Try("get", "--raw", $"/api/v1/namespaces/{Namespace}/pods/talk/log?container=a&tailLines=-1")).Error);
    }

    [Fact]
    public async Task Proxy_ThroughTheServer_ReachesPodsServicesAndTheNode()
    {
        await Apply(WebDeployment("web"));
        await K("rollout", "status", "deployment/web", "--timeout=240s");
        var pod = await K("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}");
        var api = $"/api/v1/namespaces/{Namespace}";
        Assert.Equal(pod, await K("get", "--raw", $"{api}/pods/{pod}/proxy/"));
        Assert.Equal(pod, await K("get", "--raw", $"{api}/pods/http:{pod}:8080/proxy/index.html"));
        Assert.Equal(pod, await Eventually.GetAsync(async () => (await Try("get", "--raw", $"{api}/services/web:http/proxy/")).Output.Trim(), text => text.Length > 0, "the Service is proxied to"));
        Assert.Equal(pod, await K("get", "--raw", $"{api}/services/http:web:80/proxy/"));
        Assert.Contains("error trying to reach service: dial tcp", (await Try("get", "--raw", $"{api}/pods/{pod}:81/proxy/")).Error);
        Assert.Contains("no service port 81 found for service \"web\"", (await Try("get", "--raw", $"{api}/services/web:81/proxy/")).Error);
        Assert.Contains("ok", await K("get", "--raw", "/api/v1/nodes/node1/proxy/healthz"));
        Assert.Contains(pod, await K("get", "--raw", "/api/v1/nodes/node1/proxy/pods"));
        Assert.Contains("\"node1\"", await K("get", "--raw", "/api/v1/nodes/node1:10250/proxy/stats/summary"));
        Assert.Contains("\"maxPods\":", await K("get", "--raw", "/api/v1/nodes/node1/proxy/configz"));
        Assert.Contains("<a href=", await K("get", "--raw", "/api/v1/nodes/node1/proxy/logs/"));
    }

    [Fact]
    public async Task KubectlProxy_ServesTheApiLocally()
    {
        using var proxy = Node.StartCommand("kubectl", "--kubeconfig", Node.Kubeconfig, "proxy", "--port=0");
        try
        {
            var line = await proxy.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(TimeSpan.FromSeconds(120), TestContext.Current.CancellationToken);
            var address = System.Text.RegularExpressions.Regex.Match(line ?? "", @"127\.0\.0\.1:\d+").Value;
            Assert.Contains("\"gitVersion\"", (await Node.RunAsync("curl", "-s", $"http://{address}/version")).Ok());
            Assert.Equal("403", (await Node.RunAsync("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", $"http://{address}/api/v1/namespaces/default/pods/x/exec")).Ok());
        }
        finally
        {
            proxy.Kill(entireProcessTree: true);
        }
    }

    [Fact]
    public async Task Exec_InAPodWithManyContainers_SaysWhichItTook()
    {
        await Apply("""
            apiVersion: v1
            kind: Pod
            metadata: {name: two}
            spec:
              terminationGracePeriodSeconds: 1
              containers:
              - {name: a, image: busybox:1.35, command: [sleep, "1000"]}
              - {name: b, image: busybox:1.35, command: [sleep, "1000"]}
            """);
        await K("wait", "pod/two", "--for=condition=Ready", "--timeout=240s");
        Assert.Contains("Defaulted container \"a\" out of: a, b", (await Try("exec", "two", "--", "true")).Error);
        Assert.Contains("container zz is not valid for pod two", (await Try("exec", "two", "-c", "zz", "--", "true")).Error);
        Assert.Contains("command terminated with exit code 127", (await Try("exec", "two", "--", "sh", "-c", "nosuchcommand")).Error);
        Assert.Contains("no such file or directory", (await Try("exec", "two", "--", "/nosuchcommand")).Error);
        Assert.Contains("pods \"none\" not found", (await Try("exec", "none", "--", "true")).Error);
    }

    [Fact]
    public async Task Exec_ByAReaderOfPods_IsForbidden()
    {
        await Apply(ShellPod("box"));
        await K("create", "serviceaccount", "reader");
        await K("create", "role", "reader", "--verb=get,list", "--resource=pods,pods/exec,pods/log");
        await K("create", "rolebinding", "reader", "--role=reader", $"--serviceaccount={Namespace}:reader");
        var identity = $"--as=system:serviceaccount:{Namespace}:reader";
        await Eventually.GetAsync(() => Try("get", "pod", "box", identity), answer => answer.ExitCode == 0, "the role is in force");
        await K("wait", "pod/box", "--for=condition=Ready", "--timeout=240s");
        Assert.Contains("pods \"box\" is forbidden", (await Try("exec", "box", identity, "--", "true")).Error);
        Assert.Contains("resource \"pods/portforward\"", (await Try("port-forward", "pod/box", "0:80", identity)).Error);
        Assert.Equal("", await K("logs", "box", identity));
    }
}
