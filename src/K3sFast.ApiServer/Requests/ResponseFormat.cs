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

    private static readonly string[] s_json = [Json];

    private static readonly string[] s_streamed = [$"{Json};stream=watch", $"{Protobuf};stream=watch"];

    internal string ContentType => Media switch { MediaKind.Yaml => Yaml, MediaKind.Protobuf => Protobuf, _ => Json };

    internal string WatchContentType => Media switch { MediaKind.Yaml => Yaml, MediaKind.Protobuf => $"{Protobuf};stream=watch", _ => Json };

    /// <summary>JSON bytes of the store can be sent as they are.</summary>
    internal bool IsPlainJson => Media == MediaKind.Json && Projection == Projection.None && !IsPretty;

    /// <summary>
    /// Chooses the form of an answer about objects. Nothing acceptable is refused with 406, as is a projection that does not fit
    /// (<paramref name="isList"/>: the answer is a list).
    /// </summary>
    /// <exception cref="ApiStatusException">Nothing is acceptable: 406 with the list of what is.</exception>
    internal static ResponseFormat Negotiate(ApiCall call, bool allowsProjection, bool isList = false)
    {
        var accept = call.Accept;
        // Upstream's router looks first, by names alone, and knows no partial wildcards.
        if (!string.IsNullOrEmpty(accept) && !AcceptNegotiation.NamesAny(accept, Accepted))
            throw NotRoutable(isList ? Accepted.Concat(s_streamed) : Accepted).ToException();
        return TryNegotiate(call, allowsProjection, out var format) ? format : throw ApiStatus.NotAcceptable(Accepted).ToException();
    }

    /// <summary>Refuses a request for what is there in JSON alone.</summary>
    /// <exception cref="ApiStatusException">JSON is not acceptable: 406.</exception>
    internal static void CheckJson(ApiCall call)
    {
        var accept = call.Accept;
        if (!string.IsNullOrEmpty(accept) && !AcceptNegotiation.NamesAny(accept, s_json))
            throw NotRoutable(s_json).ToException();
    }

    /// <summary>Chooses the form of a watch: YAML cannot be streamed.</summary>
    internal static ResponseFormat NegotiateStream(ApiCall call)
    {
        var format = Negotiate(call, allowsProjection: true, isList: true);
        if (format.Media == MediaKind.Yaml)
            throw ApiStatus.NotAcceptable(s_streamed).ToException();
        // A list of one event is no list: upstream sends the event's object as it is.
        return format with { IsPretty = false, Projection = format.Projection == Projection.PartialObjectMetadataList ? Projection.None : format.Projection };
    }

    /// <summary>Chooses by the header alone; false when nothing is acceptable. Allocates nothing for headers of one plain media type.</summary>
    internal static bool TryNegotiate(ApiCall call, bool allowsProjection, out ResponseFormat format)
    {
        var accept = call.Accept;
        var isPretty = IsPrettyWanted(call);
        format = new ResponseFormat(MediaKind.Json, IsPretty: isPretty);
        if (string.IsNullOrEmpty(accept) || accept is "*/*" or Json)
            return true;
        if (accept is Protobuf)
        {
            format = new ResponseFormat(MediaKind.Protobuf);
            return true;
        }
        return AcceptNegotiation.TryChoose(accept, allowsProjection, isPretty, out format);
    }

    /// <summary>Refuses one object where a list is asked for, and the other way round, in upstream's words.</summary>
    internal void CheckShape(ResourceInfo resource, bool isList)
    {
        if (Projection == Projection.PartialObjectMetadata && isList)
        {
            throw NotAcceptable(
                $"you requested PartialObjectMetadata, but the requested object is a list (*{BodyDecoder.GoPackage(resource.Group)}.{resource.Kind}List)").ToException();
        }
        if (Projection == Projection.PartialObjectMetadataList && !isList)
        {
            throw NotAcceptable(
                $"you requested PartialObjectMetadataList, but the requested object is not a list (*{BodyDecoder.GoPackage(resource.Group)}.{resource.Kind})").ToException();
        }
    }

    private static ApiStatus NotAcceptable(string message) => new() { Code = 406, Reason = "NotAcceptable", Message = message };

    private static ApiStatus NotRoutable(IEnumerable<string> available) => new()
    {
        Code = 406,
        Reason = "NotAcceptable",
        HasDetails = true,
        Message = $"406: Not Acceptable\n\nAvailable representations: {string.Join(", ", available)}",
    };

    // Tools that people look at get indented text unless they say otherwise.
    private static bool IsPrettyWanted(ApiCall call)
    {
        if (call.Info.TryGetQuery("pretty"u8, out var value) && !value.IsEmpty)
            return value.SequenceEqual("1"u8) || value.SequenceEqual("t"u8) || value.SequenceEqual("T"u8)
                || value.SequenceEqual("true"u8) || value.SequenceEqual("TRUE"u8) || value.SequenceEqual("True"u8);
        return call.UserAgent is { } agent && (agent.StartsWith("curl", StringComparison.Ordinal) || agent.StartsWith("Wget", StringComparison.Ordinal)
            || agent.StartsWith("Mozilla/5.0", StringComparison.Ordinal));
    }
}
