using System.Buffers;

namespace K3sFast.ApiMachinery;

/// <summary>
/// The annotation in which kubectl's client-side apply keeps its last configuration. Server-side apply by kubectl takes over what it names, and keeps it
/// up to date for older clients.
/// </summary>
internal static class LastApplied
{
    /// <summary>The only manager whose applies mean the annotation.</summary>
    public const string Manager = "kubectl";

    // Upstream's bound for all annotations together; an annotation that does not fit is dropped.
    private const int MaxAnnotationBytes = 256 * 1024;

    private static ReadOnlySpan<byte> Annotation => "kubectl.kubernetes.io/last-applied-configuration"u8;

    /// <summary>The configuration that the object was last applied with on the client's side; null when there is none that can be read.</summary>
    public static ApiObject? Read(ApiNode obj, string apiVersion)
    {
        var text = obj["metadata"u8]["annotations"u8][Annotation];
        if (text.Utf8.IsEmpty)
            return null;
        var config = JsonCodec.TryDecode(text.Utf8, null, DecodeOptions.Free, null, out _, out _);
        if (config is null || config.Root["apiVersion"u8].AsString() == apiVersion)
            return config;
        config.Dispose();
        return null;
    }

    /// <summary>Brings the annotation, where there is one, to the configuration that kubectl has applied.</summary>
    public static void Refresh(ApiNode metadata, ApiNode config, string manager)
    {
        var annotations = metadata["annotations"u8];
        if (manager != Manager || annotations[Annotation].Utf8.IsEmpty)
            return;
        using var copy = ApiObject.Rent();
        copy.ReplaceRoot(config);
        copy.Root["metadata"u8]["annotations"u8].Remove(Annotation);
        var text = new ArrayBufferWriter<byte>(1024);
        JsonCodec.Encode(copy.Root, null, text);
        text.Write("\n"u8);
        annotations.Set(Annotation, text.WrittenSpan);
        var size = 0;
        foreach (var member in annotations.Members)
            size += member.Name.Length + member.Value.Utf8.Length;
        if (size > MaxAnnotationBytes)
            annotations.Remove(Annotation);
    }

    /// <summary>The fields that the annotation names and the object still has as it says.</summary>
    public static FieldSet? Unchanged(ApiNode live, TypeSchema type)
    {
        using var config = Read(live, type.ApiVersion);
        if (config is null || ConfigCheck.FindErrors(config.Root, type) is not null)
            return null;
        var value = TypedValue.Of(config.Root, isExact: true);
        var fields = OwnedFields.Of(value, type);
        using var comparison = ObjectComparison.Of(value, TypedValue.Of(live, isExact: false), type);
        fields.Subtract(comparison.Modified);
        fields.Subtract(comparison.Added);
        fields.Subtract(comparison.Removed);
        return fields;
    }
}
