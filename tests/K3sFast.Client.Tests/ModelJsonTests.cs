using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using k8s;
using k8s.Models;

namespace K3sFast.Client.Tests;

/// <summary>Our JSON metadata says what the package's own says.</summary>
public sealed class ModelJsonTests
{
    private static readonly JsonSerializerOptions s_package = new(SourceGenerationContext.Default.Options) { TypeInfoResolver = JsonTypeInfoResolver.Combine(SourceGenerationContext.Default, new DefaultJsonTypeInfoResolver()) };

    [Theory]
    [InlineData(typeof(V1Pod), """{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","creationTimestamp":"2026-01-02T03:04:05Z","labels":{"a":"b"},"ownerReferences":[{"apiVersion":"v1","kind":"X","name":"n","uid":"u","controller":true}]},"spec":{"activeDeadlineSeconds":5,"containers":[{"name":"c","image":"i","env":[{"name":"E","value":"v"}],"livenessProbe":{"httpGet":{"path":"/","port":"http"}},"readinessProbe":{"tcpSocket":{"port":80}},"resources":{"limits":{"cpu":"100m","memory":"64Mi"}},"volumeMounts":[{"mountPath":"/m","name":"v"}]}],"nodeSelector":{"x":"y"},"volumes":[{"name":"v","emptyDir":{"sizeLimit":"1Gi"}}]},"status":{"conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2026-01-02T03:04:05Z"}],"startTime":"2026-01-02T03:04:05Z"}}""")]
    [InlineData(typeof(V1Lease), """{"metadata":{"name":"l"},"spec":{"holderIdentity":"h","renewTime":"2026-01-02T03:04:05.678901Z","acquireTime":"2026-01-02T03:04:05.000000Z","leaseDurationSeconds":40}}""")]
    [InlineData(typeof(V1Deployment), """{"metadata":{"name":"d"},"spec":{"replicas":0,"selector":{"matchExpressions":[{"key":"k","operator":"In","values":["v"]}]},"strategy":{"rollingUpdate":{"maxSurge":"25%","maxUnavailable":1},"type":"RollingUpdate"},"template":{"spec":{"containers":[]}}}}""")]
    [InlineData(typeof(Eventsv1Event), """{"metadata":{"name":"e"},"eventTime":"2026-01-02T03:04:05.678901Z","regarding":{"kind":"Pod","name":"p"},"series":{"count":2,"lastObservedTime":"2026-01-02T03:04:05.678901Z"}}""")]
    [InlineData(typeof(V1Node), """{"metadata":{"name":"n"},"spec":{"taints":[{"effect":"NoSchedule","key":"k","timeAdded":"2026-01-02T03:04:05Z"}]},"status":{"allocatable":{"cpu":"2","memory":"4041136Ki","pods":"110"},"images":[{"names":["a"],"sizeBytes":3000000000}]}}""")]
    [InlineData(typeof(V1ControllerRevision), """{"metadata":{"name":"r"},"data":{"spec":{"x":[1,"two",null,{"y":true}]}},"revision":3}""")]
    [InlineData(typeof(V1Secret), """{"metadata":{"name":"s"},"data":{"k":"dmFsdWU="},"type":"Opaque","immutable":false}""")]
    [InlineData(typeof(V1CronJob), """{"metadata":{"name":"c"},"spec":{"schedule":"* * * * *","suspend":false,"jobTemplate":{"spec":{"template":{"spec":{"containers":[{"name":"c"}],"restartPolicy":"Never"}}}}},"status":{"lastScheduleTime":"2026-01-02T03:04:00Z"}}""")]
    [InlineData(typeof(V1Service), """{"metadata":{"name":"s"},"spec":{"clusterIPs":["10.0.0.1"],"ports":[{"port":80,"targetPort":"web","protocol":"TCP"}],"sessionAffinityConfig":{"clientIP":{"timeoutSeconds":5}}}}""")]
    public void Model_ReadAndWritten_IsAsWithThePackagesMetadata(Type type, string json)
    {
        var ours = JsonSerializer.Deserialize(json, ModelJson.Options.GetTypeInfo(type));
        var theirs = JsonSerializer.Deserialize(json, s_package.GetTypeInfo(type));
        var written = JsonSerializer.Serialize(ours, ModelJson.Options.GetTypeInfo(type));
        Assert.Equal(JsonSerializer.Serialize(theirs, s_package.GetTypeInfo(type)), written);
        using var before = JsonDocument.Parse(json);
        using var after = JsonDocument.Parse(written);
        Assert.Equal(before.RootElement.EnumerateObject().Select(static member => member.Name).Order(), after.RootElement.EnumerateObject().Select(static member => member.Name).Order());
    }

    [Fact]
    public void Time_ThatIsNullInTheApi_IsReadAndWrittenSo()
    {
        const string Json = """{"metadata":{"name":"s"},"status":{"conditions":[{"lastTransitionTime":null,"message":"m","reason":"r","status":"True","type":"T"}]}}""";
        var service = JsonSerializer.Deserialize(Json, ModelJson.TypeInfo<V1Service>())!;
        Assert.Equal("T", Assert.Single(service.Status.Conditions).Type);
        Assert.Contains("\"lastTransitionTime\":null", JsonSerializer.Serialize(service, ModelJson.TypeInfo<V1Service>()));
    }
}
