using System.Buffers;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace K3sFast.ApiMachinery;

/// <summary>Writes the one document of OpenAPI 2.0: all paths, all schemas that they reach, and the parameters that many operations share.</summary>
internal sealed class OpenApiV2Writer
{
    // Upstream's hash is over JSON that Go escaped: these three characters, and nothing else that occurs in descriptions.
    private static readonly SearchValues<char> s_escapedByGo = SearchValues.Create("<>&");

    private readonly Utf8JsonWriter _json;
    private readonly SchemaWriter _schemas;
    private readonly SortedDictionary<string, Action> _sharedParameters = new(StringComparer.Ordinal);
    private readonly Dictionary<ApiParameter, string> _parameterNames = [];
    private readonly Dictionary<(string Type, bool IsRequired), string> _bodyNames = [];

    private OpenApiV2Writer(Utf8JsonWriter json, TypeDescriptions descriptions)
    {
        _json = json;
        _schemas = new SchemaWriter(json, OpenApiDialect.V2, descriptions, KindMarks.OfEverything);
    }

    internal static void Write(Utf8JsonWriter json, IEnumerable<ApiPath> paths, TypeDescriptions descriptions) => new OpenApiV2Writer(json, descriptions).Write(paths);

    private void Write(IEnumerable<ApiPath> paths)
    {
        var schemas = new SchemaSet();
        _json.WriteStartObject();
        _json.WriteString("swagger"u8, "2.0"u8);
        OpenApiInfo.Write(_json);
        _json.WriteStartObject("paths"u8);
        foreach (var path in paths.OrderBy(static path => path.Path, StringComparer.Ordinal))
        {
            WritePath(path);
            schemas.Reach(path);
            _json.Flush();
        }
        _json.WriteEndObject();
        _json.WriteStartObject("definitions"u8);
        schemas.Write(_json, _schemas);
        _json.WriteEndObject();
        _json.WriteStartObject("parameters"u8);
        foreach (var (name, write) in _sharedParameters)
        {
            _json.WritePropertyName(name);
            write();
        }
        _json.WriteEndObject();
        WriteSecurity();
        _json.WriteEndObject();
    }

    private void WriteSecurity()
    {
        _json.WriteStartObject("securityDefinitions"u8);
        _json.WriteStartObject("BearerToken"u8);
        _json.WriteString("description"u8, "Bearer Token authentication"u8);
        _json.WriteString("type"u8, "apiKey"u8);
        _json.WriteString("name"u8, "authorization"u8);
        _json.WriteString("in"u8, "header"u8);
        _json.WriteEndObject();
        _json.WriteEndObject();
        _json.WriteStartArray("security"u8);
        _json.WriteStartObject();
        _json.WriteStartArray("BearerToken"u8);
        _json.WriteEndArray();
        _json.WriteEndObject();
        _json.WriteEndArray();
    }

    private void WritePath(ApiPath path)
    {
        var shared = path.Shared();
        _json.WriteStartObject(path.Path);
        foreach (var operation in path.Ordered)
            WriteOperation(operation, ApiPath.Own(operation, shared));
        if (shared.Count > 0)
        {
            _json.WriteStartArray("parameters"u8);
            foreach (var parameter in shared)
                WriteParameter(parameter);
            _json.WriteEndArray();
        }
        _json.WriteEndObject();
    }

    private void WriteOperation(ApiOperation operation, List<ApiParameter> parameters)
    {
        _json.WriteStartObject(operation.Method);
        _json.WriteString("description"u8, operation.Description);
        if (operation.Consumes.Length > 0)
            WriteStrings("consumes", operation.Consumes);
        WriteStrings("produces", operation.Produces);
        WriteStrings("schemes", ["https"]);
        WriteStrings("tags", [operation.Tag]);
        _json.WriteString("operationId"u8, operation.Id);
        if (parameters.Count > 0 || operation.Body is not null)
        {
            _json.WriteStartArray("parameters"u8);
            // "body" has its place in the order of names.
            if (operation.Body is { } body)
                WriteBody(body, operation.IsBodyRequired);
            foreach (var parameter in parameters)
                WriteParameter(parameter);
            _json.WriteEndArray();
        }
        _json.WriteStartObject("responses"u8);
        foreach (var code in operation.Codes)
        {
            _json.WriteStartObject(code);
            _json.WriteString("description"u8, ApiOperation.CodeText(code));
            _schemas.WriteSchemaMember(operation.Answer);
            _json.WriteEndObject();
        }
        _json.WriteStartObject("401"u8);
        _json.WriteString("description"u8, ApiOperation.CodeText("401"));
        _json.WriteEndObject();
        _json.WriteEndObject();
        OpenApiInfo.WriteExtensions(_json, operation, OpenApiDialect.V2);
        _json.WriteEndObject();
    }

