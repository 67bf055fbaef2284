namespace K3sFast.ApiMachinery.Tests;

public sealed class AutoscalerConversionTests
{
    private const string Second = """{"metadata":{"name":"a"},"spec":{"scaleTargetRef":{"kind":"Deployment","name":"d","apiVersion":"apps/v1"},"minReplicas":2,"maxReplicas":5,"metrics":[{"type":"Pods","pods":{"metric":{"name":"m","selector":{"matchLabels":{"a":"b"}}},"target":{"type":"AverageValue","averageValue":"5"}}},{"type":"Object","object":{"describedObject":{"kind":"Service","name":"s","apiVersion":"v1"},"target":{"type":"Value","value":"10"},"metric":{"name":"q"}}},{"type":"External","external":{"metric":{"name":"e"},"target":{"type":"Value","value":"10"}}},{"type":"ContainerResource","containerResource":{"name":"memory","target":{"type":"AverageValue","averageValue":"1Gi"},"container":"c"}},{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":50}}}],"behavior":{"scaleUp":{"stabilizationWindowSeconds":10,"selectPolicy":"Max","policies":[{"type":"Pods","value":4,"periodSeconds":60}]}}},"status":{"desiredReplicas":1,"currentMetrics":[{"type":"Resource","resource":{"name":"cpu","current":{"averageValue":"10m","averageUtilization":7}}}],"conditions":[{"type":"AbleToScale","status":"True"}]}}""";

    [Fact]
    public void ToFirst_OtherMetrics_TravelInAnnotations()
    {
        using var document = JsonCodec.Decode(System.Text.Encoding.UTF8.GetBytes(Second), null, DecodeOptions.Free, null);
        AutoscalerConversion.ToFirst(document.Root);
        var annotations = document.Root["metadata"u8]["annotations"u8];
        Assert.Equal(50, document.Root["spec"u8]["targetCPUUtilizationPercentage"u8].AsInt64());
        Assert.Equal(7, document.Root["status"u8]["currentCPUUtilizationPercentage"u8].AsInt64());
        Assert.Equal(
            """[{"type":"Pods","pods":{"metricName":"m","targetAverageValue":"5","selector":{"matchLabels":{"a":"b"}}}},{"type":"Object","object":{"target":{"kind":"Service","name":"s","apiVersion":"v1"},"metricName":"q","targetValue":"10"}},{"type":"External","external":{"metricName":"e","targetValue":"10"}},{"type":"ContainerResource","containerResource":{"name":"memory","targetAverageValue":"1Gi","container":"c"}}]""",
            annotations["autoscaling.alpha.kubernetes.io/metrics"u8].AsString());
        Assert.Equal("""[{"type":"AbleToScale","status":"True"}]""", annotations["autoscaling.alpha.kubernetes.io/conditions"u8].AsString());
        Assert.Contains("\"ScaleUp\":{\"StabilizationWindowSeconds\":10", annotations["autoscaling.alpha.kubernetes.io/behavior"u8].AsString());
        Assert.False(document.Root["spec"u8]["metrics"u8].IsDefined);
    }

    [Fact]
    public void ToSecond_OfWhatToFirstMade_IsTheSameAgain()
    {
        using var document = JsonCodec.Decode(System.Text.Encoding.UTF8.GetBytes(Second), null, DecodeOptions.Free, null);
        using var before = document.Clone();
        AutoscalerConversion.ToFirst(document.Root);
        AutoscalerConversion.ToSecond(document.Root);
        Assert.Equal(Canonical(before), Canonical(document));
    }

    [Fact]
    public void ToSecond_WithoutAnyMetric_AsksForEightyPercentOfCpu()
    {
        using var document = JsonCodec.Decode("""{"metadata":{},"spec":{"maxReplicas":1}}"""u8, null, DecodeOptions.Free, null);
        AutoscalerConversion.ToSecond(document.Root);
        Assert.Equal(80, document.Root["spec"u8]["metrics"u8][0]["resource"u8]["target"u8]["averageUtilization"u8].AsInt64());
    }

    private static string Canonical(ApiObject document)
    {
        var type = Schema.BuiltIn.FindType("autoscaling", "v2", "HorizontalPodAutoscaler")!;
        var text = new System.Buffers.ArrayBufferWriter<byte>();
        JsonCodec.Encode(document.Root, type, text);
        return System.Text.Encoding.UTF8.GetString(text.WrittenSpan);
    }
}
