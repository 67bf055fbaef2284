namespace K3sFast.EndToEnd.Tests;

/// <summary>Names and packets: services, node ports, UDP, DNS.</summary>
public sealed class NetworkTests(Cluster cluster) : ClusterTest(cluster)
{
    [Fact]
    public async Task ServiceName_AcrossPods_LeadsToEveryReplica()
    {
        await Apply(WebDeployment("web", replicas: 2) + ShellPod("box"));
        await K("rollout", "status", "deployment/web", "--timeout=240s");
        await K("wait", "pod/box", "--for=condition=Ready", "--timeout=240s");
        var seen = new HashSet<string>();
        await Eventually.GetAsync(() => Try("exec", "box", "--", "netprobe", "get", "web", "80"), answer =>
        {
            if (answer.ExitCode == 0) seen.Add(answer.Output.Trim());
            return seen.Count == 2;
        }, "an answer of each replica");
        // From now on no request is lost.
        Assert.Equal("40", await Exec("box", "for i in $(seq 40); do netprobe get web 80 30; done | grep -c ^web-"));
        Assert.StartsWith("web-", await Exec("box", $"netprobe get web.{Namespace}.svc.cluster.local 80 30"));
    }

    [Fact]
    public async Task Service_Itself_ReachesItsOnlyPod()
    {
        await Apply(WebDeployment("web"));
        await K("rollout", "status", "deployment/web", "--timeout=240s");
        // Hairpin: the only backend is the pod that asks.
        await Eventually.GetAsync(() => Try("exec", "deploy/web", "--", "netprobe", "get", "web", "80"), answer => answer.Output.StartsWith("web-", StringComparison.Ordinal), "the pod reaches itself");
    }

    [Fact]
    public async Task NodePort_FromTheNodeAndFromOutside_Answers()
    {
        await Apply(WebDeployment("web"));
        await K("rollout", "status", "deployment/web", "--timeout=240s");
        await K("patch", "service", "web", "-p", """{"spec":{"type":"NodePort"}}""");
        var port = await K("get", "service", "web", "-o", "jsonpath={.spec.ports[0].nodePort}");
        Assert.InRange(int.Parse(port), 30000, 32767);
        await Eventually.GetAsync(
            () => Node.RunAsync("curl", "-s", "-m", "2", $"http://{Node.Address}:{port}/"), result => result.Output.StartsWith("web-"), "node port from the node");
        var outside = await Shell.RunAsync(Lan.Inside(Cluster.Outside, "curl", "-s", "-m", "30", $"http://{Node.Address}:{port}/"));
        Assert.StartsWith("web-", outside.Ok());
    }

    [Fact]
    public async Task ClusterIP_FromTheNode_Answers()
    {
        await Apply(WebDeployment("web"));
        await K("rollout", "status", "deployment/web", "--timeout=240s");
        var address = await K("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}");
        await Eventually.GetAsync(
            () => Node.RunAsync("curl", "-s", "-m", "2", $"http://{address}/"), result => result.Output.StartsWith("web-"), "cluster address from the node");
    }

    [Fact]
    public async Task UdpService_BackendReplaced_FlowsFollow()
    {
        await Apply(ShellPod("box") + UdpBackend("one") + """
            apiVersion: v1
            kind: Service
            metadata: {name: echo}
            spec: {selector: {app: echo}, ports: [{port: 5000, protocol: UDP}]}
            """);
        await K("wait", "pod/box", "pod/one", "--for=condition=Ready", "--timeout=240s");
        var address = await K("get", "service", "echo", "-o", "jsonpath={.spec.clusterIP}");
        Task<CommandResult> Ask() => Try("exec", "box", "--", "netprobe", "ask", address, "5000", "hi");
        await Eventually.GetAsync(Ask, answer => answer.Output.Trim() == "one hi", "an answer of the first backend");
        // The kernel remembers the flow; when its backend goes, it must not go on leading nowhere.
        await Apply(UdpBackend("two"));
        await K("wait", "pod/two", "--for=condition=Ready", "--timeout=240s");
        await K("delete", "pod", "one");
        await Eventually.GetAsync(Ask, answer => answer.Output.Trim() == "two hi", "an answer of the second backend");
    }

    [Fact]
    public async Task Headless_Names_AreItsPods()
    {
        await Apply("""
            apiVersion: v1
            kind: Service
            metadata: {name: db}
            spec: {clusterIP: None, selector: {app: db}, ports: [{name: sql, port: 5432}]}
            ---
            apiVersion: v1
            kind: Pod
            metadata: {name: db-0, labels: {app: db}}
            spec:
              hostname: db-0
              subdomain: db
              terminationGracePeriodSeconds: 1
              containers: [{name: c, image: "busybox:1.35", command: ["sleep", "600"]}]
            ---

            """ + ShellPod("box"));
        await K("wait", "pod/box", "pod/db-0", "--for=condition=Ready", "--timeout=240s");
        var ip = await K("get", "pod", "db-0", "-o", "jsonpath={.status.podIP}");
        await Eventually.GetAsync(() => Try("exec", "box", "--", "nslookup", $"db.{Namespace}.svc.cluster.local"), answer => answer.Output.Contains(ip), "the headless name");
        Assert.Contains(ip, await Exec("box", $"nslookup db-0.db.{Namespace}.svc.cluster.local"));
        Assert.Contains($"db-0.db.{Namespace}.svc.cluster.local", await Exec("box", $"nslookup {ip}"));
        Assert.Equal($"db-0.db.{Namespace}.svc.cluster.local", await Exec("db-0", "hostname -f"));
    }

