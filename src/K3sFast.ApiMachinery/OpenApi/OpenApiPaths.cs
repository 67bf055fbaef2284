using System.Text.Json;

namespace K3sFast.ApiMachinery;

/// <summary>
/// Writes the paths of one resource. kubectl reads from them which kind lives where (explain), and from the query parameters of PATCH whether
/// the server validates fields itself (apply).
/// </summary>
internal static class OpenApiPaths
{
    private const string Meta = "io.k8s.apimachinery.pkg.apis.meta.v1.";

    internal static void Write(Utf8JsonWriter json, ResourceInfo resource)
    {
        string root = resource.Group.Length == 0 ? $"/api/{resource.Version}" : $"/apis/{resource.Group}/{resource.Version}";
        string collection = resource.Namespaced ? $"{root}/namespaces/{{namespace}}/{resource.Resource}" : $"{root}/{resource.Resource}";
        WriteCollection(json, resource, collection);
        if (resource.Namespaced && Has(resource.Verbs, "list"))
            WriteAllNamespaces(json, resource, $"{root}/{resource.Resource}");
        if (!Has(resource.Verbs, "get"))
            return;
        WriteObject(json, resource, $"{collection}/{{name}}");
        foreach (var subresource in resource.Subresources)
            WriteSubresource(json, resource, subresource, $"{collection}/{{name}}/{subresource.Name}");
    }

    private static void WriteCollection(Utf8JsonWriter json, ResourceInfo resource, string path)
    {
        if (!Has(resource.Verbs, "list") && !Has(resource.Verbs, "create"))
            return;
        json.WriteStartObject(path);
        if (Has(resource.Verbs, "list"))
            Operation(json, resource, "get", "list", resource.ListType?.FullName, null, ["labelSelector", "fieldSelector", "limit", "continue", "resourceVersion", "resourceVersionMatch", "timeoutSeconds", "watch"]);
        if (Has(resource.Verbs, "create"))
            Operation(json, resource, "post", "post", resource.Type.FullName, resource.Type.FullName, ["dryRun", "fieldManager", "fieldValidation"]);
        if (Has(resource.Verbs, "deletecollection"))
            Operation(json, resource, "delete", "deletecollection", Meta + "Status", Meta + "DeleteOptions", ["dryRun", "gracePeriodSeconds", "propagationPolicy", "labelSelector", "fieldSelector"]);
        Parameters(json, resource.Namespaced, hasName: false);
        json.WriteEndObject();
    }

    private static void WriteAllNamespaces(Utf8JsonWriter json, ResourceInfo resource, string path)
    {
        json.WriteStartObject(path);
        Operation(json, resource, "get", "list", resource.ListType?.FullName, null, ["labelSelector", "fieldSelector", "limit", "continue", "resourceVersion", "watch"]);
        json.WriteEndObject();
    }

    private static void WriteObject(Utf8JsonWriter json, ResourceInfo resource, string path)
    {
        string type = resource.Type.FullName;
        json.WriteStartObject(path);
        Operation(json, resource, "get", "get", type, null, []);
        if (Has(resource.Verbs, "update"))
            Operation(json, resource, "put", "put", type, type, ["dryRun", "fieldManager", "fieldValidation"]);
        if (Has(resource.Verbs, "patch"))
            Operation(json, resource, "patch", "patch", type, Meta + "Patch", ["dryRun", "fieldManager", "fieldValidation", "force"]);
        if (Has(resource.Verbs, "delete"))
            Operation(json, resource, "delete", "delete", Meta + "Status", Meta + "DeleteOptions", ["dryRun", "gracePeriodSeconds", "propagationPolicy", "orphanDependents"]);
        Parameters(json, resource.Namespaced, hasName: true);
        json.WriteEndObject();
    }

