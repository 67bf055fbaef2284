using System.Buffers;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>
/// Autoscalers between autoscaling/v1 and v2. v1 knows one metric, average CPU utilization; everything else of v2 travels in annotations,
/// in upstream's words, so that a client of v1 loses nothing.
/// </summary>
public static class AutoscalerConversion
{
    private const long DefaultUtilization = 80;

    private static ReadOnlySpan<byte> MetricsKey => "autoscaling.alpha.kubernetes.io/metrics"u8;

    private static ReadOnlySpan<byte> CurrentMetricsKey => "autoscaling.alpha.kubernetes.io/current-metrics"u8;

    private static ReadOnlySpan<byte> BehaviorKey => "autoscaling.alpha.kubernetes.io/behavior"u8;

    private static ReadOnlySpan<byte> ConditionsKey => "autoscaling.alpha.kubernetes.io/conditions"u8;

    private static readonly TypeSchema s_specType = Schema.BuiltIn.FindType("io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerSpec")!;

    /// <summary>Makes a v2 object one of v1, in place.</summary>
    public static void ToFirst(ApiNode autoscaler)
    {
        // Field ownership is computed with objects that lack parts, the spec even.
        ApiNode spec = autoscaler.GetOrAddObject("spec"u8), status = autoscaler["status"u8];
        DropAnnotations(autoscaler);
        var others = autoscaler.Document.NewArray();
        foreach (var metric in spec["metrics"u8].Elements)
        {
            if (IsCpu(metric, "target"u8, out long utilization))
                spec.Set("targetCPUUtilizationPercentage"u8, utilization);
            else
                SourceToFirst(others.AppendObject(), metric, isStatus: false);
        }
        if (others.Count > 0)
            Annotate(autoscaler, MetricsKey, Json(others));
        var current = autoscaler.Document.NewArray();
        foreach (var metric in status["currentMetrics"u8].Elements)
        {
            SourceToFirst(current.AppendObject(), metric, isStatus: true);
            if (IsCpu(metric, "current"u8, out long utilization))
                status.Set("currentCPUUtilizationPercentage"u8, utilization);
        }
        if (current.Count > 0)
            Annotate(autoscaler, CurrentMetricsKey, Json(current));
        if (spec["behavior"u8].Kind == NodeKind.Object)
            Annotate(autoscaler, BehaviorKey, GoValue.Member(spec, "behavior", s_specType));
        if (status["conditions"u8].Count > 0)
            Annotate(autoscaler, ConditionsKey, Json(status["conditions"u8]));
        spec.Remove("metrics"u8);
        spec.Remove("behavior"u8);
        status.Remove("currentMetrics"u8);
        status.Remove("conditions"u8);
    }

    /// <summary>Makes a v1 object one of v2, in place.</summary>
    public static void ToSecond(ApiNode autoscaler)
    {
        ApiNode spec = autoscaler.GetOrAddObject("spec"u8), annotations = autoscaler["metadata"u8]["annotations"u8];
        var metrics = autoscaler.Document.NewArray();
        using (var others = Parse(annotations[MetricsKey]))
            if (others is not null)
                foreach (var metric in others.Root.Elements)
                    SourceToSecond(metrics.AppendObject(), metric, isStatus: false);
        if (spec["targetCPUUtilizationPercentage"u8].TryGetInt64(out long wanted))
            AddCpu(metrics, wanted);
        else if (metrics.Count == 0)
            AddCpu(metrics, DefaultUtilization);
        spec.Set("metrics"u8, metrics);
        spec.Remove("targetCPUUtilizationPercentage"u8);
        using (var behavior = Parse(annotations[BehaviorKey]))
            if (behavior is { Root: { Kind: NodeKind.Object, Count: > 0 } })
                LowerNames(spec.Set("behavior"u8, behavior.Root));
        using (var current = Parse(annotations[CurrentMetricsKey]))
        {
            if (current is not null)
            {
                var list = autoscaler.Document.NewArray();
                foreach (var metric in current.Root.Elements)
                    SourceToSecond(list.AppendObject(), metric, isStatus: true);
                autoscaler.GetOrAddObject("status"u8).Set("currentMetrics"u8, list);
            }
        }
        using (var conditions = Parse(annotations[ConditionsKey]))
            if (conditions is not null)
                autoscaler.GetOrAddObject("status"u8).Set("conditions"u8, conditions.Root);
        autoscaler["status"u8].Remove("currentCPUUtilizationPercentage"u8);
        DropAnnotations(autoscaler);
    }

