namespace K3sFast.EndToEnd.Tests;

/// <summary>What a pod's user does with it, and what its spec promises.</summary>
public sealed class PodTests(Cluster cluster) : ClusterTest(cluster)
{
    [Fact]
    public async Task Logs_Follow_StreamsLinesAsTheyCome()
    {
        await Apply("""
            apiVersion: v1
            kind: Pod
            metadata: {name: talker}
            spec:
              restartPolicy: Never
              containers:
              - {name: c, image: "busybox:1.35", command: ["sh", "-c", "for i in 1 2 3 4 5; do echo line $i; sleep 0.3; done"]}
            """);
        await Eventually.GetAsync(() => Try("logs", "talker"), log => log.ExitCode == 0, "logs are readable");
        // -f ends by itself when the container does, and has every line.
        Assert.Equal("line 1\nline 2\nline 3\nline 4\nline 5", await K("logs", "-f", "talker"));
        Assert.Equal("line 5", await K("logs", "talker", "--tail=1"));
        Assert.Matches(@"^\d{4}-\d\d-\d\dT.*Z line 5$", await K("logs", "talker", "--tail=1", "--timestamps"));
        await Eventually.GetAsync(() => K("get", "pod", "talker"), row => row.Contains("Completed"), "pod Completed");
    }

    [Fact]
    public async Task Exec_StdinClosed_CommandSeesTheEnd()
    {
        await Apply(ShellPod("box"));
        await K("wait", "pod/box", "--for=condition=Ready", "--timeout=240s");
        var result = await Node.KubectlAsync(["-n", Namespace, "exec", "-i", "box", "--", "wc", "-c"], "hello\n");
        Assert.Equal("6", result.Ok());
    }

    [Fact]
    public async Task OlderClients_OverSpdy_ExecAndForward()
    {
        await Apply(WebDeployment("web"));
        await K("rollout", "status", "deployment/web", "--timeout=240s");
        var kubectl = $"kubectl --kubeconfig {Node.Kubeconfig} -n {Namespace}";
        var result = await Node.RunAsync("sh", "-c", $"export KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false; echo hello | {kubectl} exec -i deploy/web -- wc -c; {kubectl} exec deploy/web -- sh -c 'exit 3'; echo $?");
        Assert.Equal("6\n3", result.Ok());
        using var forward = Node.StartCommand("env", "KUBECTL_PORT_FORWARD_WEBSOCKETS=false", "kubectl", "--kubeconfig", Node.Kubeconfig, "-n", Namespace, "port-forward", "deploy/web", ":8080");
        try
        {
            var line = await forward.StandardOutput.ReadLineAsync().WaitAsync(TimeSpan.FromSeconds(120)) ?? await forward.StandardError.ReadToEndAsync();
            var port = line.Split(' ')[2].Split(':')[1];
            Assert.StartsWith("web-", (await Node.RunAsync("curl", "-s", "-m", "30", $"http://127.0.0.1:{port}/")).Ok());
        }
        finally
        {
            forward.Kill();
        }
    }

    [Fact]
    public async Task Exec_Tty_IsATerminal()
    {
        await Apply(ShellPod("box"));
        await K("wait", "pod/box", "--for=condition=Ready", "--timeout=240s");
        // script gives kubectl a terminal to hand on.
        var command = $"kubectl --kubeconfig {Node.Kubeconfig} -n {Namespace} exec -it box -- sh -c 'tty; stty size; exit 7'";
        var result = await Node.RunAsync("script", "-qec", command, "/dev/null");
        Assert.True(result.Output.Contains("/dev/pts/") && result.ExitCode == 7, result.ToString());
    }

    [Fact]
    public async Task Exec_ExitCodeAndStderr_ComeBack()
    {
        await Apply(ShellPod("box"));
        await K("wait", "pod/box", "--for=condition=Ready", "--timeout=240s");
        var result = await Try("exec", "box", "--", "sh", "-c", "echo out; echo err >&2; exit 3");
        Assert.Equal((3, "out\n"), (result.ExitCode, result.Output));
        Assert.StartsWith("err\n", result.Error);
    }

