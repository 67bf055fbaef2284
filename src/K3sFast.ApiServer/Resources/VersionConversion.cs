using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// Objects between the versions of one resource. Most versions differ in name only; those with other fields have a converter here. In place.
/// </summary>
internal static class VersionConversion
{
    internal static void Convert(ApiNode obj, ResourceInfo from, ResourceInfo to)
    {
        if (ReferenceEquals(from, to))
            return;
        if (from.Resource == "events")
            ConvertEvent(obj, toCore: to.Group.Length == 0);
        else if (from.Resource == "horizontalpodautoscalers")
            ConvertAutoscaler(obj, toFirst: to.Version == "v1");
        obj.Set("kind"u8, to.KindUtf8);
        obj.Set("apiVersion"u8, to.ApiVersionUtf8);
    }

    private static void ConvertEvent(ApiNode obj, bool toCore)
    {
        if (toCore)
        {
            Rename(obj, "regarding"u8, "involvedObject"u8);
            Rename(obj, "note"u8, "message"u8);
            Rename(obj, "reportingController"u8, "reportingComponent"u8);
            Rename(obj, "deprecatedSource"u8, "source"u8);
            Rename(obj, "deprecatedFirstTimestamp"u8, "firstTimestamp"u8);
            Rename(obj, "deprecatedLastTimestamp"u8, "lastTimestamp"u8);
            Rename(obj, "deprecatedCount"u8, "count"u8);
        }
        else
        {
            Rename(obj, "involvedObject"u8, "regarding"u8);
            Rename(obj, "message"u8, "note"u8);
            Rename(obj, "reportingComponent"u8, "reportingController"u8);
            Rename(obj, "source"u8, "deprecatedSource"u8);
            Rename(obj, "firstTimestamp"u8, "deprecatedFirstTimestamp"u8);
            Rename(obj, "lastTimestamp"u8, "deprecatedLastTimestamp"u8);
            Rename(obj, "count"u8, "deprecatedCount"u8);
        }
    }

    // autoscaling/v1 knows one metric, average CPU utilization; others are not carried there.
    private static void ConvertAutoscaler(ApiNode obj, bool toFirst)
    {
        // Field ownership is computed with objects that lack parts, the spec even.
        var spec = obj.GetOrAddObject("spec"u8);
        var status = obj["status"u8];
        if (toFirst)
        {
            foreach (var metric in spec["metrics"u8].Elements)
            {
                var resource = metric["resource"u8];
                if (resource["name"u8].Equals("cpu"u8) && resource["target"u8]["averageUtilization"u8].TryGetInt64(out var wanted))
                    spec.Set("targetCPUUtilizationPercentage"u8, wanted);
            }
            spec.Remove("metrics"u8);
            spec.Remove("behavior"u8);
            foreach (var metric in status["currentMetrics"u8].Elements)
            {
                var resource = metric["resource"u8];
                if (resource["name"u8].Equals("cpu"u8) && resource["current"u8]["averageUtilization"u8].TryGetInt64(out var current))
                    status.Set("currentCPUUtilizationPercentage"u8, current);
            }
            status.Remove("currentMetrics"u8);
            status.Remove("conditions"u8);
            return;
        }
        // Upstream applies the default target here, where it knows that no other metric was asked for.
        const long DefaultUtilization = 80;
        var target = spec["targetCPUUtilizationPercentage"u8].AsInt64(DefaultUtilization);
        if (spec["metrics"u8].Count == 0)
        {
            var metric = spec.GetOrAddArray("metrics"u8).AppendObject();
            metric.Set("type"u8, "Resource"u8);
            var resource = metric.GetOrAddObject("resource"u8);
            resource.Set("name"u8, "cpu"u8);
            var goal = resource.GetOrAddObject("target"u8);
            goal.Set("type"u8, "Utilization"u8);
            goal.Set("averageUtilization"u8, target);
            spec.Remove("targetCPUUtilizationPercentage"u8);
        }
        status.Remove("currentCPUUtilizationPercentage"u8);
    }

    private static void Rename(ApiNode obj, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to)
    {
        var value = obj[from];
        if (!value.IsDefined)
            return;
        obj.Set(to, value);
        obj.Remove(from);
    }

    /// <summary>The stored path of a field that a selector names in a served version.</summary>
    internal static string StoredPath(ResourceInfo served, string path)
    {
        if (served.Resource != "events" || served.Group.Length == 0)
            return path;
        if (path.StartsWith("regarding.", StringComparison.Ordinal))
            return $"involvedObject.{path["regarding.".Length..]}";
        return path == "reportingController" ? "reportingComponent" : path;
    }
}
