using System.Buffers;
using System.IO.Compression;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Bodies of requests and answers, whatever form they had on the wire, as the JSON that audit events hold.</summary>
internal static class AuditObjects
{
    internal static byte[] Json(ApiNode obj, bool omitsManagedFields)
    {
        var output = new ArrayBufferWriter<byte>(1024);
        if (!omitsManagedFields)
        {
            obj.WriteJson(output);
            return output.WrittenSpan.ToArray();
        }
        using var copy = obj.Document.Clone();
        RemoveManagedFields(copy.Root);
        copy.Root.WriteJson(output);
        return output.WrittenSpan.ToArray();
    }

    /// <summary>Null when the body is nothing that can be read.</summary>
    internal static byte[]? Json(ReadOnlySpan<byte> body, string? contentType, string encoding, bool omitsManagedFields)
    {
        try
        {
            if (encoding == "gzip")
                body = Inflate(body.ToArray());
            var media = (contentType ?? "").Split(';')[0].Trim();
            using var document = media switch
            {
                ResponseFormat.Protobuf => ProtobufCodec.Decode(body, Schema.BuiltIn),
                "application/yaml" or "application/apply-patch+yaml" => YamlCodec.Decode(body, null, DecodeOptions.Free, null),
                _ => JsonCodec.Decode(body, null, DecodeOptions.Free, null),
            };
            if (omitsManagedFields)
                RemoveManagedFields(document.Root);
            var output = new ArrayBufferWriter<byte>(body.Length + 64);
            document.Root.WriteJson(output);
            return output.WrittenSpan.ToArray();
        }
        catch (Exception error) when (error is ApiStatusException or JsonSyntaxException or InvalidDataException or FormatException or InvalidOperationException)
        {
            return null;
        }
    }

    // Of the object, of a list's items, of a table's rows.
    private static void RemoveManagedFields(ApiNode root)
    {
        if (root.Kind != NodeKind.Object)
            return;
        root["metadata"u8].Remove("managedFields"u8);
        foreach (var item in root["items"u8].Elements)
            item["metadata"u8].Remove("managedFields"u8);
        foreach (var row in root["rows"u8].Elements)
            row["object"u8]["metadata"u8].Remove("managedFields"u8);
    }

    private static byte[] Inflate(byte[] body)
    {
        using var gzip = new GZipStream(new MemoryStream(body), CompressionMode.Decompress);
        var plain = new MemoryStream();
        gzip.CopyTo(plain);
        return plain.ToArray();
    }
}