    [Fact]
    public async Task Cp_ThereAndBack_KeepsTheBytes()
    {
        await Apply(ShellPod("box"));
        await K("wait", "pod/box", "--for=condition=Ready", "--timeout=240s");
        var folder = Directory.CreateTempSubdirectory("k3sfast-cp-").FullName;
        var bytes = new byte[300_000];
        new Random(7).NextBytes(bytes);
        await File.WriteAllBytesAsync(Path.Combine(folder, "there"), bytes);
        await K("cp", Path.Combine(folder, "there"), "box:/tmp/file");
        await K("cp", "box:/tmp/file", Path.Combine(folder, "back"));
        Assert.Equal(bytes, await File.ReadAllBytesAsync(Path.Combine(folder, "back")));
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task PortForward_Pod_ReachesItsPort()
    {
        await Apply(WebDeployment("web"));
        await K("rollout", "status", "deployment/web", "--timeout=240s");
        using var forward = Node.StartCommand("kubectl", "--kubeconfig", Node.Kubeconfig, "-n", Namespace, "port-forward", "deploy/web", ":8080");
        try
        {
            var line = await forward.StandardOutput.ReadLineAsync().WaitAsync(TimeSpan.FromSeconds(120)) ?? await forward.StandardError.ReadToEndAsync();
            Assert.Matches(@"Forwarding from 127\.0\.0\.1:\d+ -> 8080", line);
            var port = line.Split(' ')[2].Split(':')[1];
            for (var i = 0; i < 3; i++) Assert.StartsWith("web-", (await Node.RunAsync("curl", "-s", "-m", "30", $"http://127.0.0.1:{port}/")).Ok());
        }
        finally
        {
            forward.Kill();
        }
    }

    [Fact]
    public async Task Attach_RunningContainer_SeesItsOutput()
    {
        await Apply("""
            apiVersion: v1
            kind: Pod
            metadata: {name: reader}
            spec:
              terminationGracePeriodSeconds: 1
              containers:
              - {name: c, image: "busybox:1.35", stdin: true, stdinOnce: true, command: ["sh", "-c", "read line; echo got $line"]}
              restartPolicy: Never
            """);
        await K("wait", "pod/reader", "--for=condition=Ready", "--timeout=240s");
        var result = await Node.KubectlAsync(["-n", Namespace, "attach", "-i", "reader"], "words\n");
        Assert.Contains("got words", result.Output + await K("logs", "reader"));
    }

    [Fact]
    public async Task Liveness_Failing_RestartsTheContainer()
    {
        await Apply("""
            apiVersion: v1
            kind: Pod
            metadata: {name: sick}
            spec:
              terminationGracePeriodSeconds: 1
              containers:
              - name: c
                image: busybox:1.35
                command: ["sh", "-c", "touch /tmp/alive; sleep 1; rm /tmp/alive; sleep 600"]
                livenessProbe: {exec: {command: ["test", "-e", "/tmp/alive"]}, periodSeconds: 1, failureThreshold: 2}
            """);
        await Eventually.GetAsync(
            () => K("get", "pod", "sick", "-o", "jsonpath={.status.containerStatuses[0].restartCount}"),
            count => int.TryParse(count, out var restarts) && restarts >= 1, "a restart");
        await Eventually.GetAsync(
            () => K("get", "events", "--field-selector", "involvedObject.name=sick"),
            static events => events.Contains("Unhealthy") && events.Contains("Liveness probe failed") && events.Contains("Container c failed liveness probe, will be restarted"), "the events that tell why");
    }

    [Fact]
    public async Task Readiness_Failing_TakesThePodOutOfTheService()
    {
        await Apply("""
            apiVersion: v1
            kind: Pod
            metadata: {name: shy, labels: {app: shy}}
            spec:
              terminationGracePeriodSeconds: 1
              containers:
              - name: c
                image: busybox:1.35
                command: ["sh", "-c", "touch /tmp/ready; sleep 600"]
                readinessProbe: {exec: {command: ["test", "-e", "/tmp/ready"]}, periodSeconds: 1, failureThreshold: 1}
            ---
            apiVersion: v1
            kind: Service
            metadata: {name: shy}
            spec: {selector: {app: shy}, ports: [{port: 80}]}
            """);
        Task<string> Ready() => K("get", "endpointslices", "-l", "kubernetes.io/service-name=shy", "-o", "jsonpath={.items[*].endpoints[*].conditions.ready}");
        await Eventually.GetAsync(Ready, ready => ready == "true", "the endpoint is ready");
        await Exec("shy", "rm /tmp/ready");
        await Eventually.GetAsync(Ready, ready => ready == "false", "the endpoint is not ready");
        Assert.Contains("0/1", await K("get", "pod", "shy"));
        await Exec("shy", "touch /tmp/ready");
        await Eventually.GetAsync(Ready, ready => ready == "true", "the endpoint is ready again");
        await Eventually.GetAsync(() => K("get", "endpoints", "shy"), static row => System.Text.RegularExpressions.Regex.IsMatch(row, @"10\.42\.\d+\.\d+:80"), "its address is ready in the older form, too");
    }

    [Fact]
    public async Task Crashing_BacksOff()
    {
        await Apply("""
            apiVersion: v1
            kind: Pod
            metadata: {name: crasher}
            spec:
              containers:
              - {name: c, image: "busybox:1.35", command: ["sh", "-c", "echo dying; exit 3"]}
            """);
        await Eventually.GetAsync(() => K("get", "pod", "crasher"), row => row.Contains("CrashLoopBackOff"), "CrashLoopBackOff");
        // It comes and goes: between two looks the container may run again.
        var status = await Eventually.GetAsync(
            () => K("get", "pod", "crasher", "-o", "jsonpath={.status.containerStatuses[0].state.waiting.message}"), message => message.StartsWith("back-off", StringComparison.Ordinal), "what it waits for");
        Assert.Matches(@"^back-off \d+s restarting failed container=c pod=crasher_", status);
        Assert.Equal("3", await K("get", "pod", "crasher", "-o", "jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}"));
        Assert.Equal("dying", await K("logs", "crasher", "--previous"));
        await Eventually.GetAsync(() => K("get", "events", "--field-selector", "involvedObject.name=crasher"), static events => events.Contains("BackOff"), "event BackOff");
    }

    [Fact]
    public async Task Secret_Updated_ReachesTheRunningPod()
    {
        await K("create", "secret", "generic", "s", "--from-literal=word=old");
        await Apply("""
            apiVersion: v1
            kind: Pod
            metadata: {name: reader}
            spec:
              terminationGracePeriodSeconds: 1
              containers:
              - name: c
                image: busybox:1.35
                command: ["sleep", "600"]
                env: [{name: WORD, valueFrom: {secretKeyRef: {name: s, key: word}}}]
                volumeMounts: [{name: s, mountPath: /s}]
              volumes: [{name: s, secret: {secretName: s}}]
            """);
        await K("wait", "pod/reader", "--for=condition=Ready", "--timeout=240s");
        Assert.Equal("old old", await Exec("reader", "echo $(cat /s/word) $WORD"));
        await K("patch", "secret", "s", "-p", """{"stringData":{"word":"new"}}""");
        await Eventually.GetAsync(() => Exec("reader", "cat /s/word"), word => word == "new", "the new secret", TimeSpan.FromSeconds(240));
    }

    [Fact]
    public async Task Volumes_EverySource_HoldWhatTheyPromise()
    {
        await K("create", "configmap", "m", "--from-literal=key=from-map");
        await Apply("""
            apiVersion: v1
            kind: Pod
            metadata: {name: vols, labels: {colour: red}}
            spec:
              terminationGracePeriodSeconds: 1
              initContainers:
              - {name: first, image: "busybox:1.35", command: ["sh", "-c", "echo from-init > /e/init"], volumeMounts: [{name: e, mountPath: /e}]}
              containers:
              - name: c
                image: busybox:1.35
                command: ["sleep", "600"]
                resources: {limits: {memory: 64Mi, cpu: 500m}}
                envFrom: [{configMapRef: {name: m}, prefix: M_}]
                env:
                - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
                - {name: MEM, valueFrom: {resourceFieldRef: {resource: limits.memory}}}
                - {name: JOINED, value: "$(M_key)-$(IP)-$$(x)"}
                volumeMounts:
                - {name: e, mountPath: /e}
                - {name: mem, mountPath: /mem}
                - {name: p, mountPath: /p}
                - {name: m, mountPath: /one, subPath: key}
              volumes:
              - {name: e, emptyDir: {}}
              - {name: mem, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
              - {name: m, configMap: {name: m}}
              - name: p
                projected:
                  sources:
                  - {configMap: {name: m, items: [{key: key, path: deep/key, mode: 0400}]}}
                  - {downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
                  - {serviceAccountToken: {path: token, expirationSeconds: 3600}}
            """);
        await K("wait", "pod/vols", "--for=condition=Ready", "--timeout=240s");
        Assert.Equal("from-init", await Exec("vols", "cat /e/init"));
        Assert.Equal("from-map", await Exec("vols", "cat /one"));
        Assert.Equal("from-map", await Exec("vols", "cat /p/deep/key"));
        Assert.Equal("colour=\"red\"", await Exec("vols", "cat /p/labels"));
        Assert.Equal("3", await Exec("vols", "tr '.' '\\n' < /p/token | wc -l | xargs expr 1 +"));
        Assert.Contains("tmpfs", await Exec("vols", "mount | grep ' /mem '"));
        var ip = await K("get", "pod", "vols", "-o", "jsonpath={.status.podIP}");
        Assert.Equal($"67108864 from-map-{ip}-$(x)", await Exec("vols", "echo $MEM $JOINED"));
        // The init container asks for nothing, so the pod is not Guaranteed.
        Assert.Equal("Burstable", await K("get", "pod", "vols", "-o", "jsonpath={.status.qosClass}"));
        // The pod's own token, and the CA beside it, let it speak to the API at the service's address.
        var credentials = Path.Combine(Node.Folder, "credentials");
        Directory.CreateDirectory(credentials);
        foreach (var file in (string[])["token", "ca.crt"])
        {
            await File.WriteAllTextAsync(Path.Combine(credentials, file), await Exec("vols", $"cat /var/run/secrets/kubernetes.io/serviceaccount/{file}"));
        }
        var address = await Exec("vols", "echo $KUBERNETES_SERVICE_HOST");
        var token = await File.ReadAllTextAsync(Path.Combine(credentials, "token"));
        var answer = await Node.RunAsync("curl", "-s", "--cacert", Path.Combine(credentials, "ca.crt"), "-H", $"Authorization: Bearer {token}", $"https://{address}/readyz");
        Assert.Equal("ok", answer.Ok());
    }

    [Fact]
    public async Task Deleted_GracefulPod_GetsPreStopAndSigterm()
    {
        await Apply("""
            apiVersion: v1
            kind: Pod
            metadata: {name: polite}
            spec:
              terminationGracePeriodSeconds: 20
              containers:
              - name: c
                image: busybox:1.35
                command: ["sh", "-c", "trap 'echo term >> /out/log; exit 0' TERM; while :; do sleep 0.1; done"]
                lifecycle: {preStop: {exec: {command: ["sh", "-c", "echo prestop >> /out/log"]}}}
                volumeMounts: [{name: out, mountPath: /out}]
              volumes: [{name: out, hostPath: {path: FOLDER, type: DirectoryOrCreate}}]
            """.Replace("FOLDER", Path.Combine(Node.Folder, Namespace), StringComparison.Ordinal));
        await K("wait", "pod/polite", "--for=condition=Ready", "--timeout=240s");
        await K("delete", "pod", "polite", "--timeout=240s");
        Assert.Equal("prestop\nterm\n", await File.ReadAllTextAsync(Path.Combine(Node.Folder, Namespace, "log")));
    }

    [Fact]
    public async Task Unschedulable_Pod_SaysWhy()
    {
        await Apply(ShellPod("big", "    resources: {requests: {cpu: '1000'}}"));
        var message = await Eventually.GetAsync(
            () => K("get", "pod", "big", "-o", "jsonpath={.status.conditions[?(@.type==\"PodScheduled\")].message}"), text => text.Length > 0, "a reason");
        Assert.StartsWith("0/1 nodes are available: 1 Insufficient cpu.", message);
        await Eventually.GetAsync(() => K("get", "events"), static events => events.Contains("FailedScheduling"), "event FailedScheduling");
    }
}