    private static void WriteSubresource(Utf8JsonWriter json, ResourceInfo resource, SubresourceInfo subresource, string path)
    {
        string? type = OpenApiDocument.TypeOf(subresource)?.FullName;
        var kind = (subresource.Group, subresource.Version, subresource.Kind);
        json.WriteStartObject(path);
        foreach (string verb in subresource.Verbs)
        {
            (string method, string action, string? body, string[] parameters) = verb switch
            {
                "get" => ("get", type is null ? "connect" : "get", null, Array.Empty<string>()),
                "update" => ("put", "put", type, new[] { "dryRun", "fieldManager", "fieldValidation" }),
                "patch" => ("patch", "patch", Meta + "Patch", new[] { "dryRun", "fieldManager", "fieldValidation", "force" }),
                "create" => ("post", type is null ? "connect" : "post", type, new[] { "dryRun", "fieldManager", "fieldValidation" }),
                _ => ("delete", "connect", null, Array.Empty<string>()),
            };
            Operation(json, resource, method, action, type, body, parameters, kind);
        }
        Parameters(json, resource.Namespaced, hasName: true);
        json.WriteEndObject();
    }

    private static void Operation(
        Utf8JsonWriter json, ResourceInfo resource, string method, string action, string? answer, string? body, ReadOnlySpan<string> parameters,
        (string Group, string Version, string Kind)? kind = null)
    {
        json.WriteStartObject(method);
        if (parameters.Length > 0)
        {
            json.WriteStartArray("parameters");
            foreach (string parameter in parameters)
                Parameter(json, "query", parameter, TypeOfParameter(parameter));
            json.WriteEndArray();
        }
        if (body is not null)
        {
            json.WriteStartObject("requestBody");
            json.WriteStartObject("content");
            if (method == "patch")
                foreach (string media in (ReadOnlySpan<string>)["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"])
                    Content(json, media, body);
            else
                Content(json, "*/*", body);
            json.WriteEndObject();
            json.WriteEndObject();
        }
        json.WriteStartObject("responses");
        json.WriteStartObject("200");
        json.WriteString("description", "OK");
        if (answer is not null)
        {
            json.WriteStartObject("content");
            Content(json, "application/json", answer);
            json.WriteEndObject();
        }
        json.WriteEndObject();
        json.WriteStartObject("401");
        json.WriteString("description", "Unauthorized");
        json.WriteEndObject();
        json.WriteEndObject();
        json.WriteString("x-kubernetes-action", action);
        json.WritePropertyName("x-kubernetes-group-version-kind");
        var (group, version, name) = kind ?? (resource.Group, resource.Version, resource.Kind);
        OpenApiSchemas.WriteKind(json, group, version, name);
        json.WriteEndObject();
    }

    private static void Content(Utf8JsonWriter json, string media, string type)
    {
        json.WriteStartObject(media);
        json.WriteStartObject("schema");
        OpenApiSchemas.WriteReference(json, type);
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static void Parameters(Utf8JsonWriter json, bool isNamespaced, bool hasName)
    {
        json.WriteStartArray("parameters");
        if (hasName)
            Parameter(json, "path", "name", "string");
        if (isNamespaced)
            Parameter(json, "path", "namespace", "string");
        Parameter(json, "query", "pretty", "string");
        json.WriteEndArray();
    }

    private static void Parameter(Utf8JsonWriter json, string place, string name, string type)
    {
        json.WriteStartObject();
        json.WriteString("name", name);
        json.WriteString("in", place);
        if (place == "path")
            json.WriteBoolean("required", true);
        json.WriteStartObject("schema");
        json.WriteString("type", type);
        json.WriteBoolean("uniqueItems", true);
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static string TypeOfParameter(string name) => name switch
    {
        "force" or "watch" or "orphanDependents" => "boolean",
        "limit" or "timeoutSeconds" or "gracePeriodSeconds" => "integer",
        _ => "string",
    };

    private static bool Has(string[] verbs, string verb) => Array.IndexOf(verbs, verb) >= 0;
}
