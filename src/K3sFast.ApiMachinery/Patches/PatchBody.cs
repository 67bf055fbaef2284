using System.Buffers;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>The kinds of patch that a client may send.</summary>
public enum PatchKind : byte
{
    /// <summary>application/json-patch+json.</summary>
    Json,

    /// <summary>application/merge-patch+json.</summary>
    Merge,

    /// <summary>application/strategic-merge-patch+json.</summary>
    StrategicMerge,

    /// <summary>application/apply-patch+yaml: no patch of the object as it is, but a configuration; see <see cref="FieldManager.Apply"/>.</summary>
    Apply,
}

/// <summary>A patch as a request brings it: applied to a copy of the object, and the result read again by the schema as upstream does.</summary>
public static class PatchBody
{
    /// <summary>
    /// The patched object as a new tree, in the form that decoding gives: unknown members gone, scalars canonical. The original is not changed.
    /// </summary>
    /// <param name="original">The object to patch, in the version of <paramref name="type"/>.</param>
    /// <param name="kind">How the patch works.</param>
    /// <param name="patch">The body.</param>
    /// <param name="type">The schema of the object.</param>
    /// <param name="strictErrors">Takes unknown and duplicate fields of the patch and of the result; null = not wanted.</param>
    /// <param name="isStrict">Refuse when there are any.</param>
    /// <exception cref="ApiStatusException">400, 413, 422 or 500 in upstream's words.</exception>
    public static ApiObject Apply(
        ApiObject original, PatchKind kind, ReadOnlySpan<byte> patch, TypeSchema type, ICollection<string>? strictErrors, bool isStrict = false)
    {
        using var patched = original.Clone();
        switch (kind)
        {
            case PatchKind.Json:
                JsonPatch.Apply(patched, patch, strictErrors);
                break;
            case PatchKind.Merge:
                JsonMergePatch.Apply(patched, patch, strictErrors);
                break;
            case PatchKind.StrategicMerge:
                StrategicMergePatch.Apply(patched, patch, type, strictErrors);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(kind), kind, "apply is no patch of the object");
        }
        var output = new ArrayBufferWriter<byte>(4096);
        patched.Root.WriteJson(output);
        if (kind != PatchKind.StrategicMerge)
            CheckKind(patched.Root, output.WrittenSpan, type);
        var result = JsonCodec.TryDecode(output.WrittenSpan, type, DecodeOptions.Default, strictErrors, out var error, out _);
        if (result is not null && isStrict && strictErrors is { Count: > 0 })
        {
            result.Dispose();
            result = null;
            error = $"strict decoding error: {string.Join(", ", strictErrors)}";
        }
        if (result is null)
            throw Invalid(kind == PatchKind.StrategicMerge ? ShownPatch(patch) : Encoding.UTF8.GetString(output.WrittenSpan), error!);
        result.Root.Set("kind"u8, type.Kind);
        result.Root.Set("apiVersion"u8, type.ApiVersion);
        return result;
    }

    // Upstream decodes what JSON and merge patches make by the kind that it says it is.
    private static void CheckKind(ApiNode patched, ReadOnlySpan<byte> json, TypeSchema type)
    {
        string kind = patched["kind"u8].AsString(), version = patched["apiVersion"u8].AsString();
        if ((kind.Length == 0 || kind == type.Kind) && (version.Length == 0 || version == type.ApiVersion))
            return;
        throw Invalid(Encoding.UTF8.GetString(json), $"no kind {GoText.Quote(kind)} is registered for version {GoText.Quote(version)} in scheme \"pkg/api/legacyscheme/scheme.go:30\"");
    }

    private static ApiStatusException Invalid(string shown, string why)
    {
        var errors = new FieldErrorList();
        errors.Invalid("patch", shown, why);
        return ApiStatus.Invalid("", "", "", errors).ToException();
    }

    /// <summary>The patch as a free tree; the caller disposes it.</summary>
    internal static ApiObject Parse(ReadOnlySpan<byte> patch, ICollection<string>? strictErrors, string prefixWhenStrict, string? wordsWhenLenient)
    {
        var document = JsonCodec.TryDecode(patch, null, DecodeOptions.Free, strictErrors, out var error, out _);
        if (document is not null)
            return document;
        throw ApiStatus.BadRequest(strictErrors is null ? wordsWhenLenient ?? error! : prefixWhenStrict + error).ToException();
    }

    private static string ShownPatch(ReadOnlySpan<byte> patch)
    {
        using var document = Parse(patch, null, "", null);
        return GoText.Value(document.Root);
    }
}
