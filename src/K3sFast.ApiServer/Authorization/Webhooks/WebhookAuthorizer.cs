using System.Buffers;
using System.Collections.Concurrent;
using System.Text;
using System.Text.Json;
using K3sFast.ApiMachinery;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>
/// Asks a webhook by SubjectAccessReview. Answers are remembered by the question's text; a webhook that does not answer has no opinion or denies, as
/// configured.
/// </summary>
/// <remarks>Any thread.</remarks>
internal sealed class WebhookAuthorizer(AuthorizerSpec spec, WebhookClient client, TimeProvider clock, ILogger logger) : IRemoteAuthorizer, IDisposable
{
    // Upstream's bounds: answers in memory, and the size of a question that is worth one.
    private const int MaxRemembered = 8192;
    private const int MaxQuestionBytes = 10000;

    private readonly ConcurrentDictionary<string, Remembered> _answers = new(StringComparer.Ordinal);

    public async ValueTask<AuthorizationDecision> AuthorizeAsync(AuthorizationRequest request, CancellationToken cancel)
    {
        if (spec.Conditions is { } conditions)
        {
            var (matches, error) = conditions.Match(request);
            if (error is not null)
                return new AuthorizationDecision(spec.DeniesOnFailure ? Verdict.Deny : Verdict.NoOpinion, "", error);
            if (!matches)
                return AuthorizationDecision.NoOpinion();
        }
        var question = SpecOf(request);
        var key = Encoding.UTF8.GetString(question);
        var now = clock.GetUtcNow();
        if (_answers.TryGetValue(key, out var known) && now < known.Until)
            return known.Decision;
        AuthorizationDecision decision;
        try
        {
            decision = Read(await client.PostAsync(Review(question), cancel).ConfigureAwait(false));
        }
        catch (Exception error) when (error is WebhookException or JsonException)
        {
            Log.WebhookFailed(logger, $"authorization {spec.Name}", error.Message);
            return new AuthorizationDecision(spec.DeniesOnFailure ? Verdict.Deny : Verdict.NoOpinion, "", error.Message);
        }
        var ttl = decision.IsAllowed ? spec.AuthorizedTtl : spec.UnauthorizedTtl;
        if (ttl > TimeSpan.Zero && SizeOf(request) < MaxQuestionBytes)
        {
            if (_answers.Count >= MaxRemembered)
                _answers.Clear();
            _answers[key] = new Remembered(decision, now + ttl);
        }
        return decision;
    }

    public void List(UserInfo user, string ns, RuleListing listing)
    {
        listing.IsIncomplete = true;
        listing.Errors.Add("webhook authorizer does not support user rule resolution");
    }

    public void Dispose() => client.Dispose();

    private static AuthorizationDecision Read(byte[] answer)
    {
        using var document = JsonDocument.Parse(answer);
        document.RootElement.TryGetProperty("status"u8, out var status);
        var isAllowed = IsTrue(status, "allowed"u8);
        var isDenied = IsTrue(status, "denied"u8);
        var reason = JsonText.Of(status, "reason"u8);
        return (isAllowed, isDenied) switch
        {
            (true, true) => new AuthorizationDecision(Verdict.Deny, reason, "webhook subject access review returned both allow and deny response"),
            (_, true) => new AuthorizationDecision(Verdict.Deny, reason),
            (true, _) => new AuthorizationDecision(Verdict.Allow, reason),
            _ => new AuthorizationDecision(Verdict.NoOpinion, reason),
        };
    }

    private static bool IsTrue(JsonElement parent, ReadOnlySpan<byte> name) =>
        parent.ValueKind == JsonValueKind.Object && parent.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.True;

    private static int SizeOf(AuthorizationRequest request) =>
        request.Verb.Length + request.Group.Length + request.Version.Length + request.Resource.Length + request.Subresource.Length + request.Namespace.Length
        + request.Name.Length + request.Path.Length;

    private byte[] Review(byte[] question)
    {
        var output = new ArrayBufferWriter<byte>(question.Length + 192);
        using (var json = new Utf8JsonWriter(output))
        {
            json.WriteStartObject();
            json.WriteString("kind"u8, "SubjectAccessReview"u8);
            json.WriteString("apiVersion"u8, "authorization.k8s.io/" + spec.Version);
            json.WriteStartObject("metadata"u8);
            json.WriteNull("creationTimestamp"u8);
            json.WriteEndObject();
            json.WritePropertyName("spec"u8);
            json.WriteRawValue(question, skipInputValidation: true);
            json.WriteStartObject("status"u8);
            json.WriteBoolean("allowed"u8, false);
            json.WriteEndObject();
            json.WriteEndObject();
        }
        return output.WrittenSpan.ToArray();
    }

    private byte[] SpecOf(AuthorizationRequest request)
    {
        var output = new ArrayBufferWriter<byte>(512);
        using (var json = new Utf8JsonWriter(output))
        {
            json.WriteStartObject();
            if (request.IsResourceRequest)
            {
                json.WriteStartObject("resourceAttributes"u8);
                Text(json, "namespace"u8, request.Namespace);
                Text(json, "verb"u8, request.Verb);
                Text(json, "group"u8, request.Group);
                Text(json, "version"u8, request.Version);
                Text(json, "resource"u8, request.Resource);
                Text(json, "subresource"u8, request.Subresource);
                Text(json, "name"u8, request.Name);
                SelectorRequirements.WriteFields(json, request.FieldSelector);
                SelectorRequirements.WriteLabels(json, request.LabelSelector);
                json.WriteEndObject();
            }
            else
            {
                json.WriteStartObject("nonResourceAttributes"u8);
                Text(json, "path"u8, request.Path);
                Text(json, "verb"u8, request.Verb);
                json.WriteEndObject();
            }
            WriteUser(json, request.User);
            json.WriteEndObject();
        }
        return output.WrittenSpan.ToArray();
    }

    private void WriteUser(Utf8JsonWriter json, UserInfo user)
    {
        if (user.Name.Length > 0)
            json.WriteString("user"u8, user.Name);
        // The old version's name of the list.
        UserInfoJson.WriteGroups(json, spec.Version == "v1beta1" ? "group"u8 : "groups"u8, user);
        UserInfoJson.WriteExtra(json, user);
        if (user.Uid.Length > 0)
            json.WriteString("uid"u8, user.Uid);
    }

    private static void Text(Utf8JsonWriter json, ReadOnlySpan<byte> name, byte[] value)
    {
        if (value.Length > 0)
            json.WriteString(name, value);
    }

    private sealed record Remembered(AuthorizationDecision Decision, DateTimeOffset Until);
}
