using System.Net;
using System.Net.Sockets;
using System.Text;
using K3sFast.Client;
using K3sFast.Interop.Namespaces;
using K3sFast.Network.Tests.Policy;
using k8s.Models;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>NetworkPolicies by packets: every pair of three pods in each of three namespaces, on two ports.</summary>
public sealed class PolicyTests
{
    private static readonly int[] s_ports = [80, 81];

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Policies_OfTheTable_LetThroughWhatTheApiSays()
    {
        TestNode.RequirePrivilege();
        using var lan = new TestLan();
        await using var node = lan.AddNode(1, hasIPv6: false);
        await node.StartAsync("vxlan");
        var pods = await AddPodsAsync(lan, node);
        foreach (var policyCase in PolicyCase.Table)
        {
            var policies = new List<V1NetworkPolicy>();
            for (var i = 0; i < policyCase.Policies.Length; i++) policies.Add(await CreateAsync(lan, policyCase.Policies[i].Namespace, $"p{i}", policyCase.Policies[i].Spec, pods));
            await ExpectAsync(pods, policies, policyCase.Name, node);
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

    private static async Task<List<(PolicyJudge.Pod Info, NetworkNamespace Pod, List<IDisposable> Servers)>> AddPodsAsync(TestLan lan, LanNode node)
    {
        var pods = new List<(PolicyJudge.Pod, NetworkNamespace, List<IDisposable>)>();
        foreach (var ns in (string[])["x", "y", "z"])
        {
            await CreateNamespaceAsync(lan, ns);
            foreach (var name in (string[])["a", "b", "c"])
            {
                var pod = await node.AddPodAsync($"{ns}{name}", ns, name);
                await lan.Api.Client.CreateAsync(Resources.Pods, PodObject(ns, name, node.Name, pod.Address), Cancellation);
                pods.Add((new PolicyJudge.Pod(ns, name, pod.Address), pod.Namespace, [.. s_ports.Select(port => Traffic.ServeUdp(pod.Namespace, port, name))]));
            }
        }
        return pods;
    }

    private static async Task CreateNamespaceAsync(TestLan lan, string name) => await lan.Api.Client.CreateAsync(
        Resources.Namespaces, new V1Namespace { Metadata = new V1ObjectMeta { Name = name, Labels = new Dictionary<string, string> { ["ns"] = name } } }, Cancellation);

    private static V1Pod PodObject(string ns, string name, string node, IPAddress? address) => new()
    {
        Metadata = new V1ObjectMeta { Name = name, NamespaceProperty = ns, Labels = new Dictionary<string, string> { ["pod"] = name } },
        Spec = new V1PodSpec
        {
            NodeName = node,
            Containers = [new V1Container { Name = "c", Ports = [.. s_ports.Select(port => new V1ContainerPort { Name = $"serve-{port}", Protocol = "UDP", ContainerPort = port })] }],
        },
        Status = new V1PodStatus { Phase = "Running", PodIPs = address is null ? null : [new V1PodIP { Ip = address.ToString() }] },
    };

    private static async Task<V1NetworkPolicy> CreateAsync(
        TestLan lan, string ns, string name, string spec, List<(PolicyJudge.Pod Info, NetworkNamespace Pod, List<IDisposable> Servers)> pods)
    {
        foreach (var (info, _, _) in pods) spec = spec.Replace($"{{{info.Namespace}/{info.Name}}}", info.Address.ToString(), StringComparison.Ordinal);
        var body = $$"""{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"{{name}}","namespace":"{{ns}}"},"spec":{{spec}}}""";
        var answer = await lan.Api.Client.Transport.SendAsync(new ApiRequest("POST", $"/apis/networking.k8s.io/v1/namespaces/{ns}/networkpolicies", Encoding.UTF8.GetBytes(body)), Cancellation);
        Assert.True(answer.IsSuccess, Encoding.UTF8.GetString(answer.Body.Span));
        return await lan.Api.Client.GetAsync(Resources.NetworkPolicies, ns, name, Cancellation);
    }

    // New sockets for each attempt: what was let through once belongs to a connection, and is let through on.
    private static async Task ExpectAsync(
        List<(PolicyJudge.Pod Info, NetworkNamespace Pod, List<IDisposable> Servers)> pods, List<V1NetworkPolicy> policies, string name, LanNode node)
    {
        var wanted = new HashSet<string>();
        foreach (var (from, _, _) in pods)
        {
            foreach (var (to, _, _) in pods)
            {
                foreach (var port in s_ports)
                {
                    if (PolicyJudge.Allows(policies, from, to, port)) wanted.Add($"{from.Namespace}/{from.Name}>{to.Namespace}/{to.Name}:{port}");
                }
            }
        }
        var wrong = "";
        await LanNode.Until(async () =>
        {
            var seen = await AskAllAsync(pods, wanted);
            wrong = $"let through though it should not: {string.Join(' ', seen.Except(wanted))}\nnot let through: {string.Join(' ', wanted.Except(seen))}";
            return seen.SetEquals(wanted);
        }, $"{name}\n{node.Log}").ContinueWith(task => Assert.True(task.IsCompletedSuccessfully, $"{name}: {wrong}\n{task.Exception?.GetBaseException().Message}"), TaskScheduler.Default);
    }

    private static async Task<HashSet<string>> AskAllAsync(List<(PolicyJudge.Pod Info, NetworkNamespace Pod, List<IDisposable> Servers)> pods, HashSet<string> wanted)
    {
        var answers = await Task.WhenAll(pods.Select(async from =>
        {
            var seen = new HashSet<string>();
            using var client = Traffic.UdpClient(from.Pod, 0);
            var buffer = new byte[256];
            var own = wanted.Where(pair => pair.StartsWith($"{from.Info.Namespace}/{from.Info.Name}>", StringComparison.Ordinal)).ToHashSet();
            // What must not come through is asked first: by the time everything else has answered, it would have.
            foreach (var isWanted in (bool[])[false, true])
            {
                foreach (var (to, _, _) in pods)
                {
                    foreach (var port in s_ports)
                    {
                        if (own.Contains($"{from.Info.Namespace}/{from.Info.Name}>{to.Namespace}/{to.Name}:{port}") == isWanted)
                            await client.SendToAsync("?"u8.ToArray(), new IPEndPoint(to.Address, port));
                    }
                }
            }
            using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(own.Count > 0 ? 2 : 0.1));
            try
            {
                while (true)
                {
                    var received = await client.ReceiveFromAsync(buffer, SocketFlags.None, new IPEndPoint(IPAddress.Any, 0), patience.Token);
                    var peer = (IPEndPoint)received.RemoteEndPoint;
                    var to = pods.First(pod => pod.Info.Address.Equals(peer.Address)).Info;
                    seen.Add($"{from.Info.Namespace}/{from.Info.Name}>{to.Namespace}/{to.Name}:{peer.Port}");
                    if (own.IsSubsetOf(seen)) patience.CancelAfter(20);
                }
            }
            catch (OperationCanceledException)
            {
            }
            return seen;
        }));
        return [.. answers.SelectMany(static seen => seen)];
    }

    private static Task UntilAsync(NetworkNamespace from, IPAddress address, bool isAnswered, LanNode node) => LanNode.Until(async () =>
    {
        using var client = Traffic.UdpClient(from, 0);
        return await Traffic.AskUdpAsync(client, address, 80, TimeSpan.FromSeconds(isAnswered ? 2 : 0.3)) is not null == isAnswered;
    }, $"{address} {(isAnswered ? "does not answer" : "answers")}\n{node.Log}");
}
