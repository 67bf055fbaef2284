namespace K3sFast.EndToEnd.Tests;

/// <summary>Services, policies and flows over three nodes, in both families.</summary>
[Collection(nameof(AgentCluster))]
public sealed class NodeTrafficTests(AgentCluster cluster) : IAsyncLifetime
{
    private static readonly string[] s_addresses = ["192.0.2.41", "192.0.2.42", "192.0.2.43"];

    // A pair of servers on the two agents, a client on the server; whichever test comes first makes them.
    public async ValueTask InitializeAsync()
    {
        await Apply(Pod("pair-a1", "a1", "pair", Web) + Pod("pair-a2", "a2", "pair", Web) + Pod("asker", "s1", "asker", Idle) + Pod("asker-a1", "a1", "asker", Idle));
        await K("wait", "pod/pair-a1", "pod/pair-a2", "pod/asker", "pod/asker-a1", "--for=condition=Ready", "--timeout=240s");
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Fact]
    public async Task Service_DualStack_AnswersInBothFamiliesInsideAndOnEveryNode()
    {
        await Apply(Service("both", "type: NodePort, ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv4, IPv6]"));
        var addresses = (await K("get", "service", "both", "-o", "jsonpath={.spec.clusterIPs[*]}")).Split(' ');
        Assert.Equal(2, addresses.Length);
        foreach (var address in addresses)
        {
            // Both servers, wherever they are; and each sees the pod itself.
            var own = await K("get", "pod", "asker", "-o", $"jsonpath={{.status.podIPs[{(address.Contains(':') ? 1 : 0)}].ip}}");
            foreach (var name in (string[])["pair-a1", "pair-a2"])
                await UntilAsync(() => Try("exec", "asker", "--", "netprobe", "get", address, "80"), answer => answer.StartsWith(name, StringComparison.Ordinal) && answer.Contains(own, StringComparison.Ordinal), $"{name} by {address} as {own}");
        }
        var port = await K("get", "service", "both", "-o", "jsonpath={.spec.ports[0].nodePort}");
        foreach (var node in s_addresses.Concat(["[2001:db8::41]", "[2001:db8::42]", "[2001:db8::43]"]))
            await UntilAsync(() => Curl($"http://{node}:{port}/"), static answer => answer.StartsWith("pair-", StringComparison.Ordinal), $"node port of {node}");
        await K("delete", "service", "both");
    }

    [Fact]
    public async Task Affinity_OfAClient_HoldsAcrossNodes()
    {
        await Apply(Service("sticky", "sessionAffinity: ClientIP"));
        var address = await K("get", "service", "sticky", "-o", "jsonpath={.spec.clusterIP}");
        await UntilAsync(() => Try("exec", "asker", "--", "netprobe", "get", address, "80"), static answer => answer.StartsWith("pair-", StringComparison.Ordinal), "the service");
        var answers = await K("exec", "asker", "--", "sh", "-c", $"for i in $(seq 20); do netprobe get {address} 80 30 | cut -d' ' -f1; done | sort | uniq -c");
        Assert.Matches(@"^20 pair-a[12]$", answers.Trim());
        await K("delete", "service", "sticky");
    }

    [Fact]
    public async Task LocalPolicies_KeepTheSourceAndTheNode()
    {
        await Apply(Pod("lone", "a2", "lone", Web));
        await K("wait", "pod/lone", "--for=condition=Ready", "--timeout=240s");
        await Apply(Service("local", "type: NodePort, externalTrafficPolicy: Local, internalTrafficPolicy: Local", "lone") + Service("anywhere", "type: NodePort", "lone"));
        var (local, anywhere) = (await K("get", "service", "local", "-o", "jsonpath={.spec.ports[0].nodePort}"), await K("get", "service", "anywhere", "-o", "jsonpath={.spec.ports[0].nodePort}"));
        // The node that has the pod: it sees who asks.
        await UntilAsync(() => Curl($"http://{s_addresses[2]}:{local}/"), static answer => answer.StartsWith("lone", StringComparison.Ordinal) && answer.Contains(Lan.Gateway, StringComparison.Ordinal), "the source is kept");
        // Elsewhere there is nobody; with the other policy there is, and it sees the node.
        await UntilAsync(() => Curl($"http://{s_addresses[1]}:{anywhere}/"), static answer => answer.StartsWith("lone", StringComparison.Ordinal) && !answer.Contains(Lan.Gateway, StringComparison.Ordinal), "by another node");
        Assert.NotEqual(0, (await Curl($"http://{s_addresses[1]}:{local}/")).ExitCode);
        // Inside: only from the pod's own node.
        await Apply(Pod("asker-a2", "a2", "asker", Idle));
        await K("wait", "pod/asker-a2", "--for=condition=Ready", "--timeout=240s");
        var address = await K("get", "service", "local", "-o", "jsonpath={.spec.clusterIP}");
        await UntilAsync(() => Try("exec", "asker-a2", "--", "netprobe", "get", address, "80"), static answer => answer.StartsWith("lone", StringComparison.Ordinal), "from its own node");
        Assert.NotEqual(0, (await Try("exec", "asker-a1", "--", "netprobe", "get", address, "80")).ExitCode);
        await K("delete", "service/local", "service/anywhere", "pod/lone", "pod/asker-a2");
    }

