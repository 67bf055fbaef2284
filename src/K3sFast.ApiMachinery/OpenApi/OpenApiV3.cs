using System.Buffers;
using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text.Json;

namespace K3sFast.ApiMachinery;

/// <summary>
/// OpenAPI v3 documents of the built-in groups, made from the schema when asked for: the index at /openapi/v3 and one document for each
/// group and version. Only the hashes stay; a document is kept while the collector lets it live.
/// </summary>
/// <remarks>Any thread. The index costs one making of every document the first time.</remarks>
public static class OpenApiV3
{
    private static readonly ConcurrentDictionary<(string Group, string Version), string> s_hashes = new();
    private static readonly ConcurrentDictionary<(string Group, string Version), WeakReference<byte[]>> s_documents = new();

    /// <summary>The group versions that have a document: those of resources that are served by default.</summary>
    public static IReadOnlyList<(string Group, string Version)> GroupVersions { get; } = Schema.BuiltIn.Resources
        .Where(IsServed).Select(static resource => (resource.Group, resource.Version)).Distinct().ToArray();

    /// <summary>The index: the path of each document with the hash of its content, by which clients cache it.</summary>
    public static byte[] WriteIndex()
    {
        var output = new ArrayBufferWriter<byte>(8192);
        using (var json = new Utf8JsonWriter(output))
        {
            json.WriteStartObject();
            json.WriteStartObject("paths");
            foreach (var (group, version) in GroupVersions)
            {
                string path = group.Length == 0 ? $"api/{version}" : $"apis/{group}/{version}";
                json.WriteStartObject(path);
                json.WriteString("serverRelativeURL", $"/openapi/v3/{path}?hash={HashOf(group, version)}");
                json.WriteEndObject();
            }
            json.WriteEndObject();
            json.WriteEndObject();
        }
        return output.WrittenSpan.ToArray();
    }

    /// <summary>The document of one group version ("" = core); null when it has none.</summary>
    public static byte[]? WriteGroupVersion(string group, string version)
    {
        if (!GroupVersions.Contains((group, version)))
            return null;
        if (s_documents.TryGetValue((group, version), out var kept) && kept.TryGetTarget(out var document))
            return document;
        document = OpenApiDocument.Write(group, version);
        s_documents[(group, version)] = new WeakReference<byte[]>(document);
        return document;
    }

    /// <summary>The content hash of a group version's document, upper-case hexadecimal; null when it has none.</summary>
    public static string? HashOf(string group, string version)
    {
        if (s_hashes.TryGetValue((group, version), out var hash))
            return hash;
        var document = WriteGroupVersion(group, version);
        return document is null ? null : s_hashes[(group, version)] = Convert.ToHexString(SHA512.HashData(document));
    }

    internal static bool IsServed(ResourceInfo resource) => resource.EnabledByDefault && resource.Server == "kube-apiserver";
}
