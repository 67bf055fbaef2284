namespace K3sFast.ApiMachinery.Tests;

public sealed class ObjectWarningsTests
{
    private const string Pod = "\"containers\":[{\"name\":\"c\",\"image\":\"i\"";

    [Theory]
    [InlineData("pods", """{"metadata":{"name":"a","namespace":"n"},"spec":{"containers":[{"name":"c","image":"i"}]}}""")]
    [InlineData("pods", "{\"metadata\":{\"name\":\"a.b\",\"namespace\":\"n\"},\"spec\":{" + Pod + "}]}}",
        "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]")]
    [InlineData("pods", "{\"metadata\":{\"name\":\"a\",\"namespace\":\"n\"},\"spec\":{\"nodeSelector\":{\"beta.kubernetes.io/os\":\"linux\"},\"imagePullSecrets\":[{\"name\":\"s\"},{\"name\":\"s\"},{}],\"topologySpreadConstraints\":[{\"topologyKey\":\"z\",\"maxSkew\":1,\"whenUnsatisfiable\":\"DoNotSchedule\"}]," + Pod + "}]}}",
        "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
        "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
        "spec.imagePullSecrets[1].name: duplicate name \"s\"",
        "spec.imagePullSecrets[2].name: invalid empty name \"\"")]
    [InlineData("pods", "{\"metadata\":{\"name\":\"a\",\"namespace\":\"n\"},\"spec\":{" + Pod + ",\"env\":[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"A\",\"value\":\"$(A)2\"},{\"name\":\"A\",\"value\":\"3\"}],\"ports\":[{\"containerPort\":80,\"name\":\"x\"},{\"containerPort\":80,\"name\":\"x\",\"hostIP\":\"1.2.3.4\"}],\"resources\":{\"limits\":{\"memory\":\"500m\"}}}]}}",
        "spec.containers[0].resources.limits[memory]: fractional byte value \"500m\" is invalid, must be an integer",
        "spec.containers[0].resources.requests[memory]: fractional byte value \"500m\" is invalid, must be an integer",
        "spec.containers[0].env[2]: hides previous definition of \"A\", which may be dropped when using apply",
        "spec.containers[0].ports[1]: hostIP set without hostPort: {Name:x HostPort:0 ContainerPort:80 Protocol:TCP HostIP:1.2.3.4}",
        "spec.containers[0].ports[1]: overlapping port definition with spec.containers[0].ports[0]",
        "spec.containers[0].ports[1]: duplicate port name \"x\" with spec.containers[0].ports[0], services and probes that select ports by name will use spec.containers[0].ports[0]")]
    [InlineData("pods", "{\"metadata\":{\"name\":\"a\",\"namespace\":\"n\"},\"spec\":{\"volumes\":[{\"name\":\"v\",\"configMap\":{\"name\":\"m\",\"items\":[{\"key\":\"a\",\"path\":\"p\"},{\"key\":\"b\",\"path\":\"p/q\"}]}},{\"name\":\"w\",\"rbd\":{\"monitors\":[\"m\"],\"image\":\"i\"}}]," + Pod + "}]}}",
        "spec.volumes[1].rbd: deprecated in v1.28, non-functional in v1.31+",
        "volume \"v\" (ConfigMap \"m\"): overlapping paths: \"p/q\" with \"p\"")]
    [InlineData("services", """{"metadata":{"name":"a","namespace":"n"},"spec":{"externalIPs":["2001:DB8::1"],"externalName":"x","trafficDistribution":"PreferClose","ports":[{"port":1}]}}""",
        "spec.externalIPs[0]: IPv6 address \"2001:DB8::1\" should be in RFC 5952 canonical format (\"2001:db8::1\")",
        "spec.externalIPs is deprecated and may no longer be implemented in some clusters",
        "spec.externalName is ignored when spec.type is not \"ExternalName\"",
        "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"")]
    [InlineData("persistentvolumes", """{"metadata":{"name":"a","annotations":{"volume.beta.kubernetes.io/storage-class":"x"}},"spec":{"persistentVolumeReclaimPolicy":"Recycle"}}""",
        "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use \"storageClassName\" attribute instead",
        "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.")]
    [InlineData("ingresses.networking.k8s.io", """{"metadata":{"name":"a","namespace":"n","annotations":{"kubernetes.io/ingress.class":"x"}},"spec":{}}""",
        "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead")]
    [InlineData("resourcequotas", """{"metadata":{"name":"a","namespace":"n"},"spec":{"hard":{"cpu":"2","limits.cpu":"1"}}}""", "ResourceQuota cpu (2) should be less than limits.cpu (1)")]
    [InlineData("validatingwebhookconfigurations.admissionregistration.k8s.io", """{"metadata":{"name":"a.static.k8s.io"}}""",
        "metadata.name: names ending with \".static.k8s.io\" are reserved for static manifest-based configurations and cannot be managed via the API")]
    public void Create_OddObject_IsWarnedOf(string resource, string json, params string[] expected)
    {
        using var created = Rules.Created(resource, json);
        Assert.Equal(expected, ObjectWarnings.Of(created.Root, default, Rules.Resource(resource), "") ?? []);
    }

    [Fact]
    public void Update_OfAPod_SaysNothing()
    {
        using var pod = Rules.Created("pods", """{"metadata":{"name":"a.b","namespace":"n"},"spec":{"containers":[{"name":"c","image":"i"}]}}""");
        Assert.Null(ObjectWarnings.Of(pod.Root, pod.Root, Rules.Resource("pods"), ""));
    }
}
