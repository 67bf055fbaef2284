using K3sFast.Kubelet.Pods;
using K3sFast.Kubelet.Status;
using k8s.Models;

namespace K3sFast.Kubelet.Tests.Status;

public sealed class PodPhasesTests
{
    [Theory]
    [InlineData("Always", "R", "Running")]
    [InlineData("Always", "W", "Pending")]
    [InlineData("Always", "0", "Running")]
    [InlineData("OnFailure", "0", "Succeeded")]
    [InlineData("OnFailure", "1", "Running")]
    [InlineData("Never", "1", "Failed")]
    [InlineData("Never", "0,1", "Failed")]
    [InlineData("Never", "0,0", "Succeeded")]
    [InlineData("Never", "R,1", "Running")]
    [InlineData("Never", "R,?", "Pending")]
    public void Compute_MainContainers_GiveThePhase(string policy, string states, string expected) => Assert.Equal(expected, Phase(policy, "", states, false));

    [Theory]
    [InlineData("Never", "1", "W", "Failed")]
    [InlineData("Always", "1", "W", "Pending")]
    [InlineData("Always", "R", "W", "Pending")]
    [InlineData("Always", "0", "R", "Running")]
    public void Compute_InitContainers_HoldThePodBack(string policy, string init, string main, string expected) => Assert.Equal(expected, Phase(policy, init, main, false));

    [Theory]
    [InlineData("0", "Succeeded")]
    [InlineData("137", "Failed")]
    public void Compute_TerminalPod_NeverRestarts(string states, string expected) => Assert.Equal(expected, Phase("Always", "", states, true));

    private static string Phase(string policy, string init, string main, bool isTerminal)
    {
        var pod = new V1Pod { Metadata = new V1ObjectMeta { Name = "p" }, Spec = new V1PodSpec { RestartPolicy = policy, Containers = [], InitContainers = [] } };
        var statuses = new Dictionary<string, V1ContainerStatus>();
        Add(pod.Spec.InitContainers, "i", init);
        Add(pod.Spec.Containers, "c", main);
        return PodPhases.Compute(pod, PodContainer.Of(pod), statuses, isTerminal, hasInitialized: false);

        void Add(IList<V1Container> containers, string prefix, string states)
        {
            var number = 0;
            foreach (var state in states.Split(',', StringSplitOptions.RemoveEmptyEntries))
            {
                var name = $"{prefix}{number++}";
                containers.Add(new V1Container { Name = name, Image = "x" });
                if (state == "?") continue;
                statuses[name] = new V1ContainerStatus
                {
                    Name = name,
                    State = state switch
                    {
                        "R" => new V1ContainerState { Running = new V1ContainerStateRunning() },
                        "W" => new V1ContainerState { Waiting = new V1ContainerStateWaiting() },
                        _ => new V1ContainerState { Terminated = new V1ContainerStateTerminated { ExitCode = int.Parse(state, System.Globalization.CultureInfo.InvariantCulture) } },
                    },
                };
            }
        }
    }
}
