using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>The body of an apply: one YAML document, which JSON is too. Refused in upstream's words.</summary>
internal static class ApplyBody
{
    /// <summary>The configuration as it was sent. The caller disposes it.</summary>
    internal static ApiObject Decode(ReadOnlySpan<byte> body)
    {
        var config = DecodeFree(body, null);
        if (config.Root.Kind is NodeKind.Object)
            return config;
        var kind = config.Root.Kind switch { NodeKind.Array => "array", NodeKind.String => "string", NodeKind.Number => "number", _ => "bool" };
        config.Dispose();
        throw ApiStatus.BadRequest(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal "
            + $"{kind} into Go value of type map[string]interface {{}}").ToException();
    }

    /// <summary>Duplicate keys: refused, warned of or not looked for.</summary>
    internal static void CheckStrictly(ApiCall call, ReadOnlySpan<byte> body, FieldValidation validation)
    {
        if (validation == FieldValidation.Ignore)
            return;
        var errors = new List<string>();
        DecodeFree(body, errors).Dispose();
        if (errors.Count == 0)
            return;
        if (validation == FieldValidation.Strict)
        {
            throw ApiStatus.BadRequest(
                $"error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n{string.Join('\n', errors)}").ToException();
        }
        foreach (var error in errors)
            call.AddWarning(error.Trim());
    }

    private static ApiObject DecodeFree(ReadOnlySpan<byte> body, List<string>? duplicates)
    {
        var first = body.IndexOfAnyExcept(" \t\r\n"u8);
        var isJson = first >= 0 && body[first] == '{';
        var found = new List<string>();
        // Without a duplicate key JSON is read as such, which is fast; for its lines, and for everything else, the YAML reader is asked.
        if (isJson && TryDecodeJson(body, found) is { } json)
        {
            if (found.Count == 0)
            {
                ConfigNumbers.Normalize(json.Root);
                return json;
            }
            json.Dispose();
            found.Clear();
        }
        try
        {
            var config = YamlCodec.Decode(body, null, DecodeOptions.Free, found);
            ConfigNumbers.Normalize(config.Root);
            foreach (var error in found)
                duplicates?.Add(error[(error.IndexOf('\n', StringComparison.Ordinal) + 1)..]);
            return config;
        }
        catch (ApiStatusException refused)
        {
            throw ApiStatus.BadRequest($"error decoding YAML: {refused.Status.Message}").ToException();
        }
    }

    private static ApiObject? TryDecodeJson(ReadOnlySpan<byte> body, List<string> duplicates)
    {
        try
        {
            return JsonCodec.Decode(body, null, DecodeOptions.Free, duplicates);
        }
        catch (ApiStatusException)
        {
            return null;
        }
    }
}
