namespace K3sFast.EndToEnd.Tests;

/// <summary>The cluster's DNS as pods see it: configured by k3s' ConfigMaps, while they ask.</summary>
public sealed class DnsTests(Cluster cluster) : ClusterTest(cluster)
{
    private const string System = "kube-system";

    [Fact]
    public async Task ConfigMap_IsBornAsK3sHasIt_AndNodesHaveNames()
    {
        await Apply(ShellPod("box"));
        await K("wait", "pod/box", "--for=condition=Ready", "--timeout=240s");
        var corefile = (await Node.KubectlAsync(["-n", System, "get", "configmap", "coredns", "-o", "jsonpath={.data.Corefile}"])).Ok();
        Assert.Contains("kubernetes cluster.local in-addr.arpa ip6.arpa", corefile);
        Assert.Contains("import /etc/coredns/custom/*.override", corefile);
        Assert.Contains($"{Node.Address} {Node.Name}", (await Node.KubectlAsync(["-n", System, "get", "configmap", "coredns", "-o", "jsonpath={.data.NodeHosts}"])).Ok());
        // With the dot: this nslookup asks for a name of one label only below its search domains.
        await Eventually.GetAsync(() => Try("exec", "box", "--", "nslookup", Node.Name + "."), answer => answer.Output.Contains(Node.Address), "the node's name");
    }

    [Fact]
    public async Task CustomConfigMap_EveryKindOfCustomisation_IsSeenFromAPod()
    {
        await Apply(WebDeployment("web") + ShellPod("box"));
        await K("rollout", "status", "deployment/web", "--timeout=240s");
        await K("wait", "pod/box", "--for=condition=Ready", "--timeout=240s");
        var address = await K("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}");
        await ApplyToSystem($$$"""
            apiVersion: v1
            kind: ConfigMap
            metadata: {name: coredns-custom}
            data:
              shop.override: |
                rewrite name shop.example web.{{{Namespace}}}.svc.cluster.local
              lab.server: |
                lab.example:53 {
                    file /etc/coredns/custom/lab.zone
                }
                hosts.example {
                    hosts {
                        192.0.2.44 printer.hosts.example
                    }
                }
                corp.example {
                    rewrite stop name suffix .corp.example .example answer auto
                    forward . 192.0.2.1
                    cache 30
                }
                made.example {
                    template IN A {
                        match ^host-(?P<last>[0-9]+)\.made\.example\.$
                        answer "{{ .Name }} 60 IN A 192.0.2.{{ .Group.last }}"
                    }
                    log
                }
              lab.zone: |
                @    IN SOA ns admin 1 7200 3600 86400 60
                     IN NS  ns
                ns   IN A   192.0.2.50
                *    IN A   192.0.2.51
            """);
        await SeenAsync("shop.example", address);
        await SeenAsync("anything.lab.example", "192.0.2.51");
        await SeenAsync("printer.hosts.example", "192.0.2.44");
        // The outside's name server, asked for a zone that is its own here under another name.
        await SeenAsync("outside.corp.example", Lan.Gateway);
        await SeenAsync("host-77.made.example", "192.0.2.77");
        await Eventually.GetAsync(() => Task.FromResult(Node.LogTail(400)), log => log.Contains("\"A IN host-77.made.example. udp", StringComparison.Ordinal), "a line of the log about the question");
        await Eventually.GetAsync(() => Try("exec", "box", "--", "netprobe", "get", "shop.example", "80"), answer => answer.Output.StartsWith("web-", StringComparison.Ordinal), "the Service by that name");

        // A mistake is told where people look, and what worked goes on.
        await ApplyToSystem("""
            apiVersion: v1
            kind: ConfigMap
            metadata: {name: coredns-custom}
            data: {shop.override: "nonsense here"}
            """);
        await Eventually.GetAsync(
            () => Node.KubectlAsync(["-n", System, "get", "events", "--field-selector", "reason=CorefileRefused", "-o", "jsonpath={.items[*].message}"]),
            events => events.Output.Contains("Unknown directive 'nonsense'"), "an event about the mistake");
        Assert.Contains(address, await Exec("box", "nslookup shop.example"));
        await Node.KubectlAsync(["-n", System, "delete", "configmap", "coredns-custom"]);
        await Eventually.GetAsync(() => Try("exec", "box", "--", "nslookup", "shop.example"), answer => !answer.Output.Contains(address), "the customisation is gone");
    }

    [Fact]
    public async Task Churn_PodsComeAndGo_TheHeadlessNameFollows()
    {
        await Apply("""
            apiVersion: v1
            kind: Service
            metadata: {name: herd}
            spec: {clusterIP: None, selector: {app: herd}, ports: [{name: http, port: 8080}]}
            ---

            """ + WebDeployment("herd-pods", replicas: 2).Replace("app: herd-pods", "app: herd", StringComparison.Ordinal) + ShellPod("box"));
        await K("rollout", "status", "deployment/herd-pods", "--timeout=240s");
        await K("wait", "pod/box", "--for=condition=Ready", "--timeout=240s");
        // Asked all the while, of a name that stays: no question may fail because others change.
        var steady = (await Node.KubectlAsync(["get", "service", "kubernetes", "-n", "default", "-o", "jsonpath={.spec.clusterIP}"])).Ok();
        await Exec("box", $"touch /tmp/go; (while [ -e /tmp/go ]; do echo >>/tmp/asked; nslookup kubernetes.default.svc.cluster.local | grep -q {steady} || echo >>/tmp/failed; done) >/dev/null 2>&1 &");
        foreach (var replicas in (int[])[4, 1, 3])
        {
            await K("scale", "deployment/herd-pods", $"--replicas={replicas}");
            await Eventually.GetAsync(async () =>
            {
                var pods = await K("get", "pods", "-l", "app=herd", "--field-selector", "status.phase=Running", "-o", "jsonpath={.items[*].status.podIP}");
                var names = await Try("exec", "box", "--", "nslookup", $"herd.{Namespace}.svc.cluster.local");
                var addresses = pods.Split(' ', StringSplitOptions.RemoveEmptyEntries);
                return (addresses, names.Output);
            }, seen => seen.addresses.Length == replicas && seen.addresses.All(address => seen.Output.Contains(address)), $"{replicas} addresses");
        }
        var counts = await Exec("box", "rm /tmp/go; touch /tmp/failed; wc -l </tmp/asked; wc -l </tmp/failed");
        var (asked, failed) = counts.Split('\n') is [var first, var second] ? (int.Parse(first), int.Parse(second)) : (0, -1);
        Assert.True(asked > 0);
        Assert.Equal(0, failed);
    }

    private async Task ApplyToSystem(string yaml) => (await Node.KubectlAsync(["-n", System, "apply", "-f", "-"], yaml)).Ok();

    private Task SeenAsync(string name, string address) =>
        Eventually.GetAsync(() => Try("exec", "box", "--", "nslookup", name), answer => answer.Output.Contains(address), name);
}
