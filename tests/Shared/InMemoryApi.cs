using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Threading.Channels;

namespace K3sFast.Client.Testing;

/// <summary>
/// A small API in memory for tests of the code above the client: create, get, list, watch, update (with conflict), merge patch, delete with
/// finalizers, label and metadata field selectors. It checks nothing else; what the real server answers is the end-to-end tests' matter.
/// </summary>
internal sealed class InMemoryApi : IApiTransport
{
    private readonly Lock _gate = new();
    private readonly SortedDictionary<string, JsonObject> _objects = new(StringComparer.Ordinal);
    private readonly List<(long Revision, string Type, string Path, JsonObject Object)> _history = [];
    private readonly List<Channel<(long Revision, string Type, string Path, JsonObject Object)>> _watches = [];
    private long _revision;

    /// <summary>Every request that changed something: "POST /api/v1/...", oldest first.</summary>
    internal List<string> Writes { get; } = [];

    /// <summary>Called before each request; an answer that is not null is given instead of doing anything.</summary>
    internal Func<ApiRequest, ApiResponse?>? Intercept { get; set; }

    internal ApiClient Client => new(this);

    public ValueTask<ApiResponse> SendAsync(ApiRequest request, CancellationToken cancellationToken)
    {
        if (Intercept?.Invoke(request) is { } intercepted) return new(intercepted);
        lock (_gate)
        {
            if (request.Method != "GET") Writes.Add($"{request.Method} {request.PathAndQuery}");
            return new(Handle(request));
        }
    }

    public ValueTask<EncodedList> ListAsync(string pathAndQuery, CancellationToken cancellationToken)
    {
        if (Intercept?.Invoke(new ApiRequest("GET", pathAndQuery)) is { IsSuccess: false } refused) throw ApiException.From(refused);
        lock (_gate)
        {
            var items = new List<EncodedObject>();
            foreach (var (path, value) in _objects)
            {
                if (Matches(pathAndQuery, path, value)) items.Add(Encode(value));
            }
            return new(new EncodedList(_revision.ToString(), items, null));
        }
    }

    public async IAsyncEnumerable<WatchFrame> WatchAsync(string pathAndQuery, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var channel = Channel.CreateUnbounded<(long Revision, string Type, string Path, JsonObject Object)>();
        lock (_gate)
        {
            var after = long.TryParse(Query(pathAndQuery, "resourceVersion"), out var revision) ? revision : 0;
            foreach (var change in _history)
            {
                if (change.Revision > after) channel.Writer.TryWrite(change);
            }
            _watches.Add(channel);
        }
        try
        {
            await foreach (var (_, type, path, value) in channel.Reader.ReadAllAsync(cancellationToken))
            {
                if (!Matches(pathAndQuery, path, value)) continue;
                var kind = type switch { "ADDED" => WatchFrameType.Added, "DELETED" => WatchFrameType.Deleted, _ => WatchFrameType.Modified };
                yield return new WatchFrame(kind, Encode(value));
            }
        }
        finally
        {
            lock (_gate) _watches.Remove(channel);
        }
    }

    /// <summary>Ends every watch that is open, as a restarting server does.</summary>
    internal void EndWatches()
    {
        lock (_gate)
        {
            foreach (var watch in _watches) watch.Writer.TryComplete();
        }
    }

    /// <summary>Every object, a line each: what a test that waited in vain tells.</summary>
    internal string Describe()
    {
        lock (_gate) return string.Join('\n', _objects.Select(static pair => $"{pair.Key}: {pair.Value.ToJsonString()}"));
    }

    private ApiResponse Handle(ApiRequest request)
    {
        var path = request.PathAndQuery.Split('?')[0];
        var subresource = "";
        if (request.Method != "POST")
        {
            foreach (var known in (string[])["status", "scale", "finalize"])
            {
                if (path.EndsWith("/" + known, StringComparison.Ordinal)) (path, subresource) = (path[..^(known.Length + 1)], known);
            }
        }
        _objects.TryGetValue(path, out var current);
        switch (request.Method)
        {
            case "GET":
                return current is null ? Refuse(404, "NotFound", $"{path} not found") : Answer(200, current);
            case "POST" when path.EndsWith("/binding", StringComparison.Ordinal):
                return Bind(path[..^"/binding".Length], Parse(request));
            case "POST" when path.EndsWith("/eviction", StringComparison.Ordinal):
                return Delete(path[..^"/eviction".Length]);
            case "POST":
                return Create(path, Parse(request));
            case "PUT":
                if (current is null) return Refuse(404, "NotFound", $"{path} not found");
                var body = Parse(request);
                var wanted = body["metadata"]?["resourceVersion"]?.GetValue<string>();
                if (!string.IsNullOrEmpty(wanted) && wanted != current["metadata"]!["resourceVersion"]!.GetValue<string>())
                {
                    return Refuse(409, "Conflict", "the object has been modified");
                }
                if (subresource == "status")
                {
                    var merged = (JsonObject)current.DeepClone();
                    merged["status"] = body["status"]?.DeepClone();
                    body = merged;
                }
                else if (current["status"] is { } status)
                {
                    body["status"] = status.DeepClone();
                }
                return Update(path, body);
            case "PATCH":
                if (current is null) return Refuse(404, "NotFound", $"{path} not found");
                var patched = (JsonObject)current.DeepClone();
                Merge(patched, Parse(request));
                return Update(path, patched);
            case "DELETE":
                return current is null ? Refuse(404, "NotFound", $"{path} not found") : Delete(path);
            default:
                return Refuse(405, "MethodNotAllowed", request.Method);
        }
    }

