using System.Text.Json;

namespace K3sFast.ApiServer;

/// <summary>Strings of small JSON documents that others wrote: what is absent or no string reads as empty.</summary>
internal static class JsonText
{
    internal static string Of(JsonElement parent, ReadOnlySpan<byte> name) =>
        parent.ValueKind == JsonValueKind.Object && parent.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString()! : "";

    /// <summary>A member that is one string or a list of strings; null when it is neither.</summary>
    internal static List<string>? ListOf(JsonElement parent, string name)
    {
        if (!parent.TryGetProperty(name, out var value))
            return [];
        switch (value.ValueKind)
        {
            case JsonValueKind.String:
                return [value.GetString()!];
            case JsonValueKind.Array:
                var list = new List<string>();
                foreach (var item in value.EnumerateArray())
                {
                    if (item.ValueKind != JsonValueKind.String)
                        return null;
                    list.Add(item.GetString()!);
                }
                return list;
            case JsonValueKind.Null:
                return [];
            default:
                return null;
        }
    }

    /// <summary>A NumericDate of RFC 7519, in whole seconds; 0 when absent.</summary>
    internal static long SecondsOf(JsonElement parent, ReadOnlySpan<byte> name) =>
        parent.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out var seconds) && Math.Abs(seconds) < 1e15
            ? (long)seconds : 0;
}
