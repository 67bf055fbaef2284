using K3sFast.Client;
using K3sFast.Client.Testing;
using K3sFast.Kubelet.Cri;
using K3sFast.Kubelet.Pods;
using K3sFast.Kubelet.Probes;
using k8s.Models;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Kubelet.Tests.Pods;

/// <summary>What is done about which state. Containers are written as name=state: R running, a number = exited, C created.</summary>
public sealed class PodPlanTests
{
    [Theory]
    [InlineData("Always", "", "", "main", "")]
    [InlineData("Always", "", "main=R", "", "")]
    [InlineData("Always", "", "main=0", "main", "")]
    [InlineData("Always", "", "main=C", "main", "")]
    [InlineData("OnFailure", "", "main=0", "", "over")]
    [InlineData("OnFailure", "", "main=1", "main", "")]
    [InlineData("Never", "", "main=1", "", "over")]
    [InlineData("Always", "first,second", "", "first", "")]
    [InlineData("Always", "first,second", "first=R", "", "")]
    [InlineData("Always", "first,second", "first=0", "second", "")]
    [InlineData("Always", "first,second", "first=1", "first", "")]
    [InlineData("Never", "first,second", "first=1", "", "over")]
    [InlineData("Always", "first,second", "first=0 second=0", "main", "")]
    [InlineData("Always", "side*,second", "side=R", "second", "")]
    [InlineData("Always", "side*", "side=R", "main", "")]
    [InlineData("Always", "side*", "side=0 main=R", "side", "")]
    [InlineData("Never", "side*", "side=R main=0", "", "over")]
    public void Compute_ReadySandbox_StartsWhatIsDue(string policy, string init, string states, string starts, string over) =>
        Check(policy, init, states, starts, over, hasSandbox: true);

    [Theory]
    [InlineData("Always", "", "", "main", "")]
    [InlineData("Never", "", "", "main", "")]
    [InlineData("Never", "", "main=0", "", "over")]
    [InlineData("Always", "", "main=137", "main", "")]
    [InlineData("Always", "first", "first=0 main=137", "first", "")]
    public void Compute_NoSandbox_BeginsAnewOrIsOver(string policy, string init, string states, string starts, string over) =>
        Check(policy, init, states, starts, over, hasSandbox: false);

    [Fact]
    public void Compute_ImageChanged_ContainerIsStopped()
    {
        var plan = Plan("Always", "", "main=R", hasSandbox: true, hash: "other");
        Assert.Equal("Container main definition changed, will be restarted", Assert.Single(plan.Kills).Message);
    }

    private static void Check(string policy, string init, string states, string starts, string over, bool hasSandbox)
    {
        var plan = Plan(policy, init, states, hasSandbox);
        Assert.Equal(starts, string.Join(' ', plan.Starts.Select(container => container.Name)));
        Assert.Equal(over == "over", plan.IsOver);
        if (!plan.IsOver) Assert.Equal(!hasSandbox, plan.NeedsSandbox);
    }

    private static PodPlan Plan(string policy, string init, string states, bool hasSandbox, string? hash = null)
    {
        var pod = new V1Pod
        {
            Metadata = new V1ObjectMeta { Name = "p", NamespaceProperty = "default", Uid = "u" },
            Spec = new V1PodSpec { HostNetwork = true, RestartPolicy = policy, Containers = [new V1Container { Name = "main", Image = "x" }], InitContainers = [] },
        };
        foreach (var name in init.Split(',', StringSplitOptions.RemoveEmptyEntries))
        {
            pod.Spec.InitContainers.Add(new V1Container { Name = name.TrimEnd('*'), Image = "x", RestartPolicy = name.EndsWith('*') ? "Always" : null });
        }
        var containers = PodContainer.Of(pod);
        var sandbox = new SandboxRecord("s", 0, hasSandbox, DateTime.UnixEpoch, []);
        var records = new List<ContainerRecord>();
        foreach (var state in states.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            var (name, value) = (state.Split('=')[0], state.Split('=')[1]);
            records.Add(new ContainerRecord
            {
                Id = name,
                Name = name,
                SandboxId = "s",
                Hash = hash ?? containers.First(container => container.Name == name).Hash,
                State = value switch { "R" => ContainerState.ContainerRunning, "C" => ContainerState.ContainerCreated, _ => ContainerState.ContainerExited },
                ExitCode = int.TryParse(value, out var code) ? code : 0,
            });
        }
        using var cri = new CriClient("/nonexistent");
        using var http = new HttpProber();
        var events = new EventRecorder(new InMemoryApi().Client, "test", null, NullLogger.Instance);
        using var probes = new PodProbes(new Prober(cri, http), events, TimeProvider.System, static () => { });
        return PodPlan.Compute(pod, containers, new PodRuntime(records.Count > 0 || hasSandbox ? [sandbox] : [], records), probes);
    }
}
