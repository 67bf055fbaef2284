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
        errors.NotSupported("fieldValidation", PercentEncoding.DecodeQuery(value), "", "Ignore", "Strict", "Warn");
        throw ApiStatus.Invalid("meta.k8s.io", optionsKind, "", errors).ToException();
    }

    /// <summary>Reads the dryRun parameter: only All is known.</summary>
    internal static bool IsDryRun(ApiCall call, string optionsKind)
    {
        var values = QueryReader.GetAll(call.Info.Query, "dryRun"u8);
        values.RemoveAll(static value => value.Length == 0);
        var errors = new FieldErrorList();
        CheckDryRun(errors, values);
        if (errors.Count > 0)
            throw ApiStatus.Invalid("meta.k8s.io", optionsKind, "", errors).ToException();
        return values.Count > 0;
    }

    /// <summary>Reports all words of dryRun together when one of them is unknown.</summary>
    internal static void CheckDryRun(FieldErrorList errors, List<string> values)
    {
        if (values.Exists(static value => value != "All"))
            errors.AddRaw(FieldErrorType.NotSupported, "dryRun", $"[{string.Join(',', values.Select(static value => GoText.Quote(value)))}]", "supported values: \"All\"");
    }

    /// <summary>
    /// Decodes a body that must be of <paramref name="type"/>, or of the same kind in <paramref name="otherVersion"/>; the caller disposes the result.
    /// </summary>
    internal static ApiObject Decode(ApiCall call, ReadOnlySpan<byte> body, TypeSchema type, FieldValidation validation, string? otherVersion = null)
    {
        var decoded = Decode(call, body, MediaOf(call.ContentType), type, validation, otherVersion);
        call.Audit?.SetRequestObject(decoded.Root);
        return decoded;
    }

    /// <summary>Decodes bytes of one wire form that must be of <paramref name="type"/>.</summary>
    internal static ApiObject Decode(ApiCall call, ReadOnlySpan<byte> body, MediaKind media, TypeSchema type, FieldValidation validation, string? otherVersion = null)
    {
        if (media == MediaKind.Protobuf)
            return DecodeProtobuf(body, type);
        if (media != MediaKind.Yaml)
            return DecodeJson(call, body, body, type, validation, validation == FieldValidation.Ignore ? null : [], otherVersion);
        var strictErrors = new List<string>();
        using var json = new PooledBuffer(body.Length * 2);
        ReadYaml(body, type, strictErrors, json);
        return DecodeJson(call, json.Span, body, type, validation, validation == FieldValidation.Ignore ? null : strictErrors, otherVersion);
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

    /// <summary>What a sound body says that it is.</summary>
    internal static (string Kind, string ApiVersion) KindOf(ApiCall call, ReadOnlySpan<byte> body)
    {
        if (MediaOf(call.ContentType) == MediaKind.Protobuf)
            return ProtobufCodec.TryReadKind(body, out var apiVersion, out var kind) ? (kind, apiVersion) : ("", "");
        using var document = YamlCodec.Decode(body, null, DecodeOptions.Free, []);
        return (document.Root["kind"u8].AsString(), document.Root["apiVersion"u8].AsString());
    }

    private static ApiObject DecodeJson(
        ApiCall call, ReadOnlySpan<byte> json, ReadOnlySpan<byte> body, TypeSchema type, FieldValidation validation, List<string>? strictErrors, string? otherVersion)
    {
        if (json.IsEmpty)
            throw Unrecognized(type, "couldn't get version/kind; json parse error: unexpected end of JSON input", body);
        if (json.Trim(" \t\r\n"u8).SequenceEqual("null"u8))
            json = "{}"u8;
        CheckKind(json, body, type, otherVersion);
        var decoded = JsonCodec.Decode(json, type, DecodeOptions.Default, strictErrors);
        if (strictErrors is { Count: > 0 })
            Report(call, strictErrors, type, validation, decoded);
        decoded.Root.Set("kind"u8, type.Kind);
        decoded.Root.Set("apiVersion"u8, type.ApiVersion);
        return decoded;
    }

    // All keys that stand twice in YAML are one error of its strict reading, and a warning each.
    private static void Report(ApiCall call, List<string> strictErrors, TypeSchema type, FieldValidation validation, ApiObject decoded)
    {
        const string YamlErrors = "yaml: unmarshal errors:\n  ";
        if (validation == FieldValidation.Strict)
        {
            decoded.Dispose();
            var keys = strictErrors.TakeWhile(static error => error.StartsWith(YamlErrors, StringComparison.Ordinal)).ToList();
            if (keys.Count > 1)
                strictErrors = [YamlErrors + string.Join("\n  ", keys.Select(static error => error[YamlErrors.Length..])), .. strictErrors.Skip(keys.Count)];
            throw JsonCodec.StrictFailure(type, strictErrors).ToException();
        }
        foreach (var error in strictErrors)
            call.AddWarning(error.StartsWith(YamlErrors, StringComparison.Ordinal) ? error[YamlErrors.Length..] : error);
    }

    private static void ReadYaml(ReadOnlySpan<byte> body, TypeSchema type, List<string> duplicates, PooledBuffer json)
    {
        const string Prefix = "error converting YAML to JSON: ";
        try
        {
            YamlCodec.WriteJson(body, json, duplicates);
        }
        catch (ApiStatusException refused) when (refused.Status.Message.StartsWith(Prefix, StringComparison.Ordinal))
        {
            throw Unrecognized(type, refused.Status.Message[Prefix.Length..], body);
        }
    }

    private static ApiObject DecodeProtobuf(ReadOnlySpan<byte> body, TypeSchema type)
    {
        if (body.IsEmpty)
            throw Unrecognized(type, "empty data", body);
        if (body.SequenceEqual(ProtobufCodec.Magic))
            throw Unrecognized(type, "empty body", body);
        ApiObject decoded;
        try
        {
            decoded = ProtobufCodec.Decode(body, Schema.BuiltIn, type);
        }
        catch (ApiStatusException refused)
        {
            if (ProtobufCodec.TryReadKind(body, out var unknownVersion, out var unknown) && unknown.Length > 0 && !IsRegistered(unknownVersion, unknown))
                throw WrongKind(unknown, unknownVersion, type);
            throw Unrecognized(type, refused.Status.Message, body);
        }
        var kind = decoded.Root["kind"u8].AsString();
        var version = decoded.Root["apiVersion"u8].AsString();
        if (kind.Length == 0 || kind == type.Kind && (version == type.ApiVersion || IsMeta(type)))
            return decoded;
        decoded.Dispose();
        throw WrongKind(kind, version, type);
    }

    // Kind and version are looked at before the body is decoded by the schema of another kind, which would blame its fields.
    private static void CheckKind(ReadOnlySpan<byte> json, ReadOnlySpan<byte> body, TypeSchema type, string? otherVersion)
    {
        const string NoKind = "couldn't get version/kind; json parse error: json: cannot unmarshal ";
        string kind = "", version = "", mistyped = "";
        try
        {
            var reader = new Utf8JsonReader(json, new JsonReaderOptions { MaxDepth = DecodeOptions.DefaultMaxDepth });
            if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
            {
                var token = reader.TokenType;
                // Syntax first: only a sound body is told that it is no object.
                while (reader.Read())
                {
                }
                throw Unrecognized(type, NoKind
                    + $"{GoKind(token)} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}", body);
            }
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
                    if (kind.Length > 0 && version.Length > 0 && mistyped.Length == 0)
                        break;
                }
                else
                {
                    if ((isKind || isVersion) && reader.TokenType != JsonTokenType.Null && mistyped.Length == 0)
                        mistyped = $"{NoKind}{GoKind(reader.TokenType)} into Go struct field .{(isKind ? "kind" : "apiVersion")} of type string";
                    reader.Skip();
                }
            }
        }
        catch (JsonException)
        {
            // The codec finds the same fault and words it.
            return;
        }
        if (mistyped.Length > 0)
            throw Unrecognized(type, mistyped, body);
        if (version.AsSpan().Count('/') > 1)
            throw Unrecognized(type, $"unexpected GroupVersion string: {version}", body);
        if (kind.Length == 0)
            kind = type.Kind;
        if (version.Length == 0)
            version = type.ApiVersion;
        if (kind == type.Kind && (version == type.ApiVersion || version == otherVersion || IsMeta(type) && IsRegistered(version, kind)))
            return;
        CheckOther(json, kind, version, type);
        throw WrongKind(kind, version, type);
    }

    // A body of another kind is read as that kind first: what is wrong with it there is told before that it stands in the wrong place.
    private static void CheckOther(ReadOnlySpan<byte> json, string kind, string apiVersion, TypeSchema type)
    {
        var (group, version) = Split(apiVersion);
        if (Schema.BuiltIn.FindType(group, version, kind) is not { } other || other.ApiVersion != apiVersion)
            return;
        try
        {
            JsonCodec.Decode(json, other, DecodeOptions.Default, null).Dispose();
        }
        catch (ApiStatusException refused)
        {
            throw ApiStatus.BadRequest(refused.Status.Message.Replace($" cannot be handled as a {kind}: ", $" cannot be handled as a {type.Kind}: ", StringComparison.Ordinal)).ToException();
        }
    }

    // DeleteOptions and their like are registered in every group version.
    private static bool IsMeta(TypeSchema type) => type.FullName.Contains("meta.v1", StringComparison.Ordinal) || type.Version.Length == 0;

    private static bool IsRegistered(string apiVersion, string kind)
    {
        var (group, version) = Split(apiVersion);
        return Schema.BuiltIn.FindType(group, version, kind) is { } found && (found.ApiVersion == apiVersion || IsMeta(found) && IsServed(group, version))
            || RetiredKinds.Contains(apiVersion, kind);
    }

    private static bool IsServed(string group, string version)
    {
        if (group == "meta.k8s.io")
            return version == "v1";
        foreach (var resource in Schema.BuiltIn.Resources)
        {
            if (resource.Group == group && resource.Version == version)
                return true;
        }
        return false;
    }

    private static ApiStatusException WrongKind(string kind, string apiVersion, TypeSchema type)
    {
        kind = GoText.Clip(kind);
        apiVersion = GoText.Clip(apiVersion);
        var (_, version) = Split(apiVersion);
        if (!IsRegistered(apiVersion, kind))
        {
            return ApiStatus.BadRequest(
                $"{kind} in version {GoText.Quote(version)} cannot be handled as a {type.Kind}: no kind {GoText.Quote(kind)} is registered for version {GoText.Quote(apiVersion)} in scheme \"pkg/api/legacyscheme/scheme.go:30\"").ToException();
        }
        return ApiStatus.BadRequest(kind == type.Kind
            ? $"the API version in the data ({apiVersion}) does not match the expected API version ({type.ApiVersion})"
            : $"{kind} in version {GoText.Quote(version)} cannot be handled as a {type.Kind}: converting ({version}.{kind}) to ({GoPackage(type.Group)}.{type.Kind}): unknown conversion").ToException();
    }

    private static (string Group, string Version) Split(string apiVersion)
    {
        var slash = apiVersion.IndexOf('/', StringComparison.Ordinal);
        return slash < 0 ? ("", apiVersion) : (apiVersion[..slash], apiVersion[(slash + 1)..]);
    }

    /// <summary>The package of upstream's own types of a group, as its messages name it.</summary>
    internal static string GoPackage(string group) => group is "" or "events.k8s.io" ? "core" : group.Split('.')[0];

    private static string GoKind(JsonTokenType token) => token switch
    {
        JsonTokenType.StartObject => "object",
        JsonTokenType.StartArray => "array",
        JsonTokenType.String => "string",
        JsonTokenType.Number => "number",
        _ => "bool",
    };

    private static ApiStatusException Unrecognized(TypeSchema type, string why, ReadOnlySpan<byte> body) =>
        ApiStatus.BadRequest($"the object provided is unrecognized (must be of type {type.Kind}): {why} ({JsonCodec.Summary(body)})").ToException();
}
