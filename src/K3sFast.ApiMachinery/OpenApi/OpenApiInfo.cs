using System.Text.Json;

namespace K3sFast.ApiMachinery;

/// <summary>What both dialects write alike.</summary>
internal static class OpenApiInfo
{
    private static readonly string s_version = VersionOf(typeof(OpenApiInfo).Assembly.GetName().Version);

    internal static void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject("info"u8);
        json.WriteString("title"u8, "Kubernetes"u8);
        json.WriteString("version"u8, s_version);
        json.WriteEndObject();
    }

    /// <summary>What the operation does to which kind. The dialects differ in the order of the kind's members only.</summary>
    internal static void WriteExtensions(Utf8JsonWriter json, ApiOperation operation, OpenApiDialect dialect)
    {
        if (operation.Action.Length == 0)
            return;
        json.WriteString("x-kubernetes-action"u8, operation.Action);
        json.WritePropertyName("x-kubernetes-group-version-kind"u8);
        var (group, version, kind) = operation.Kind;
        if (dialect == OpenApiDialect.V2)
        {
            SchemaWriter.WriteKind(json, group, version, kind);
            return;
        }
        json.WriteStartObject();
        json.WriteString("group"u8, group);
        json.WriteString("version"u8, version);
        json.WriteString("kind"u8, kind);
        json.WriteEndObject();
    }

    private static string VersionOf(Version? version) => version is null ? "unversioned" : $"{version.Major}.{version.Minor}";
}
