using System.Net;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace K3sFast.FaultRig.Servers;

/// <summary>
/// A whole API server seen as a store: keys are ConfigMaps of the default namespace, revisions their resource versions. Everything goes over
/// HTTPS. An answer that does not come leaves the outcome unknown. Compaction is the server's own affair.
/// </summary>
internal sealed class ApiStore(Func<HttpClient> client, string prefix) : IDatastore
{
    private const string Collection = "/api/v1/namespaces/default/configmaps";
    private const int MaxListed = 10_000;

    private long _newest = 1;
    private long _floor = 1;

    /// <summary>The newest resource version that an object was seen with.</summary>
    public long CurrentRevision => Interlocked.Read(ref _newest);

    /// <summary>Where a client that was told "expired" starts again: at the list that it has read since.</summary>
    public long CompactRevision => Interlocked.Read(ref _floor);

    public ValueTask<AppendResult> AppendAsync(in AppendRequest request, CancellationToken cancellationToken = default) => new(SendAsync(request, cancellationToken));

    public ValueTask<RangeResult> RangeAsync(in RangeRequest request, IDatastoreVisitor visitor, CancellationToken cancellationToken = default) =>
        new(request.Prefix == prefix ? ListAsync(request.Revision, visitor, cancellationToken) : GetAsync(request.Prefix, visitor, cancellationToken));

    public IDatastoreWatch Watch(long afterRevision, IDatastoreObserver observer) => new ApiWatch(this, client(), afterRevision, observer);

    public ValueTask CompactAsync(long revision, CancellationToken cancellationToken = default) => throw new NotSupportedException();

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private string NameOf(string key) => $"fault-{key[prefix.Length..]}";

    /// <summary>The key of an object; null = not one of ours.</summary>
    private string? KeyOf(JsonNode item) =>
        (string?)item["metadata"]!["name"] is { } name && name.StartsWith("fault-", StringComparison.Ordinal) ? prefix + name["fault-".Length..] : null;

    private async Task<AppendResult> SendAsync(AppendRequest request, CancellationToken cancellationToken)
    {
        string name = NameOf(request.Key);
        using var message = request.Kind switch
        {
            AppendKind.Create => new HttpRequestMessage(HttpMethod.Post, Collection) { Content = Body(name, null, request.Value) },
            AppendKind.Update => new HttpRequestMessage(HttpMethod.Put, $"{Collection}/{name}") { Content = Body(name, $"{request.ExpectedRevision}", request.Value) },
            _ => new HttpRequestMessage(HttpMethod.Delete, $"{Collection}/{name}")
            {
                Content = Json(new JsonObject
                {
                    ["kind"] = "DeleteOptions", ["apiVersion"] = "v1", ["preconditions"] = new JsonObject { ["resourceVersion"] = $"{request.ExpectedRevision}" },
                }),
            },
        };
        var (status, answer) = await ExchangeAsync(message, cancellationToken).ConfigureAwait(false);
        switch (status)
        {
            case HttpStatusCode.OK or HttpStatusCode.Created:
                return new AppendResult(AppendOutcome.Committed, request.Kind == AppendKind.Delete ? 0 : Note(answer!));
            case HttpStatusCode.Conflict:
                return new AppendResult(AppendOutcome.Conflict, 0);
            case HttpStatusCode.NotFound:
                return new AppendResult(AppendOutcome.NotFound, 0);
            default:
                throw new DatastoreException($"{(int)status}: {answer?["message"]}");
        }
    }

    private async Task<RangeResult> GetAsync(string key, IDatastoreVisitor visitor, CancellationToken cancellationToken)
    {
        using var message = new HttpRequestMessage(HttpMethod.Get, $"{Collection}/{NameOf(key)}");
        var (status, answer) = await ExchangeAsync(message, cancellationToken).ConfigureAwait(false);
        if (status == HttpStatusCode.NotFound) return new RangeResult(0, 0, false);
        if (status != HttpStatusCode.OK) throw new DatastoreException($"{(int)status}: {answer?["message"]}");
        Show(answer!, key, visitor);
        return new RangeResult(0, 1, false);
    }

    private async Task<RangeResult> ListAsync(long revision, IDatastoreVisitor visitor, CancellationToken cancellationToken)
    {
        string query = revision == 0 ? $"?limit={MaxListed}" : $"?limit={MaxListed}&resourceVersion={revision}&resourceVersionMatch=Exact";
        using var message = new HttpRequestMessage(HttpMethod.Get, Collection + query);
        var (status, answer) = await ExchangeAsync(message, cancellationToken).ConfigureAwait(false);
        if (status == HttpStatusCode.Gone) throw new DatastoreCompactedException(revision, 0);
        if (status != HttpStatusCode.OK) throw new DatastoreException($"{(int)status}: {answer?["message"]}");
        int count = 0;
        foreach (var item in (JsonArray)answer!["items"]!)
        {
            if (KeyOf(item!) is not { } key) continue;
            Show(item!, key, visitor);
            count++;
        }
        return new RangeResult(RevisionOf(answer), count, false);
    }

    private void Show(JsonNode item, string key, IDatastoreVisitor visitor) => visitor.OnEntry(new DatastoreEntry
    {
        Key = key,
        Value = Encoding.UTF8.GetBytes((string?)item["data"]?["v"] ?? ""),
        Revision = Note(item),
        CreateRevision = 0,
        Kind = History.Observation.UnknownKind,
    });

