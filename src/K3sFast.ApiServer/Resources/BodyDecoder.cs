using System.Text;
using System.Text.Json;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>How unknown and duplicate fields in a body are treated (query parameter fieldValidation).</summary>
internal enum FieldValidation : byte
{
    Ignore,
    Warn,
    Strict,
}

/// <summary>Bodies into trees: by content type, checked against the kind that the path wants, in upstream's words.</summary>
internal static class BodyDecoder
{
    /// <summary>Reads the fieldValidation parameter; upstream's default is Warn.</summary>
    internal static FieldValidation ValidationOf(ApiCall call, string optionsKind)
    {
        if (!call.Info.TryGetQuery("fieldValidation"u8, out var value) || value.IsEmpty)
            return FieldValidation.Warn;
        if (value.SequenceEqual("Strict"u8)) return FieldValidation.Strict;
        if (value.SequenceEqual("Warn"u8)) return FieldValidation.Warn;
        if (value.SequenceEqual("Ignore"u8)) return FieldValidation.Ignore;
        var errors = new FieldErrorList();
        errors.NotSupported("fieldValidation", PercentEncoding.DecodeQuery(value), "Ignore", "Strict", "Warn");
        throw ApiStatus.Invalid("meta.k8s.io", optionsKind, "", errors).ToException();
    }

    /// <summary>Reads the dryRun parameter: only All is known.</summary>
    internal static bool IsDryRun(ApiCall call, string optionsKind)
    {
        var isDryRun = false;
        foreach (var value in QueryReader.GetAll(call.Info.Query, "dryRun"u8))
        {
            if (value.Length == 0)
                continue;
            if (value != "All")
            {
                var errors = new FieldErrorList();
                errors.NotSupported("dryRun", value, "All");
                throw ApiStatus.Invalid("meta.k8s.io", optionsKind, "", errors).ToException();
            }
            isDryRun = true;
        }
        return isDryRun;
    }

    /// <summary>Decodes a body that must be of <paramref name="type"/>; the caller disposes the result.</summary>
    internal static ApiObject Decode(ApiCall call, ReadOnlySpan<byte> body, TypeSchema type, FieldValidation validation) =>
        Decode(call, body, MediaOf(call.ContentType), type, validation);

    /// <summary>Decodes JSON that must be of <paramref name="type"/>.</summary>
    internal static ApiObject Decode(ApiCall call, ReadOnlySpan<byte> body, MediaKind media, TypeSchema type, FieldValidation validation)
    {
        switch (media)
        {
            case MediaKind.Protobuf:
                return DecodeProtobuf(body, type);
            case MediaKind.Yaml:
                using (var yaml = FirstYaml(body))
                {
                    using var json = new PooledBuffer(body.Length * 2);
                    yaml.Root.WriteJson(json);
                    return DecodeJson(call, json.Span, type, validation);
                }
            default:
                return DecodeJson(call, body, type, validation);
        }
    }

    /// <summary>The wire form that a Content-Type names; none means JSON.</summary>
    internal static MediaKind MediaOf(string? contentType)
    {
        if (string.IsNullOrEmpty(contentType))
            return MediaKind.Json;
        var semicolon = contentType.IndexOf(';', StringComparison.Ordinal);
        var type = (semicolon < 0 ? contentType.AsSpan() : contentType.AsSpan(0, semicolon)).Trim();
        if (type.Equals(ResponseFormat.Json, StringComparison.OrdinalIgnoreCase)) return MediaKind.Json;
        if (type.Equals(ResponseFormat.Yaml, StringComparison.OrdinalIgnoreCase)) return MediaKind.Yaml;
        if (type.Equals(ResponseFormat.Protobuf, StringComparison.OrdinalIgnoreCase)) return MediaKind.Protobuf;
        throw ApiStatus.UnsupportedMediaType(ResponseFormat.Accepted).ToException();
    }

    private static ApiObject DecodeJson(ApiCall call, ReadOnlySpan<byte> body, TypeSchema type, FieldValidation validation)
    {
        if (body.IsEmpty)
            throw Unrecognized(type, "couldn't get version/kind; json parse error: unexpected end of JSON input", body);
        CheckKind(body, type);
        var strictErrors = validation == FieldValidation.Ignore ? null : new List<string>();
        var decoded = JsonCodec.Decode(body, type, DecodeOptions.Default, strictErrors);
        if (strictErrors is { Count: > 0 })
            Report(call, strictErrors, type, validation, decoded);
        decoded.Root.Set("kind"u8, type.Kind);
        decoded.Root.Set("apiVersion"u8, type.ApiVersion);
        return decoded;
    }

    private static void Report(ApiCall call, List<string> strictErrors, TypeSchema type, FieldValidation validation, ApiObject decoded)
    {
        if (validation == FieldValidation.Strict)
        {
            decoded.Dispose();
            throw ApiStatus.BadRequest(
                $"{type.Kind} in version {GoText.Quote(type.Version)} cannot be handled as a {type.Kind}: strict decoding error: {string.Join(", ", strictErrors)}").ToException();
        }
        foreach (var error in strictErrors)
            call.AddWarning(error);
    }