    private ApiResponse Create(string path, JsonObject value)
    {
        var metadata = (JsonObject)(value["metadata"] ??= new JsonObject());
        if (metadata["name"] is null) metadata["name"] = metadata["generateName"]!.GetValue<string>() + Guid.NewGuid().ToString("n")[..5];
        var key = $"{path}/{metadata["name"]!.GetValue<string>()}";
        if (_objects.ContainsKey(key)) return Refuse(409, "AlreadyExists", $"{key} already exists");
        metadata["uid"] ??= Guid.NewGuid().ToString();
        metadata["creationTimestamp"] ??= DateTime.UtcNow.ToString("yyyy-MM-ddTHH:mm:ssZ");
        metadata["generation"] ??= 1L;
        return Store(key, "ADDED", value, 201);
    }

    private ApiResponse Update(string path, JsonObject value)
    {
        var old = _objects[path];
        if (!JsonNode.DeepEquals(old["spec"], value["spec"]))
        {
            value["metadata"]!["generation"] = (old["metadata"]!["generation"]?.GetValue<long>() ?? 0) + 1;
        }
        var isDeleting = value["metadata"]!["deletionTimestamp"] is not null;
        if (isDeleting && value["metadata"]!["finalizers"] is not JsonArray { Count: > 0 }) return Remove(path, value);
        return Store(path, "MODIFIED", value, 200);
    }

    private ApiResponse Bind(string path, JsonObject binding)
    {
        if (!_objects.TryGetValue(path, out var pod)) return Refuse(404, "NotFound", $"{path} not found");
        var bound = (JsonObject)pod.DeepClone();
        bound["spec"]!["nodeName"] = binding["target"]!["name"]!.GetValue<string>();
        Store(path, "MODIFIED", bound, 200);
        return Answer(201, new JsonObject { ["kind"] = "Status", ["apiVersion"] = "v1", ["status"] = "Success" });
    }

    private ApiResponse Delete(string path)
    {
        var value = (JsonObject)_objects[path].DeepClone();
        if (value["metadata"]!["finalizers"] is not JsonArray { Count: > 0 }) return Remove(path, value);
        value["metadata"]!["deletionTimestamp"] ??= DateTime.UtcNow.ToString("yyyy-MM-ddTHH:mm:ssZ");
        return Store(path, "MODIFIED", value, 200);
    }

    private ApiResponse Remove(string path, JsonObject value)
    {
        _objects.Remove(path);
        Publish("DELETED", path, value);
        return Answer(200, value);
    }

    private ApiResponse Store(string path, string type, JsonObject value, int code)
    {
        value = (JsonObject)value.DeepClone();
        Publish(type, path, value);
        _objects[path] = value;
        return Answer(code, value);
    }

    private void Publish(string type, string path, JsonObject value)
    {
        value["metadata"]!["resourceVersion"] = (++_revision).ToString();
        _history.Add((_revision, type, path, value));
        foreach (var watch in _watches) watch.Writer.TryWrite((_revision, type, path, value));
    }

    private static bool Matches(string pathAndQuery, string path, JsonObject value)
    {
        var wanted = pathAndQuery.Split('?')[0];
        // "/api/v1/pods" lists "/api/v1/namespaces/x/pods/y" as well.
        var collection = path[..path.LastIndexOf('/')];
        if (collection != wanted)
        {
            var parts = collection.Split("/namespaces/");
            if (parts.Length != 2 || parts[1].IndexOf('/') < 0 || parts[0] + parts[1][parts[1].IndexOf('/')..] != wanted) return false;
        }
        foreach (var term in Query(pathAndQuery, "labelSelector").Split(',', StringSplitOptions.RemoveEmptyEntries))
        {
            var pair = term.Split('=', StringSplitOptions.RemoveEmptyEntries);
            if (value["metadata"]?["labels"]?[pair[0]]?.GetValue<string>() != pair[1]) return false;
        }
        foreach (var term in Query(pathAndQuery, "fieldSelector").Split(',', StringSplitOptions.RemoveEmptyEntries))
        {
            var isNegated = term.Contains("!=", StringComparison.Ordinal);
            var pair = term.Split(isNegated ? "!=" : "=");
            JsonNode? field = value;
            foreach (var name in pair[0].Split('.')) field = field?[name];
            if (((field?.GetValue<string>() ?? "") == pair[1].TrimStart('=')) == isNegated) return false;
        }
        return true;
    }

    private static string Query(string pathAndQuery, string name)
    {
        var question = pathAndQuery.IndexOf('?', StringComparison.Ordinal);
        if (question < 0) return "";
        foreach (var pair in pathAndQuery[(question + 1)..].Split('&'))
        {
            if (pair.StartsWith(name + "=", StringComparison.Ordinal)) return Uri.UnescapeDataString(pair[(name.Length + 1)..]);
        }
        return "";
    }

    private static void Merge(JsonObject target, JsonObject patch)
    {
        foreach (var (name, value) in patch)
        {
            if (value is null) target.Remove(name);
            else if (value is JsonObject child && target[name] is JsonObject existing) Merge(existing, child);
            else target[name] = value.DeepClone();
        }
    }

    private static JsonObject Parse(ApiRequest request) => (JsonObject)JsonNode.Parse(request.Body.Span)!;

    private static JsonEncodedObject Encode(JsonObject value) => new(JsonSerializer.SerializeToUtf8Bytes<JsonNode>(value));

    private static ApiResponse Answer(int code, JsonObject value) => new(code, JsonSerializer.SerializeToUtf8Bytes<JsonNode>(value));

    private static ApiResponse Refuse(int code, string reason, string message) => Answer(code, new JsonObject
    {
        ["kind"] = "Status",
        ["apiVersion"] = "v1",
        ["status"] = "Failure",
        ["code"] = code,
        ["reason"] = reason,
        ["message"] = message,
    });
}
