using K3sFast.Client;
using K3sFast.Kubelet.Cri;
using k8s.Models;

namespace K3sFast.Kubelet.Tests.Integration;

/// <summary>Pods through the whole agent: real containerd and runc, API in memory.</summary>
[Collection("containerd")]
public sealed class PodLifecycleTests(ContainerdFixture containerd)
{
    [Fact]
    public async Task StaticPod_RunsToCompletion_LogIsThere()
    {
        await using var agent = new AgentHarness(containerd, "static");
        await File.WriteAllTextAsync(
            Path.Combine(agent.Options.ManifestDir, "hello.json"),
            $$$"""{"apiVersion":"v1","kind":"Pod","metadata":{"name":"hello"},"spec":{"hostNetwork":true,"restartPolicy":"Never","containers":[{"name":"main","image":"{{{ContainerdFixture.Image}}}","imagePullPolicy":"Never","command":["/bin/echo","hello from a static pod"]}]}}""",
            TestContext.Current.CancellationToken);
        agent.Start();

        var pod = await agent.WaitAsync("hello-node1", pod => pod.Status?.Phase == "Succeeded");

        Assert.Equal("hello from a static pod", agent.Log(pod, "main"));
        Assert.Equal("Completed", pod.Status.ContainerStatuses[0].State.Terminated.Reason);
    }

    [Fact]
    public async Task ApiPod_Runs_BecomesReadyAndIsDeleted()
    {
        await using var agent = new AgentHarness(containerd, "api");
        agent.Start();
        await agent.CreateAsync(AgentHarness.Pod("web", "echo up; sleep 1000"));

        var pod = await agent.WaitAsync("web", pod => pod.Status?.Conditions?.Any(c => c.Type == "Ready" && c.Status == "True") == true);
        Assert.Equal("Running", pod.Status.Phase);
        Assert.Equal("127.0.0.1", pod.Status.PodIP);
        Assert.StartsWith("containerd://", pod.Status.ContainerStatuses[0].ContainerID, StringComparison.Ordinal);

        await agent.DeleteAsync("web");
        var writes = agent.Api.Writes;
        var deadline = DateTime.UtcNow + TimeSpan.FromSeconds(60);
        while (!writes.ToArray().Contains("DELETE /api/v1/namespaces/default/pods/web") && DateTime.UtcNow < deadline) await Task.Delay(20, TestContext.Current.CancellationToken);
        Assert.Contains("DELETE /api/v1/namespaces/default/pods/web", writes.ToArray());
    }

    [Fact]
    public async Task FailingContainer_OnFailurePolicy_RestartsAndBacksOff()
    {
        await using var agent = new AgentHarness(containerd, "crash");
        agent.Start();
        await agent.CreateAsync(AgentHarness.Pod("crash", "echo oops > /dev/termination-log; exit 3", pod => pod.Spec.RestartPolicy = "OnFailure"));

        var pod = await agent.WaitAsync("crash", pod => pod.Status?.ContainerStatuses?[0].State.Waiting?.Reason == "CrashLoopBackOff");

        var status = pod.Status.ContainerStatuses[0];
        Assert.Equal("Running", pod.Status.Phase);
        // The first back-off, or a later one where it was over before anybody looked.
        string[] delays = ["10s", "20s", "40s", "1m20s", "2m40s"];
        Assert.Equal($"back-off {delays[status.RestartCount - 1]} restarting failed container=main pod=crash_default({pod.Metadata.Uid})", status.State.Waiting.Message);
        Assert.Equal(3, status.LastState.Terminated.ExitCode);
        Assert.Equal("oops\n", status.LastState.Terminated.Message);
    }

    [Fact]
    public async Task ConfigMapVolume_Changed_ReachesTheRunningPod()
    {
        await using var agent = new AgentHarness(containerd, "volumes");
        var configMap = new V1ConfigMap { Metadata = new V1ObjectMeta { Name = "settings", NamespaceProperty = "default" }, Data = new Dictionary<string, string> { ["key"] = "old" } };
        configMap = await agent.Client.CreateAsync(Resources.ConfigMaps, configMap, default);
        agent.Start();
        await agent.CreateAsync(AgentHarness.Pod("reader", "echo $FROM_MAP; while [ $(cat /data/key) = old ]; do sleep 0.05; done; cat /data/key; echo; cat /scratch/x", pod =>
        {
            pod.Spec.Containers[0].Env = [new V1EnvVar { Name = "FROM_MAP", ValueFrom = new V1EnvVarSource { ConfigMapKeyRef = new V1ConfigMapKeySelector { Name = "settings", Key = "key" } } }];
            pod.Spec.Containers[0].VolumeMounts = [new V1VolumeMount { Name = "data", MountPath = "/data" }, new V1VolumeMount { Name = "scratch", MountPath = "/scratch" }];
            pod.Spec.InitContainers = [AgentHarness.Container("init", "echo from-init > /scratch/x")];
            pod.Spec.InitContainers[0].VolumeMounts = [new V1VolumeMount { Name = "scratch", MountPath = "/scratch" }];
            pod.Spec.Volumes = [new V1Volume { Name = "data", ConfigMap = new V1ConfigMapVolumeSource { Name = "settings" } }, new V1Volume { Name = "scratch", EmptyDir = new V1EmptyDirVolumeSource() }];
        }));
        await agent.WaitAsync("reader", pod => pod.Status?.Phase == "Running");

        configMap.Data["key"] = "new";
        await agent.Client.UpdateAsync(Resources.ConfigMaps, configMap, default);

        var pod = await agent.WaitAsync("reader", pod => pod.Status?.Phase == "Succeeded");
        Assert.Equal("old\nnew\nfrom-init", agent.Log(pod, "main"));
    }

