using System.Text;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Kubelet.Tests.Integration;

/// <summary>Volumes and environment as a container sees them.</summary>
[Collection("containerd")]
public sealed class VolumeTests(ContainerdFixture containerd)
{
    [Fact]
    public async Task Volumes_OfAllKinds_ShowTheirContentModesAndOwners()
    {
        await using var agent = new AgentHarness(containerd, "kinds");
        agent.Api.Intercept = request => request.PathAndQuery.EndsWith("/serviceaccounts/default/token", StringComparison.Ordinal)
            ? new ApiResponse(201, Encoding.UTF8.GetBytes($$$"""{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","metadata":{},"spec":{"audiences":["api"],"expirationSeconds":3600},"status":{"token":"the-token","expirationTimestamp":"{{{DateTime.UtcNow.AddHours(1):yyyy-MM-ddTHH:mm:ssZ}}}"}}"""))
            : null;
        await agent.Client.CreateAsync(Resources.Secrets, new V1Secret { Metadata = new V1ObjectMeta { Name = "s", NamespaceProperty = "default" }, Data = new Dictionary<string, byte[]> { ["user"] = "bob"u8.ToArray() } }, default);
        agent.Start();
        const string Script = """
            cat /secret/user; echo; cat /projected/token; echo; cat /projected/labels; echo; cat /sub/deep; echo
            stat -c '%a %g' -L /projected/token /scratch; grep -c 'Kubernetes-managed' /etc/hosts; echo "$POD $LIMIT $GREETING $USER_KEY"; id -u; id -G
            """;
        await agent.CreateAsync(AgentHarness.Pod("kinds", Script, pod =>
        {
            pod.Metadata.Labels = new Dictionary<string, string> { ["app"] = "kinds" };
            pod.Spec.SecurityContext = new V1PodSecurityContext { FsGroup = 2000, RunAsUser = 1000, RunAsGroup = 3000 };
            var main = pod.Spec.Containers[0];
            main.Resources = new V1ResourceRequirements { Limits = new Dictionary<string, ResourceQuantity> { ["memory"] = new("64Mi"), ["cpu"] = new("500m") } };
            main.Env =
            [
                new V1EnvVar { Name = "POD", ValueFrom = new V1EnvVarSource { FieldRef = new V1ObjectFieldSelector { FieldPath = "metadata.name" } } },
                new V1EnvVar { Name = "LIMIT", ValueFrom = new V1EnvVarSource { ResourceFieldRef = new V1ResourceFieldSelector { Resource = "limits.memory", Divisor = new ResourceQuantity("1Mi") } } },
                new V1EnvVar { Name = "GREETING", Value = "hello-$(POD)" },
            ];
            main.EnvFrom = [new V1EnvFromSource { Prefix = "USER_", SecretRef = new V1SecretEnvSource { Name = "none", Optional = true } }];
            main.VolumeMounts =
            [
                new V1VolumeMount { Name = "secret", MountPath = "/secret" },
                new V1VolumeMount { Name = "projected", MountPath = "/projected" },
                new V1VolumeMount { Name = "scratch", MountPath = "/scratch" },
                new V1VolumeMount { Name = "scratch", MountPath = "/sub", SubPathExpr = "$(POD)/x" },
            ];
            var init = AgentHarness.Container("init", "mkdir -p /scratch/kinds/x && echo -n from-sub > /scratch/kinds/x/deep");
            init.VolumeMounts = [new V1VolumeMount { Name = "scratch", MountPath = "/scratch" }];
            pod.Spec.InitContainers = [init];
            pod.Spec.Volumes =
            [
                new V1Volume { Name = "secret", Secret = new V1SecretVolumeSource { SecretName = "s", DefaultMode = 288 } },
                new V1Volume { Name = "scratch", EmptyDir = new V1EmptyDirVolumeSource { Medium = "Memory", SizeLimit = new ResourceQuantity("1Mi") } },
                new V1Volume
                {
                    Name = "projected",
                    Projected = new V1ProjectedVolumeSource
                    {
                        Sources =
                        [
                            new V1VolumeProjection { ServiceAccountToken = new V1ServiceAccountTokenProjection { Path = "token", ExpirationSeconds = 3600 } },
                            new V1VolumeProjection { DownwardAPI = new V1DownwardAPIProjection { Items = [new V1DownwardAPIVolumeFile { Path = "labels", FieldRef = new V1ObjectFieldSelector { FieldPath = "metadata.labels" } }] } },
                        ],
                    },
                },
            ];
        }));

        var pod = await agent.WaitAsync("kinds", pod => pod.Status?.Phase is "Succeeded" or "Failed");

        Assert.Equal("bob\nthe-token\napp=\"kinds\"\nfrom-sub\n640 2000\n2777 2000\n1\nkinds 64 hello-kinds \n1000\n3000 2000", agent.Log(pod, "main"));
        // The init container has no limits.
        Assert.Equal("Burstable", pod.Status.QosClass);
    }

    [Fact]
    public async Task Sidecar_RunsBesideTheMainContainer_AndEndsAfterIt()
    {
        await using var agent = new AgentHarness(containerd, "sidecar");
        agent.Start();
        await agent.CreateAsync(AgentHarness.Pod("sidecar", "sleep 0.2; echo main done", pod =>
        {
            // The main container begins, and so may end, once it listens.
            var sidecar = AgentHarness.Container("helper", "trap 'echo stopping; exit 0' TERM; touch /tmp/listens; while true; do sleep 0.05; done");
            sidecar.RestartPolicy = "Always";
            sidecar.StartupProbe = new V1Probe { Exec = new V1ExecAction { Command = ["/bin/test", "-e", "/tmp/listens"] }, PeriodSeconds = 1, FailureThreshold = 600 };
            pod.Spec.TerminationGracePeriodSeconds = 60;
            pod.Spec.InitContainers = [sidecar];
        }));

        var pod = await agent.WaitAsync("sidecar", pod => pod.Status?.Phase == "Succeeded" && pod.Status.InitContainerStatuses[0].State.Terminated is not null);

        Assert.Equal("main done", agent.Log(pod, "main"));
        Assert.Equal("stopping", agent.Log(pod, "helper"));
    }

    [Fact]
    public async Task MissingConfigMap_AppearsLater_PodStarts()
    {
        await using var agent = new AgentHarness(containerd, "late");
        agent.Start();
        await agent.CreateAsync(AgentHarness.Pod("late", "echo $V", pod => pod.Spec.Containers[0].Env =
            [new V1EnvVar { Name = "V", ValueFrom = new V1EnvVarSource { ConfigMapKeyRef = new V1ConfigMapKeySelector { Name = "later", Key = "k" } } }]));
        var waiting = await agent.WaitAsync("late", pod => pod.Status?.ContainerStatuses?[0].State.Waiting?.Reason == "CreateContainerConfigError");
        Assert.Equal("configmap \"later\" not found", waiting.Status.ContainerStatuses[0].State.Waiting.Message);

        await agent.Client.CreateAsync(Resources.ConfigMaps, new V1ConfigMap { Metadata = new V1ObjectMeta { Name = "later", NamespaceProperty = "default" }, Data = new Dictionary<string, string> { ["k"] = "here" } }, default);

        var pod = await agent.WaitAsync("late", pod => pod.Status?.Phase == "Succeeded");
        Assert.Equal("here", agent.Log(pod, "main"));
    }
}
