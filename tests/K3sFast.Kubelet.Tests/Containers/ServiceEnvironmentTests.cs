using K3sFast.Kubelet.Containers;
using k8s.Models;

namespace K3sFast.Kubelet.Tests.Containers;

public sealed class ServiceEnvironmentTests
{
    [Fact]
    public void Build_Service_GivesAllItsVariables()
    {
        var variables = ServiceEnvironment.Build([Service("default", "kubernetes", "10.43.0.1", 443, "https"), Service("shop", "web-front", "10.43.0.9", 80, "http"), Service("other", "hidden", "10.43.0.8", 1, null)], "shop", withLinks: true);

        Assert.Equal("10.43.0.1", variables["KUBERNETES_SERVICE_HOST"]);
        Assert.Equal("443", variables["KUBERNETES_SERVICE_PORT_HTTPS"]);
        Assert.Equal("tcp://10.43.0.9:80", variables["WEB_FRONT_PORT"]);
        Assert.Equal("10.43.0.9", variables["WEB_FRONT_PORT_80_TCP_ADDR"]);
        Assert.DoesNotContain("HIDDEN_SERVICE_HOST", variables.Keys);
    }

    [Fact]
    public void Build_WithoutLinks_LeavesTheApiServerOnly()
    {
        var variables = ServiceEnvironment.Build([Service("default", "kubernetes", "10.43.0.1", 443, null), Service("shop", "web", "10.43.0.9", 80, null)], "shop", withLinks: false);

        Assert.Contains("KUBERNETES_SERVICE_HOST", variables.Keys);
        Assert.DoesNotContain("WEB_SERVICE_HOST", variables.Keys);
    }

    private static V1Service Service(string ns, string name, string ip, int port, string? portName) => new()
    {
        Metadata = new V1ObjectMeta { Name = name, NamespaceProperty = ns },
        Spec = new V1ServiceSpec { ClusterIP = ip, Ports = [new V1ServicePort { Port = port, Protocol = "TCP", Name = portName }] },
    };
}