    [Fact]
    public async Task AgentRestarted_ContainerKeepsRunning()
    {
        var first = new AgentHarness(containerd, "restart");
        first.Start();
        await first.CreateAsync(AgentHarness.Pod("keeper", "sleep 1000"));
        var before = await first.WaitAsync("keeper", pod => pod.Status?.Phase == "Running");
        await first.DisposeAsync();

        await using var second = new AgentHarness(containerd, "restart", first.Api);
        second.Start();
        await second.CreateAsync(AgentHarness.Pod("other", "true"));
        await second.WaitAsync("other", pod => pod.Status?.Phase == "Succeeded");

        var after = await second.WaitAsync("keeper", pod => pod.Status?.Phase == "Running");
        Assert.Equal(before.Status.ContainerStatuses[0].ContainerID, after.Status.ContainerStatuses[0].ContainerID);
        Assert.Equal(0, after.Status.ContainerStatuses[0].RestartCount);
    }

    /// <summary>As it is left when an agent is killed between making a container and starting it.</summary>
    [Fact]
    public async Task AgentRestarted_ContainerThatWasNeverStarted_IsReplacedAndCountsAsNoRestart()
    {
        var first = new AgentHarness(containerd, "unstarted");
        first.Start();
        await first.CreateAsync(AgentHarness.Pod("half", "sleep 1000", static pod => pod.Spec.RestartPolicy = "Always"));
        var pod = await first.WaitAsync("half", pod => pod.Status?.Phase == "Running");
        await first.DisposeAsync();
        using var cri = new CriClient(containerd.Socket);
        var started = await cri.ContainerStatusAsync(pod.Status.ContainerStatuses[0].ContainerID["containerd://".Length..], default);
        var sandbox = Assert.Single(await cri.ListSandboxesAsync(pod.Metadata.Uid, default));
        await cri.StopContainerAsync(started!.Id, 0, default);
        await cri.RemoveContainerAsync(started.Id, default);
        var config = new ContainerConfig { Metadata = started.Metadata, Image = started.Image, Labels = { started.Labels }, Annotations = { started.Annotations } };
        var left = await cri.CreateContainerAsync(sandbox.Id, config, new PodSandboxConfig { Metadata = sandbox.Metadata }, default);

        await using var second = new AgentHarness(containerd, "unstarted", first.Api);
        second.Start();

        var after = await second.WaitAsync("half", now => now.Status?.Phase == "Running" && now.Status.ContainerStatuses[0] is { State.Running: not null } status
            && status.ContainerID != pod.Status.ContainerStatuses[0].ContainerID);
        Assert.Equal(0, after.Status.ContainerStatuses[0].RestartCount);
        Assert.NotEqual("containerd://" + left, after.Status.ContainerStatuses[0].ContainerID);
        Assert.Single(await cri.ListContainersAsync(pod.Metadata.Uid, default));
    }

    [Fact]
    public async Task EndingPod_StopsBeingReady_SaysSoBeforeItHasEnded()
    {
        await using var agent = new AgentHarness(containerd, "ending");
        agent.Start();
        await agent.CreateAsync(AgentHarness.Pod("slow", "touch /tmp/ready; trap 'rm /tmp/ready' TERM; while :; do sleep 0.1; done", pod =>
        {
            pod.Spec.TerminationGracePeriodSeconds = 600;
            pod.Spec.Containers[0].StartupProbe = new V1Probe { Exec = new V1ExecAction { Command = ["/bin/true"] }, PeriodSeconds = 1 };
            pod.Spec.Containers[0].ReadinessProbe = new V1Probe { Exec = new V1ExecAction { Command = ["/bin/test", "-e", "/tmp/ready"] }, PeriodSeconds = 1, FailureThreshold = 2 };
        }));
        static bool IsReady(V1Pod pod) => pod.Status?.Conditions?.Any(c => c.Type == "Ready" && c.Status == "True") == true;
        await agent.WaitAsync("slow", IsReady);

        await agent.DeleteAsync("slow", graceSeconds: 600);

        var pod = await agent.WaitAsync("slow", pod => pod.Metadata.DeletionTimestamp is not null && !IsReady(pod));
        Assert.NotNull(pod.Status.ContainerStatuses[0].State.Running);
        Assert.True(pod.Status.ContainerStatuses[0].Started);
        await agent.DeleteAsync("slow", graceSeconds: 1);
    }

    [Fact]
    public async Task LivenessProbe_Fails_ContainerIsRestarted()
    {
        await using var agent = new AgentHarness(containerd, "liveness");
        agent.Start();
        await agent.CreateAsync(AgentHarness.Pod("sick", "trap 'exit 0' TERM; while true; do sleep 0.1; done", pod =>
        {
            pod.Spec.RestartPolicy = "Always";
            pod.Spec.Containers[0].LivenessProbe = new V1Probe { Exec = new V1ExecAction { Command = ["/bin/false"] }, PeriodSeconds = 1, FailureThreshold = 1 };
        }));

        var pod = await agent.WaitAsync("sick", pod => pod.Status?.ContainerStatuses?[0].RestartCount > 0);
        Assert.NotNull(pod.Status.ContainerStatuses[0].LastState.Terminated);
    }
}

/// <summary>One containerd for all integration tests.</summary>
[CollectionDefinition("containerd")]
public sealed class ContainerdCollection : ICollectionFixture<ContainerdFixture>;