    private static ApiObject DecodeProtobuf(ReadOnlySpan<byte> body, TypeSchema type)
    {
        var decoded = ProtobufCodec.Decode(body, Schema.BuiltIn);
        var kind = decoded.Root["kind"u8].AsString();
        var version = decoded.Root["apiVersion"u8].AsString();
        if (kind.Length == 0 || kind == type.Kind && (version == type.ApiVersion || IsMeta(type)))
            return decoded;
        decoded.Dispose();
        throw WrongKind(kind, version, type);
    }

    private static ApiObject FirstYaml(ReadOnlySpan<byte> body)
    {
        foreach (var document in YamlCodec.DecodeAll(body))
            return document;
        throw ApiStatus.BadRequest("the object provided is unrecognized: the body has no YAML document").ToException();
    }

    // Kind and version are looked at before the body is decoded by the schema of another kind, which would blame its fields.
    private static void CheckKind(ReadOnlySpan<byte> body, TypeSchema type)
    {
        string kind = "", version = "";
        try
        {
            var reader = new Utf8JsonReader(body, new JsonReaderOptions { MaxDepth = DecodeOptions.DefaultMaxDepth });
            if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
                throw Unrecognized(type, "couldn't get version/kind; json parse error: json: cannot unmarshal "
                    + $"{GoKind(reader.TokenType)} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}", body);
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var isKind = reader.ValueTextEquals("kind"u8);
                var isVersion = reader.ValueTextEquals("apiVersion"u8);
                if (!reader.Read())
                    break;
                if ((isKind || isVersion) && reader.TokenType == JsonTokenType.String)
                {
                    if (isKind) kind = reader.GetString()!;
                    else version = reader.GetString()!;
                    if (kind.Length > 0 && version.Length > 0)
                        break;
                }
                else
                {
                    reader.Skip();
                }
            }
        }
        catch (JsonException)
        {
            // The codec finds the same fault and words it.
            return;
        }
        if (kind.Length > 0 && kind != type.Kind || version.Length > 0 && version != type.ApiVersion && !IsMeta(type))
            throw WrongKind(kind.Length == 0 ? type.Kind : kind, version.Length == 0 ? type.ApiVersion : version, type);
    }

    // DeleteOptions and their like are registered in every group version.
    private static bool IsMeta(TypeSchema type) => type.FullName.Contains("meta.v1", StringComparison.Ordinal) || type.Version.Length == 0;

    private static ApiStatusException WrongKind(string kind, string apiVersion, TypeSchema type)
    {
        var slash = apiVersion.IndexOf('/', StringComparison.Ordinal);
        var group = slash < 0 ? "" : apiVersion[..slash];
        var version = slash < 0 ? apiVersion : apiVersion[(slash + 1)..];
        if (kind == type.Kind)
        {
            return ApiStatus.BadRequest(
                $"the API version in the data ({apiVersion}) does not match the expected API version ({type.ApiVersion})").ToException();
        }
        var why = Schema.BuiltIn.FindType(group, version, kind) is { } other && other.Kind == kind
            ? $"converting ({other.Version}.{kind}) to ({GoPackage(type.Group)}.{type.Kind}): unknown conversion"
            : $"no kind {GoText.Quote(kind)} is registered for version {GoText.Quote(apiVersion)} in scheme \"pkg/api/legacyscheme/scheme.go:30\"";
        return ApiStatus.BadRequest($"{kind} in version {GoText.Quote(version)} cannot be handled as a {type.Kind}: {why}").ToException();
    }

    /// <summary>The package of upstream's own types of a group, as its messages name it.</summary>
    internal static string GoPackage(string group) => group is "" or "events.k8s.io" ? "core" : group.Split('.')[0];

    private static string GoKind(JsonTokenType token) => token switch
    {
        JsonTokenType.StartArray => "array",
        JsonTokenType.String => "string",
        JsonTokenType.Number => "number",
        JsonTokenType.True or JsonTokenType.False => "bool",
        _ => "null",
    };

    private static ApiStatusException Unrecognized(TypeSchema type, string why, ReadOnlySpan<byte> body)
    {
        // The first bytes in hexadecimal, as upstream shows them, without echoing a whole hostile body.
        const int ShownBytes = 30;
        var shown = body.Length > ShownBytes
            ? $"{Convert.ToHexStringLower(body[..ShownBytes])} ..."
            : Convert.ToHexStringLower(body);
        return ApiStatus.BadRequest($"the object provided is unrecognized (must be of type {type.Kind}): {why} ({shown})").ToException();
    }

    /// <summary>The text of a body for messages.</summary>
    internal static string Preview(ReadOnlySpan<byte> body) => Encoding.UTF8.GetString(body[..Math.Min(body.Length, 64)]);
}
