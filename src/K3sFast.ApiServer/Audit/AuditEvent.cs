using System.Net;
using System.Text;
using K3sFast.ApiMachinery;
using RequestVerb = K3sFast.ApiServer.Verb;

namespace K3sFast.ApiServer;

/// <summary>What is recorded about one request, filled while it is served and written at each of its stages.</summary>
/// <remarks>One thread at a time, as its request.</remarks>
internal sealed class AuditEvent
{
    // Longer user agents are cut, as upstream does.
    private const int MaxUserAgent = 1024;

    private readonly Dictionary<string, string> _annotations = [];
    private readonly List<(string Key, string Value)> _order = [];

    internal AuditEvent(ApiCall call, UserInfo? user, AuditVerdict verdict, string id, DateTimeOffset received)
    {
        Verdict = verdict;
        Id = id;
        Received = received;
        User = user;
        Verb = call.Info.Verb.Text();
        RequestUri = call.TargetText;
        var agent = call.Header("User-Agent") ?? "";
        UserAgent = agent.Length > MaxUserAgent ? agent[..MaxUserAgent] + "...TRUNCATED" : agent;
        SourceAddresses = AddressesOf(call);
        IsResource = call.Info.IsResourceRequest;
        IsLongRunning = IsResource && (call.Info.Verb is RequestVerb.Watch or RequestVerb.Proxy || IsStream(call.Info.Subresource));
        if (!IsResource)
            return;
        Group = Encoding.UTF8.GetString(call.Info.Group);
        Version = Encoding.UTF8.GetString(call.Info.Version);
        Resource = Encoding.UTF8.GetString(call.Info.Resource);
        Subresource = Encoding.UTF8.GetString(call.Info.Subresource);
        Namespace = call.Info.NamespaceText;
        Name = call.Info.NameText;
    }

    internal AuditVerdict Verdict { get; }

    internal string Id { get; }

    internal DateTimeOffset Received { get; }

    internal UserInfo? User { get; }

    internal UserInfo? Impersonated { get; set; }

    internal string ImpersonationConstraint { get; set; } = "";

    internal string Verb { get; }

    internal string RequestUri { get; }

    internal string UserAgent { get; }

    internal IReadOnlyList<string> SourceAddresses { get; }

    internal bool IsResource { get; }

    internal bool IsLongRunning { get; }

    internal string Group { get; } = "";

    internal string Version { get; } = "";

    internal string Resource { get; } = "";

    internal string Subresource { get; } = "";

    internal string Namespace { get; private set; } = "";

    internal string Name { get; private set; } = "";

    internal string Uid { get; private set; } = "";

    internal string ResourceVersion { get; private set; } = "";

    /// <summary>The answer's code; 0 = none yet.</summary>
    internal int ResponseCode { get; set; }

    /// <summary>The Status that was answered, as JSON; null for other answers.</summary>
    internal byte[]? ResponseStatus { get; private set; }

    /// <summary>The request's object as JSON.</summary>
    internal byte[]? RequestObject { get; private set; }

    /// <summary>The answer's object as JSON.</summary>
    internal byte[]? ResponseObject { get; set; }

    internal IReadOnlyList<(string Key, string Value)> Annotations => _order;

    internal bool WantsRequest => Verdict.Level >= AuditLevel.Request;

    internal bool WantsResponse => Verdict.Level >= AuditLevel.RequestResponse && IsResource && !IsLongRunning;

    /// <summary>Where the stage's writing goes; set by the log.</summary>
    internal AuditLog? Owner { get; init; }

    /// <summary>Adds a note. The first of a name stays. From any thread: the deletions of a collection run side by side.</summary>
    internal void Annotate(string key, string value)
    {
        lock (_order)
        {
            if (_annotations.TryAdd(key, value))
                _order.Add((key, value));
        }
    }

    /// <summary>Notes the object that the request brought, and what it says of itself.</summary>
    internal void SetRequestObject(ApiNode obj)
    {
        var metadata = obj["metadata"u8];
        if (Namespace.Length == 0)
            Namespace = metadata["namespace"u8].AsString();
        if (Name.Length == 0)
            Name = metadata["name"u8].AsString();
        if (Uid.Length == 0)
            Uid = metadata["uid"u8].AsString();
        if (ResourceVersion.Length == 0)
            ResourceVersion = metadata["resourceVersion"u8].AsString();
        if (WantsRequest)
            RequestObject = AuditObjects.Json(obj, Verdict.OmitsManagedFields);
    }

    /// <summary>Notes a body that no object was made of, such as a patch.</summary>
    internal void SetRequestBody(ReadOnlySpan<byte> body, string? contentType)
    {
        if (WantsRequest && body.Length > 0)
            RequestObject = AuditObjects.Json(body, contentType, "", Verdict.OmitsManagedFields);
    }

    internal void SetStatus(ApiStatus status) => ResponseStatus = status.ToJson();

    /// <summary>The answer begins: a long one is recorded now.</summary>
    internal void NoteStarted(int code)
    {
        if (ResponseCode != 0)
            return;
        ResponseCode = code;
        if (IsLongRunning)
            Owner?.NoteStarted(this);
    }

    private static bool IsStream(ReadOnlySpan<byte> subresource) =>
        subresource.SequenceEqual("attach"u8) || subresource.SequenceEqual("exec"u8) || subresource.SequenceEqual("proxy"u8) || subresource.SequenceEqual("log"u8)
        || subresource.SequenceEqual("portforward"u8);

    // The addresses that proxies name, then X-Real-Ip, then the connection's, each once.
    private static List<string> AddressesOf(ApiCall call)
    {
        var addresses = new List<string>();
        foreach (var part in (call.Header("X-Forwarded-For") ?? "").Split(','))
        {
            if (IPAddress.TryParse(part.Trim(), out var forwarded))
                addresses.Add(forwarded.ToString());
        }
        if (IPAddress.TryParse((call.Header("X-Real-Ip") ?? "").Trim(), out var real) && !addresses.Contains(real.ToString()))
            addresses.Add(real.ToString());
        var remote = call.RemoteAddress.ToString();
        if (addresses.Count == 0 || addresses[^1] != remote)
            addresses.Add(remote);
        return addresses;
    }
}
