namespace K3sFast.ApiMachinery.Tests;

public sealed class RestStrategyTests
{
    private const string Container = """{"name":"c","image":"nginx:1"}""";

    [Theory]
    [InlineData("""{"name":"c","image":"i"}""", "BestEffort")]
    [InlineData("""{"name":"c","image":"i","resources":{"requests":{"cpu":"1"}}}""", "Burstable")]
    [InlineData("""{"name":"c","image":"i","resources":{"limits":{"cpu":"1","memory":"1Gi"}}}""", "Guaranteed")]
    [InlineData("""{"name":"c","image":"i","resources":{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"500m"}}}""", "Burstable")]
    public void PrepareForCreate_Pod_IsPendingWithItsQuality(string container, string quality)
    {
        using var pod = Rules.Created("pods", """{"metadata":{"name":"a"},"spec":{"containers":[CONTAINER]},"status":{"phase":"Running"}}""".Replace("CONTAINER", container));

        Assert.Equal($$"""{"phase":"Pending","qosClass":"{{quality}}"}""", pod.Root["status"u8].ToString());
        Assert.Equal(1, pod.Root["metadata"u8]["generation"u8].AsInt64());
    }

    [Fact]
    public void PrepareForCreate_Namespace_IsActiveWithFinalizerAndLabel()
    {
        using var ns = Rules.Created("namespaces", """{"metadata":{"name":"a"}}""");

        Assert.Equal("""{"metadata":{"name":"a","labels":{"kubernetes.io/metadata.name":"a"}},"spec":{"finalizers":["kubernetes"]},"status":{"phase":"Active"}}""",
            Text.Encode(ns, Rules.Resource("namespaces").Type));
    }

    [Fact]
    public void PrepareForCreate_Job_SelectsItsOwnPods()
    {
        using var job = Rules.Created("jobs.batch", """{"metadata":{"name":"j","uid":"u"},"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[CONTAINER]}}}}""".Replace("CONTAINER", Container));

        Assert.Equal("""{"matchLabels":{"batch.kubernetes.io/controller-uid":"u"}}""", job.Root["spec"u8]["selector"u8].ToString());
        Assert.Equal("""{"job-name":"j","batch.kubernetes.io/job-name":"j","controller-uid":"u","batch.kubernetes.io/controller-uid":"u"}""",
            job.Root["spec"u8]["template"u8]["metadata"u8]["labels"u8].ToString());
    }

    [Fact]
    public void PrepareForUpdate_SpecUnchangedButForZeroValues_KeepsTheGeneration()
    {
        Assert.Equal(1, GenerationAfter("""{"hostNetwork":false,"nodeSelector":{},"containers":[CONTAINER]}""".Replace("CONTAINER", Container)));
        Assert.Equal(2, GenerationAfter("""{"hostNetwork":true,"containers":[CONTAINER]}""".Replace("CONTAINER", Container)));
        Assert.Equal(2, GenerationAfter("""{"containers":[{"name":"c","image":"nginx:2"}]}"""));
    }

    [Fact]
    public void PrepareForUpdate_Main_KeepsStoredStatus()
    {
        using var old = Rules.Created("deployments.apps", """{"metadata":{"name":"d"},"spec":{}}""");
        old.Root.GetOrAddObject("status"u8).Set("replicas"u8, 3);
        using var updated = Rules.Defaulted("deployments.apps", """{"metadata":{"name":"d","annotations":{"a":"b"}},"spec":{},"status":{"replicas":9}}""");
        RestStrategy.PrepareForUpdate(updated.Root, old.Root, Rules.Resource("deployments.apps"), "");

        Assert.Equal(3, updated.Root["status"u8]["replicas"u8].AsInt64());
        Assert.Equal(2, updated.Root["metadata"u8]["generation"u8].AsInt64());
    }

