using System.Buffers;
using System.Text;
using System.Text.Json;

namespace K3sFast.ApiMachinery;

/// <summary>Writes the OpenAPI v3 document of one group version: the schemas of all types it reaches, and its paths.</summary>
internal static class OpenApiDocument
{
    private const string Meta = "io.k8s.apimachinery.pkg.apis.meta.v1.";

    internal static byte[] Write(string group, string version)
    {
        var resources = Schema.BuiltIn.Resources.Where(resource => OpenApiV3.IsServed(resource) && resource.Group == group && resource.Version == version).ToArray();
        var output = new ArrayBufferWriter<byte>(256 * 1024);
        using (var json = new Utf8JsonWriter(output))
        {
            json.WriteStartObject();
            json.WriteString("openapi", "3.0.0");
            json.WriteStartObject("info");
            json.WriteString("title", "Kubernetes");
            json.WriteString("version", "unversioned");
            json.WriteEndObject();
            json.WriteStartObject("paths");
            foreach (var resource in resources)
                OpenApiPaths.Write(json, resource);
            json.WriteEndObject();
            json.WriteStartObject("components");
            json.WriteStartObject("schemas");
            WriteSchemas(json, resources, group, version);
            json.WriteEndObject();
            json.WriteStartObject("securitySchemes");
            json.WriteStartObject("BearerToken");
            json.WriteString("type", "apiKey");
            json.WriteString("description", "Bearer Token authentication");
            json.WriteString("name", "authorization");
            json.WriteString("in", "header");
            json.WriteEndObject();
            json.WriteEndObject();
            json.WriteEndObject();
            json.WriteEndObject();
        }
        return output.WrittenSpan.ToArray();
    }

    /// <summary>The type behind a subresource's body, or null.</summary>
    internal static TypeSchema? TypeOf(SubresourceInfo subresource) => Schema.BuiltIn.FindType(subresource.Group, subresource.Version, subresource.Kind);

    private static void WriteSchemas(Utf8JsonWriter json, ResourceInfo[] resources, string group, string version)
    {
        var types = new SortedDictionary<string, TypeSchema?>(StringComparer.Ordinal);
        foreach (var resource in resources)
        {
            Reach(types, resource.Type);
            if (resource.ListType is { } list)
                Reach(types, list);
            foreach (var subresource in resource.Subresources)
                if (TypeOf(subresource) is { } type)
                    Reach(types, type);
        }
        foreach (var name in (ReadOnlySpan<string>)["DeleteOptions", "Status", "WatchEvent"])
            if (Schema.BuiltIn.FindType(Meta + name) is { } type)
                Reach(types, type);
        types[Meta + "Patch"] = null;
        foreach (var (name, type) in types)
        {
            json.WriteStartObject(name);
            if (type is null)
                OpenApiSchemas.WriteSpecial(json, name);
            else
                OpenApiSchemas.WriteType(json, type, group, version);
            json.WriteEndObject();
        }
    }

    private static void Reach(SortedDictionary<string, TypeSchema?> types, TypeSchema type)
    {
        if (!types.TryAdd(type.FullName, type))
            return;
        foreach (var field in type.Fields)
        {
            if (field.Element is { } element)
                Reach(types, element);
            else if (OpenApiSchemas.SpecialName(field.Kind) is { } special)
                types.TryAdd(special, null);
        }
    }
}
