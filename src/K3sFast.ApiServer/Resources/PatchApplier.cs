using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Applies patch bodies to objects.</summary>
internal static class PatchApplier
{
    private const string JsonPatchType = "application/json-patch+json";
    private const string MergePatchType = "application/merge-patch+json";
    private const string StrategicType = "application/strategic-merge-patch+json";
    private const string ApplyType = "application/apply-patch+yaml";

    /// <summary>The patch kind of a content type; anything else is refused with 415.</summary>
    internal static PatchKind KindOf(string? contentType)
    {
        var text = contentType ?? "";
        var semicolon = text.IndexOf(';', StringComparison.Ordinal);
        var type = (semicolon < 0 ? text : text[..semicolon]).Trim();
        return type switch
        {
            JsonPatchType => PatchKind.Json,
            MergePatchType => PatchKind.Merge,
            StrategicType => PatchKind.StrategicMerge,
            ApplyType => PatchKind.Apply,
            // Upstream's router refuses it before the handler that would name the types.
            _ => throw new ApiStatus { Code = 415, Reason = "UnsupportedMediaType", HasDetails = true, Message = "415: Unsupported Media Type" }.ToException(),
        };
    }

    /// <summary>The patched object, decoded by its type: what the patch brought in is checked as a body is.</summary>
    internal static ApiObject Apply(ApiCall call, ApiObject current, PatchKind kind, ReadOnlySpan<byte> patch, TypeSchema type, FieldValidation validation)
    {
        var strictErrors = validation == FieldValidation.Ignore ? null : new List<string>();
        var patched = PatchBody.Apply(current, kind, patch, type, strictErrors, isStrict: validation == FieldValidation.Strict);
        foreach (var error in strictErrors ?? [])
            call.AddWarning(error);
        return patched;
    }
}
