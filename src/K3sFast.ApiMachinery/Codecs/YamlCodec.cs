using System.Buffers;
using System.Text;
using YamlDotNet.Core;

namespace K3sFast.ApiMachinery;

/// <summary>
/// YAML documents into trees by the rules of Kubernetes' own reader (sigs.k8s.io/yaml on YAML 1.1): yes, no, on, off, y, n are booleans; 0x, 0o, 0b and
/// leading-zero octal are numbers; timestamps stay strings; aliases are expanded within bounds; merge keys work; every key becomes a string.
/// Cold paths only: it allocates.
/// </summary>
public static class YamlCodec
{
    /// <summary>Parses all documents of a stream; empty ones are left out. The caller disposes each.</summary>
    /// <exception cref="ApiStatusException">400 when it is no YAML, or a key stands twice in a mapping.</exception>
    public static IEnumerable<ApiObject> DecodeAll(ReadOnlySpan<byte> yaml) => DecodeDocuments(yaml, null);

    /// <summary>Parses one document by a schema, as <see cref="JsonCodec.Decode"/> does for JSON. The caller disposes the tree.</summary>
    /// <param name="yaml">The body: one document.</param>
    /// <param name="type">The schema, or null for free documents.</param>
    /// <param name="options">Bounds.</param>
    /// <param name="strictErrors">Takes unknown and duplicate fields; null = not wanted, and the last of equal keys wins.</param>
    /// <exception cref="ApiStatusException">400 in upstream's words.</exception>
    public static ApiObject Decode(ReadOnlySpan<byte> yaml, TypeSchema? type, DecodeOptions options, ICollection<string>? strictErrors)
    {
        var json = new ArrayBufferWriter<byte>(yaml.Length + 64);
        WriteJson(yaml, json, strictErrors ?? []);
        return JsonCodec.Decode(json.WrittenSpan, type, options, strictErrors);
    }

    /// <summary>The first document of a body as compact JSON; an empty one is an empty object.</summary>
    /// <param name="yaml">The body.</param>
    /// <param name="json">Takes the JSON.</param>
    /// <param name="duplicates">Takes the first hundred keys that stand twice in a mapping; the last of them counts.</param>
    /// <exception cref="ApiStatusException">400 in upstream's words.</exception>
    public static void WriteJson(ReadOnlySpan<byte> yaml, IBufferWriter<byte> json, ICollection<string> duplicates)
    {
        var documents = DecodeDocuments(yaml, duplicates);
        using var free = documents.Count > 0 ? documents[0] : new ApiObject();
        foreach (var other in documents.Skip(1))
            other.Dispose();
        free.Root.WriteJson(json);
    }

    // Without a collection for them, duplicate keys are refused.
    private static List<ApiObject> DecodeDocuments(ReadOnlySpan<byte> yaml, ICollection<string>? duplicates)
    {
        var documents = new List<ApiObject>();
        try
        {
            using var text = new StreamReader(new MemoryStream(yaml.ToArray()), Encoding.UTF8);
            var decoder = new YamlTreeDecoder(new Parser(text), duplicates);
            while (decoder.ReadDocument() is { } document)
                documents.Add(document);
            return documents;
        }
        catch (Exception failure) when (failure is YamlException or ApiStatusException or InvalidOperationException or ArgumentException)
        {
            foreach (var document in documents)
                document.Dispose();
            if (failure is ApiStatusException)
                throw;
            // The parser has states that broken text drives it into and that it has no words for.
            throw ApiStatus.BadRequest($"error converting YAML to JSON: yaml: {(failure is YamlException problem ? YamlProblem.Words(problem) : "the text cannot be read")}").ToException();
        }
    }
}
