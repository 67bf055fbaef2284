using System.Globalization;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Answers /openapi/v2 and /openapi/v3: JSON or protobuf, ETags, and copies for ever when the client names the hash that it expects.</summary>
internal sealed class OpenApiHandler(OpenApiDocuments documents, TimeProvider clock)
{
    private const string Prefix = "/openapi/v3/";

    // The form with "@" is what clients send, the form with "." is what servers answer.
    private static readonly string[] s_version2Protobuf = ["com.github.proto-openapi.spec.v2@v1.0+protobuf", "com.github.proto-openapi.spec.v2.v1.0+protobuf"];
    private static readonly string[] s_version3Protobuf = ["com.github.proto-openapi.spec.v3@v1.0+protobuf", "com.github.proto-openapi.spec.v3.v1.0+protobuf"];

    private readonly string _started = clock.GetUtcNow().ToString("R", CultureInfo.InvariantCulture);

    internal static bool Owns(string path) => path is "/openapi/v2" or "/openapi/v3" || path.StartsWith(Prefix, StringComparison.Ordinal);

    internal ValueTask AnswerAsync(ApiCall call, string path) => path switch
    {
        "/openapi/v2" => Version2Async(call),
        "/openapi/v3" => WriteAsync(call, documents.Index, $"\"{documents.Index.Hash}\"", ResponseFormat.Json),
        _ => Version3Async(call, path[Prefix.Length..]),
    };

    private ValueTask Version2Async(ApiCall call)
    {
        call.SetHeader("Vary", "Accept-Encoding, Accept");
        return Choose(call, s_version2Protobuf) switch
        {
            null => ResponseWriter.WriteEmptyAsync(call, 406),
            // Both forms have the tag of the JSON: Vary keeps them apart.
            "json" => WriteAsync(call, documents.Version2, $"\"{documents.Version2.Hash}\"", ResponseFormat.Json),
            _ => WriteAsync(call, documents.Version2Protobuf, $"\"{documents.Version2.Hash}\"", $"application/{s_version2Protobuf[1]}"),
        };
    }

    private ValueTask Version3Async(ApiCall call, string name)
    {
        var document = documents.FindVersion3(name);
        if (document is null)
            return ResponseWriter.WriteEmptyAsync(call, 404);
        call.SetHeader("Vary", "Accept");
        if (Choose(call, s_version3Protobuf) is not { } form)
            return ResponseWriter.WriteEmptyAsync(call, 406);
        var tag = $"\"{document.Hash}\"";
        if (call.QueryString("hash"u8) is { Length: > 0 } hash)
        {
            if (hash != document.Hash)
            {
                call.SetHeader("ETag", tag);
                call.SetHeader("Location", $"{Prefix}{name}?hash={document.Hash}");
                return ResponseWriter.WriteEmptyAsync(call, 301);
            }
            // The address says what is behind it: a copy never gets old.
            call.SetHeader("Cache-Control", "public, immutable");
            call.SetHeader("Expires", clock.GetUtcNow().AddYears(1).ToString("R", CultureInfo.InvariantCulture));
        }
        return form == "json"
            ? WriteAsync(call, document, tag, ResponseFormat.Json)
            : WriteAsync(call, documents.FindVersion3Protobuf(name)!, tag, $"application/{s_version3Protobuf[1]}");
    }

    private ValueTask WriteAsync(ApiCall call, PackedDocument document, string tag, string contentType)
    {
        call.SetHeader("ETag", tag);
        call.SetHeader("Last-Modified", _started);
        return call.Header("If-None-Match") == tag ? ResponseWriter.WriteEmptyAsync(call, 304) : ResponseWriter.WritePackedAsync(call, contentType, document);
    }

    // "json", "protobuf", or null when nothing suits.
    private static string? Choose(ApiCall call, string[] protobuf)
    {
        foreach (var range in AcceptHeader.Parse(call.Accept))
        {
            if (range.Covers("application", "json"))
                return "json";
            if (range.Covers("application", protobuf[0]) || range.Covers("application", protobuf[1]))
                return "protobuf";
        }
        return null;
    }
}