    [Fact]
    public async Task ExternalNames_AreForwardedAndFollowed()
    {
        await Apply(ShellPod("box") + """
            apiVersion: v1
            kind: Service
            metadata: {name: away}
            spec: {type: ExternalName, externalName: outside.example}
            """);
        await K("wait", "pod/box", "--for=condition=Ready", "--timeout=240s");
        Assert.Contains("192.0.2.1", await Exec("box", "nslookup outside.example"));
        await Eventually.GetAsync(
            () => Try("exec", "box", "--", "nslookup", $"away.{Namespace}.svc.cluster.local"), answer => answer.Output.Contains("192.0.2.1"), "the external name");
        Assert.NotEqual(0, (await Try("exec", "box", "--", "nslookup", $"nobody.{Namespace}.svc.cluster.local")).ExitCode);
    }

    [Fact]
    public async Task HostPort_IsServedByTheNode()
    {
        await Apply("""
            apiVersion: v1
            kind: Pod
            metadata: {name: door}
            spec:
              terminationGracePeriodSeconds: 1
              containers:
              - name: c
                image: busybox:1.35
                command: ["sh", "-c", "echo door > /www/index.html; exec httpd -f -p 8080 -h /www"]
                ports: [{containerPort: 8080, hostPort: 18080}]
            """);
        await K("wait", "pod/door", "--for=condition=Ready", "--timeout=240s");
        var outside = await Eventually.GetAsync(
            () => Shell.RunAsync(Lan.Inside(Cluster.Outside, "curl", "-s", "-m", "2", $"http://{Node.Address}:18080/")), result => result.ExitCode == 0, "the host port");
        Assert.Equal("door", outside.Ok());
    }

    [Fact]
    public async Task NetworkPolicy_IsolatesAndLetsThrough()
    {
        await Apply(WebDeployment("web") + ShellPod("friend") + ShellPod("stranger") + """
            apiVersion: networking.k8s.io/v1
            kind: NetworkPolicy
            metadata: {name: web}
            spec:
              podSelector: {matchLabels: {app: web}}
              ingress:
              - from: [{podSelector: {matchLabels: {app: friend}}}]
                ports: [{port: 8080}]
            ---
            apiVersion: networking.k8s.io/v1
            kind: NetworkPolicy
            metadata: {name: friend}
            spec:
              podSelector: {matchLabels: {app: friend}}
              policyTypes: [Egress]
              egress:
              - to: [{podSelector: {matchLabels: {app: web}}}]
              - to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}}]
                ports: [{port: 53, protocol: UDP}]
            """);
        // Its probes come from the node, which is never shut out.
        await K("rollout", "status", "deployment/web", "--timeout=240s");
        await K("wait", "pod/friend", "pod/stranger", "--for=condition=Ready", "--timeout=240s");
        Task<CommandResult> Ask(string pod, string host, string port) => Try("exec", pod, "--", "netprobe", "get", host, port);
        await Eventually.GetAsync(() => Ask("friend", "web", "80"), answer => answer.Output.StartsWith("web-", StringComparison.Ordinal), "the friend is let in");
        await Eventually.GetAsync(() => Ask("stranger", "web", "80"), answer => answer.ExitCode != 0, "the stranger is not");
        await Eventually.GetAsync(() => Ask("friend", Lan.Gateway, "80"), answer => answer.ExitCode != 0 && !answer.Error.Contains("refused", StringComparison.OrdinalIgnoreCase), "the friend gets nowhere else");
        await Eventually.GetAsync(() => Ask("stranger", Lan.Gateway, "80"), answer => answer.Error.Contains("refused", StringComparison.OrdinalIgnoreCase), "the stranger does");
        await K("delete", "networkpolicy", "--all");
        await Eventually.GetAsync(() => Ask("stranger", "web", "80"), answer => answer.Output.StartsWith("web-", StringComparison.Ordinal), "everybody is let in again");
    }

    private static string UdpBackend(string name) => $$$"""
        apiVersion: v1
        kind: Pod
        metadata: {name: {{{name}}}, labels: {app: echo}}
        spec:
          terminationGracePeriodSeconds: 0
          containers: [{name: c, image: "busybox:1.35", command: ["netprobe", "serve", "5000", "{{{name}}}"]}]
        ---

        """;
}
