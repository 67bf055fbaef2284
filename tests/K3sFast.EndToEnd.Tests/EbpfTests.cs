using System.Net;
using System.Net.Sockets;
using System.Text;

namespace K3sFast.EndToEnd.Tests;

/// <summary>Services in proxy-mode=ebpf, as pods, the node and the outside see them.</summary>
public sealed class EbpfTests(EbpfCluster cluster) : IClassFixture<EbpfCluster>
{
    private static readonly string s_web = Manifests.Web("web", replicas: 2) + Manifests.Shell("box") + """
        apiVersion: v1
        kind: Service
        metadata: {name: web-outside}
        spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: nobody}
        spec: {selector: {app: nobody}, ports: [{port: 80}]}
        """;

    private ServerNode Node => cluster.Node;

    [Fact]
    public async Task Services_FromPodNodeAndOutside_ReachPods()
    {
        await StartAsync();
        Assert.NotEmpty(Directory.EnumerateFiles(cluster.Pins));
        // The name is asked of a Service too, by UDP.
        var seen = new HashSet<string>();
        await Eventually.GetAsync(() => cluster.Try("exec", "box", "--", "netprobe", "get", "web", "80"), answer =>
        {
            if (answer.ExitCode == 0) seen.Add(answer.Output.Trim());
            return seen.Count == 2;
        }, "an answer of each replica");
        // From now on no request is lost.
        Assert.Equal("40", await cluster.K("exec", "box", "--", "sh", "-c", "for i in $(seq 40); do netprobe get web 80 30; done | grep -c ^web-"));
        Assert.StartsWith("web-", await cluster.K("exec", "deploy/web", "--", "netprobe", "get", "web", "80", "30"));

        var address = await cluster.K("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}");
        Assert.StartsWith("web-", (await Node.RunAsync("curl", "-s", "-m", "30", $"http://{address}/")).Ok());
        var port = await cluster.K("get", "service", "web-outside", "-o", "jsonpath={.spec.ports[0].nodePort}");
        foreach (var host in (string[])[Node.Address, "127.0.0.1"])
            Assert.StartsWith("web-", (await Node.RunAsync("curl", "-s", "-m", "30", $"http://{host}:{port}/")).Ok());
        Assert.StartsWith("web-", (await Shell.RunAsync(Lan.Inside(cluster.Lan.Outside, "curl", "-s", "-m", "30", $"http://{Node.Address}:{port}/"))).Ok());

        // No rule knows a Service that programs carry.
        var rules = (await Node.RunAsync("nft", "list", "ruleset")).Ok();
        Assert.DoesNotContain(address, rules);
        Assert.DoesNotContain(port, rules);
        // curl: 7 = refused.
        var nobody = await cluster.K("get", "service", "nobody", "-o", "jsonpath={.spec.clusterIP}");
        Assert.Equal(7, (await Node.RunAsync("curl", "-s", "-m", "30", $"http://{nobody}/")).ExitCode);
    }

    [Fact]
    public async Task Restart_WhileAPodAsks_NoRequestFails()
    {
        await StartAsync();
        var address = await cluster.K("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}");
        using var requests = await RequestLoop.StartAsync(Node, address);
        await requests.UntilMadeAsync(10);
        await Node.StopAsync();
        await requests.UntilMadeAsync(20);
        Node.Start();
        await Node.WaitReadyAsync();
        await requests.UntilMadeAsync(20);
        Assert.Equal(0, await requests.EndAsync());
        await Eventually.GetAsync(() => cluster.Try("exec", "box", "--", "netprobe", "get", "web", "80"), answer => answer.Output.StartsWith("web-", StringComparison.Ordinal), "a pod's request after the restart");
    }