    private static bool IsCpu(ApiNode metric, ReadOnlySpan<byte> side, out long utilization)
    {
        utilization = 0;
        return metric["type"u8].Equals("Resource"u8) && metric["resource"u8]["name"u8].Equals("cpu"u8)
            && metric["resource"u8][side]["averageUtilization"u8].TryGetInt64(out utilization);
    }

    private static void AddCpu(ApiNode metrics, long utilization)
    {
        var metric = metrics.AppendObject();
        metric.Set("type"u8, "Resource"u8);
        var resource = metric.GetOrAddObject("resource"u8);
        resource.Set("name"u8, "cpu"u8);
        var target = resource.GetOrAddObject("target"u8);
        target.Set("type"u8, "Utilization"u8);
        target.Set("averageUtilization"u8, utilization);
    }

    // The flat form of v1: the words "target" and "current" stand in the names of the fields.
    private static void SourceToFirst(ApiNode first, ApiNode metric, bool isStatus)
    {
        first.Set("type"u8, metric["type"u8]);
        foreach (var member in metric.Members)
        {
            if (member.Value.Kind != NodeKind.Object)
                continue;
            var source = member.Value;
            var flat = first.GetOrAddObject(member.Name);
            var values = source[isStatus ? "current"u8 : "target"u8];
            string word = isStatus ? "current" : "target";
            if (member.Name.SequenceEqual("object"u8))
            {
                Copy(flat, "target"u8, source["describedObject"u8]);
                Copy(flat, "metricName"u8, source["metric"u8]["name"u8]);
                Amount(flat, word + "Value", values["value"u8]);
                Copy(flat, "selector"u8, source["metric"u8]["selector"u8]);
                Copy(flat, "averageValue"u8, values["averageValue"u8]);
            }
            else if (member.Name.SequenceEqual("pods"u8))
            {
                Copy(flat, "metricName"u8, source["metric"u8]["name"u8]);
                Amount(flat, word + "AverageValue", values["averageValue"u8]);
                Copy(flat, "selector"u8, source["metric"u8]["selector"u8]);
            }
            else if (member.Name.SequenceEqual("external"u8))
            {
                Copy(flat, "metricName"u8, source["metric"u8]["name"u8]);
                Copy(flat, "metricSelector"u8, source["metric"u8]["selector"u8]);
                Copy(flat, Encoding.ASCII.GetBytes(word + "Value"), values["value"u8]);
                Copy(flat, Encoding.ASCII.GetBytes(word + "AverageValue"), values["averageValue"u8]);
            }
            else
            {
                Copy(flat, "name"u8, source["name"u8]);
                Copy(flat, Encoding.ASCII.GetBytes(word + "AverageUtilization"), values["averageUtilization"u8]);
                Copy(flat, Encoding.ASCII.GetBytes(word + "AverageValue"), values["averageValue"u8]);
                Copy(flat, "container"u8, source["container"u8]);
            }
        }
    }

