using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>The kinds of patch, by content type.</summary>
internal enum PatchKind : byte
{
    Json,
    Merge,
    StrategicMerge,
}

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
            ApplyType or "application/apply-patch+cbor" => throw new ApiStatus
            {
                Code = 415,
                Reason = "UnsupportedMediaType",
                Message = $"server-side apply ({type}) is not served yet: use client-side apply (kubectl apply --server-side=false)",
            }.ToException(),
            _ => throw ApiStatus.UnsupportedMediaType(JsonPatchType, MergePatchType, StrategicType).ToException(),
        };
    }

    /// <summary>The patched object, decoded by its type: what the patch brought in is checked as a body is.</summary>
    internal static ApiObject Apply(ApiCall call, ApiObject current, PatchKind kind, ReadOnlySpan<byte> patch, TypeSchema type, FieldValidation validation)
    {
        using var target = current.Clone();
        switch (kind)
        {
            case PatchKind.Json: JsonPatch.Apply(target, patch); break;
            case PatchKind.Merge: JsonMergePatch.Apply(target, patch); break;
            default: StrategicMergePatch.Apply(target, patch, type); break;
        }
        using var json = new PooledBuffer();
        target.Root.WriteJson(json);
        return BodyDecoder.Decode(call, json.Span, MediaKind.Json, type, validation);
    }
}