    [Fact]
    public async Task UdpFlow_ItsPodDies_MovesToTheOtherNode()
    {
        await Apply(Pod("echo-a1", "a1", "echo", """["netprobe", "serve", "5000", "echo-a1"]""") + Pod("echo-a2", "a2", "echo", """["netprobe", "serve", "5000", "echo-a2"]""") + """
            apiVersion: v1
            kind: Service
            metadata: {name: echo}
            spec: {selector: {app: echo}, ports: [{port: 5000, protocol: UDP}]}
            ---

            """);
        await K("wait", "pod/echo-a1", "pod/echo-a2", "--for=condition=Ready", "--timeout=240s");
        await Apply(Pod("follower", "s1", "follower", $"""["netprobe", "follow", "{await K("get", "service", "echo", "-o", "jsonpath={.spec.clusterIP}")}", "5000"]"""));
        var first = await UntilAsync(() => Try("logs", "follower"), static log => log.StartsWith("echo-", StringComparison.Ordinal), "the flow begins");
        await K("delete", "pod", first[..7], "--grace-period=0", "--force");
        var other = first[..7] == "echo-a1" ? "echo-a2" : "echo-a1";
        await UntilAsync(() => Try("logs", "follower"), log => log.Split('\n')[^1].StartsWith(other, StringComparison.Ordinal), "the flow goes on elsewhere");
        await K("delete", "service/echo", "pod/follower", $"pod/{other}");
    }

    [Fact]
    public async Task Policy_AcrossNodes_LetsThroughWhomItNames()
    {
        var address = await K("get", "pod", "pair-a2", "-o", "jsonpath={.status.podIP}");
        Task<CommandResult> Ask(string pod) => Try("exec", pod, "--", "netprobe", "get", address, "8080");
        await UntilAsync(() => Ask("pair-a1"), static answer => answer.StartsWith("pair-a2", StringComparison.Ordinal), "before there is a policy");
        await Apply("""
            apiVersion: networking.k8s.io/v1
            kind: NetworkPolicy
            metadata: {name: askers}
            spec:
              podSelector: {matchLabels: {app: pair}}
              ingress: [{from: [{podSelector: {matchLabels: {app: asker}}}], ports: [{port: 8080}]}]
            """);
        await Eventually.GetAsync(() => Ask("pair-a1"), static answer => answer.ExitCode != 0, "another node's pod is shut out");
        await UntilAsync(() => Ask("asker"), static answer => answer.StartsWith("pair-a2", StringComparison.Ordinal), "the server's pod is let in");
        await UntilAsync(() => Ask("asker-a1"), static answer => answer.StartsWith("pair-a2", StringComparison.Ordinal), "the other agent's pod is let in");
        await K("delete", "networkpolicy", "askers");
        await UntilAsync(() => Ask("pair-a1"), static answer => answer.StartsWith("pair-a2", StringComparison.Ordinal), "after it");
    }

    private static async Task<string> UntilAsync(Func<Task<CommandResult>> attempt, Predicate<string> isGood, string what) =>
        (await Eventually.GetAsync(attempt, answer => answer.ExitCode == 0 && isGood(answer.Output.Trim()), what)).Output.Trim();

    private Task<CommandResult> Curl(string url) => Shell.RunAsync(Lan.Inside(cluster.Lan.Outside, "curl", "-g", "-s", "-m", "3", url));

    private async Task Apply(string yaml) => (await cluster.Server.KubectlAsync(["apply", "-f", "-"], yaml)).Ok();

    private async Task<string> K(params string[] arguments) => (await Try(arguments)).Ok();

    private Task<CommandResult> Try(params string[] arguments) => cluster.Server.KubectlAsync(arguments);

    // Says its name and who asks: busybox runs this where a folder has no index.
    private const string Web = """["sh", "-c", "mkdir /www/cgi-bin; printf '#!/bin/sh\\nprintf \"Content-Type: text/plain\\\\r\\\\n\\\\r\\\\n\"; echo $(hostname) $REMOTE_ADDR\\n' > /www/cgi-bin/index.cgi; chmod 755 /www/cgi-bin/index.cgi; exec httpd -f -p 8080 -h /www"]""";
    private const string Idle = """["sh", "-c", "trap exit TERM; while :; do sleep 1; done"]""";

    private static string Pod(string name, string node, string app, string command) => $$$"""
        apiVersion: v1
        kind: Pod
        metadata: {name: {{{name}}}, labels: {app: {{{app}}}}}
        spec:
          nodeName: {{{node}}}
          terminationGracePeriodSeconds: 1
          containers: [{name: c, image: "busybox:1.35", command: {{{command}}}}]
        ---

        """;

    private static string Service(string name, string extra, string app = "pair") => $$$"""
        apiVersion: v1
        kind: Service
        metadata: {name: {{{name}}}}
        spec: {selector: {app: {{{app}}}}, ports: [{port: 80, targetPort: 8080}], {{{extra}}}}
        ---

        """;
}