    [Fact]
    public void PrepareForUpdate_Status_KeepsStoredSpecAndGeneration()
    {
        using var old = Rules.Created("deployments.apps", """{"metadata":{"name":"d","labels":{"a":"b"}},"spec":{"replicas":2}}""");
        using var updated = Rules.Defaulted("deployments.apps", """{"metadata":{"name":"d","labels":{"x":"y"}},"spec":{"replicas":5},"status":{"replicas":9}}""");
        RestStrategy.PrepareForUpdate(updated.Root, old.Root, Rules.Resource("deployments.apps"), "status");

        Assert.Equal(2, updated.Root["spec"u8]["replicas"u8].AsInt64());
        Assert.Equal(9, updated.Root["status"u8]["replicas"u8].AsInt64());
        Assert.Equal("""{"a":"b"}""", updated.Root["metadata"u8]["labels"u8].ToString());
        Assert.Equal(1, updated.Root["metadata"u8]["generation"u8].AsInt64());
    }

    [Fact]
    public void PrepareForUpdate_DaemonSetTemplateChanged_CountsInTheAnnotation()
    {
        const string Old = """{"metadata":{"name":"d"},"spec":{"selector":{},"template":{"spec":{"containers":[{"name":"c","image":"a:1"}]}}}}""";
        using var old = Rules.Created("daemonsets.apps", Old);
        using var updated = Rules.Defaulted("daemonsets.apps", Old.Replace("a:1", "a:2"));
        RestStrategy.PrepareForUpdate(updated.Root, old.Root, Rules.Resource("daemonsets.apps"), "");

        Assert.Equal("2", updated.Root["metadata"u8]["annotations"u8]["deprecated.daemonset.template.generation"u8].AsString());
        Assert.Equal(2, updated.Root["metadata"u8]["generation"u8].AsInt64());
    }

    [Fact]
    public void PrepareForUpdate_ServiceLeavesNodePort_DropsWhatNoLongerApplies()
    {
        using var old = Rules.Created("services", """{"metadata":{"name":"s"},"spec":{"type":"NodePort","clusterIP":"10.43.0.5","clusterIPs":["10.43.0.5"],"ports":[{"port":80,"nodePort":30080}]}}""");
        using var updated = Rules.Defaulted("services", """{"metadata":{"name":"s"},"spec":{"type":"ClusterIP","clusterIP":"10.43.0.5","clusterIPs":["10.43.0.5"],"externalTrafficPolicy":"Cluster","ports":[{"port":80,"nodePort":30080}]}}""");
        RestStrategy.PrepareForUpdate(updated.Root, old.Root, Rules.Resource("services"), "");

        Assert.False(updated.Root["spec"u8]["ports"u8][0]["nodePort"u8].IsDefined);
        Assert.False(updated.Root["spec"u8]["externalTrafficPolicy"u8].IsDefined);
    }

    [Theory]
    [InlineData("pods", false, true)]
    [InlineData("services", true, true)]
    [InlineData("leases.coordination.k8s.io", true, false)]
    [InlineData("roles.rbac.authorization.k8s.io", true, true)]
    [InlineData("csinodes.storage.k8s.io", false, false)]
    public void Flags_Resource_AreUpstreams(string resource, bool createOnUpdate, bool unconditionalUpdate)
    {
        Assert.Equal(createOnUpdate, RestStrategy.AllowCreateOnUpdate(Rules.Resource(resource)));
        Assert.Equal(unconditionalUpdate, RestStrategy.AllowUnconditionalUpdate(Rules.Resource(resource)));
    }

    [Fact]
    public void Defaulting_StringData_BecomesData()
    {
        using var secret = Rules.Created("secrets", """{"metadata":{"name":"s"},"stringData":{"a":"hello"},"data":{"b":"eA=="}}""");

        Assert.Equal("""{"metadata":{"name":"s"},"data":{"a":"aGVsbG8=","b":"eA=="},"type":"Opaque"}""", Text.Encode(secret, Rules.Resource("secrets").Type));
    }

    private static long GenerationAfter(string spec)
    {
        using var old = Rules.Created("pods", """{"metadata":{"name":"a"},"spec":{"containers":[CONTAINER]}}""".Replace("CONTAINER", Container));
        using var updated = Rules.Defaulted("pods", """{"metadata":{"name":"a"},"spec":SPEC}""".Replace("SPEC", spec));
        RestStrategy.PrepareForUpdate(updated.Root, old.Root, Rules.Resource("pods"), "");
        return updated.Root["metadata"u8]["generation"u8].AsInt64();
    }
}
