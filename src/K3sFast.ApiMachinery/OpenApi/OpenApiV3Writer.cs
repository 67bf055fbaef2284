using System.Text.Json;

namespace K3sFast.ApiMachinery;

/// <summary>Writes a document of OpenAPI 3.0: paths, and the schemas that they reach.</summary>
internal static class OpenApiV3Writer
{
    internal static void Write(Utf8JsonWriter json, IEnumerable<ApiPath> paths, SchemaSet schemas, KindMarks marks, TypeDescriptions descriptions)
    {
        var schemaWriter = new SchemaWriter(json, OpenApiDialect.V3, descriptions, marks);
        json.WriteStartObject();
        json.WriteString("openapi"u8, "3.0.0"u8);
        OpenApiInfo.Write(json);
        json.WriteStartObject("paths"u8);
        foreach (var path in paths.OrderBy(static path => path.Path, StringComparer.Ordinal))
        {
            WritePath(json, path, schemaWriter);
            schemas.Reach(path);
            json.Flush();
        }
        json.WriteEndObject();
        json.WriteStartObject("components"u8);
        if (schemas.Count > 0)
        {
            json.WriteStartObject("schemas"u8);
            schemas.Write(json, schemaWriter);
            json.WriteEndObject();
        }
        json.WriteStartObject("securitySchemes"u8);
        json.WriteStartObject("BearerToken"u8);
        json.WriteString("type"u8, "apiKey"u8);
        json.WriteString("description"u8, "Bearer Token authentication"u8);
        json.WriteString("name"u8, "authorization"u8);
        json.WriteString("in"u8, "header"u8);
        json.WriteEndObject();
        json.WriteEndObject();
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static void WritePath(Utf8JsonWriter json, ApiPath path, SchemaWriter schemas)
    {
        var shared = path.Shared();
        json.WriteStartObject(path.Path);
        foreach (var operation in path.Ordered)
            WriteOperation(json, operation, ApiPath.Own(operation, shared), schemas);
        WriteParameters(json, shared);
        json.WriteEndObject();
    }

    private static void WriteOperation(Utf8JsonWriter json, ApiOperation operation, List<ApiParameter> parameters, SchemaWriter schemas)
    {
        json.WriteStartObject(operation.Method);
        json.WriteStartArray("tags"u8);
        json.WriteStringValue(operation.Tag);
        json.WriteEndArray();
        json.WriteString("description"u8, operation.Description);
        json.WriteString("operationId"u8, operation.Id);
        WriteParameters(json, parameters);
        if (operation.Body is { } body)
        {
            json.WriteStartObject("requestBody"u8);
            WriteContent(json, operation.Consumes, body, schemas);
            if (operation.IsBodyRequired)
                json.WriteBoolean("required"u8, true);
            json.WriteEndObject();
        }
        json.WriteStartObject("responses"u8);
        foreach (var code in operation.Codes)
        {
            json.WriteStartObject(code);
            json.WriteString("description"u8, ApiOperation.CodeText(code));
            WriteContent(json, operation.Produces, operation.Answer, schemas);
            json.WriteEndObject();
        }
        json.WriteStartObject("401"u8);
        json.WriteString("description"u8, ApiOperation.CodeText("401"));
        json.WriteEndObject();
        json.WriteEndObject();
        OpenApiInfo.WriteExtensions(json, operation, OpenApiDialect.V3);
        json.WriteEndObject();
    }

    private static void WriteContent(Utf8JsonWriter json, string[] media, string type, SchemaWriter schemas)
    {
        json.WriteStartObject("content"u8);
        foreach (var form in media.Order(StringComparer.Ordinal))
        {
            json.WriteStartObject(form);
            schemas.WriteSchemaMember(type);
            json.WriteEndObject();
        }
        json.WriteEndObject();
    }

    private static void WriteParameters(Utf8JsonWriter json, List<ApiParameter> parameters)
    {
        if (parameters.Count == 0)
            return;
        json.WriteStartArray("parameters"u8);
        foreach (var parameter in parameters)
        {
            json.WriteStartObject();
            json.WriteString("name"u8, parameter.Name);
            json.WriteString("in"u8, parameter.In);
            json.WriteString("description"u8, parameter.Description);
            if (parameter.IsRequired)
                json.WriteBoolean("required"u8, true);
            json.WriteStartObject("schema"u8);
            json.WriteString("type"u8, parameter.Type);
            json.WriteBoolean("uniqueItems"u8, true);
            json.WriteEndObject();
            json.WriteEndObject();
        }
        json.WriteEndArray();
    }
}
