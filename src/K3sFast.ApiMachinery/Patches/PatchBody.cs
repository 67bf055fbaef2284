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
    /// <exception cref="ApiStatusException">400, 413, 422 or 500 in upstream's words.</exception>
    public static ApiObject Apply(ApiObject original, PatchKind kind, ReadOnlySpan<byte> patch, TypeSchema type, ICollection<string>? strictErrors)
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
            default:
                StrategicMergePatch.Apply(patched, patch, type, strictErrors);
                break;
        }
        var output = new ArrayBufferWriter<byte>(4096);
        patched.Root.WriteJson(output);
        var result = JsonCodec.TryDecode(output.WrittenSpan, type, DecodeOptions.Default, strictErrors, out var error, out _);
        if (result is not null)
            return result;
        var shown = kind == PatchKind.StrategicMerge ? ShownPatch(patch) : Encoding.UTF8.GetString(output.WrittenSpan);
        var errors = new FieldErrorList();
        errors.Invalid("patch", shown, error!);
        throw ApiStatus.Invalid("", "", "", errors).ToException();
    }

    /// <summary>The refusal for strict errors of a patch (fieldValidation=Strict), in upstream's words.</summary>
    public static ApiStatus StrictFailure(PatchKind kind, ReadOnlySpan<byte> patch, ApiObject patched, IEnumerable<string> strictErrors)
    {
        var errors = new FieldErrorList();
        var shown = kind == PatchKind.StrategicMerge ? ShownPatch(patch) : patched.Root.ToString();
        errors.Invalid("patch", shown, $"strict decoding error: {string.Join(", ", strictErrors)}");
        return ApiStatus.Invalid("", "", "", errors);
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
