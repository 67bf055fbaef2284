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
        var touched = new List<ApiNode>();
        switch (kind)
        {
            case PatchKind.Json:
                JsonPatch.Apply(patched, patch, strictErrors, touched);
                break;
            case PatchKind.Merge:
                JsonMergePatch.Apply(patched, patch, strictErrors, touched);
                break;
            case PatchKind.StrategicMerge:
                StrategicMergePatch.Apply(patched, patch, type, strictErrors);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(kind), kind, "apply is no patch of the object");
        }
        var output = new ArrayBufferWriter<byte>(4096);
        patched.Root.WriteJson(output);
        var result = JsonCodec.TryDecode(output.WrittenSpan, type, DecodeOptions.Default, strictErrors, out var error, out _);
        if (kind == PatchKind.StrategicMerge)
            error = result is null ? ConversionError.Find(patched.Root, type) ?? error : null;
        else
            error = KindError(patched.Root, output.WrittenSpan, type) ?? error;
        if (error is null && isStrict && strictErrors is { Count: > 0 })
            error = $"strict decoding error: {string.Join(", ", strictErrors)}";
        if (error is not null)
        {
            result?.Dispose();
            throw Invalid(kind == PatchKind.StrategicMerge ? ShownPatch(patch) : ShownResult(patched, touched), error);
        }
        result!.Root.Set("kind"u8, type.Kind);
        result.Root.Set("apiVersion"u8, type.ApiVersion);
        return result;
    }

    /// <summary>What a node is in Go's JSON errors.</summary>
    internal static string NameOf(ApiNode node) => node.Kind switch
    {
        NodeKind.Object => "object",
        NodeKind.Array => "array",
        NodeKind.String => "string",
        NodeKind.Number => "number",
        _ => "bool",
    };

    // Upstream decodes what JSON and merge patches make by the kind that it says it is.
    private static string? KindError(ApiNode patched, ReadOnlySpan<byte> json, TypeSchema type)
    {
        string kind = patched["kind"u8].AsString(), apiVersion = patched["apiVersion"u8].AsString();
        if ((kind.Length == 0 || kind == type.Kind) && (apiVersion.Length == 0 || apiVersion == type.ApiVersion))
            return null;
        var slash = apiVersion.IndexOf('/', StringComparison.Ordinal);
        var group = slash < 0 ? "" : apiVersion[..slash];
        if (Schema.BuiltIn.FindType(group, apiVersion[(slash + 1)..], kind) is not { } other || other.Kind != kind)
            return $"no kind {GoText.Quote(kind)} is registered for version {GoText.Quote(apiVersion)} in scheme \"pkg/api/legacyscheme/scheme.go:30\"";
        using var decoded = JsonCodec.TryDecode(json, other, DecodeOptions.Default, null, out var error, out _);
        if (error is not null)
            return error;
        var package = type.Group.Length == 0 ? "core" : type.Group.Split('.')[0];
        return $"converting ({other.Version}.{kind}) to ({package}.{type.Kind}): unknown conversion";
    }

    // Objects that the patch went through come with their members sorted, all others as they were.
    private static string ShownResult(ApiObject patched, List<ApiNode> touched)
    {
        patched.SortMembers(patched.RootIndex);
        foreach (var node in touched)
        {
            if (node.Kind == NodeKind.Object)
                patched.SortMembers(node.Index);
        }
        return patched.Root.ToString();
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
        var document = JsonCodec.TryDecode(patch, null, DecodeOptions.Default, strictErrors, out var error, out _);
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