    [Fact]
    public async Task Outside_EveryNodeAndFamily_ReachesPodsOfBoth()
    {
        await StartOutsideAsync();
        var port = await cluster.K("get", "service", "each", "-o", "jsonpath={.spec.ports[0].nodePort}");
        // Whatever node is asked, whichever has the pod: both answer, and see a node.
        foreach (var host in (string[])["192.0.2.61", "192.0.2.62", "[2001:db8::61]", "[2001:db8::62]"])
        {
            var seen = new HashSet<string>();
            await Eventually.GetAsync(() => AskAsync(host, port), answer =>
            {
                if (answer.Split(' ') is [var name, var from])
                {
                    seen.Add(name);
                    Assert.DoesNotContain(Lan.Gateway, from);
                    Assert.DoesNotContain(Lan.Gateway6, from);
                }
                return seen.Count == 2;
            }, $"both pods by node port of {host}");
        }
        // Cluster IPs too, for who has a route to them.
        var addresses = (await cluster.K("get", "service", "each", "-o", "jsonpath={.spec.clusterIPs[*]}")).Split(' ');
        (await Shell.RunAsync(Lan.Inside(cluster.Outside, "ip", "route", "replace", addresses[0], "via", "192.0.2.62"))).Ok();
        (await Shell.RunAsync(Lan.Inside(cluster.Outside, "ip", "-6", "route", "replace", addresses[1], "via", "2001:db8::62"))).Ok();
        foreach (var host in (string[])[addresses[0], $"[{addresses[1]}]"])
            await Eventually.GetAsync(() => AskAsync(host, "80"), static answer => answer.Length > 0, $"cluster IP {host} from outside");

        // Here or nowhere, with the client's own address.
        var local = await cluster.K("get", "service", "local", "-o", "jsonpath={.spec.ports[0].nodePort}");
        foreach (var (host, client) in ((string, string)[])[("192.0.2.61", Lan.Gateway), ("[2001:db8::61]", Lan.Gateway6)])
        {
            for (var i = 0; i < 10; i++)
            {
                var answer = await Eventually.GetAsync(() => AskAsync(host, local), static answer => answer.Length > 0, $"local policy of {host}");
                // httpd puts addresses of IPv6 into brackets.
                Assert.StartsWith("on1 ", answer);
                Assert.EndsWith(client, answer.TrimEnd(']'));
            }
        }

        // A client stays with whom it got.
        var sticky = await cluster.K("get", "service", "sticky", "-o", "jsonpath={.spec.ports[0].nodePort}");
        var first = (await Eventually.GetAsync(() => AskAsync("192.0.2.62", sticky), static answer => answer.Length > 0, "the sticky Service")).Split(' ')[0];
        for (var i = 0; i < 15; i++) Assert.StartsWith(first, await AskAsync("192.0.2.62", sticky, "30"));

        // No rule has a part in it.
        var rules = (await Node.RunAsync("nft", "list", "ruleset")).Ok();
        foreach (var number in (string[])[port, local, sticky]) Assert.DoesNotContain(number, rules);
    }

    [Fact]
    public async Task Outside_PodDiesOrAgentRestarts_FlowsMoveOnAndConnectionsStay()
    {
        await StartOutsideAsync();
        var udp = await cluster.K("get", "service", "datagrams", "-o", "jsonpath={.spec.ports[0].nodePort}");
        var probe = Path.Combine(Node.Folder, "netprobe");
        await Eventually.GetAsync(
            () => Shell.RunAsync(Lan.Inside(cluster.Outside, probe, "ask", "192.0.2.62", udp, "hi")), static answer => answer.Output.Trim() is "on1 hi" or "on2 hi", "an answer by UDP");
        using (var flow = Shell.Start(Lan.Inside(cluster.Outside, probe, "follow", "192.0.2.62", udp), redirect: true))
        {
            try
            {
                // One socket, one flow: when its pod goes, the next datagram is another's.
                var one = (await flow.StandardOutput.ReadLineAsync())!.Split(' ')[0];
                await cluster.K("delete", "pod", one, "--grace-period=0", "--force");
                var other = (await flow.StandardOutput.ReadLineAsync())!.Split(' ')[0];
                Assert.NotEqual(one, other);
            }
            finally
            {
                flow.Kill();
            }
        }
        await StartOutsideAsync();

        var echo = await cluster.K("get", "service", "echo", "-o", "jsonpath={.spec.ports[0].nodePort}");
        using var open = cluster.Lan.OpenOutside(static () => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        await open.ConnectAsync(IPAddress.Parse("192.0.2.62"), int.Parse(echo));
        await EchoAsync("before");
        await cluster.Agent.StopAsync();
        await EchoAsync("nobody is there");
        // New ones are carried all the same.
        Assert.NotEqual("", await AskAsync("192.0.2.62", await cluster.K("get", "service", "each", "-o", "jsonpath={.spec.ports[0].nodePort}"), "30"));
        cluster.Agent.Start();
        await cluster.Agent.WaitReadyAsync();
        await EchoAsync("after");

        async Task EchoAsync(string words)
        {
            using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(60));
            await open.SendAsync(Encoding.ASCII.GetBytes(words), deadline.Token);
            var buffer = new byte[100];
            var length = 0;
            while (length < words.Length)
            {
                var read = await open.ReceiveAsync(buffer.AsMemory(length), deadline.Token);
                Assert.True(read > 0, "the connection ended");
                length += read;
            }
            Assert.Equal(words, Encoding.ASCII.GetString(buffer, 0, length));
        }
    }

