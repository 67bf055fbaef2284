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
        else if (from.Resource == "horizontalpodautoscalers" && to.Version == "v1")
            AutoscalerConversion.ToFirst(obj);
        else if (from.Resource == "horizontalpodautoscalers")
            AutoscalerConversion.ToSecond(obj);
        else if (from is { Group: "resource.k8s.io", Version: "v1beta1" })
            DeviceConversion.FromFirstBeta(obj, from.Resource);
        else if (to is { Group: "resource.k8s.io", Version: "v1beta1" })
            DeviceConversion.ToFirstBeta(obj, to.Resource);
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
