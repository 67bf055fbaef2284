using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>The wire form of an answer.</summary>
internal enum MediaKind : byte
{
    Json,
    Yaml,
    Protobuf,
}

/// <summary>What an answer is turned into before it is encoded.</summary>
internal enum Projection : byte
{
    None,
    Table,
    PartialObjectMetadata,
    PartialObjectMetadataList,
}

/// <summary>What the client accepts, chosen from its Accept header.</summary>
internal readonly record struct ResponseFormat(MediaKind Media, Projection Projection = Projection.None, string MetaVersion = "v1", bool IsPretty = false)
{
    internal const string Json = "application/json";
    internal const string Yaml = "application/yaml";
    internal const string Protobuf = "application/vnd.kubernetes.protobuf";

    internal static readonly string[] Accepted = [Json, Yaml, Protobuf];

    internal string ContentType => Media switch { MediaKind.Yaml => Yaml, MediaKind.Protobuf => Protobuf, _ => Json };

    internal string WatchContentType => Media switch { MediaKind.Yaml => Yaml, MediaKind.Protobuf => $"{Protobuf};stream=watch", _ => Json };

    /// <summary>JSON bytes of the store can be sent as they are.</summary>
    internal bool IsPlainJson => Media == MediaKind.Json && Projection == Projection.None && !IsPretty;

    /// <summary>
    /// Chooses from an Accept header, first acceptable clause first. Projections that the caller does not offer are passed over.
    /// </summary>
    /// <exception cref="ApiStatusException">Nothing is acceptable: 406 with the list of what is.</exception>
    internal static ResponseFormat Negotiate(ApiCall call, bool allowsProjection, bool isList = false)
    {
        var isPretty = call.Info.TryGetQuery("pretty"u8, out var pretty) && QueryReader.IsTrue(pretty);
        var accept = call.Accept;
        if (string.IsNullOrEmpty(accept))
            return new ResponseFormat(MediaKind.Json, IsPretty: isPretty);
        foreach (var clauseRange in accept.AsSpan().Split(','))
        {
            if (TryClause(accept.AsSpan(clauseRange), allowsProjection, isList, isPretty, out var format))
                return format;
        }
        throw ApiStatus.NotAcceptable(Accepted).ToException();
    }

    private static bool TryClause(ReadOnlySpan<char> clause, bool allowsProjection, bool isList, bool isPretty, out ResponseFormat format)
    {
        format = default;
        var semicolon = clause.IndexOf(';');
        var type = (semicolon < 0 ? clause : clause[..semicolon]).Trim();
        MediaKind media;
        if (type.Equals(Json, StringComparison.OrdinalIgnoreCase) || type is "*/*" or "application/*") media = MediaKind.Json;
        else if (type.Equals(Protobuf, StringComparison.OrdinalIgnoreCase)) media = MediaKind.Protobuf;
        else if (type.Equals(Yaml, StringComparison.OrdinalIgnoreCase)) media = MediaKind.Yaml;
        else return false;

        var projection = Projection.None;
        string version = "v1", group = "";
        var parameters = semicolon < 0 ? default : clause[(semicolon + 1)..];
        foreach (var range in parameters.Split(';'))
        {
            var parameter = parameters[range].Trim();
            if (parameter.StartsWith("as=", StringComparison.Ordinal))
            {
                switch (parameter[3..])
                {
                    case "Table": projection = Projection.Table; break;
                    case "PartialObjectMetadata": projection = Projection.PartialObjectMetadata; break;
                    case "PartialObjectMetadataList": projection = Projection.PartialObjectMetadataList; break;
                    default: return false;
                }
            }
            else if (parameter.StartsWith("v=", StringComparison.Ordinal)) version = parameter[2..].ToString();
            else if (parameter.StartsWith("g=", StringComparison.Ordinal)) group = parameter[2..].ToString();
            else if (parameter is "q=0" or "q=0.0") return false;
        }
        if (projection != Projection.None)
        {
            if (!allowsProjection || group != "meta.k8s.io" || version is not ("v1" or "v1beta1"))
                return false;
            // One object is no list, and a list is no single object.
            if (projection == Projection.PartialObjectMetadataList && !isList || projection == Projection.PartialObjectMetadata && isList)
                return false;
            // Tables are written as JSON only; a client that insists on protobuf names JSON behind it.
            if (media == MediaKind.Protobuf && projection == Projection.Table)
                return false;
        }
        format = new ResponseFormat(media, projection, version, isPretty);
        return true;
    }
}
