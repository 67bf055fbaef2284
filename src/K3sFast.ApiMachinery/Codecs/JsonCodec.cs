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
        var document = TryDecode(json, type, options, strictErrors, out var error, out var isSyntax);
        if (document is not null)
            return document;
        throw (isSyntax ? Unreadable(json, type, error!) : ApiStatus.BadRequest(type is null || type.Kind.Length == 0 ? error! : CannotBeHandled(type, error!)))
            .ToException();
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

    /// <summary>Writes one member of an object as it stands in its JSON; compact JSON becomes no tree. Null when there is none.</summary>
    public static void WriteMember(ReadOnlySpan<byte> json, ReadOnlySpan<byte> name, IBufferWriter<byte> output)
    {
        if (JsonCursor.TryFind(json, name, out var value))
        {
            output.Write(value);
            return;
        }
        using var document = Decode(json, null, DecodeOptions.Free, null);
        document.Root[name].WriteJson(output);
    }

    /// <summary>Parses the parts of a stored document that the mask takes, as a free document. The caller disposes the tree.</summary>
    /// <exception cref="ApiStatusException">400 when this is no JSON.</exception>
    internal static ApiObject DecodePart(ReadOnlySpan<byte> json, ReadMask mask)
    {
        var document = ApiObject.RentForDecode(json.Length + 64);
        var path = DecodePath.Rent();
        try
        {
            document.RootIndex = new JsonTreeDecoder(json, document, path, DecodeOptions.DefaultMaxDepth, null).DecodePart(mask);
            document[document.RootIndex].IsAttached = true;
        }
        catch (JsonSyntaxException syntax)
        {
            document.Dispose();
            throw Unreadable(json, null, syntax.Message).ToException();
        }
        DecodePath.Return(path);
        return document;
    }

    /// <summary>The tree, or null and what is wrong in Go's words.</summary>
    internal static ApiObject? TryDecode(
        ReadOnlySpan<byte> json, TypeSchema? type, DecodeOptions options, ICollection<string>? strictErrors, out string? error, out bool isSyntax)
    {
        var document = ApiObject.RentForDecode(json.Length + 64);
        document.MaxNodes = options.MaxNodes;
        var path = DecodePath.Rent();
        isSyntax = false;
        try
        {
            var decoder = new JsonTreeDecoder(json, document, path, options.MaxDepth, strictErrors);
            document.RootIndex = decoder.DecodeDocument(type);
            document[document.RootIndex].IsAttached = true;
            error = decoder.TypeError;
        }
        catch (JsonSyntaxException syntax)
        {
            error = syntax.Message;
            isSyntax = true;
        }
        catch (ApiStatusException)
        {
            document.Dispose();
            throw;
        }
        DecodePath.Return(path);
        if (error is null)
            return document;
        document.Dispose();
        return null;
    }

    private static string CannotBeHandled(TypeSchema type, string why) => $"{type.Kind} in version {GoText.Quote(type.Version)} cannot be handled as a {type.Kind}: {why}";

    private static ApiStatus Unreadable(ReadOnlySpan<byte> json, TypeSchema? type, string syntaxError)
    {
        if (type is null || type.Kind.Length == 0)
            return ApiStatus.BadRequest(syntaxError);
        return ApiStatus.BadRequest(
            $"the object provided is unrecognized (must be of type {type.Kind}): couldn't get version/kind; json parse error: {syntaxError} ({Summary(json)})");
    }

    /// <summary>The beginning of a body as messages show it: text when it looks like JSON, else hexadecimal.</summary>
    public static string Summary(ReadOnlySpan<byte> body)
    {
        if (body.IsEmpty)
            return "<empty>";
        var shown = body[..Math.Min(body.Length, ShownBodyLength)];
        var text = body[0] == '{' ? Encoding.UTF8.GetString(shown) : Convert.ToHexStringLower(shown);
        return body.Length > ShownBodyLength ? text + " ..." : text;
    }
}