    private long Note(JsonNode item)
    {
        long revision = RevisionOf(item);
        long newest;
        while ((newest = Interlocked.Read(ref _newest)) < revision && Interlocked.CompareExchange(ref _newest, revision, newest) != newest)
        {
        }
        return revision;
    }

    private static long RevisionOf(JsonNode item) => long.Parse((string)item["metadata"]!["resourceVersion"]!, System.Globalization.CultureInfo.InvariantCulture);

    private async Task<(HttpStatusCode Status, JsonNode? Answer)> ExchangeAsync(HttpRequestMessage message, CancellationToken cancellationToken)
    {
        try
        {
            using var response = await client().SendAsync(message, cancellationToken).ConfigureAwait(false);
            string text = await response.Content.ReadAsStringAsync(cancellationToken).ConfigureAwait(false);
            return (response.StatusCode, JsonNode.Parse(text));
        }
        catch (Exception error) when (error is HttpRequestException or IOException or TaskCanceledException or JsonException)
        {
            throw new DatastoreException(error.Message, error);
        }
    }

    private static StringContent Body(string name, string? revision, ReadOnlyMemory<byte> value)
    {
        var metadata = new JsonObject { ["name"] = name };
        if (revision is not null) metadata["resourceVersion"] = revision;
        return Json(new JsonObject { ["apiVersion"] = "v1", ["kind"] = "ConfigMap", ["metadata"] = metadata, ["data"] = new JsonObject { ["v"] = Encoding.UTF8.GetString(value.Span) } });
    }

    private static StringContent Json(JsonObject body) => new(body.ToJsonString(), Encoding.UTF8, "application/json");

    /// <summary>One watch over HTTP. It ends with its connection; who wants more starts another one.</summary>
    private sealed class ApiWatch : IDatastoreWatch
    {
        private readonly CancellationTokenSource _stop = new();
        private readonly ApiStore _store;
        private readonly IDatastoreObserver _observer;

        public ApiWatch(ApiStore store, HttpClient client, long afterRevision, IDatastoreObserver observer)
        {
            (_store, _observer) = (store, observer);
            CaughtUp = Task.Run(() => RunAsync(client, afterRevision));
        }

        public Task CaughtUp { get; }

        public void Dispose() => _stop.Cancel();

        private async Task RunAsync(HttpClient client, long afterRevision)
        {
            Exception ended = new DatastoreException("the watch's connection ended");
            try
            {
                using var message = new HttpRequestMessage(HttpMethod.Get, $"{Collection}?watch=true&allowWatchBookmarks=true&resourceVersion={afterRevision}");
                using var response = await client.SendAsync(message, HttpCompletionOption.ResponseHeadersRead, _stop.Token).ConfigureAwait(false);
                if (response.StatusCode == HttpStatusCode.Gone) ended = await ExpireAsync(afterRevision).ConfigureAwait(false);
                else if (response.StatusCode == HttpStatusCode.OK)
                {
                    using var reader = new StreamReader(await response.Content.ReadAsStreamAsync(_stop.Token).ConfigureAwait(false));
                    while (await reader.ReadLineAsync(_stop.Token).ConfigureAwait(false) is { Length: > 0 } line)
                    {
                        if (!Show(JsonNode.Parse(line)!))
                        {
                            ended = await ExpireAsync(afterRevision).ConfigureAwait(false);
                            break;
                        }
                    }
                }
            }
            catch (Exception error) when (error is HttpRequestException or IOException or OperationCanceledException or JsonException or DatastoreException)
            {
                ended = new DatastoreException(error.Message, error);
            }
            if (!_stop.IsCancellationRequested) _observer.OnFailed(ended);
        }

        /// <summary>Shows one event; false = the server's word that the history is gone.</summary>
        private bool Show(JsonNode line)
        {
            string type = (string)line["type"]!;
            var item = line["object"]!;
            if (type == "ERROR") return (int?)item["code"] != (int)HttpStatusCode.Gone ? throw new DatastoreException($"watch: {item["message"]}") : false;
            long revision = RevisionOf(item);
            if (type != "BOOKMARK" && _store.KeyOf(item) is { } key)
            {
                _store.Note(item);
                _observer.OnEntry(new DatastoreEntry
                {
                    Key = key,
                    Value = type == "DELETED" ? default : Encoding.UTF8.GetBytes((string?)item["data"]?["v"] ?? ""),
                    Revision = revision,
                    CreateRevision = 0,
                    Kind = type == "DELETED" ? AppendKind.Delete : type == "ADDED" ? AppendKind.Create : AppendKind.Update,
                });
            }
            _observer.OnRevision(revision);
            return true;
        }

        private async Task<Exception> ExpireAsync(long revision)
        {
            var list = await _store.ListAsync(0, Nobody.Instance, _stop.Token).ConfigureAwait(false);
            Interlocked.Exchange(ref _store._floor, list.Revision);
            return new DatastoreCompactedException(revision, list.Revision);
        }
    }

    private sealed class Nobody : IDatastoreVisitor
    {
        public static readonly Nobody Instance = new();

        public void OnEntry(in DatastoreEntry entry)
        {
        }
    }
}
