using System.Security.Cryptography;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// Answers what is served: the lists of groups and resources in the old form, and for /api and /apis the aggregated form when the client names it
/// first, with an ETag so that an unchanged answer costs no bytes.
/// </summary>
internal sealed class DiscoveryHandler(DiscoveryDocuments documents)
{
    private const string AggregatedParameters = ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

    private static readonly string[] s_subtypes = ["json", "yaml", "vnd.kubernetes.protobuf"];

    // Made when asked for; two threads may make the same one.
    private readonly Dictionary<bool, (byte[] Document, string Tag)> _aggregated = [];

    internal bool Owns(string path) => documents.Has(path);

    internal ValueTask AnswerAsync(ApiCall call, string path)
    {
        var found = documents.Find(path)!.Value;
        if (path is not ("/api" or "/apis"))
            return ResponseWriter.WriteObjectAsync(call, 200, found.Document, TypeOf(found.Kind), ResponseFormat.Negotiate(call, allowsProjection: false));
        foreach (var range in AcceptHeader.Parse(call.Accept))
        {
            var subtype = Array.Find(s_subtypes, subtype => range.Covers("application", subtype));
            if (subtype is null)
                continue;
            if (range["as"].Length == 0)
            {
                var format = new ResponseFormat(MediaOf(subtype), IsPretty: ResponseFormat.Negotiate(call, allowsProjection: true, isList: true).IsPretty);
                return ResponseWriter.WriteObjectAsync(call, 200, found.Document, TypeOf(found.Kind), format);
            }
            if (range["as"] == "APIGroupDiscoveryList" && range["g"] == "apidiscovery.k8s.io" && range["v"] == "v2")
                return WriteAggregatedAsync(call, path == "/api", subtype);
        }
        throw ApiStatus.NotAcceptable(ResponseFormat.Accepted).ToException();
    }

    private ValueTask WriteAggregatedAsync(ApiCall call, bool isCore, string subtype)
    {
        var (document, tag) = Aggregated(isCore);
        call.SetHeader("Vary", "Accept");
        call.SetHeader("ETag", tag);
        call.SetHeader("Cache-Control", "public");
        if (call.Header("If-None-Match") == tag)
            return ResponseWriter.WriteEmptyAsync(call, 304);
        var buffer = new PooledBuffer(document.Length);
        ResponseWriter.Transcode(document, Schema.BuiltIn.FindType("apidiscovery.k8s.io", "v2", "APIGroupDiscoveryList"), new ResponseFormat(MediaOf(subtype)), buffer);
        return ResponseWriter.WriteBufferAsync(call, 200, $"application/{subtype}{AggregatedParameters}", buffer);
    }

    private (byte[] Document, string Tag) Aggregated(bool isCore)
    {
        lock (_aggregated)
        {
            if (_aggregated.TryGetValue(isCore, out var known))
                return known;
            var document = documents.Aggregated(isCore);
            return _aggregated[isCore] = (document, $"\"{Convert.ToHexString(SHA512.HashData(document))}\"");
        }
    }

    private static MediaKind MediaOf(string subtype) => subtype switch { "yaml" => MediaKind.Yaml, "vnd.kubernetes.protobuf" => MediaKind.Protobuf, _ => MediaKind.Json };

    private static TypeSchema? TypeOf(string kind) => Schema.BuiltIn.FindType("", "v1", kind);
}