    private void WriteBody(string type, bool isRequired)
    {
        // A body that every resource shares is written once, like the parameters.
        if (!type.StartsWith("io.k8s.apimachinery", StringComparison.Ordinal))
        {
            WriteBodyItself(type, isRequired);
            return;
        }
        if (!_bodyNames.TryGetValue((type, isRequired), out var name))
        {
            var required = isRequired ? "\"required\":true," : "";
            name = "body-" + Hash($"{{\"name\":\"body\",\"in\":\"body\",{required}\"schema\":{{\"$ref\":\"#/definitions/{type}\"}}}}");
            _bodyNames.Add((type, isRequired), name);
            _sharedParameters.Add(name, () => WriteBodyItself(type, isRequired));
        }
        WriteReference(name);
    }

    private void WriteBodyItself(string type, bool isRequired)
    {
        _json.WriteStartObject();
        _json.WriteString("name"u8, "body"u8);
        _json.WriteString("in"u8, "body"u8);
        if (isRequired)
            _json.WriteBoolean("required"u8, true);
        _schemas.WriteSchemaMember(type);
        _json.WriteEndObject();
    }

    private void WriteParameter(ApiParameter parameter)
    {
        // Older kubectl looks for the last two where the operation is, and a name's description says its kind.
        if (parameter.Name is "name" or "dryRun" or "fieldValidation")
        {
            WriteParameterItself(parameter);
            return;
        }
        if (!_parameterNames.TryGetValue(parameter, out var name))
        {
            name = $"{parameter.Name}-{Hash(GoJson(parameter))}";
            _parameterNames.Add(parameter, name);
            _sharedParameters.Add(name, () => WriteParameterItself(parameter));
        }
        WriteReference(name);
    }

    private void WriteParameterItself(ApiParameter parameter)
    {
        _json.WriteStartObject();
        _json.WriteBoolean("uniqueItems"u8, true);
        _json.WriteString("type"u8, parameter.Type);
        _json.WriteString("description"u8, parameter.Description);
        _json.WriteString("name"u8, parameter.Name);
        _json.WriteString("in"u8, parameter.In);
        if (parameter.IsRequired)
            _json.WriteBoolean("required"u8, true);
        _json.WriteEndObject();
    }

    private void WriteReference(string parameterName)
    {
        _json.WriteStartObject();
        _json.WriteString("$ref"u8, "#/parameters/" + parameterName);
        _json.WriteEndObject();
    }

    private void WriteStrings(string name, string[] values)
    {
        _json.WriteStartArray(name);
        foreach (var value in values)
            _json.WriteStringValue(value);
        _json.WriteEndArray();
    }

    private static string GoJson(ApiParameter parameter)
    {
        var description = JavaScriptEncoder.UnsafeRelaxedJsonEscaping.Encode(parameter.Description);
        if (description.AsSpan().ContainsAny(s_escapedByGo))
            description = description.Replace("<", "\\u003c", StringComparison.Ordinal).Replace(">", "\\u003e", StringComparison.Ordinal).Replace("&", "\\u0026", StringComparison.Ordinal);
        var required = parameter.IsRequired ? ",\"required\":true" : "";
        return $"{{\"uniqueItems\":true,\"type\":\"{parameter.Type}\",\"description\":\"{description}\",\"name\":\"{parameter.Name}\",\"in\":\"{parameter.In}\"{required}}}";
    }

    /// <summary>FNV-1 of 64 bits, its first six bytes in base64 for URLs: the names that upstream gives shared parameters.</summary>
    private static string Hash(string text)
    {
        const ulong Prime = 1099511628211;
        var hash = 14695981039346656037;
        foreach (var value in Encoding.UTF8.GetBytes(text))
            hash = (hash * Prime) ^ value;
        Span<byte> bytes = stackalloc byte[8];
        System.Buffers.Binary.BinaryPrimitives.WriteUInt64BigEndian(bytes, hash);
        return System.Buffers.Text.Base64Url.EncodeToString(bytes[..6]);
    }
}
