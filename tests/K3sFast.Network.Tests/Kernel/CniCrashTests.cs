using System.Collections.Concurrent;
using System.Text.Json;
using K3sFast.Network.Cni;

namespace K3sFast.Network.Tests.Kernel;

public sealed class CniCrashTests
{
    // 10.42.0.0/27 has 29 addresses to give.
    private const string PodCidr = "10.42.0.0/27";
    private const int Capacity = 29, Rounds = 8, CallsAtOnce = 3;

    /// <summary>The agent is killed in the middle of additions, again and again: no address is lost, and none is given twice.</summary>
    [Fact]
    public async Task ADD_AgentKilledAtAnyInstant_LeaksAndRepeatsNoAddress()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode(PodCidr);
        var folder = Path.Combine(node.Directory, "crash");
        Directory.CreateDirectory(folder);
        CniInstaller.InstallPlugin(folder);
        var random = new Random(20260101);
        var (added, failed) = (new ConcurrentDictionary<string, (string Address, Interop.Namespaces.NetworkNamespace Pod)>(), new ConcurrentDictionary<string, Interop.Namespaces.NetworkNamespace>());
        for (var round = 0; round < Rounds; round++)
        {
            using var agent = await CniAgentProcess.StartAsync(node, folder, PodCidr);
            var calls = Enumerable.Range(0, CallsAtOnce).Select(i => (Id: $"pod{round}x{i}", Pod: node.NewPodNamespace())).Select(pod => Task.Run(() =>
            {
                var (exitCode, output) = Call(node, folder, "ADD", pod.Id, pod.Pod);
                if (exitCode == 0) added[pod.Id] = (AddressOf(output), pod.Pod);
                else failed[pod.Id] = pod.Pod;
            })).ToArray();
            // Some are done by then, some are not begun.
            for (var spin = random.Next(200_000); spin > 0; spin--) Thread.SpinWait(20);
            agent.Kill();
            await Task.WhenAll(calls);
        }

        using var last = await CniAgentProcess.StartAsync(node, folder, PodCidr);
        Assert.Equal(added.Count, added.Values.Select(static pod => pod.Address).Distinct().Count());
        foreach (var (id, (_, pod)) in added) Assert.Equal((0, ""), Call(node, folder, "CHECK", id, pod));
        // A runtime takes down what it could not set up.
        foreach (var (id, pod) in failed) Assert.Equal((0, ""), Call(node, folder, "DEL", id, pod));
        var taken = added.Values.Select(static pod => pod.Address).ToHashSet();
        var everything = node.NewPodNamespace();
        for (var i = added.Count; i < Capacity; i++)
        {
            var (exitCode, output) = Call(node, folder, "ADD", $"more{i}", everything, $"p{i}");
            Assert.True(exitCode == 0, $"{i} of {Capacity}: {output}");
            Assert.True(taken.Add(AddressOf(output)), $"{AddressOf(output)} was given twice");
        }
        Assert.Contains("no address is left", Call(node, folder, "ADD", "toomany", everything, "q").Output, StringComparison.Ordinal);
        TestContext.Current.TestOutputHelper?.WriteLine($"{added.Count} additions came through, {failed.Count} were cut off");
        Assert.NotEmpty(failed);
    }

    private static string AddressOf(string output)
    {
        using var result = JsonDocument.Parse(output);
        return result.RootElement.GetProperty("ips")[0].GetProperty("address").GetString()!;
    }

    private static (int ExitCode, string Output) Call(TestNode node, string folder, string command, string id, Interop.Namespaces.NetworkNamespace pod, string interfaceName = "eth0") => TestNode.Execute(
        node.Namespace, Path.Combine(folder, "k3sfast"), $$"""{"cniVersion":"1.0.0","name":"k3sfast","type":"k3sfast","socketPath":"{{folder}}/cni.sock"}""", new Dictionary<string, string>
        {
            ["CNI_COMMAND"] = command, ["CNI_CONTAINERID"] = id, ["CNI_NETNS"] = pod.Path, ["CNI_IFNAME"] = interfaceName, ["CNI_ARGS"] = "",
        });
}
