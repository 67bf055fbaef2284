using System.Net;
using System.Text;
using K3sFast.Client;
using K3sFast.Interop.Namespaces;
using K3sFast.Network.Tests.Policy;
using k8s.Models;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>NetworkPolicies by packets: every pair of three pods in each of three namespaces, on two ports of each protocol, in both families, over two nodes.</summary>
public sealed class PolicyTests
{
    private static readonly int[] s_ports = [80, 81];

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Policies_OfTheTable_LetThroughWhatTheApiSays()
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        await using var node = lan.AddNode(1);
        await using var other = lan.AddNode(2);
        await node.StartAsync("vxlan");
        await other.StartAsync("vxlan");
        // The last of each namespace is on a node of its own.
        var pods = await AddPodsAsync(lan, node, other);
        using var probes = new ProbedPods(pods);
        foreach (var policyCase in PolicyCase.Table)
        {
            var policies = new List<V1NetworkPolicy>();
            for (var i = 0; i < policyCase.Policies.Length; i++) policies.Add(await CreateAsync(lan, policyCase.Policies[i].Namespace, $"p{i}", policyCase.Policies[i].Spec, pods));
            await probes.ExpectAsync(policies, policyCase.Name, () => $"{node.Log}\n--\n{other.Log}");
            foreach (var policy in policies) await lan.Api.Client.DeleteAsync(Resources.NetworkPolicies, policy.Metadata.NamespaceProperty, policy.Metadata.Name, Cancellation);
        }
    }

    [Fact]
    public async Task Labels_OfPodsAndNamespaces_AreFollowed()
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        await using var node = lan.AddNode(1, hasIPv6: false);
        await node.StartAsync("vxlan");
        var pods = await AddPodsAsync(lan, node);
        await CreateAsync(lan, "x", "p", """{"podSelector":{"matchLabels":{"role":"closed"}},"ingress":[{"from":[{"namespaceSelector":{"matchLabels":{"team":"friends"}}}]}]}""", pods);
        var (xa, ya) = (pods.First(pod => pod.Info is { Namespace: "x", Name: "a" }), pods.First(pod => pod.Info is { Namespace: "y", Name: "a" }));
        await UntilAsync(ya.Pod, xa.Info.Address, isAnswered: true, node);
        await PatchAsync("/api/v1/namespaces/x/pods/a", """{"metadata":{"labels":{"role":"closed"}}}""");
        await UntilAsync(ya.Pod, xa.Info.Address, isAnswered: false, node);
        await PatchAsync("/api/v1/namespaces/y", """{"metadata":{"labels":{"team":"friends"}}}""");
        await UntilAsync(ya.Pod, xa.Info.Address, isAnswered: true, node);
        await PatchAsync("/api/v1/namespaces/y", """{"metadata":{"labels":{"team":"others"}}}""");
        await UntilAsync(ya.Pod, xa.Info.Address, isAnswered: false, node);
        // A node reaches its own pods whatever policies say: it probes them.
        await UntilAsync(node.Namespace, xa.Info.Address, isAnswered: true, node);
        // Somebody throws the rules away: they come back.
        TestNode.Execute(node.Namespace, "nft", "", null, "delete", "table", "ip", "k3sfast-policy");
        await LanNode.Until(() => Task.FromResult(node.Log.Has("they are back")), node.Log.ToString());
        await UntilAsync(ya.Pod, xa.Info.Address, isAnswered: false, node);
        await lan.Api.Client.DeleteAsync(Resources.NetworkPolicies, "x", "p", Cancellation);
        await UntilAsync(ya.Pod, xa.Info.Address, isAnswered: true, node);

        async Task PatchAsync(string path, string patch)
        {
            var answer = await lan.Api.Client.Transport.SendAsync(new ApiRequest("PATCH", path, Encoding.UTF8.GetBytes(patch), "application/merge-patch+json"), Cancellation);
            Assert.True(answer.IsSuccess, Encoding.UTF8.GetString(answer.Body.Span));
        }
    }

    [Fact]
    public async Task Packets_LetThroughAndDropped_AreCountedAndLoggedByPolicy()
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        await using var node = lan.AddNode(1, hasIPv6: false);
        await node.StartAsync("vxlan");
        var pods = await AddPodsAsync(lan, node);
        await CreateAsync(lan, "x", "door", """{"podSelector":{"matchLabels":{"pod":"a"}},"ingress":[{"from":[{"namespaceSelector":{"matchLabels":{"ns":"y"}}}]}]}""", pods);
        NetworkNamespace PodOf(string key) => pods.First(pod => pod.Info.Key == key).Pod;
        var door = pods.First(static pod => pod.Info.Key == "x/a").Info.Address;
        await UntilAsync(PodOf("z/a"), door, isAnswered: false, node);
        await UntilAsync(PodOf("y/a"), door, isAnswered: true, node);
        var rules = TestNode.Execute(node.Namespace, "nft", "", null, "list", "table", "ip", "k3sfast-policy").Output;
        Assert.Matches("""comment "x/door"\s+ip saddr @peers-[0-9a-f]+ counter packets [1-9][0-9]* bytes [0-9]+ accept""", rules);
        Assert.Matches("""counter packets [1-9][0-9]* bytes [0-9]+ drop""", rules);
        // A kernel without the log says so instead.
        if (!node.Log.Has("no netfilter log")) Assert.Contains("""limit rate 10/minute burst 10 packets log prefix "not let in by x/door" group 100""", rules);
    }

    [Fact]
    public async Task NewPod_InAnIsolatedNamespace_IsIsolatedBeforeItsNetworkIsThere()
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        await using var node = lan.AddNode(1, hasIPv6: false);
        await CreateNamespaceAsync(lan, "x");
        await CreateAsync(lan, "x", "deny", """{"podSelector":{},"policyTypes":["Ingress","Egress"]}""", []);
        await node.StartAsync("vxlan");

        // The API knows the pod, and not its address; of the other it does not know at all.
        await lan.Api.Client.CreateAsync(Resources.Pods, PodObject("x", "known", node.Name, null), Cancellation);
        await AddPodIsolatedAsync("known", "isolate-in-");
        await AddPodIsolatedAsync("unknown", "isolate-unknown");
        // Once it does, the pod is as it says.
        var policy = PodObject("x", "unknown", node.Name, null);
        await lan.Api.Client.CreateAsync(Resources.Pods, policy, Cancellation);
        await LanNode.Until(() => Task.FromResult(!Map().Contains("isolate-unknown")), node.Log.ToString());

        async Task AddPodIsolatedAsync(string name, string chain)
        {
            var pod = await node.AddPodAsync("c" + name, "x", name);
            Assert.Contains($"{pod.Address} : goto {chain}", Map());
        }

        string Map() => TestNode.Execute(node.Namespace, "nft", "", null, "list", "map", "ip", "k3sfast-policy", "isolated-in").Output;
    }

    [Fact]
    public async Task Policies_SwitchedOff_LeaveNothing()
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        await using var node = lan.AddNode(1, hasIPv6: false);
        await node.StartAsync("vxlan");
        await CreateNamespaceAsync(lan, "x");
        await CreateAsync(lan, "x", "deny", """{"podSelector":{},"policyTypes":["Ingress","Egress"]}""", []);
        string Tables() => TestNode.Execute(node.Namespace, "nft", "", null, "list", "tables").Output;
        await LanNode.Until(() => Task.FromResult(Tables().Contains("table ip k3sfast-policy")), node.Log.ToString());
        // What is established goes on over a restart; the rules stay.
        await node.StopAsync();
        Assert.Contains("table ip k3sfast-policy", Tables());
        await node.StartAsync("vxlan", options => options with { IsNetworkPolicyEnabled = false });
        await LanNode.Until(() => Task.FromResult(!Tables().Contains("k3sfast-policy")), node.Log.ToString());
    }

    private static async Task<List<(PolicyJudge.Pod Info, NetworkNamespace Pod, List<IDisposable> Servers)>> AddPodsAsync(TestLan lan, LanNode node, LanNode? other = null)
    {
        var pods = new List<(PolicyJudge.Pod, NetworkNamespace, List<IDisposable>)>();
        foreach (var ns in (string[])["x", "y", "z"])
        {
            await CreateNamespaceAsync(lan, ns);
            foreach (var name in (string[])["a", "b", "c"])
            {
                var home = name == "c" && other is not null ? other : node;
                var pod = await home.AddPodAsync($"{ns}{name}", ns, name);
                await lan.Api.Client.CreateAsync(Resources.Pods, PodObject(ns, name, home.Name, pod.Addresses), Cancellation);
                pods.Add((new PolicyJudge.Pod(ns, name, pod.Addresses), pod.Namespace, [.. s_ports.Select(port => Traffic.ServeUdp(pod.Namespace, port, name))]));
            }
        }
        return pods;
    }

    private static async Task CreateNamespaceAsync(TestLan lan, string name) => await lan.Api.Client.CreateAsync(
        Resources.Namespaces, new V1Namespace { Metadata = new V1ObjectMeta { Name = name, Labels = new Dictionary<string, string> { ["ns"] = name } } }, Cancellation);

    private static V1Pod PodObject(string ns, string name, string node, IReadOnlyList<IPAddress>? addresses) => new()
    {
        Metadata = new V1ObjectMeta { Name = name, NamespaceProperty = ns, Labels = new Dictionary<string, string> { ["pod"] = name } },
        Spec = new V1PodSpec
        {
            NodeName = node,
            Containers = [new V1Container { Name = "c", Ports = [.. Ports()] }],
        },
        Status = new V1PodStatus { Phase = "Running", PodIPs = addresses is null ? null : [.. addresses.Select(address => new V1PodIP { Ip = address.ToString() })] },
    };

    private static IEnumerable<V1ContainerPort> Ports()
    {
        foreach (var protocol in PacketProbe.Protocols.Select(PacketProbe.NameOf))
        {
            foreach (var port in s_ports) yield return new V1ContainerPort { Name = PolicyJudge.NameOf(protocol, port), Protocol = protocol, ContainerPort = port };
        }
    }

    private static async Task<V1NetworkPolicy> CreateAsync(
        TestLan lan, string ns, string name, string spec, List<(PolicyJudge.Pod Info, NetworkNamespace Pod, List<IDisposable> Servers)> pods)
    {
        foreach (var (info, _, _) in pods)
        {
            spec = spec.Replace($"{{{info.Key}}}", info.Address.ToString(), StringComparison.Ordinal);
            if (info.Addresses.Count > 1) spec = spec.Replace($"{{{info.Key}/6}}", info.Addresses[1].ToString(), StringComparison.Ordinal);
        }
        var body = $$"""{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"{{name}}","namespace":"{{ns}}"},"spec":{{spec}}}""";
        var answer = await lan.Api.Client.Transport.SendAsync(new ApiRequest("POST", $"/apis/networking.k8s.io/v1/namespaces/{ns}/networkpolicies", Encoding.UTF8.GetBytes(body)), Cancellation);
        Assert.True(answer.IsSuccess, Encoding.UTF8.GetString(answer.Body.Span));
        return await lan.Api.Client.GetAsync(Resources.NetworkPolicies, ns, name, Cancellation);
    }

    private static Task UntilAsync(NetworkNamespace from, IPAddress address, bool isAnswered, LanNode node) => LanNode.Until(async () =>
    {
        using var client = Traffic.UdpClient(from, 0);
        return await Traffic.AskUdpAsync(client, address, 80, TimeSpan.FromSeconds(isAnswered ? 2 : 0.3)) is not null == isAnswered;
    }, $"{address} {(isAnswered ? "does not answer" : "answers")}\n{node.Log}");
}
