using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace K3sFast.ApiServer.Tests.Conformity;

/// <summary>
/// Replays every file of requests, each in its order and in a namespace of its own, all files side by side, against one server that nobody else
/// uses, and keeps the differences from what upstream answers.
/// </summary>
public sealed class ConformityRun : IAsyncLifetime
{
    private readonly TestServer _server = new();
    private readonly ConcurrentDictionary<string, HttpClient> _clients = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<(string File, int Line), List<string>> _differences = [];

    /// <summary>All files, read once.</summary>
    internal static IReadOnlyList<RequestCase> Cases { get; } =
    [
        .. Directory.GetFiles(Path.Combine(AppContext.BaseDirectory, "Conformity"), "*.requests").Order(StringComparer.Ordinal).SelectMany(RequestFile.Read),
    ];

    internal IReadOnlyList<string> DifferencesOf(RequestCase item) => _differences[(item.File, item.Line)];

    public async ValueTask InitializeAsync()
    {
        await _server.InitializeAsync();
        await Task.WhenAll(Cases.GroupBy(static c => c.File).Select(ReplayFileAsync));
    }

    public ValueTask DisposeAsync() => _server.DisposeAsync();

    private async Task ReplayFileAsync(IEnumerable<RequestCase> file)
    {
        Expansion? variables = null;
        foreach (var item in file)
        {
            variables ??= new Expansion($"conf-{Path.GetFileNameWithoutExtension(item.File)}");
            _differences[(item.File, item.Line)] = await ReplayAsync(item, variables);
        }
    }

    private async Task<List<string>> ReplayAsync(RequestCase item, Expansion variables)
    {
        using var request = MakeRequest(item, variables);
        try
        {
            using var timeout = new CancellationTokenSource(TimeSpan.FromSeconds(120));
            using var response = await ClientOf(item.As).SendAsync(request, timeout.Token);
            var text = await response.Content.ReadAsStringAsync(timeout.Token);
            var answer = Parse(text);
            foreach (var (name, pointer) in item.Lets)
                variables.Set(name, (string?)At(answer, pointer) ?? "");
            return Compare(item, variables, response, text, answer);
        }
        catch (Exception e) when (e is HttpRequestException or OperationCanceledException or InvalidOperationException)
        {
            return [$"no answer: {e.Message}"];
        }
    }

    private HttpRequestMessage MakeRequest(RequestCase item, Expansion variables)
    {
        // The path goes out as it is written, dots, doubled slashes and all.
        var target = new Uri($"https://127.0.0.1:{_server.Server.Port}{variables.Expand(item.Path)}", new UriCreationOptions { DangerousDisablePathAndQueryCanonicalization = true });
        var request = new HttpRequestMessage(new HttpMethod(item.Method), target);
        if (item.Body is { } body)
        {
            request.Content = new ByteArrayContent(item.IsBase64 ? Convert.FromBase64String(body) : Encoding.UTF8.GetBytes(variables.Expand(body)));
            if (!item.Headers.Exists(static h => h.Name == "Content-Type"))
                request.Content.Headers.TryAddWithoutValidation("Content-Type", "application/json");
        }
        foreach (var (name, value) in item.Headers)
        {
            if (name == "Content-Type")
                (request.Content ??= new ByteArrayContent([])).Headers.TryAddWithoutValidation(name, value);
            else
                request.Headers.TryAddWithoutValidation(name, variables.Expand(value));
        }
        return request;
    }

    private HttpClient ClientOf(string user) =>
        _clients.GetOrAdd(user, name => name == Identities.Anonymous ? _server.Client() : _server.ClientAs(name, Identities.GroupsOf(name)));

    private static List<string> Compare(RequestCase item, Expansion variables, HttpResponseMessage response, string text, JsonNode? answer)
    {
        var differences = new List<string>();
        Expect(differences, "code", item.Code.ToString(CultureInfo.InvariantCulture), ((int)response.StatusCode).ToString(CultureInfo.InvariantCulture));
        var isStatus = answer is JsonObject && (string?)answer["kind"] == "Status" && (string?)answer["status"] == "Failure";
        Expect(differences, "reason", item.Reason, isStatus ? (string?)answer!["reason"] ?? "" : "");
        Expect(differences, "details", variables.Expand(item.Target), isStatus ? TargetOf(answer!["details"]) : "");
        if (item.Message is not null)
            Expect(differences, "message", variables.Expand(item.Message), isStatus ? ((string?)answer!["message"] ?? "").TrimEnd('\n') : text.Length > 300 ? text[..300] : text.TrimEnd());
        var causes = isStatus && answer!["details"]?["causes"] is JsonArray array ? array.Select(static c => $"{c!["reason"]} {c["field"]}: {c["message"]}".TrimEnd('\n')).ToList() : [];
        if (item.Reason.Length > 0)
            ExpectList(differences, "cause", [.. item.Causes.Select(variables.Expand)], causes);
        foreach (var name in item.ResponseHeaders.Select(static h => h.Name).Append("Warning").Distinct())
        {
            var expected = item.ResponseHeaders.Where(h => h.Name == name).Select(h => variables.Expand(h.Value)).ToList();
            ExpectList(differences, name, expected, HeaderOf(response, name));
        }
        foreach (var (pointer, value) in item.Fields)
            Expect(differences, pointer, variables.Expand(value), At(answer, pointer) is { } found ? Text(found) : "(absent)");
        return differences;
    }

    private static List<string> HeaderOf(HttpResponseMessage response, string name) =>
        response.Headers.TryGetValues(name, out var values) || response.Content.Headers.TryGetValues(name, out values) ? [.. values] : [];

    private static string TargetOf(JsonNode? details)
    {
        var kind = (string?)details?["kind"] ?? "";
        var group = (string?)details?["group"] ?? "";
        var name = (string?)details?["name"] ?? "";
        return $"{kind}{(group.Length > 0 ? "." : "")}{group}{(name.Length > 0 ? "/" : "")}{name}";
    }

    private static void Expect(List<string> differences, string what, string expected, string actual)
    {
        if (!Expansion.Matches(expected, actual))
            differences.Add($"{what}\n    expected {expected}\n    actual   {(actual.Length > 1000 ? actual[..1000] : actual)}");
    }

    private static void ExpectList(List<string> differences, string what, List<string> expected, List<string> actual)
    {
        for (var i = 0; i < Math.Max(expected.Count, actual.Count); i++)
            Expect(differences, $"{what} {i + 1}", i < expected.Count ? expected[i] : "(none)", i < actual.Count ? actual[i] : "(none)");
    }

    // Of a watch, the first event.
    private static JsonNode? Parse(string text)
    {
        try
        {
            return text.Length == 0 ? null : JsonNode.Parse(text);
        }
        catch (JsonException)
        {
            var line = text.IndexOf('\n', StringComparison.Ordinal);
            try
            {
                return line < 0 ? null : JsonNode.Parse(text[..line]);
            }
            catch (JsonException)
            {
                return null;
            }
        }
    }

    private static JsonNode? At(JsonNode? node, string pointer)
    {
        foreach (var escaped in pointer.Split('/').Skip(1))
        {
            var step = escaped.Replace("~1", "/", StringComparison.Ordinal);
            node = node switch
            {
                JsonObject members => members[step],
                JsonArray elements when int.TryParse(step, out var index) && index < elements.Count => elements[index],
                _ => null,
            };
        }
        return node;
    }

    private static string Text(JsonNode node) =>
        node.ToJsonString(new JsonSerializerOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
}