    private static void SourceToSecond(ApiNode second, ApiNode metric, bool isStatus)
    {
        second.Set("type"u8, metric["type"u8]);
        string word = isStatus ? "current" : "target";
        foreach (var member in metric.Members)
        {
            if (member.Value.Kind != NodeKind.Object)
                continue;
            var flat = member.Value;
            var source = second.GetOrAddObject(member.Name);
            bool isObject = member.Name.SequenceEqual("object"u8);
            if (isObject)
                Copy(source, "describedObject"u8, flat["target"u8]);
            if (isObject || member.Name.SequenceEqual("pods"u8) || member.Name.SequenceEqual("external"u8))
            {
                var named = source.GetOrAddObject("metric"u8);
                Copy(named, "name"u8, flat["metricName"u8]);
                Copy(named, "selector"u8, flat[member.Name.SequenceEqual("external"u8) ? "metricSelector"u8 : "selector"u8]);
            }
            else
            {
                Copy(source, "name"u8, flat["name"u8]);
                Copy(source, "container"u8, flat["container"u8]);
            }
            var values = source.GetOrAddObject(isStatus ? "current"u8 : "target"u8);
            var average = isObject ? flat["averageValue"u8] : flat[Encoding.ASCII.GetBytes(word + "AverageValue")];
            var utilization = flat[Encoding.ASCII.GetBytes(word + "AverageUtilization")];
            if (!isStatus)
                values.Set("type"u8, !utilization.IsNullOrUndefined ? "Utilization"u8 : !average.IsNullOrUndefined ? "AverageValue"u8 : "Value"u8);
            // An object's value is always there in v1; it means nothing beside an average.
            if (!isObject || average.IsNullOrUndefined)
                Copy(values, "value"u8, flat[Encoding.ASCII.GetBytes(word + "Value")]);
            Copy(values, "averageValue"u8, average);
            Copy(values, "averageUtilization"u8, utilization);
        }
    }

    private static void Copy(ApiNode to, ReadOnlySpan<byte> name, ApiNode value)
    {
        if (!value.IsNullOrUndefined)
            to.Set(name, value);
    }

    // Amounts that are no pointers upstream are written even when there is none.
    private static void Amount(ApiNode to, string name, ApiNode value)
    {
        if (value.IsNullOrUndefined)
            to.Set(Encoding.ASCII.GetBytes(name), "0"u8);
        else
            to.Set(Encoding.ASCII.GetBytes(name), value);
    }

    private static void DropAnnotations(ApiNode autoscaler)
    {
        var metadata = autoscaler["metadata"u8];
        var annotations = metadata["annotations"u8];
        if (annotations.Count == 0)
            return;
        annotations.Remove(MetricsKey);
        annotations.Remove(CurrentMetricsKey);
        annotations.Remove(BehaviorKey);
        annotations.Remove(ConditionsKey);
        if (annotations.Count == 0)
            metadata.Remove("annotations"u8);
    }

    private static void Annotate(ApiNode autoscaler, ReadOnlySpan<byte> key, string value) =>
        autoscaler.GetOrAddObject("metadata"u8).GetOrAddObject("annotations"u8).Set(key, value);

    private static string Json(ApiNode node)
    {
        var text = new ArrayBufferWriter<byte>();
        node.WriteJson(text);
        return Encoding.UTF8.GetString(text.WrittenSpan);
    }

    private static ApiObject? Parse(ApiNode annotation)
    {
        if (annotation.Utf8.IsEmpty)
            return null;
        try
        {
            return JsonCodec.Decode(annotation.Utf8, null, DecodeOptions.Free, null);
        }
        catch (JsonSyntaxException)
        {
            return null;
        }
    }

    // The behavior's annotation has the names of Go's fields.
    private static void LowerNames(ApiNode node)
    {
        foreach (var element in node.Elements)
            LowerNames(element);
        var members = new List<(byte[] Name, ApiNode Value)>();
        foreach (var member in node.Members)
            members.Add((member.Name.ToArray(), member.Value));
        foreach (var (name, value) in members)
        {
            if (value.IsNullOrUndefined)
            {
                node.Remove(name);
                continue;
            }
            LowerNames(value);
            var lower = name.ToArray();
            lower[0] = (byte)char.ToLowerInvariant((char)lower[0]);
            if (lower.AsSpan().SequenceEqual(name))
                continue;
            node.Set(lower, value);
            node.Remove(name);
        }
    }
}