    // A pod on each node that says who it is and who asks: by HTTP, by UDP, and as an echo.
    private async Task StartOutsideAsync()
    {
        (await Node.KubectlAsync(["apply", "-f", "-"], Pod("on1", "ebpf1") + Pod("on2", "ebpf2") + Outside("each", 8080) + Outside("local", 8080, ", externalTrafficPolicy: Local")
            + Outside("sticky", 8080, ", sessionAffinity: ClientIP") + Outside("datagrams", 5000, "", "UDP") + Outside("echo", 7000))).Ok();
        await cluster.K("wait", "pod/on1", "pod/on2", "--for=condition=Ready", "--timeout=240s");
        var each = await cluster.K("get", "service", "each", "-o", "jsonpath={.spec.ports[0].nodePort}");
        await Eventually.GetAsync(() => AskAsync("192.0.2.62", each), static answer => answer.Length > 0, "an answer from outside");
    }

    private async Task<string> AskAsync(string host, string port, string seconds = "5") =>
        (await Shell.RunAsync(Lan.Inside(cluster.Outside, "curl", "-s", "-m", seconds, $"http://{host}:{port}/cgi-bin/who"))).Output.Trim();

    private static string Pod(string name, string node) => $$$"""
        apiVersion: v1
        kind: Pod
        metadata: {name: {{{name}}}, labels: {app: outside}}
        spec:
          nodeSelector: {kubernetes.io/hostname: {{{node}}}}
          terminationGracePeriodSeconds: 0
          containers:
          - name: web
            image: busybox:1.35
            command:
            - sh
            - -c
            - |
              mkdir -p /www/cgi-bin
              printf '#!/bin/sh\necho; echo {{{name}}} $REMOTE_ADDR\n' >/www/cgi-bin/who
              chmod +x /www/cgi-bin/who
              exec httpd -f -p 8080 -h /www
            readinessProbe: {httpGet: {path: /cgi-bin/who, port: 8080}, periodSeconds: 1}
          - {name: udp, image: "busybox:1.35", command: ["netprobe", "serve", "5000", "{{{name}}}"]}
          - {name: echo, image: "busybox:1.35", command: ["nc", "-ll", "-p", "7000", "-e", "cat"]}
        ---

        """;

    private static string Outside(string name, int port, string more = "", string protocol = "TCP") => $$$"""
        apiVersion: v1
        kind: Service
        metadata: {name: {{{name}}}}
        spec: {type: NodePort, ipFamilyPolicy: PreferDualStack, selector: {app: outside}{{{more}}}, ports: [{port: 80, targetPort: {{{port}}}, protocol: {{{protocol}}}}]}
        ---

        """;

    private async Task StartAsync()
    {
        await cluster.Apply(s_web);
        await cluster.K("rollout", "status", "deployment/web", "--timeout=240s");
        await cluster.K("wait", "pod/box", "--for=condition=Ready", "--timeout=240s");
        await Eventually.GetAsync(() => cluster.Try("exec", "box", "--", "netprobe", "get", "web", "80"), answer => answer.ExitCode == 0, "the Service answers");
    }
}
