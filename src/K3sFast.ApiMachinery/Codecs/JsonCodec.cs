using System.Buffers;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>
/// JSON bodies into trees by a schema, and back in upstream's form (k8s.io/apimachinery/pkg/runtime/serializer/json on sigs.k8s.io/json): names are
/// case-sensitive, unknown fields are dropped, numbers are range-checked, quantities and times take their canonical form.
/// </summary>
/// <remarks>Any thread; allocates nothing in the steady state when the body is right.</remarks>
public static class JsonCodec
{
    private const int ShownBodyLength = 30;

    /// <summary>
    /// Parses a body. With a type: its fields only, nulls dropped, values as upstream would write them again. Without: anything, nulls kept.
    /// The caller disposes the tree.
    /// </summary>
    /// <param name="json">The body.</param>
    /// <param name="type">The schema, or null for free documents.</param>
    /// <param name="options">Bounds.</param>
    /// <param name="strictErrors">Takes <c>unknown field "spec.foo"</c> and <c>duplicate field "spec.x"</c>; null = not wanted.</param>
    /// <exception cref="ApiStatusException">400 in upstream's words when the body is no JSON or has a wrong type somewhere.</exception>
    public static ApiObject Decode(ReadOnlySpan<byte> json, TypeSchema? type, DecodeOptions options, ICollection<string>? strictErrors)
    {
        var document = ApiObject.RentForDecode(json.Length + 64);
        var path = DecodePath.Rent();
        string? typeError;
        try
        {
            var decoder = new JsonTreeDecoder(json, document, path, options.MaxDepth, strictErrors);
            document.RootIndex = decoder.DecodeDocument(type);
            document[document.RootIndex].IsAttached = true;
            typeError = decoder.TypeError;
        }
        catch (JsonSyntaxException syntax)
        {
            document.Dispose();
            throw Unreadable(json, type, syntax).ToException();
        }
        finally
        {
            DecodePath.Return(path);
        }
        if (typeError is null)
            return document;
        document.Dispose();
        throw ApiStatus.BadRequest(type is null || type.Kind.Length == 0 ? typeError : CannotBeHandled(type, typeError)).ToException();
    }

    /// <summary>The refusal for strict errors (fieldValidation=Strict), in upstream's words.</summary>
    public static ApiStatus StrictFailure(TypeSchema type, IEnumerable<string> strictErrors) =>
        ApiStatus.BadRequest(CannotBeHandled(type, $"strict decoding error: {string.Join(", ", strictErrors)}"));

    /// <summary>
    /// Writes a node as upstream's encoder: fields in declaration order, empty ones by omitempty, omitzero and pointer, map keys sorted, HTML escaped,
    /// no line end. Without a type all keys are sorted, as for custom resources.
    /// </summary>
    public static void Encode(ApiNode node, TypeSchema? type, IBufferWriter<byte> output)
    {
        var writer = new JsonTextWriter(output);
        if (type is null)
            JsonTreeEncoder.WriteSorted(ref writer, node);
        else
            JsonTreeEncoder.WriteMessage(ref writer, node, type);
        writer.Flush();
    }

    private static string CannotBeHandled(TypeSchema type, string why) => $"{type.Kind} in version {GoText.Quote(type.Version)} cannot be handled as a {type.Kind}: {why}";

    private static ApiStatus Unreadable(ReadOnlySpan<byte> json, TypeSchema? type, JsonSyntaxException syntax)
    {
        if (type is null || type.Kind.Length == 0)
            return ApiStatus.BadRequest(syntax.Message);
        var shown = json[..Math.Min(json.Length, ShownBodyLength)];
        var summary = json.Length == 0 ? "<empty>" : json[0] == '{' ? Encoding.UTF8.GetString(shown) : Convert.ToHexStringLower(shown);
        if (json.Length > ShownBodyLength)
            summary += " ...";
        return ApiStatus.BadRequest(
            $"the object provided is unrecognized (must be of type {type.Kind}): couldn't get version/kind; json parse error: {syntax.Message} ({summary})");
    }
}
