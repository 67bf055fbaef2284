using System.Buffers;
using System.Text.Json;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>Asks a webhook who a token belongs to: a TokenReview of authentication.k8s.io goes there and comes back with its status.</summary>
internal sealed class WebhookTokens(WebhookClient client, string version, IReadOnlyList<string> apiAudiences, ILogger logger) : ITokenAuthenticator
{
    public async ValueTask<TokenVerdict> AuthenticateAsync(TokenQuestion question)
    {
        var wanted = question.Audiences ?? apiAudiences;
        try
        {
            var answer = await client.PostAsync(Review(question.Token, wanted), question.Call.Aborted).ConfigureAwait(false);
            using var document = JsonDocument.Parse(answer);
            return Read(document.RootElement, wanted);
        }
        catch (Exception error) when (error is WebhookException or JsonException)
        {
            Log.WebhookFailed(logger, "authentication", error.Message);
            return TokenVerdict.Bad(error.Message);
        }
    }

    private TokenVerdict Read(JsonElement review, IReadOnlyList<string> wanted)
    {
        if (!review.TryGetProperty("status"u8, out var status) || status.ValueKind != JsonValueKind.Object)
            return default;
        var audiences = wanted;
        if (wanted.Count > 0)
        {
            var given = JsonText.ListOf(status, "audiences") is { Count: > 0 } named ? named : apiAudiences;
            audiences = [.. wanted.Where(given.Contains)];
            if (audiences.Count == 0)
                return default;
        }
        if (!status.TryGetProperty("authenticated"u8, out var authenticated) || authenticated.ValueKind != JsonValueKind.True)
            return JsonText.Of(status, "error"u8) is { Length: > 0 } error ? TokenVerdict.Bad(error) : default;
        status.TryGetProperty("user"u8, out var user);
        var extra = new Dictionary<string, string[]>();
        if (user.ValueKind == JsonValueKind.Object && user.TryGetProperty("extra"u8, out var extras) && extras.ValueKind == JsonValueKind.Object)
        {
            foreach (var entry in extras.EnumerateObject())
                extra[entry.Name] = [.. JsonText.ListOf(extras, entry.Name) ?? []];
        }
        var groups = user.ValueKind == JsonValueKind.Object ? JsonText.ListOf(user, "groups") ?? [] : [];
        return new TokenVerdict(new UserInfo(JsonText.Of(user, "username"u8), groups, JsonText.Of(user, "uid"u8), extra), null, audiences);
    }

    private byte[] Review(string token, IReadOnlyList<string> audiences)
    {
        var output = new ArrayBufferWriter<byte>(token.Length + 256);
        using (var json = new Utf8JsonWriter(output))
        {
            json.WriteStartObject();
            json.WriteString("kind"u8, "TokenReview"u8);
            json.WriteString("apiVersion"u8, "authentication.k8s.io/" + version);
            json.WriteStartObject("metadata"u8);
            json.WriteNull("creationTimestamp"u8);
            json.WriteEndObject();
            json.WriteStartObject("spec"u8);
            json.WriteString("token"u8, token);
            if (audiences.Count > 0)
            {
                json.WriteStartArray("audiences"u8);
                foreach (var audience in audiences)
                    json.WriteStringValue(audience);
                json.WriteEndArray();
            }
            json.WriteEndObject();
            json.WriteStartObject("status"u8);
            json.WriteStartObject("user"u8);
            json.WriteEndObject();
            json.WriteEndObject();
            json.WriteEndObject();
        }
        return output.WrittenSpan.ToArray();
    }
}
